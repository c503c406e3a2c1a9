"""Training of navigation policies."""
