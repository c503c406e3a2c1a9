"""Free space as linked cells: neighbours, obstacle corners and sight lines, for grids and storeys.

A cell has four links (-column, +row, +column, -row); -1 means blocked. Lengths are in cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

Array = NDArray[Any]


@cached_njit()
def number_free_cells(free: Array) -> tuple[Array, Array, Array, Array]:
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


@cached_njit()
def get_neighbour(links: Array, cell: int, side: int) -> int:
    """Return neighbour 0-3 by side, 4-7 by diagonal (side - 4 and the next), -1 for none."""
    if side < 4:
        return links[cell, side]
    turn = (side - 3) & 3
    a = links[cell, side - 4]
    b = links[cell, turn]
    if a < 0 or b < 0 or links[a, turn] != links[b, side - 4]:
        return -1
    return links[a, turn]


@cached_njit()
def extend_neighbours(links: Array) -> Array:
    """Extend (N, 4) links to (N, 8) by diagonals with both ways round the corner free."""
    table = np.empty((len(links), 8), np.int32)
    for i in range(len(links)):
        for side in range(8):
            table[i, side] = get_neighbour(links, i, side)
    return table


@cached_njit()
def _is_turn(links: Array, cell: int, side: int) -> bool:
    turn = (side + 1) & 3
    a = links[cell, side]
    b = links[cell, turn]
    return a >= 0 and b >= 0 and (links[a, turn] < 0 or links[a, turn] != links[b, side])


@cached_njit()
def find_turning_points(
    column: Array, row: Array, height: Array, links: Array
) -> tuple[Array, ...]:
    """List the convex obstacle corners, the only places where a shortest way turns.

    Returns:
        place: (V, 3) column, row, height. around: (V, 4) free cells at -x+z, +x+z, +x-z, -x-z of
        it, -1 blocked. touching: (N, 4) corner of the cell at -x+z, +x+z, +x-z, -x-z, -1 none.
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


@cached_njit()
def walk_segment(
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
