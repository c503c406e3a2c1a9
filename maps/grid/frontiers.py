"""Frontiers: the borders between known free floor and the unknown (Yamauchi, "A frontier-based
approach for autonomous exploration", CIRA 1997), with identities that survive from one map update
to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from maps.compiled import cached_njit


@dataclass(frozen=True, slots=True)
class Frontier:
    """One connected border of the known.

    Attributes:
        cells: (K, 2) lattice (row, column), i.e. grid cells plus the grid's `first`: stable when a
            map grows.
        centroid: mean position (x, z) [m].
        target: (x, z) [m] of the frontier cell nearest the centroid; always on the frontier,
            unlike the centroid.
        size: number of cells times the cell size: roughly its length [m].
        unknown_area: unknown area in sight of `target` [m^2].
        identity: number given by `FrontierTracker`, -1 before.
    """

    cells: NDArray[np.int32]
    centroid: tuple[float, float]
    target: tuple[float, float]
    size: float
    unknown_area: float
    identity: int = -1


@cached_njit()
def _find(parent: NDArray[np.int32], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@cached_njit()
def _border(free: NDArray[np.uint8], unknown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W) free cells with an unknown 4-neighbour. No branches: the loop vectorises."""
    height, width = free.shape
    mask = np.zeros((height, width), np.uint8)
    for row in range(height):
        here, out = unknown[row], mask[row]
        upper, lower = unknown[max(row - 1, 0)], unknown[min(row + 1, height - 1)]
        for column in range(1, width - 1):
            out[column] = upper[column] | lower[column] | here[column - 1] | here[column + 1]
        for column in (0, width - 1):
            beside = here[min(column + 1, width - 1)] | here[max(column - 1, 0)]
            out[column] = upper[column] | lower[column] | beside
        for column in range(width):
            out[column] &= free[row, column]
    return mask


@cached_njit()
def _components(cells: NDArray[np.int32]) -> NDArray[np.int32]:
    """Label the 8-connected components of cells (K, 2) in raster order: (K,) 0 .. G - 1."""
    count = len(cells)
    parent = np.arange(count).astype(np.int32)
    above = 0  # first cell of the previous row that may still touch the current one
    for node in range(count):
        row, column = cells[node, 0], cells[node, 1]
        root = node
        if node > 0 and cells[node - 1, 0] == row and cells[node - 1, 1] == column - 1:
            root = _find(parent, node - 1)
            parent[node] = root
        while above < node and (
            cells[above, 0] < row - 1
            or (cells[above, 0] == row - 1 and cells[above, 1] < column - 1)
        ):
            above += 1
        near = above
        while near < node and cells[near, 0] == row - 1 and cells[near, 1] <= column + 1:
            other = _find(parent, near)
            if other < root:
                parent[root] = other
                root = other
            else:
                parent[other] = root
            near += 1
    label = np.empty(count, np.int32)
    groups = 0
    for node in range(count):
        root = _find(parent, node)
        if root == node:
            label[node] = groups
            groups += 1
        else:
            label[node] = label[root]  # roots precede their members in raster order
    return label


