"""Geodesic distances and shortest paths over free cells: plain grids and stacked floors alike.

Free space is a graph of cells with four links each (-x, +z, +x, -z; or -column, +row, +column, -row), so one
kernel serves a live 2-D map and the walkable layers of a multi-storey scene. Paths turn anywhere ("any angle"):
a cell's distance is measured in a straight line from the last corner it can be seen from. A cell can be seen when
the segment crosses linked cells only; a path never squeezes between two diagonal obstacles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class CellGraph(NamedTuple):
    """Cells sorted by row, then column, then height.

    Attributes:
        column, row: (N,) int32 grid coordinates; the cell covers [column, column + 1) x [row, row + 1).
        height: (N,) float32 height of the floor, in cells (same unit as column and row).
        links: (N, 4) int32 neighbours at -column, +row, +column, -row; -1 none.
    """

    column: NDArray[np.int32]
    row: NDArray[np.int32]
    height: NDArray[np.float32]
    links: NDArray[np.int32]


class Field(NamedTuple):
    """Distances from the sources to every cell.

    Attributes:
        distance: (N,) float64 in cells, inf where unreachable.
        root: (N,) int32 the corner each cell is measured from: a cell, or N + k for source k.
        anchor: (N + K, 3) column, row, height of each possible root [cells].
    """

    distance: NDArray[np.float64]
    root: NDArray[np.int32]
    anchor: NDArray[np.float64]


@njit(cache=True)
def walk(column, row, links, node, x0, z0, x1, z1):
    """Follow the segment (x0, z0) -> (x1, z1) [cells] from `node` over linked cells.

    Returns:
        The cell that holds the end, or -1 when the segment leaves the free space.
    """
    dx = x1 - x0
    dz = z1 - z0
    cx = column[node]
    cz = row[node]
    ex = int(np.floor(x1))
    ez = int(np.floor(z1))
    step_x = 1 if dx > 0 else -1
    step_z = 1 if dz > 0 else -1
    side_x = 2 if dx > 0 else 0
    side_z = 1 if dz > 0 else 3
    inv_x = 1.0 / abs(dx) if dx != 0 else np.inf
    inv_z = 1.0 / abs(dz) if dz != 0 else np.inf
    next_x = ((cx + 1 - x0) if dx > 0 else (x0 - cx)) * inv_x if dx != 0 else np.inf
    next_z = ((cz + 1 - z0) if dz > 0 else (z0 - cz)) * inv_z if dz != 0 else np.inf
    budget = abs(ex - cx) + abs(ez - cz)
    while budget > 0:
        if abs(next_x - next_z) < 1e-9 and cx != ex and cz != ez:
            # Exactly through a corner: both cells beside it must be free.
            a = links[node, side_x]
            b = links[node, side_z]
            if a < 0 or b < 0:
                return -1
            node = links[a, side_z]
            if node < 0 or links[b, side_x] != node:
                return -1
            cx += step_x
            cz += step_z
            next_x += inv_x
            next_z += inv_z
            budget -= 2
        elif (next_x < next_z and cx != ex) or cz == ez:
            node = links[node, side_x]
            cx += step_x
            next_x += inv_x
            budget -= 1
        else:
            node = links[node, side_z]
            cz += step_z
            next_z += inv_z
            budget -= 1
        if node < 0:
            return -1
    return node


@njit(cache=True)
def _push(keys, items, size, key, item):
    i = size
    while i > 0:
        up = (i - 1) >> 2
        if keys[up] <= key:
            break
        keys[i] = keys[up]
        items[i] = items[up]
        i = up
    keys[i] = key
    items[i] = item
    return size + 1


@njit(cache=True)
def _pop(keys, items, size):
    key = keys[0]
    item = items[0]
    size -= 1
    last_key = keys[size]
    last_item = items[size]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        best = child
        for c in range(child + 1, min(child + 4, size)):
            if keys[c] < keys[best]:
                best = c
        if keys[best] >= last_key:
            break
        keys[i] = keys[best]
        items[i] = items[best]
        i = best
    keys[i] = last_key
    items[i] = last_item
    return key, item, size


@njit(cache=True)
def neighbours(links):
    """Extend (N, 4) links by diagonals, allowed only when both ways round the corner are free: (N, 8)."""
    table = np.full((len(links), 8), -1, np.int32)
    for i in range(len(links)):
        for side in range(4):
            table[i, side] = links[i, side]
            turn = (side + 1) & 3
            a = links[i, side]
            b = links[i, turn]
            if a >= 0 and b >= 0:
                corner = links[a, turn]
                if corner >= 0 and links[b, side] == corner:
                    table[i, 4 + side] = corner
    return table


@njit(cache=True)
def _inherits(anchor, table, closed, root, corner, cell):
    """Tell whether the cells before this one, seen from the same corner, prove it visible without a walk.

    The two neighbours between which the sight line passes span with the corner a triangle narrower than a
    cell: no obstacle fits in it without cutting one of its free sides.
    """
    dx = anchor[corner, 0] - anchor[cell, 0]
    dz = anchor[corner, 1] - anchor[cell, 1]
    wide = abs(dx)
    deep = abs(dz)
    if wide < 1.5 and deep < 1.5:
        return False
    side_x = 2 if dx > 0 else 0
    side_z = 1 if dz > 0 else 3
    # Diagonal k lies between sides k and k + 1.
    if dx > 0:
        diagonal = 5 if dz > 0 else 6
    else:
        diagonal = 4 if dz > 0 else 7
    if wide != deep:
        before = table[cell, side_x if wide > deep else side_z]
        if before < 0 or not closed[before] or root[before] != corner:
            return False
        if wide == 0 or deep == 0:
            return True
    before = table[cell, diagonal]
    return before >= 0 and closed[before] and root[before] == corner


@njit(cache=True)
def any_angle(column, row, height, links, table, source_cell, source_xyz, limit):
    """Distances from the sources to all cells within `limit` [cells]; see `Field`."""
    count = len(column)
    sources = len(source_cell)
    distance = np.full(count, np.inf)
    root = np.full(count, -1, np.int32)
    anchor = np.empty((count + sources, 3))
    base = np.zeros(count + sources)
    start = np.empty(count + sources, np.int32)
    for i in range(count):
        anchor[i, 0] = column[i] + 0.5
        anchor[i, 1] = row[i] + 0.5
        anchor[i, 2] = height[i]
        start[i] = i
    closed = np.zeros(count, np.bool_)
    keys = np.empty(9 * count + sources + 8)
    items = np.empty(9 * count + sources + 8, np.int32)
    size = 0
    for k in range(sources):
        anchor[count + k] = source_xyz[k]
        start[count + k] = source_cell[k]
        cell = source_cell[k]
        gap = _gap(anchor, count + k, cell)
        if gap < distance[cell]:
            distance[cell] = gap
            root[cell] = count + k
            size = _push(keys, items, size, gap, cell)
    while size > 0:
        key, cell, size = _pop(keys, items, size)
        if closed[cell] or key > distance[cell]:
            continue
        if key > limit:
            break
        best = root[cell]
        if _inherits(anchor, table, closed, root, best, cell):
            seen = cell
        else:
            seen = walk(
                column,
                row,
                links,
                start[best],
                anchor[best, 0],
                anchor[best, 1],
                anchor[cell, 0],
                anchor[cell, 1],
            )
        if seen != cell:
            # The corner inherited from a neighbour is hidden: try every finished neighbour and its corner.
            value = np.inf
            best = -1
            for side in range(8):
                other = table[cell, side]
                if other < 0 or not closed[other]:
                    continue
                direct = distance[other] + _gap(anchor, other, cell)
                if direct < value:
                    value = direct
                    best = other
                far = root[other]
                through = base[far] + _gap(anchor, far, cell)
                if through < value and far != root[cell]:
                    seen = walk(
                        column,
                        row,
                        links,
                        start[far],
                        anchor[far, 0],
                        anchor[far, 1],
                        anchor[cell, 0],
                        anchor[cell, 1],
                    )
                    if seen == cell:
                        value = through
                        best = far
            root[cell] = best
            distance[cell] = value
        closed[cell] = True
        base[cell] = distance[cell]
        for side in range(8):
            other = table[cell, side]
            if other < 0 or closed[other]:
                continue
            value = base[best] + _gap(anchor, best, other)
            if value < distance[other]:
                distance[other] = value
                root[other] = best
                size = _push(keys, items, size, value, other)
    for i in range(count):
        if not closed[i]:
            distance[i] = np.inf
            root[i] = -1
    return distance, root, anchor


@njit(cache=True)
def _gap(anchor, a, b):
    dx = anchor[a, 0] - anchor[b, 0]
    dz = anchor[a, 1] - anchor[b, 1]
    dy = anchor[a, 2] - anchor[b, 2]
    return np.sqrt(dx * dx + dz * dz + dy * dy)


@njit(cache=True)
def octile(table, sources):
    """Distances over the eight neighbours, straight steps 1 and diagonals sqrt(2) [cells]: (N,)."""
    distance = np.full(len(table), np.inf)
    keys = np.empty(8 * len(table) + len(sources) + 8)
    items = np.empty(8 * len(table) + len(sources) + 8, np.int32)
    size = 0
    diagonal = np.sqrt(2.0)
    for cell in sources:
        distance[cell] = 0.0
        size = _push(keys, items, size, 0.0, cell)
    while size > 0:
        key, cell, size = _pop(keys, items, size)
        if key > distance[cell]:
            continue
        for side in range(8):
            other = table[cell, side]
            if other < 0:
                continue
            value = key + (1.0 if side < 4 else diagonal)
            if value < distance[other]:
                distance[other] = value
                size = _push(keys, items, size, value, other)
    return distance


@njit(cache=True)
def _grid_cells(free):
    rows, columns = free.shape
    index = np.full(free.shape, -1, np.int32)
    count = 0
    for r in range(rows):
        for c in range(columns):
            if free[r, c]:
                index[r, c] = count
                count += 1
    column = np.empty(count, np.int32)
    row = np.empty(count, np.int32)
    links = np.full((count, 4), -1, np.int32)
    for r in range(rows):
        for c in range(columns):
            i = index[r, c]
            if i < 0:
                continue
            column[i] = c
            row[i] = r
            if c > 0:
                links[i, 0] = index[r, c - 1]
            if r + 1 < rows:
                links[i, 1] = index[r + 1, c]
            if c + 1 < columns:
                links[i, 2] = index[r, c + 1]
            if r > 0:
                links[i, 3] = index[r - 1, c]
    return index, column, row, links


def _check(free: NDArray[np.bool_], cells: NDArray[np.integer], what: str) -> NDArray[np.int64]:
    if free.ndim != 2 or free.dtype != np.bool_:
        raise ValueError(f"free must be an (H, W) bool array, got {free.dtype} {free.shape}")
    cells = np.atleast_2d(np.asarray(cells))
    if cells.ndim != 2 or cells.shape[1] != 2 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            f"{what} must be (K, 2) integer (row, column), got {cells.dtype} {cells.shape}"
        )
    inside = (cells >= 0).all(1) & (cells < free.shape).all(1)
    if not inside.all():
        raise ValueError(f"{what} {cells[~inside][0].tolist()} lies outside the {free.shape} grid")
    return cells.astype(np.int64)


def distance_field(
    free: NDArray[np.bool_],
    sources: NDArray[np.integer],
    cell_size: float = 1.0,
    metric: str = "any_angle",
) -> NDArray[np.float32]:
    """Measure the way from the nearest source to every cell centre.

    Args:
        free: (H, W) bool, True where one may stand.
        sources: (K, 2) int (row, column). Sources on blocked cells are ignored.
        cell_size: edge of a cell [m].
        metric: "any_angle", or "octile" (eight neighbours, no cutting of corners: MovingAI's rules).

    Returns:
        (H, W) float32 [m], inf where blocked or unreachable.

    Raises:
        ValueError: on wrong shapes, sources outside the grid or an unknown metric.
    """
    cells = _check(free, sources, "sources")
    index, column, row, links = _grid_cells(np.ascontiguousarray(free))
    at = index[cells[:, 0], cells[:, 1]]
    at = at[at >= 0]
    table = neighbours(links)
    if metric == "any_angle":
        height = np.zeros(len(column), np.float32)
        xyz = np.stack([column[at] + 0.5, row[at] + 0.5, np.zeros(len(at))], axis=1)
        values = any_angle(column, row, height, links, table, at, xyz, np.inf)[0]
    elif metric == "octile":
        values = octile(table, at)
    else:
        raise ValueError(f"unknown metric '{metric}'; allowed: any_angle, octile")
    result = np.full(free.shape, np.inf, np.float32)
    result[row, column] = values * cell_size
    return result


def shortest_path(
    free: NDArray[np.bool_],
    start: NDArray[np.integer] | tuple[int, int],
    goal: NDArray[np.integer] | tuple[int, int],
    cell_size: float = 1.0,
) -> NDArray[np.float64]:
    """Find the corners of a shortest any-angle path between two cells.

    Returns:
        (M, 2) row, column of the corner cells' centres times `cell_size` [m]; a cell (r, c) has its centre at
        (r + 0.5, c + 0.5). Empty (0, 2) when there is no way.

    Raises:
        ValueError: on wrong shapes or cells outside the grid.
    """
    ends = _check(free, np.array([start, goal]), "start and goal")
    index, column, row, links = _grid_cells(np.ascontiguousarray(free))
    first, last = index[ends[:, 0], ends[:, 1]]
    if first < 0 or last < 0:
        return np.zeros((0, 2))
    source = np.array([last], np.int32)
    xyz = np.array([[column[last] + 0.5, row[last] + 0.5, 0.0]])
    height = np.zeros(len(column), np.float32)
    field = Field(*any_angle(column, row, height, links, neighbours(links), source, xyz, np.inf))
    if not np.isfinite(field.distance[first]):
        return np.zeros((0, 2))
    corners = corner_points(field, int(first), field.anchor[first])
    return corners[:, 1::-1] * cell_size


def corner_points(field: Field, cell: int, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """List the turning points from `start` in `cell` to its source: (M, 3) column, row, height [cells]."""
    points = [np.asarray(start, np.float64)]
    at = cell
    while True:
        at = int(field.root[at])
        if np.abs(points[-1] - field.anchor[at]).max() > 1e-9 or at >= len(field.root):
            points.append(field.anchor[at])
        if at >= len(field.root):
            return np.array(points)
