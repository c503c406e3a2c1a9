"""Frontiers: the borders between known free floor and the unknown (Yamauchi, "A frontier-based approach for
autonomous exploration", CIRA 1997), with identities that survive from one map update to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Frontier:
    """One connected border of the known.

    Attributes:
        cells: (K, 2) lattice (row, column), i.e. grid cells plus the grid's `first`: stable when a map grows.
        centroid: mean position (x, z) [m].
        target: (x, z) [m] of the frontier cell nearest the centroid; always on the frontier, unlike the centroid.
        size: number of cells times the cell size: roughly its length [m].
        information: unknown area in sight of `target` [m^2].
        identity: number given by `FrontierTracker`, -1 before.
    """

    cells: NDArray[np.int32]
    centroid: tuple[float, float]
    target: tuple[float, float]
    size: float
    information: float
    identity: int = -1


@numba.njit(cache=True)
def _find(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True)
def _scan(
    free: NDArray[np.uint8], unknown: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return frontier cells (K, 2) in raster order and the 8-connected component (K,) of each."""
    height, width = free.shape
    capacity = 1024
    cells = np.empty((capacity, 2), np.int32)
    parent = np.empty(capacity, np.int32)
    count = 0
    above = np.full(
        width + 2, -1, np.int32
    )  # index of the frontier cell in the previous row, by column + 1
    here = np.full(width + 2, -1, np.int32)
    for row in range(height):
        for column in range(width):
            if free[row, column] == 0:
                continue
            if not (
                (row > 0 and unknown[row - 1, column])
                or (row + 1 < height and unknown[row + 1, column])
                or (column > 0 and unknown[row, column - 1])
                or (column + 1 < width and unknown[row, column + 1])
            ):
                continue
            if count == capacity:
                capacity *= 2
                more_cells = np.empty((capacity, 2), np.int32)
                more_cells[:count] = cells
                cells = more_cells
                more_parent = np.empty(capacity, np.int32)
                more_parent[:count] = parent
                parent = more_parent
            cells[count, 0], cells[count, 1] = row, column
            parent[count] = count
            here[column + 1] = count
            for neighbour in (
                here[column],
                above[column],
                above[column + 1],
                above[column + 2],
            ):
                if neighbour >= 0:
                    a, b = _find(parent, neighbour), _find(parent, count)
                    if a < b:
                        parent[b] = a
                    else:
                        parent[a] = b
            count += 1
        above, here = here, above
        here[:] = -1
    label = np.empty(count, np.int32)
    groups = 0
    for node in range(count):
        root = _find(parent, node)
        if root == node:
            label[node] = groups
            groups += 1
        else:
            label[node] = label[root]  # roots precede their members in raster order
    return cells[:count], label


@numba.njit(cache=True)
def _visible_unknown(
    free: NDArray[np.uint8],
    unknown: NDArray[np.uint8],
    targets: NDArray[np.int32],
    reach: int,
    rays: int,
) -> NDArray[np.float64]:
    """Estimate the unknown area [cells] around each target (K, 2) that no occupied cell hides."""
    height, width = free.shape
    area = np.zeros(len(targets))
    for index in range(len(targets)):
        total = 0.0
        for ray in range(rays):
            angle = 2 * np.pi * ray / rays
            step_row, step_column = np.sin(angle), np.cos(angle)
            for k in range(1, reach + 1):
                row = int(np.floor(targets[index, 0] + 0.5 + k * step_row))
                column = int(np.floor(targets[index, 1] + 0.5 + k * step_column))
                if row < 0 or row >= height or column < 0 or column >= width:
                    total += (reach * reach - (k - 1) * (k - 1)) * 0.5  # off the grid: unknown
                    break
                if unknown[row, column]:
                    total += k - 0.5
                elif free[row, column] == 0:
                    break
        area[index] = total * 2 * np.pi / rays
    return area


