"""Training of language-guided agents on graph worlds."""
