"""Network blocks shared by policies."""