def extract(
    free: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    cell_size: float,
    *,
    first: tuple[int, int] = (0, 0),
    min_cells: int = 4,
    reach: float = 2.0,
    rays: int = 48,
) -> list[Frontier]:
    """Find the frontiers of a map.

    Args:
        free: (H, W) cells known to be free.
        unknown: (H, W) cells never seen. A cell in neither is an obstacle.
        cell_size: [m].
        first: lattice index of cell (0, 0) (`OccupancyMap.first`, plus any crop).
        min_cells: smaller components are dropped as noise.
        reach: radius of the information estimate [m].
        rays: directions of that estimate.

    Returns:
        Frontiers, largest first.

    Raises:
        ValueError: masks of different shape or a size that is not positive.
    """
    if free.ndim != 2 or free.shape != unknown.shape:
        raise ValueError(
            f"free {free.shape} and unknown {unknown.shape} must be equal (H, W) masks"
        )
    if cell_size <= 0 or reach < 0 or min_cells < 1:
        raise ValueError(
            f"cell_size {cell_size}, reach {reach}, min_cells {min_cells} out of range"
        )
    free_bytes = np.ascontiguousarray(free, np.bool_).view(np.uint8)
    unknown_bytes = np.ascontiguousarray(unknown, np.bool_).view(np.uint8)
    cells, label = _scan(free_bytes, unknown_bytes)
    if len(cells) == 0:
        return []
    counts = np.bincount(label)
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(counts)
    kept = [g for g in np.argsort(-counts, kind="stable") if counts[g] >= min_cells]
    if not kept:
        return []
    groups = [cells[order[ends[g] - counts[g] : ends[g]]] for g in kept]
    means = np.array([group.mean(axis=0) for group in groups])
    targets = np.array(
        [
            group[np.argmin(((group - mean) ** 2).sum(axis=1))]
            for group, mean in zip(groups, means, strict=True)
        ],
        np.int32,
    )
    reach_cells = max(1, round(reach / cell_size))
    area = _visible_unknown(free_bytes, unknown_bytes, targets, reach_cells, rays) * cell_size**2
    offset = np.array(first)
    centroids = (means + offset + 0.5) * cell_size
    positions = (targets + offset + 0.5) * cell_size
    return [
        Frontier(
            cells=(group + offset).astype(np.int32),
            centroid=(float(centroids[k, 1]), float(centroids[k, 0])),
            target=(float(positions[k, 1]), float(positions[k, 0])),
            size=float(len(group) * cell_size),
            information=float(area[k]),
        )
        for k, group in enumerate(groups)
    ]


class FrontierTracker:
    """Gives frontiers numbers that persist while the map grows.

    A frontier inherits the number of the earlier one it shares most cells with; without shared cells, that of the
    nearest earlier one whose centroid is within `radius`. Each number goes to one frontier at most.
    """

    def __init__(self, radius: float = 0.75) -> None:
        if radius < 0:
            raise ValueError(f"radius {radius} must not be negative")
        self.radius = float(radius)
        self.reset()

    def reset(self) -> None:
        """Forget all identities."""
        self._known: list[Frontier] = []
        self._next = 0

    def update(self, frontiers: Sequence[Frontier]) -> list[Frontier]:
        """Return the frontiers with their identities set, in the same order."""
        identity = [-1] * len(frontiers)
        taken: set[int] = set()
        for new, old in self._matches(frontiers):
            if identity[new] < 0 and old not in taken:
                identity[new] = self._known[old].identity
                taken.add(old)
        for index in range(len(frontiers)):
            if identity[index] < 0:
                identity[index] = self._next
                self._next += 1
        self._known = [
            replace(frontier, identity=number)
            for frontier, number in zip(frontiers, identity, strict=True)
        ]
        return list(self._known)

    def _matches(self, frontiers: Sequence[Frontier]) -> list[tuple[int, int]]:
        """Candidate (new, old) pairs, best first."""
        if not frontiers or not self._known:
            return []
        old_keys = [_keys(f.cells) for f in self._known]
        owner = np.repeat(np.arange(len(old_keys)), [len(k) for k in old_keys])
        keys = np.concatenate(old_keys)
        order = np.argsort(keys)
        keys, owner = keys[order], owner[order]
        overlap = np.zeros((len(frontiers), len(self._known)))
        for index, frontier in enumerate(frontiers):
            wanted = _keys(frontier.cells)
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            np.add.at(overlap[index], owner[at[keys[at] == wanted]], 1)
        here = np.array([f.centroid for f in frontiers])
        there = np.array([f.centroid for f in self._known])
        gap = np.hypot(*(here[:, None] - there[None]).transpose(2, 0, 1))
        new, old = np.nonzero((overlap > 0) | (gap <= self.radius))
        rank = np.lexsort((gap[new, old], -overlap[new, old]))
        return [(int(new[k]), int(old[k])) for k in rank]


def _keys(cells: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(cells, np.int64)
    return (array[:, 0] << 32) + array[:, 1]
