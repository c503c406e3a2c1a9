"""Procedural furnished houses: seeded, unlimited, with rooms, doors, furniture and semantics."""

from embodied.simulators.houses.generator import generate_house, split_seeds

__all__ = ["generate_house", "split_seeds"]
