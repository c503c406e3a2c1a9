"""Spatial relations between the objects of a house, from their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.house_graph import HouseItem

Array = NDArray[np.float64]
Table = NDArray[np.bool_]

RELATIONS = ("next to", "on", "under", "above")


def relation_tables(items: Sequence[HouseItem], slack: float = 0.0) -> dict[str, Table]:
    """Return for each of `RELATIONS` which object stands in it to which, (O, O) [object, anchor].

    next to: the boxes' floor plans are less than 0.6 m apart and heights overlap; not on or under.
    on: the object rests within 8 cm of the anchor's top, its centre over the anchor.
    above: over or less than 10 cm beside the anchor's floor plan, its bottom 8 cm to 1.2 m over
        the anchor's top.
    under: the reverse of above.
    All only between things of one room, where rooms are known.

    Args:
        items: O objects.
        slack: positive admits relations that hold only almost, negative asks for clear ones [m].
    """
    center = np.array([item.center for item in items]).reshape(-1, 3)
    half = np.array([item.size for item in items]).reshape(-1, 3) / 2
    room = np.array([item.room for item in items])
    same = (room[:, None] == room) | (room[:, None] < 0) | (room < 0)
    np.fill_diagonal(same, False)
    away = np.abs(center[:, None] - center)
    gap = np.maximum(away - half[:, None] - half, 0.0)
    apart = np.hypot(gap[..., 0], gap[..., 2])
    over = (away - half)[..., [0, 2]].max(axis=-1) <= slack  # centre within the anchor's plan
    bottom, top = center[:, 1] - half[:, 1], center[:, 1] + half[:, 1]
    lift = bottom[:, None] - top
    on = over & (np.abs(lift) <= 0.08 + slack / 2)
    above = (apart <= 0.1 + slack) & (lift > 0.08 - slack / 2) & (lift < 1.2 + slack)
    level = np.minimum(top[:, None], top) - np.maximum(bottom[:, None], bottom) > -slack
    beside = (apart <= 0.6 + slack) & level
    if slack <= 0:
        beside &= ~(on | on.T)
    tables = {"next to": beside, "on": on, "under": above.T, "above": above}
    return {name: table & same for name, table in tables.items()}
