"""Point location and motion over cells: where a point stands, how far a step gets, how it slides."""

from __future__ import annotations

import numpy as np
from numba import njit

CLEARANCE = 1e-4  # cells kept from a wall, so that the next step starts inside


@njit(cache=True)
def locate(start, width, depth, height, x, y, z, reach):
    """Return the cell under (x, z) [cells] whose height [m] is nearest to y within `reach`, or -1."""
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


@njit(cache=True)
def locate_many(start, width, depth, height, low, cell, points, reach):
    """Vectorised `locate` for world points (N, 3) [m]: (N,) cells, -1 off the surface."""
    result = np.empty(len(points), np.int32)
    for i in range(len(points)):
        p = points[i]
        if not (np.isfinite(p[0]) and np.isfinite(p[1]) and np.isfinite(p[2])):
            result[i] = -1
            continue
        result[i] = locate(
            start, width, depth, height, (p[0] - low[0]) / cell, p[1], (p[2] - low[2]) / cell, reach
        )
    return result


@njit(cache=True)
def advance(column, row, links, node, x0, z0, x1, z1):
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


@njit(cache=True)
def step_many(column, row, links, nodes, starts, ends, sliding):
    """Move points over the cells. starts, ends: (N, 2) [cells]. Returns nodes (N,), places (N, 2)."""
    out = np.empty((len(nodes), 2))
    last = np.empty(len(nodes), np.int32)
    for i in range(len(nodes)):
        node = nodes[i]
        x = starts[i, 0]
        z = starts[i, 1]
        goal_x = ends[i, 0]
        goal_z = ends[i, 1]
        for _ in range(12):
            node, x, z, axis = advance(column, row, links, node, x, z, goal_x, goal_z)
            if axis == 0 or not sliding:
                break
            if axis == 1:
                goal_x = x
            else:
                goal_z = z
        out[i, 0] = x
        out[i, 1] = z
        last[i] = node
    return last, out


@njit(cache=True)
def field_at(start, width, depth, height, low, cell, distance, root, anchor, points, reach):
    """Distances [m] at world points from a cached field; -1 where the point is off the surface."""
    count = len(distance)
    result = np.empty(len(points))
    for i in range(len(points)):
        x = (points[i, 0] - low[0]) / cell
        z = (points[i, 2] - low[2]) / cell
        result[i] = -1.0
        if not (np.isfinite(x) and np.isfinite(z) and np.isfinite(points[i, 1])):
            continue
        node = locate(start, width, depth, height, x, points[i, 1], z, reach)
        if node < 0:
            continue
        far = root[node]
        if far < 0:
            result[i] = np.inf
            continue
        dx = anchor[far, 0] - x
        dz = anchor[far, 1] - z
        dy = anchor[far, 2] - height[node] / cell
        base = distance[far] if far < count else 0.0
        result[i] = (base + np.sqrt(dx * dx + dz * dz + dy * dy)) * cell
    return result
