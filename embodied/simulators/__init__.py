"""Simulated worlds: scenes, ray-cast cameras, navigation and motion."""
