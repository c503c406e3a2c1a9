"""Instructions for scenes of one's own: what singles an object out, and how people say it."""

from embodied.tasks.vln.instructions.phrases import PHRASINGS
from embodied.tasks.vln.instructions.reference import (
    Description,
    Referents,
    describe_object,
    find_needed_attributes,
)
from embodied.tasks.vln.instructions.writer import write_goal, write_route

__all__ = [
    "PHRASINGS",
    "Description",
    "Referents",
    "find_needed_attributes",
    "describe_object",
    "write_goal",
    "write_route",
]
