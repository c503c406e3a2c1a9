"""Policies that follow language over a graph of places."""
