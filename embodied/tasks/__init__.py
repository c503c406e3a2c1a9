"""Gymnasium environments, their episodes and their metrics."""
