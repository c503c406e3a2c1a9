"""Eight-neighbour distances over linked cells, MovingAI's metric: straight 1, diagonal sqrt(2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit
from maps.paths.any_angle import BUCKET_MASK, PER_CELL, push_bucket

Array = NDArray[Any]


@cached_njit()
def compute_octile_distances(
    table: Array, column: Array, row: Array, sources: Array, goal: int
) -> Array:
    """Measure distances over eight neighbours, straight steps 1 and diagonals sqrt(2): (N,).

    With a goal (not -1) the search is led towards it and stops there: only its value is final.
    """
    distance = np.full(len(table), np.inf)
    head = np.zeros(BUCKET_MASK + 1, np.int32)
    following = np.empty(2 * len(table) + 64, np.int32)
    keys = np.empty(2 * len(table) + 64)
    items = np.empty(2 * len(table) + 64, np.int32)
    used = 1
    level = 1 << 30
    idle = 0
    diagonal = np.sqrt(2.0)
    for cell in sources:
        distance[cell] = 0.0
        ahead = _octile_gap(column, row, cell, goal)
        level = min(level, int(ahead * PER_CELL))
        following, keys, items, used = push_bucket(
            head, following, keys, items, used, 0, ahead, cell
        )
    while idle <= BUCKET_MASK:
        entry = head[level & BUCKET_MASK]
        if entry == 0:
            level += 1
            idle += 1
            # Buckets are not sorted inside: the goal is final when its whole bucket is done.
            if goal >= 0 and level > distance[goal] * PER_CELL:
                break
            continue
        idle = 0
        head[level & BUCKET_MASK] = following[entry]
        cell = items[entry]
        if keys[entry] > distance[cell] + _octile_gap(column, row, cell, goal):
            continue
        for side in range(8):
            other = table[cell, side]
            if other < 0:
                continue
            value = distance[cell] + (1.0 if side < 4 else diagonal)
            if value < distance[other]:
                distance[other] = value
                following, keys, items, used = push_bucket(
                    head,
                    following,
                    keys,
                    items,
                    used,
                    level,
                    value + _octile_gap(column, row, other, goal),
                    other,
                )
    return distance


@cached_njit()
def _octile_gap(column: Array, row: Array, cell: int, goal: int) -> float:
    if goal < 0:
        return 0.0
    a = abs(column[cell] - column[goal])
    b = abs(row[cell] - row[goal])
    return max(a, b) + (np.sqrt(2.0) - 1.0) * min(a, b)
