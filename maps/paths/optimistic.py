"""What an agent's own map says about the way to a goal: shortest paths that take the unknown for
free.

Each agent gets a field of remaining path costs over a window around it (Dijkstra with integer costs
and a circular bucket queue, Dial 1969), sampled in a ring of directions: "how much nearer would a
step that way bring me". Cells beside an obstacle cost more, so paths keep clear of walls but still
pass doors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit
from maps.grid.egocentric import EgocentricMaps

STRAIGHT, DIAGONAL = 5, 7  # cost of a step between neighbouring free cells
BESIDE, INSIDE = 4, 24  # factors next to an obstacle, and in one (never infinite: maps err)
BUCKETS = 256  # more than the dearest step
REACHES = (0.25, 0.5, 1.0)  # [m] where the ring is sampled


def get_ring_shape(directions: int) -> tuple[int, int]:
    """Return the shape of one agent's ring: a value per reach and the clearance, per direction."""
    return (len(REACHES) + 1, directions)


def compute_path_ring(
    maps: EgocentricMaps,
    pose: NDArray[np.float32],
    goal: NDArray[np.float32],
    directions: int = 12,
    window: int = 64,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the promise of every direction and the length of the way that is left.

    Args:
        maps: of N agents.
        pose: (N, 4) x, y, z [m], yaw [rad], as the maps were built with.
        goal: (N, 2) distance [m] and angle [rad] (left positive) from the agent.
        directions: headings of the ring, counter-clockwise, the first straight ahead.
        window: side of the planning window in cells of twice the map's; a goal outside is
            approached over the window's rim, as the crow flies from there.

    Returns:
        (N, 4, directions): progress [m per m] 0.25, 0.5 and 1 m that way, in [-2, 2], and the free
        distance up to 2 m; and (N,) the path cost [m] from the agent (walls nearby make it longer).
    """
    count = len(maps.grid)
    if pose.shape != (count, 4) or goal.shape != (count, 2):
        raise ValueError(
            f"pose {pose.shape} and goal {goal.shape} must be ({count}, 4), ({count}, 2)"
        )
    ring = np.empty((count, *get_ring_shape(directions)), np.float32)
    length = np.empty(count, np.float32)
    _rings(
        maps.grid, pose.astype(np.float64), goal.astype(np.float64), window, maps.cell_size,
        np.array(REACHES), ring, length,
    )  # fmt: skip
    return ring, length


@cached_njit()
def _rings(grid, pose, goal, window, cell, reaches, ring, length):  # type: ignore[no-untyped-def]
    side = window + 2  # a rim of one cell saves the bounds checks
    occupied = np.zeros((side, side), np.uint8)
    factor = np.zeros(side * side, np.int64)
    cost = np.zeros(side * side, np.int64)
    metre = 2.0 * cell / STRAIGHT  # metres per unit of cost
    mask = grid.shape[1] - 1
    for i in range(len(grid)):
        fine_x, fine_z = pose[i, 0] / cell, pose[i, 2] / cell
        # Lower corner of the window on the fine grid, on an even cell so that cells do not flicker.
        corner_x = (int(np.floor(fine_x)) >> 1 << 1) - window
        corner_z = (int(np.floor(fine_z)) >> 1 << 1) - window
        _occupancy(grid[i], corner_x, corner_z, window, mask, occupied)
        _factors(occupied, factor)
        bearing = pose[i, 3] + goal[i, 1]
        goal_x = (fine_x - np.sin(bearing) * goal[i, 0] / cell - corner_x) / 2
        goal_z = (fine_z - np.cos(bearing) * goal[i, 0] / cell - corner_z) / 2
        _costs(factor, cost, side, goal_x, goal_z)
        at_x, at_z = (fine_x - corner_x) / 2, (fine_z - corner_z) / 2
        here = _sample(cost, side, at_x, at_z)
        length[i] = here * metre
        for k in range(ring.shape[2]):
            heading = pose[i, 3] + 2 * np.pi * k / ring.shape[2]
            dx, dz = -np.sin(heading), -np.cos(heading)
            for r in range(len(reaches)):
                reach = reaches[r] / (2 * cell)
                there = _sample(cost, side, at_x + dx * reach, at_z + dz * reach)
                gain = (here - there) * metre / reaches[r]
                ring[i, r, k] = min(2.0, max(-2.0, gain))
            ring[i, len(reaches), k] = (
                _clearance(grid[i], mask, fine_x, fine_z, dx, dz, 2.0 / cell) * cell
            )


@cached_njit()
def _occupancy(grid, corner_x, corner_z, window, mask, occupied):  # type: ignore[no-untyped-def]
    for row in range(window):
        z0 = (corner_z + 2 * row) & mask
        z1 = (z0 + 1) & mask
        for column in range(window):
            x0 = (corner_x + 2 * column) & mask
            x1 = (x0 + 1) & mask
            bits = grid[z0, x0] | grid[z0, x1] | grid[z1, x0] | grid[z1, x1]
            occupied[row + 1, column + 1] = (bits >> 1) & 1


@cached_njit()
def _factors(occupied, factor):  # type: ignore[no-untyped-def]
    side = len(occupied)
    for row in range(side):
        for column in range(side):
            index = row * side + column
            if row == 0 or column == 0 or row == side - 1 or column == side - 1:
                factor[index] = 0  # the rim: never entered
            elif occupied[row, column]:
                factor[index] = INSIDE
            else:
                near = (
                    occupied[row - 1, column] | occupied[row + 1, column]
                    | occupied[row, column - 1] | occupied[row, column + 1]
                )  # fmt: skip
                factor[index] = BESIDE if near else 1


@cached_njit()
def _costs(factor, cost, side, goal_x, goal_z):  # type: ignore[no-untyped-def]
    """Fill `cost` with the cost from each cell to the goal."""
    unreached = 1 << 40
    cost[:] = unreached
    heads = np.full(BUCKETS, -1, np.int64)
    entries = np.empty((side * side * 8, 2), np.int64)  # (cell, next in bucket)
    used = pending = 0
    level = unreached
    column, row = int(np.floor(goal_x)) + 1, int(np.floor(goal_z)) + 1
    if 1 <= row < side - 1 and 1 <= column < side - 1:
        cost[row * side + column] = 0
        entries[0, 0], entries[0, 1] = row * side + column, -1
        heads[0] = 0
        used, pending, level = 1, 1, 0
        border = np.empty(0, np.int64)
    else:
        border = np.empty(4 * (side - 2), np.int64)
        for k in range(side - 2):
            border[4 * k] = side + k + 1
            border[4 * k + 1] = (side - 2) * side + k + 1
            border[4 * k + 2] = (k + 1) * side + 1
            border[4 * k + 3] = (k + 1) * side + side - 2
        for k in range(len(border)):
            dz = border[k] // side - 0.5 - goal_z
            dx = border[k] % side - 0.5 - goal_x
            start = int(np.hypot(dx, dz) * STRAIGHT)
            if factor[border[k]] == INSIDE:
                start += INSIDE * STRAIGHT
            cost[border[k]] = min(cost[border[k]], start)
        order = np.argsort(cost[border])
        border = border[order]
        level = cost[border[0]]
    waiting = 0  # border cells enter the queue when the wave reaches their level
    while pending > 0 or waiting < len(border):
        if pending == 0:
            level = max(level, cost[border[waiting]])
        while waiting < len(border) and cost[border[waiting]] <= level:
            entries[used, 0], entries[used, 1] = border[waiting], heads[level % BUCKETS]
            heads[level % BUCKETS] = used
            used += 1
            pending += 1
            waiting += 1
        slot = level % BUCKETS
        while heads[slot] >= 0:
            entry = heads[slot]
            heads[slot] = entries[entry, 1]
            pending -= 1
            index = entries[entry, 0]
            if cost[index] < level:
                continue  # reached more cheaply meanwhile
            for dr in range(-1, 2):
                for dc in range(-1, 2):
                    other = index + dr * side + dc
                    if other == index or factor[other] == 0:
                        continue
                    step = STRAIGHT if dr == 0 or dc == 0 else DIAGONAL
                    through = level + step * max(factor[other], factor[index])
                    if through < cost[other]:
                        cost[other] = through
                        entries[used, 0] = other
                        entries[used, 1] = heads[through % BUCKETS]
                        heads[through % BUCKETS] = used
                        used += 1
                        pending += 1
        level += 1


@cached_njit()
def _sample(cost, side, x, z):  # type: ignore[no-untyped-def]
    """Return the cost at a point by bilinear interpolation between cell centres."""
    x = min(max(x + 0.5, 1.0), side - 2.001)
    z = min(max(z + 0.5, 1.0), side - 2.001)
    column, row = int(x), int(z)
    right, down = x - column, z - row
    index = row * side + column
    above = cost[index] * (1 - right) + cost[index + 1] * right
    below = cost[index + side] * (1 - right) + cost[index + side + 1] * right
    return above * (1 - down) + below * down


@cached_njit()
def _clearance(grid, mask, x, z, dx, dz, limit):  # type: ignore[no-untyped-def]
    """Return how many cells lie before the first obstacle that way."""
    walked = 0.5
    while walked < limit:
        if grid[int(np.floor(z + dz * walked)) & mask, int(np.floor(x + dx * walked)) & mask] & 2:
            return walked
        walked += 0.5
    return limit
