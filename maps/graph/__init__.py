"""Places and the ways between them, grown while walking."""
