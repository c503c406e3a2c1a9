"""Point location and motion over cells: where a point stands, how far a step gets, how it
slides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

Array = NDArray[Any]

CLEARANCE = 1e-4  # cells kept from a wall, so that the next step starts inside


@cached_njit()
def locate_cell(
    start: Array, width: int, depth: int, height: Array, x: float, y: float, z: float, reach: float
) -> int:
    """Return the cell under (x, z) [cells] whose height [m] is nearest to y within `reach`, or
    -1.
    """
    cx = int(np.floor(x))
    cz = int(np.floor(z))
    if not (0 <= cx < width and 0 <= cz < depth):
        return -1
    best = -1
    gap = reach
    for node in range(start[cx + cz * width], start[cx + cz * width + 1]):
        d = abs(height[node] - y)
        if d <= gap:
            gap = d
            best = node
    return best


@cached_njit()
def locate_cells(
    start: Array,
    width: int,
    depth: int,
    height: Array,
    low: Array,
    cell: float,
    points: Array,
    reach: float,
) -> Array:
    """Vectorised `locate_cell` for world points (N, 3) [m]: (N,) cells, -1 off the surface."""
    result = np.empty(len(points), np.int32)
    for i in range(len(points)):
        p = points[i]
        if not (np.isfinite(p[0]) and np.isfinite(p[1]) and np.isfinite(p[2])):
            result[i] = -1
            continue
        result[i] = locate_cell(
            start, width, depth, height, (p[0] - low[0]) / cell, p[1], (p[2] - low[2]) / cell, reach
        )
    return result


@cached_njit()
def walk_segment(
    column: Array, row: Array, links: Array, node: int, x0: float, z0: float, x1: float, z1: float
) -> tuple[int, float, float, int]:
    """Walk a segment [cells] until the end or a wall.

    Returns:
        node, x, z: where the walk ended. axis: 0 free, 1 stopped by a wall across x, 2 across z.
    """
    dx = x1 - x0
    dz = z1 - z0
    t = 0.0
    while True:
        cx = column[node]
        cz = row[node]
        tx = np.inf
        tz = np.inf
        if dx > 0:
            tx = (cx + 1 - x0) / dx
        elif dx < 0:
            tx = (cx - x0) / dx
        if dz > 0:
            tz = (cz + 1 - z0) / dz
        elif dz < 0:
            tz = (cz - z0) / dz
        t = min(tx, tz)
        if t >= 1.0:
            return node, x1, z1, 0
        if tx <= tz:
            other = links[node, 2 if dx > 0 else 0]
            if other < 0:
                edge = cx + 1 - CLEARANCE if dx > 0 else cx + CLEARANCE
                z = min(max(z0 + dz * t, cz + CLEARANCE), cz + 1 - CLEARANCE)
                return node, edge, z, 1
        else:
            other = links[node, 1 if dz > 0 else 3]
            if other < 0:
                edge = cz + 1 - CLEARANCE if dz > 0 else cz + CLEARANCE
                x = min(max(x0 + dx * t, cx + CLEARANCE), cx + 1 - CLEARANCE)
                return node, x, edge, 2
        node = other


@cached_njit()
def slide_along_wall(
    column: Array, row: Array, links: Array, node: int, x0: float, z0: float, x1: float, z1: float
) -> tuple[int, float, float]:
    """Find the reachable place nearest to the end of a blocked step [cells].

    Reachable are the cells linked to the start inside the circle around the step (Detour's rule for
    moving along a surface): on a slanted wall this gives the smooth sliding that axis by axis
    clipping does not.
    """
    middle_x = (x0 + x1) / 2
    middle_z = (z0 + z1) / 2
    # Half a cell more than Detour's circle lets a slide climb the staircase a slanted wall makes.
    radius = np.sqrt((x1 - x0) ** 2 + (z1 - z0) ** 2) / 2 + 0.5
    left = int(np.floor(middle_x - radius)) - 1
    near = int(np.floor(middle_z - radius)) - 1
    side_length = int(2 * radius) + 4
    seen = np.zeros((side_length, side_length), np.bool_)
    stack = np.empty(side_length * side_length, np.int32)
    stack[0] = node
    top = 1
    seen[row[node] - near, column[node] - left] = True
    best = node
    best_x = x0
    best_z = z0
    shortest = np.inf
    while top > 0:
        top -= 1
        here = stack[top]
        x = min(max(x1, column[here] + CLEARANCE), column[here] + 1 - CLEARANCE)
        z = min(max(z1, row[here] + CLEARANCE), row[here] + 1 - CLEARANCE)
        gap = (x - x1) ** 2 + (z - z1) ** 2
        if gap < shortest:
            shortest = gap
            best = here
            best_x = x
            best_z = z
        for side in range(4):
            other = links[here, side]
            if other < 0:
                continue
            r = row[other] - near
            c = column[other] - left
            if r < 0 or c < 0 or r >= side_length or c >= side_length or seen[r, c]:
                continue
            # The shared edge must come within the circle.
            edge_x = column[here] + (1 if side == 2 else 0)
            edge_z = row[here] + (1 if side == 1 else 0)
            if side == 0 or side == 2:
                ez = min(max(middle_z, row[here]), row[here] + 1)
                d = (edge_x - middle_x) ** 2 + (ez - middle_z) ** 2
            else:
                ex = min(max(middle_x, column[here]), column[here] + 1)
                d = (ex - middle_x) ** 2 + (edge_z - middle_z) ** 2
            if d > radius * radius:
                continue
            seen[r, c] = True
            stack[top] = other
            top += 1
    return best, best_x, best_z


@cached_njit()
def touches_wall(
    column: Array, row: Array, links: Array, node: int, x: float, z: float, margin: float
) -> bool:
    """Tell whether (x, z) [cells] in `node` is within `margin` of a wall."""
    return (
        (links[node, 0] < 0 and x - column[node] <= margin)
        or (links[node, 2] < 0 and column[node] + 1 - x <= margin)
        or (links[node, 3] < 0 and z - row[node] <= margin)
        or (links[node, 1] < 0 and row[node] + 1 - z <= margin)
    )


@cached_njit()
def step_points(
    start: Array,
    width: int,
    depth: int,
    height: Array,
    column: Array,
    row: Array,
    links: Array,
    low: Array,
    cell: float,
    positions: Array,
    targets: Array,
    reach: float,
    sliding: bool,
    sticky: bool,
) -> tuple[Array, Array]:
    """Move world points (N, 3) towards targets (N, 3).

    Returns:
        places (N, 3) [m]. collided (N,): 1 moved less than asked, 0 not, -1 the start is off the
        surface.
    """
    places = positions.copy()
    collided = np.zeros(len(positions), np.int8)
    for i in range(len(positions)):
        x = (positions[i, 0] - low[0]) / cell
        z = (positions[i, 2] - low[2]) / cell
        goal_x = (targets[i, 0] - low[0]) / cell
        goal_z = (targets[i, 2] - low[2]) / cell
        node = -1
        if np.isfinite(x + z + goal_x + goal_z + positions[i, 1]):
            node = locate_cell(start, width, depth, height, x, positions[i, 1], z, reach)
        if node < 0:
            collided[i] = -1
            continue
        if sticky and not sliding and touches_wall(column, row, links, node, x, z, 0.01):
            end, end_x, end_z, axis = node, x, z, 1
        else:
            end, end_x, end_z, axis = walk_segment(column, row, links, node, x, z, goal_x, goal_z)
            if axis != 0 and sliding:
                end, end_x, end_z = slide_along_wall(column, row, links, node, x, z, goal_x, goal_z)
        places[i, 0] = low[0] + end_x * cell
        places[i, 1] = height[end]
        places[i, 2] = low[2] + end_z * cell
        asked = np.sqrt((goal_x - x) ** 2 + (goal_z - z) ** 2)
        moved = np.sqrt((end_x - x) ** 2 + (end_z - z) ** 2)
        collided[i] = moved + 1e-5 / cell < asked
    return places, collided


@cached_njit()
def look_up_distances(
    start: Array,
    width: int,
    depth: int,
    height: Array,
    low: Array,
    cell: float,
    distance: Array,
    root: Array,
    anchor: Array,
    points: Array,
    reach: float,
) -> Array:
    """Distances [m] at world points from a cached field; -1 where the point is off the surface."""
    result = np.empty(len(points))
    for i in range(len(points)):
        x = (points[i, 0] - low[0]) / cell
        z = (points[i, 2] - low[2]) / cell
        result[i] = -1.0
        if not (np.isfinite(x) and np.isfinite(z) and np.isfinite(points[i, 1])):
            continue
        node = locate_cell(start, width, depth, height, x, points[i, 1], z, reach)
        if node < 0:
            continue
        far = root[node]
        if far < 0:
            result[i] = np.inf
            continue
        dx = anchor[far, 0] - x
        dz = anchor[far, 1] - z
        dy = anchor[far, 2] - height[node] / cell
        result[i] = (distance[far] + np.sqrt(dx * dx + dz * dz + dy * dy)) * cell
    return result
