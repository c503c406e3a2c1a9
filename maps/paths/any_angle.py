"""The kernel behind `maps.paths.geodesic`: any-angle distances over linked cells.

Lengths are in cells; see `maps.paths.cells` for the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit
from maps.paths.cells import get_neighbour, walk_segment

Array = NDArray[Any]
PER_CELL = 4.0  # buckets per cell of distance
BUCKET_MASK = 255
PATIENCE = 0.25  # cells a distance may grow when its sight line fails before the cell waits again


@cached_njit()
def push_bucket(
    head: Array,
    next_entry: Array,
    keys: Array,
    items: Array,
    used: int,
    level: int,
    key: float,
    item: int,
) -> tuple[Array, Array, Array, int]:
    """Put an item into the bucket of its key, at most 60 cells above the smallest one waiting.

    Entry 0 ends every list. Within a bucket (a quarter of a cell) order is not kept: the error this
    makes in a distance stays far below that, and it costs a third of a heap.
    """
    if used == len(items):
        next_entry = np.append(next_entry, np.empty(used, np.int32))
        keys = np.append(keys, np.empty(used))
        items = np.append(items, np.empty(used, np.int32))
    # A key below the level being emptied must not wait for the buckets to come round again.
    bucket = max(int(key * PER_CELL), level) & BUCKET_MASK
    keys[used] = key
    items[used] = item
    next_entry[used] = head[bucket]
    head[bucket] = used
    return next_entry, keys, items, used + 1


@cached_njit()
def _gap(anchor: Array, a: int, b: int) -> float:
    dx = anchor[a, 0] - anchor[b, 0]
    dz = anchor[a, 1] - anchor[b, 1]
    dy = anchor[a, 2] - anchor[b, 2]
    return np.sqrt(dx * dx + dz * dz + dy * dy)


@cached_njit()
def _first_cell(
    anchor: Array, start: Array, around: Array, fixed: int, far: int, x: float, z: float
) -> int:
    """Return the cell in which a sight line from anchor `far` to (x, z) begins, -1 if blocked."""
    if far < fixed:
        return start[far]
    right = x > anchor[far, 0]
    if z > anchor[far, 1]:
        return around[far - fixed, 1 if right else 0]
    return around[far - fixed, 2 if right else 3]


@cached_njit()
def _inherits(
    anchor: Array, links: Array, closed: Array, root: Array, corner: int, cell: int
) -> bool:
    """Tell whether the cells before this one, seen from the same corner, prove it visible.

    The two neighbours between which the sight line passes span with the corner a triangle narrower
    than a cell: no obstacle fits in it without cutting one of its free sides.
    """
    dx = anchor[corner, 0] - anchor[cell, 0]
    dz = anchor[corner, 1] - anchor[cell, 1]
    wide = abs(dx)
    deep = abs(dz)
    if wide < 1.5 and deep < 1.5:
        return False
    side_x = 2 if dx > 0 else 0
    side_z = 1 if dz > 0 else 3
    if wide != deep:
        before = links[cell, side_x if wide > deep else side_z]
        if before < 0 or not closed[before] or root[before] != corner:
            return False
        if wide == 0 or deep == 0:
            return True
    a = links[cell, side_x]
    b = links[cell, side_z]
    if a < 0 or b < 0:
        return False
    before = links[a, side_z]
    return before >= 0 and before == links[b, side_x] and closed[before] and root[before] == corner


@cached_njit()
def compute_any_angle_distances(
    column: Array,
    row: Array,
    height: Array,
    links: Array,
    place: Array,
    around: Array,
    touching: Array,
    source_cell: Array,
    source_xyz: Array,
    limit: float,
) -> tuple[Array, Array, Array]:
    """Measure distances from the sources to all cells within `limit`
    (`maps.paths.geodesic.GeodesicField`).

    Cells are finished in order of distance. A cell first believes the corner its neighbour is
    measured from; when the sight line fails, it chooses among the corners its finished neighbours
    know.
    """
    count = len(column)
    fixed = count + len(source_cell)
    total = fixed + len(place)
    distance = np.full(total, np.inf)
    root = np.full(total, -1, np.int32)
    anchor = np.empty((total, 3))
    start = np.empty(fixed, np.int32)
    for i in range(count):
        anchor[i, 0] = column[i] + 0.5
        anchor[i, 1] = row[i] + 0.5
        anchor[i, 2] = height[i]
        start[i] = i
    anchor[fixed:] = place
    closed = np.zeros(count, np.bool_)
    # The obstacle corner last passed: where the way turns when a sight line breaks a few cells
    # later.
    passed = np.full(count, -1, np.int32)
    # An anchor found hidden is not believed again.
    refused = np.full(count, -1, np.int32)
    head = np.zeros(BUCKET_MASK + 1, np.int32)
    following = np.empty(2 * count + 64, np.int32)
    keys = np.empty(2 * count + 64)
    items = np.empty(2 * count + 64, np.int32)
    used = 1
    level = 0
    idle = 0
    for k in range(len(source_cell)):
        cell = source_cell[k]
        anchor[count + k] = source_xyz[k]
        start[count + k] = cell
        distance[count + k] = 0.0
        gap = _gap(anchor, count + k, cell)
        if gap < distance[cell]:
            distance[cell] = gap
            root[cell] = count + k
            following, keys, items, used = push_bucket(
                head, following, keys, items, used, level, gap, cell
            )
    while idle <= BUCKET_MASK:
        entry = head[level & BUCKET_MASK]
        if entry == 0:
            level += 1
            idle += 1
            continue
        idle = 0
        head[level & BUCKET_MASK] = following[entry]
        key = keys[entry]
        cell = items[entry]
        if closed[cell] or key > distance[cell]:
            continue
        if key > limit:
            break
        best = root[cell]
        x = anchor[cell, 0]
        z = anchor[cell, 1]
        hidden = False
        if not _inherits(anchor, links, closed, root, best, cell):
            first = _first_cell(anchor, start, around, fixed, best, x, z)
            hidden = first < 0 or (
                walk_segment(column, row, links, first, anchor[best, 0], anchor[best, 1], x, z)
                != cell
            )
        if hidden or best < count:
            if hidden:
                refused[cell] = best
            other, value = _choose(
                column,
                row,
                links,
                touching,
                around,
                anchor,
                start,
                fixed,
                closed,
                root,
                passed,
                distance,
                cell,
                best if hidden else -1,
            )
            if hidden or value < distance[cell]:
                best = other
                root[cell] = best
                distance[cell] = value
                if value > key + PATIENCE:
                    # It came up too early: by its true turn, more neighbours know a corner.
                    following, keys, items, used = push_bucket(
                        head, following, keys, items, used, level, value, cell
                    )
                    continue
        closed[cell] = True
        for q in range(4):
            corner = touching[cell, q]
            if corner < 0:
                continue
            # Aim just inside the cell: the corner itself belongs to four cells.
            cx = place[corner, 0] + 1e-4 * (x - place[corner, 0])
            cz = place[corner, 1] + 1e-4 * (z - place[corner, 1])
            for attempt in range(2):
                far = best if attempt == 0 else passed[cell]
                if far < 0 or far == fixed + corner:
                    break
                value = distance[far] + _gap(anchor, far, fixed + corner)
                if value >= distance[fixed + corner]:
                    continue
                first = _first_cell(anchor, start, around, fixed, far, cx, cz)
                if first >= 0 and (
                    walk_segment(column, row, links, first, anchor[far, 0], anchor[far, 1], cx, cz)
                    == cell
                ):
                    distance[fixed + corner] = value
                    root[fixed + corner] = far
            if distance[fixed + corner] < np.inf:
                passed[cell] = fixed + corner
        for side in range(4):
            other = links[cell, side]
            if other < 0 or closed[other]:
                continue
            value = distance[best] + _gap(anchor, best, other)
            if value < distance[other] and best != refused[other]:
                distance[other] = value
                root[other] = best
                passed[other] = passed[cell]
                following, keys, items, used = push_bucket(
                    head, following, keys, items, used, level, value, other
                )
    for i in range(count):
        if not closed[i]:
            distance[i] = np.inf
            root[i] = -1
    return distance, root, anchor


@cached_njit()
def _choose(
    column: Array,
    row: Array,
    links: Array,
    touching: Array,
    around: Array,
    anchor: Array,
    start: Array,
    fixed: int,
    closed: Array,
    root: Array,
    passed: Array,
    distance: Array,
    cell: int,
    wrong: int,
) -> tuple[int, float]:
    """Find the best visible anchor of a cell whose inherited one is hidden: index and distance."""
    value = np.inf
    best = -1
    lit = -1
    x = anchor[cell, 0]
    z = anchor[cell, 1]
    for side in range(8):
        other = get_neighbour(links, cell, side)
        if other < 0 or not closed[other]:
            continue
        direct = distance[other] + _gap(anchor, other, cell)
        if direct < value:
            value = direct
            best = other
        for q in range(6):
            if q == 4:
                far = root[other]
            elif q == 5:
                far = passed[other]
            else:
                far = touching[other, q]
                if far >= 0:
                    far += fixed
            if far < 0:
                continue
            if far == wrong and q == 4:
                lit = other
            if far == wrong or far == best:  # noqa: SIM109 - numba: no mixed tuples
                continue
            through = distance[far] + _gap(anchor, far, cell)
            if through < value:
                first = _first_cell(anchor, start, around, fixed, far, x, z)
                if first >= 0 and (
                    walk_segment(column, row, links, first, anchor[far, 0], anchor[far, 1], x, z)
                    == cell
                ):
                    value = through
                    best = far
    if lit >= 0 and 0 <= best < len(closed):
        # Nobody near knows the corner that hides the cell: it lies beside the sight line of a lit
        # neighbour, so look along that line, cell by cell.
        dx = anchor[lit, 0] - anchor[wrong, 0]
        dz = anchor[lit, 1] - anchor[wrong, 1]
        count = int(np.ceil(2 * max(abs(dx), abs(dz))))
        node = _first_cell(anchor, start, around, fixed, wrong, anchor[lit, 0], anchor[lit, 1])
        at_x = anchor[wrong, 0]
        at_z = anchor[wrong, 1]
        for k in range(1, count + 1):
            if node < 0:
                break
            to_x = anchor[wrong, 0] + dx * k / count
            to_z = anchor[wrong, 1] + dz * k / count
            node = walk_segment(column, row, links, node, at_x, at_z, to_x, to_z)
            at_x = to_x
            at_z = to_z
            if node < 0:
                break
            for q in range(4):
                far = touching[node, q] + fixed
                if far < fixed or far == wrong:
                    continue
                through = distance[far] + _gap(anchor, far, cell)
                if through < value:
                    first = _first_cell(anchor, start, around, fixed, far, x, z)
                    if first >= 0 and (
                        walk_segment(
                            column, row, links, first, anchor[far, 0], anchor[far, 1], x, z
                        )
                        == cell
                    ):
                        value = through
                        best = far
    return best, value
