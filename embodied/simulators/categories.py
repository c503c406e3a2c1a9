"""The semantic vocabulary.

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
