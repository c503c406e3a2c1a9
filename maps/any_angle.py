"""Kernels behind `maps.geodesic`: sight lines, any-angle and eight-neighbour distances over linked cells.

Cells carry four links (-column, +row, +column, -row); -1 means blocked. Lengths are in cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
PER_CELL = 4.0  # buckets per cell of distance
BUCKET_MASK = 255


@njit(cache=True)
def walk(
    column: Array,
    row: Array,
    links: Array,
    node: int,
    x0: float,
    z0: float,
    x1: float,
    z1: float,
) -> int:
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
def _push(
    head: Array, following: Array, keys: Array, items: Array, used: int, key: float, item: int
) -> tuple[Array, Array, Array, int]:
    """Put an item into the bucket of its key. Keys must lie within 60 cells of the smallest one waiting.

    Entry 0 ends every list. Within a bucket (a quarter of a cell) order is not kept: the error this makes
    in a distance stays far below that, and it costs a third of a heap.
    """
    if used == len(items):
        following = np.append(following, np.empty(used, np.int32))
        keys = np.append(keys, np.empty(used))
        items = np.append(items, np.empty(used, np.int32))
    bucket = int(key * PER_CELL) & BUCKET_MASK
    keys[used] = key
    items[used] = item
    following[used] = head[bucket]
    head[bucket] = used
    return following, keys, items, used + 1


@njit(cache=True)
def neighbours(links: Array) -> Array:
    """Extend (N, 4) links by diagonals, allowed only when both ways round the corner are free: (N, 8)."""
    table = np.empty((len(links), 8), np.int32)
    for i in range(len(links)):
        for side in range(8):
            table[i, side] = _beside(links, i, side)
    return table


@njit(cache=True)
def _beside(links: Array, cell: int, side: int) -> int:
    """Return neighbour 0-3 by side, 4-7 by diagonal (side - 4 and the next), -1 when there is none."""
    if side < 4:
        return links[cell, side]
    turn = (side - 3) & 3
    a = links[cell, side - 4]
    b = links[cell, turn]
    if a < 0 or b < 0 or links[a, turn] != links[b, side - 4]:
        return -1
    return links[a, turn]


@njit(cache=True)
def turning_points(column: Array, row: Array, height: Array, links: Array) -> tuple[Array, ...]:
    """List the convex obstacle corners, the only places where a shortest way turns.

    Returns:
        place: (V, 3) column, row, height. around: (V, 4) free cells at -x+z, +x+z, +x-z, -x-z of it, -1
        blocked. touching: (N, 4) corner of the cell at -x+z, +x+z, +x-z, -x-z, -1 none.
    """
    touching = np.full((len(links), 4), -1, np.int32)
    count = 0
    for i in range(len(links)):
        for side in range(4):
            if _is_turn(links, i, side):
                count += 1
    place = np.empty((count, 3))
    around = np.full((count, 4), -1, np.int32)
    count = 0
    for i in range(len(links)):
        for side in range(4):
            if not _is_turn(links, i, side):
                continue
            turn = (side + 1) & 3
            place[count, 0] = column[i] + (1 if side == 1 or side == 2 else 0)
            place[count, 1] = row[i] + (1 if side == 0 or side == 1 else 0)
            place[count, 2] = height[i]
            # Seen from the corner, cell i lies opposite; its two neighbours beside the obstacle.
            around[count, (side + 2) & 3] = i
            around[count, (side + 3) & 3] = links[i, side]
            around[count, (side + 1) & 3] = links[i, turn]
            for q in range(4):
                if around[count, q] >= 0:
                    touching[around[count, q], (q + 2) & 3] = count
            count += 1
    return place, around, touching


@njit(cache=True)
def _is_turn(links: Array, cell: int, side: int) -> bool:
    turn = (side + 1) & 3
    a = links[cell, side]
    b = links[cell, turn]
    return a >= 0 and b >= 0 and (links[a, turn] < 0 or links[a, turn] != links[b, side])


@njit(cache=True)
def _gap(anchor: Array, a: int, b: int) -> float:
    dx = anchor[a, 0] - anchor[b, 0]
    dz = anchor[a, 1] - anchor[b, 1]
    dy = anchor[a, 2] - anchor[b, 2]
    return np.sqrt(dx * dx + dz * dz + dy * dy)


@njit(cache=True)
def _first_cell(
    anchor: Array, start: Array, around: Array, fixed: int, far: int, x: float, z: float
) -> int:
    """Return the cell in which a sight line from anchor `far` to (x, z) begins, -1 when it is blocked."""
    if far < fixed:
        return start[far]
    right = x > anchor[far, 0]
    if z > anchor[far, 1]:
        return around[far - fixed, 1 if right else 0]
    return around[far - fixed, 2 if right else 3]


@njit(cache=True)
def _inherits(
    anchor: Array, links: Array, closed: Array, root: Array, corner: int, cell: int
) -> bool:
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


@njit(cache=True)
def any_angle(
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
    """Measure distances from the sources to all cells within `limit`; see `maps.geodesic.Field`.

    Cells are finished in order of distance. A cell first believes the corner its neighbour is measured from;
    when the sight line fails, it chooses among the corners its finished neighbours know.
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
    # The obstacle corner last passed: where the way turns when a sight line breaks a few cells later.
    passed = np.full(count, -1, np.int32)
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
            following, keys, items, used = _push(head, following, keys, items, used, gap, cell)
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
        if not _inherits(anchor, links, closed, root, best, cell):
            first = _first_cell(anchor, start, around, fixed, best, x, z)
            if first < 0 or (
                walk(column, row, links, first, anchor[best, 0], anchor[best, 1], x, z) != cell
            ):
                best, value = _choose(
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
                )
                root[cell] = best
                distance[cell] = value
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
                    walk(column, row, links, first, anchor[far, 0], anchor[far, 1], cx, cz) == cell
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
            if value < distance[other]:
                distance[other] = value
                root[other] = best
                passed[other] = passed[cell]
                following, keys, items, used = _push(
                    head, following, keys, items, used, value, other
                )
    for i in range(count):
        if not closed[i]:
            distance[i] = np.inf
            root[i] = -1
    return distance, root, anchor


