"""Policies that draw a map from depth and plan on it; nothing learned."""
