"""Exact shortest distances on a grid by a visibility graph: the slow reference the fast fields are
held against.

Free space is the union of the closed free cells; a way may touch obstacles but not squeeze between
two that meet at a corner. Shortest ways turn only at convex obstacle corners, so a graph of
mutually visible corners and query points contains them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from maps.compiled import cached_njit

Array = NDArray[Any]
EPSILON = 1e-7


@cached_njit()
def _blocked(free: Array, row: int, column: int) -> bool:
    rows, columns = free.shape
    return row < 0 or column < 0 or row >= rows or column >= columns or not free[row, column]


@cached_njit()
def _along(free: Array, line: int, low: float, high: float, upright: bool) -> bool:
    """Check a segment on a grid line: somewhere to walk on one side, without changing sides at a
    pinch.
    """
    first = int(np.floor(low + EPSILON))
    last = int(np.ceil(high - EPSILON))
    near = True
    far = True
    for k in range(first, last):
        if upright:
            a = not _blocked(free, k, line - 1)
            b = not _blocked(free, k, line)
        else:
            a = not _blocked(free, line - 1, k)
            b = not _blocked(free, line, k)
        if not (a or b):
            return False
        # Arriving with only one side free and leaving with only the other is a squeeze.
        if k > first and not ((a and near) or (b and far)):
            return False
        near = a
        far = b
    return True


@cached_njit()
def is_visible(free: Array, r0: float, c0: float, r1: float, c1: float) -> bool:
    """Tell whether the segment between two points (row, column in cells) stays in the closed free
    space.
    """
    if abs(c1 - c0) < EPSILON and abs(c0 - round(c0)) < EPSILON:
        return _along(free, int(round(c0)), min(r0, r1), max(r0, r1), True)
    if abs(r1 - r0) < EPSILON and abs(r0 - round(r0)) < EPSILON:
        return _along(free, int(round(r0)), min(c0, c1), max(c0, c1), False)
    if c1 < c0:
        r0, c0, r1, c1 = r1, c1, r0, c0
    slope = (r1 - r0) / (c1 - c0) if c1 - c0 > EPSILON else 0.0
    for column in range(int(np.floor(c0 + EPSILON)), int(np.ceil(c1 - EPSILON))):
        left = max(c0, float(column))
        right = min(c1, column + 1.0)
        if c1 - c0 > EPSILON:
            a = r0 + (left - c0) * slope
            b = r0 + (right - c0) * slope
        else:
            a, b = r0, r1
        low = min(a, b)
        high = max(a, b)
        for row in range(int(np.floor(low + EPSILON)), int(np.ceil(high - EPSILON))):
            if _blocked(free, row, column):
                return False
        # Through a lattice corner: the two cells beside the way must not both be blocked.
        if right == column + 1 and right < c1 - EPSILON and abs(b - round(b)) < EPSILON:
            corner = int(round(b))
            if slope > 0:
                pinch = _blocked(free, corner - 1, column + 1) and _blocked(free, corner, column)
            else:
                pinch = _blocked(free, corner, column + 1) and _blocked(free, corner - 1, column)
            if pinch:
                return False
    if c1 - c0 <= EPSILON:
        column = int(np.floor(c0))
        for row in range(int(np.floor(min(r0, r1) + EPSILON)), int(np.ceil(max(r0, r1) - EPSILON))):
            if _blocked(free, row, column):
                return False
    return True


@cached_njit()
def find_corners(free: Array) -> Array:
    """List the convex obstacle corners (K, 2) row, column on the lattice."""
    rows, columns = free.shape
    found = []
    for r in range(rows + 1):
        for c in range(columns + 1):
            a = _blocked(free, r - 1, c - 1)
            b = _blocked(free, r - 1, c)
            d = _blocked(free, r, c - 1)
            e = _blocked(free, r, c)
            # Two blocked cells meeting diagonally are no turn: on either side the corner is
            # concave.
            if int(a) + int(b) + int(d) + int(e) == 1:
                found.append((float(r), float(c)))
    result = np.empty((len(found), 2))
    for i in range(len(found)):
        result[i, 0] = found[i][0]
        result[i, 1] = found[i][1]
    return result


@cached_njit()
def _edges(free: Array, points: Array, targets: int) -> tuple[Array, Array, Array]:
    """Connect visible pairs; the last `targets` points are not connected among themselves."""
    count = len(points)
    tails = []
    heads = []
    lengths = []
    for i in range(count):
        for j in range(i + 1, count):
            if i >= count - targets:
                break
            if is_visible(free, points[i, 0], points[i, 1], points[j, 0], points[j, 1]):
                tails.append(i)
                heads.append(j)
                lengths.append(np.hypot(points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]))
    return np.array(tails), np.array(heads), np.array(lengths)


def compute_exact_distances(
    free: NDArray[np.bool_], source: ArrayLike, targets: ArrayLike, cell_size: float = 1.0
) -> NDArray[np.float64]:
    """Measure the exact shortest way from one point to others.

    Args:
        free: (H, W) bool.
        source: (2,) row, column in cells; a cell (r, c) covers [r, r + 1) x [c, c + 1).
        targets: (K, 2) row, column in cells.
        cell_size: edge of a cell [m].

    Returns:
        (K,) [m], inf where there is no way. Time grows with the square of the number of obstacle
        corners.
    """
    goals = np.atleast_2d(np.asarray(targets, np.float64))
    start = np.asarray(source, np.float64).reshape(1, 2)
    turns = find_corners(np.ascontiguousarray(free))
    points = np.concatenate([start, turns, goals])
    tails, heads, lengths = _edges(np.ascontiguousarray(free), points, len(goals))
    graph = csr_matrix((lengths, (tails, heads)), shape=(len(points), len(points)))
    distance = dijkstra(graph, directed=False, indices=0)
    return distance[1 + len(turns) :] * cell_size