@njit(cache=True)
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
) -> tuple[int, float]:
    """Find the best visible anchor of a cell whose inherited one is hidden: its index and the distance."""
    value = np.inf
    best = -1
    x = anchor[cell, 0]
    z = anchor[cell, 1]
    wrong = root[cell]
    for side in range(8):
        other = _beside(links, cell, side)
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
            if far == wrong or far == best:
                continue
            through = distance[far] + _gap(anchor, far, cell)
            if through < value:
                first = _first_cell(anchor, start, around, fixed, far, x, z)
                if first >= 0 and (
                    walk(column, row, links, first, anchor[far, 0], anchor[far, 1], x, z) == cell
                ):
                    value = through
                    best = far
    return best, value


@njit(cache=True)
def octile(table: Array, sources: Array) -> Array:
    """Distances over the eight neighbours, straight steps 1 and diagonals sqrt(2) [cells]: (N,)."""
    distance = np.full(len(table), np.inf)
    head = np.zeros(BUCKET_MASK + 1, np.int32)
    following = np.empty(2 * len(table) + 64, np.int32)
    keys = np.empty(2 * len(table) + 64)
    items = np.empty(2 * len(table) + 64, np.int32)
    used = 1
    level = 0
    idle = 0
    diagonal = np.sqrt(2.0)
    for cell in sources:
        distance[cell] = 0.0
        following, keys, items, used = _push(head, following, keys, items, used, 0.0, cell)
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
        if key > distance[cell]:
            continue
        for side in range(8):
            other = table[cell, side]
            if other < 0:
                continue
            value = key + (1.0 if side < 4 else diagonal)
            if value < distance[other]:
                distance[other] = value
                following, keys, items, used = _push(
                    head, following, keys, items, used, value, other
                )
    return distance


@njit(cache=True)
def grid_cells(free: Array) -> tuple[Array, Array, Array, Array]:
    """Number the free cells of a grid: index (H, W), column, row, links."""
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
