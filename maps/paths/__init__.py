"""Shortest ways over free cells, on known and on growing maps."""
