"""Procedures that turn episodes into weights."""
