"""Walkable surface of a triangle scene, built the way Recast builds a navigation mesh, in numba
kernels.
"""
