"""Manipulation: demonstrations of the experts, and policies that imitate them."""
