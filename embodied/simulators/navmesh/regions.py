"""Shrink the walkable spans by the agent's radius, drop specks and name the islands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

Array = NDArray[Any]


@cached_njit()
def _chamfer(links: Array, seed: Array) -> Array:
    """Two-pass chamfer distance (2 per side step, 3 per diagonal) over the links, as Recast's."""
    distance = seed
    count = len(links)
    for i in range(count):
        for side, turn in ((0, 3), (3, 2)):
            a = links[i, side]
            if a >= 0:
                distance[i] = min(distance[i], distance[a] + 2)
                b = links[a, turn]
                if b >= 0:
                    distance[i] = min(distance[i], distance[b] + 3)
    for i in range(count - 1, -1, -1):
        for side, turn in ((2, 1), (1, 0)):
            a = links[i, side]
            if a >= 0:
                distance[i] = min(distance[i], distance[a] + 2)
                b = links[a, turn]
                if b >= 0:
                    distance[i] = min(distance[i], distance[b] + 3)
    return distance


@cached_njit()
def erode_nodes(links: Array, radius: int) -> Array:
    """Tell which nodes stay walkable for a disc of `radius` cells: (N,) bool."""
    seed = np.full(len(links), 255, np.int32)
    for i in range(len(links)):
        for side in range(4):
            if links[i, side] < 0:
                seed[i] = 0
    return _chamfer(links, seed) >= 2 * radius


@cached_njit()
def label_islands(links: Array, keep: Array) -> tuple[Array, Array]:
    """Number the connected parts of the kept nodes: (N,) int32, -1 elsewhere, and their sizes."""
    label = np.full(len(links), -1, np.int32)
    stack = np.empty(len(links), np.int32)
    sizes = [0]
    for i in range(len(links)):
        if not keep[i] or label[i] >= 0:
            continue
        name = len(sizes) - 1
        label[i] = name
        stack[0] = i
        top = 1
        size = 0
        while top > 0:
            top -= 1
            node = stack[top]
            size += 1
            for side in range(4):
                other = links[node, side]
                if other >= 0 and keep[other] and label[other] < 0:
                    label[other] = name
                    stack[top] = other
                    top += 1
        sizes.append(size)
    return label, np.array(sizes, np.int64)[1:]


@cached_njit()
def select_nodes(start: Array, links: Array, keep: Array) -> tuple[Array, Array, Array]:
    """Drop the nodes that are not kept and renumber. Returns start, old index of each node,
    links.
    """
    new = np.full(len(links), -1, np.int32)
    count = 0
    for i in range(len(links)):
        if keep[i]:
            new[i] = count
            count += 1
    old = np.empty(count, np.int32)
    table = np.full((count, 4), -1, np.int32)
    for i in range(len(links)):
        if new[i] >= 0:
            old[new[i]] = i
            for side in range(4):
                if links[i, side] >= 0:
                    table[new[i], side] = new[links[i, side]]
    begin = np.zeros_like(start)
    for column in range(len(start) - 1):
        kept = 0
        for i in range(start[column], start[column + 1]):
            if keep[i]:
                kept += 1
        begin[column + 1] = begin[column] + kept
    return begin, old, table
