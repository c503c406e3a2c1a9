"""Policies: one method, one file."""
