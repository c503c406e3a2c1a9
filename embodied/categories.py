"""The semantic vocabulary, shared by simulators, perception and policies.

mpcat40's 42 classes come first in every scene, so that class ids mean the same everywhere.
"""

from __future__ import annotations

MPCAT40: tuple[str, ...] = (
    "void", "wall", "floor", "chair", "door", "table", "picture", "cabinet", "cushion", "window",
    "sofa", "bed", "curtain", "chest_of_drawers", "plant", "sink", "stairs", "ceiling", "toilet",
    "stool", "towel", "mirror", "tv_monitor", "shower", "column", "bathtub", "counter", "fireplace",
    "lighting", "beam", "railing", "shelving", "blinds", "gym_equipment", "seating", "board_panel",
    "furniture", "appliances", "clothes", "objects", "misc", "unlabeled",
)  # fmt: skip
"""mpcat40.tsv of niessner/Matterport, in file order; the index is the class id."""

VOID, WALL, FLOOR, DOOR, WINDOW, CEILING = (
    MPCAT40.index(n) for n in ("void", "wall", "floor", "door", "window", "ceiling")
)

STRUCTURE = frozenset(
    ("void", "wall", "floor", "ceiling", "misc", "unlabeled", "beam", "column", "objects")
)
"""Classes that are everywhere or say nothing: no landmark is made of them."""

SOS_CATEGORIES: tuple[str, ...] = tuple(name for name in MPCAT40 if name not in STRUCTURE)
"""The K categories of a scene object spectrum; the index is the row of a canvas or spectrum."""

SOS_INDEX: dict[str, int] = {name: row for row, name in enumerate(SOS_CATEGORIES)}
"""mpcat40 name -> row; classes of `STRUCTURE` are absent."""