@cached_njit()
def _centers(
    cells: NDArray[np.int32], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the mean (G, 2) of each run of cells and the member (G, 2) nearest to it."""
    means = np.zeros((len(starts), 2))
    targets = np.zeros((len(starts), 2), np.int32)
    for g in range(len(starts)):
        for k in range(starts[g], ends[g]):
            means[g, 0] += cells[k, 0]
            means[g, 1] += cells[k, 1]
        means[g] /= ends[g] - starts[g]
        best = np.inf
        for k in range(starts[g], ends[g]):
            gap = (cells[k, 0] - means[g, 0]) ** 2 + (cells[k, 1] - means[g, 1]) ** 2
            if gap < best:
                best = gap
                targets[g] = cells[k]
    return means, targets


@cached_njit()
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
    step = np.empty((rays, reach, 2), np.int32)
    for ray in range(rays):
        angle = 2 * np.pi * (ray + 0.5) / rays
        for k in range(reach):
            step[ray, k, 0] = int(np.floor(0.5 + (k + 1) * np.sin(angle)))
            step[ray, k, 1] = int(np.floor(0.5 + (k + 1) * np.cos(angle)))
    for index in range(len(targets)):
        total = 0.0
        row0, column0 = targets[index, 0], targets[index, 1]
        for ray in range(rays):
            for k in range(reach):
                row, column = row0 + step[ray, k, 0], column0 + step[ray, k, 1]
                if row < 0 or row >= height or column < 0 or column >= width:
                    total += (reach * reach - k * k) * 0.5  # off the grid: unknown
                    break
                if unknown[row, column]:
                    total += k + 0.5
                elif free[row, column] == 0:
                    break
        area[index] = total * 2 * np.pi / rays
    return area


def _cut(cells: NDArray[np.integer], label: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Label anew (K,): components wider than `width` cells fall apart along a fixed lattice."""
    low = np.full((int(label.max()) + 1, 2), np.iinfo(np.int64).max)
    high = np.full_like(low, np.iinfo(np.int64).min)
    np.minimum.at(low, label, cells)
    np.maximum.at(high, label, cells)
    wide = ((high - low).max(axis=1) >= width)[label]
    block = np.where(wide[:, None], cells // width, 0)
    piece = np.unique(np.column_stack([label, block]), axis=0, return_inverse=True)[1]
    return piece.reshape(-1).astype(np.int32)


def extract_frontiers(
    free: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    cell_size: float,
    *,
    first: tuple[int, int] = (0, 0),
    min_cells: int = 4,
    longest: float = np.inf,
    reach: float = 2.0,
    rays: int = 32,
) -> list[Frontier]:
    """Find the frontiers of a map.

    Args:
        free: (H, W) cells known to be free.
        unknown: (H, W) cells never seen. A cell in neither is an obstacle.
        cell_size: [m].
        first: lattice index of cell (0, 0) (`OccupancyMap.first`, plus any crop).
        min_cells: smaller components are dropped as noise.
        longest: frontiers wider than this are cut into pieces of about this width, each with a
            target of its own [m].
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
    if cell_size <= 0 or reach < 0 or min_cells < 1 or not longest >= cell_size:
        raise ValueError(
            f"cell_size {cell_size}, reach {reach}, min_cells {min_cells} or longest {longest} "
            "out of range"
        )
    free_bytes = np.ascontiguousarray(free, np.bool_).view(np.uint8)
    unknown_bytes = np.ascontiguousarray(unknown, np.bool_).view(np.uint8)
    border = np.flatnonzero(_border(free_bytes, unknown_bytes).view(np.bool_))
    cells = np.stack(np.divmod(border.astype(np.int32), np.int32(free.shape[1])), axis=1)
    label = _components(cells)
    if np.isfinite(longest) and len(cells):
        label = _cut(cells + np.array(first), label, max(1, round(longest / cell_size)))
    counts = np.bincount(label)
    if counts.max(initial=0) < min_cells:
        return []
    grouped = cells[np.argsort(label, kind="stable")]
    ends = np.cumsum(counts)
    kept = np.argsort(-counts, kind="stable")
    kept = kept[counts[kept] >= min_cells]
    means, targets = _centers(grouped, ends - counts, ends)
    reach_cells = max(1, round(reach / cell_size))
    area = _visible_unknown(free_bytes, unknown_bytes, targets[kept], reach_cells, rays)
    offset = np.array(first)
    grouped += offset.astype(np.int32)
    centroids = ((means + offset + 0.5) * cell_size).tolist()
    positions = ((targets + offset + 0.5) * cell_size).tolist()
    return [
        Frontier(
            cells=grouped[ends[g] - counts[g] : ends[g]],
            centroid=(centroids[g][1], centroids[g][0]),
            target=(positions[g][1], positions[g][0]),
            size=counts[g] * cell_size,
            unknown_area=unknown_area * cell_size**2,
        )
        for g, unknown_area in zip(kept.tolist(), area.tolist(), strict=True)
    ]


class FrontierTracker:
    """Gives frontiers numbers that persist while the map grows.

    A frontier inherits the number of the earlier one it shares most cells with; without shared
    cells, that of the nearest earlier one whose centroid is within `radius`. Each number goes to
    one frontier at most.
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
        keys, owner = _keys([f.cells for f in self._known])
        order = np.argsort(keys)
        keys, owner = keys[order], owner[order]
        wanted, seeker = _keys([f.cells for f in frontiers])
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = keys[at] == wanted
        width = len(self._known)
        pair, shared = np.unique(seeker[hit] * width + owner[at[hit]], return_counts=True)
        here = cKDTree([f.centroid for f in frontiers])
        there = cKDTree([f.centroid for f in self._known])
        near = here.sparse_distance_matrix(there, self.radius, output_type="ndarray")
        close = near["i"].astype(np.int64) * width + near["j"]
        new_pair = ~np.isin(close, pair)
        close, gap = close[new_pair], near["v"][new_pair]
        ranked = np.concatenate(
            [pair[np.argsort(-shared, kind="stable")], close[np.argsort(gap, kind="stable")]]
        )
        return [(int(new), int(old)) for new, old in zip(*np.divmod(ranked, width), strict=True)]


def _keys(groups: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number per cell of all groups, and the group each belongs to."""
    cells = np.concatenate(groups).astype(np.int64)
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return (cells[:, 0] << 32) + cells[:, 1], owner
