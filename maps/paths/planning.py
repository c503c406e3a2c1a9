"""Cheap planning on the live map: a travel-cost field that keeps away from walls, and paths out of
it.

`maps.paths.geodesic` measures exact any-angle distances; a moving agent rather wants, every few
steps, a path it can follow with some room on both sides. That is one integer-cost Dijkstra sweep
with a circular bucket queue (Dial, "Algorithm 360", CACM 1969): a few milliseconds on a whole house
at 5 cm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.compiled import cached_njit

MAX_WEIGHT = 8
_STRAIGHT, _DIAGONAL = 5, 7  # 7/5 is sqrt(2) within 1 %
_BUCKETS = 64  # more than MAX_WEIGHT * _DIAGONAL


@cached_njit()
def _sweep(
    weight: NDArray[np.uint8], start_row: int, start_column: int, limit: int
) -> NDArray[np.int32]:
    height, width = weight.shape
    cost = np.full((height, width), -1, np.int32)
    head = np.full(_BUCKETS, -1, np.int32)
    capacity = 4096
    node = np.empty(capacity, np.int32)
    link = np.empty(capacity, np.int32)
    best = np.full((height, width), 2147483647, np.int32)
    used, alive, current = 1, 1, 0
    node[0], link[0] = start_row * width + start_column, -1
    head[0] = 0
    spare = -1
    best[start_row, start_column] = 0
    while alive > 0 and current <= limit:
        slot = current % _BUCKETS
        while head[slot] >= 0:
            entry = head[slot]
            head[slot] = link[entry]
            alive -= 1
            row, column = node[entry] // width, node[entry] % width
            link[entry] = spare
            spare = entry
            if cost[row, column] >= 0:
                continue
            cost[row, column] = current
            for dr in range(-1, 2):
                r = row + dr
                if r < 0 or r >= height:
                    continue
                for dc in range(-1, 2):
                    c = column + dc
                    if (dr == 0 and dc == 0) or c < 0 or c >= width:
                        continue
                    w = weight[r, c]
                    if w == 0 or cost[r, c] >= 0:
                        continue
                    if dr != 0 and dc != 0:
                        if weight[row, c] == 0 or weight[r, column] == 0:
                            continue
                        to = current + _DIAGONAL * w
                    else:
                        to = current + _STRAIGHT * w
                    if to >= best[r, c]:
                        continue
                    best[r, c] = to
                    if spare >= 0:
                        entry = spare
                        spare = link[entry]
                    else:
                        if used == capacity:
                            capacity *= 2
                            node = np.concatenate((node, np.empty(used, np.int32)))
                            link = np.concatenate((link, np.empty(used, np.int32)))
                        entry = used
                        used += 1
                    node[entry] = r * width + c
                    link[entry] = head[to % _BUCKETS]
                    head[to % _BUCKETS] = entry
                    alive += 1
        current += 1
    return cost


def compute_cost_field(
    weight: NDArray[np.uint8],
    start: tuple[int, int],
    cell_size: float,
    limit: float = np.inf,
) -> NDArray[np.float32]:
    """Travel cost from one cell to all others.

    Args:
        weight: (H, W) uint8 cost per metre of each cell, 0 = blocked, 1 .. 8.
        start: (row, column); may itself be blocked.
        cell_size: [m].
        limit: cells costlier than this are left unreached [m].

    Returns:
        (H, W) float32 [m of weight 1], inf where unreached. No path cuts a blocked corner.

    Raises:
        ValueError: a start outside the grid or a weight above 8.
    """
    if weight.ndim != 2 or weight.dtype != np.uint8 or weight.max(initial=0) > MAX_WEIGHT:
        raise ValueError(f"weight must be (H, W) uint8 of 0 .. {MAX_WEIGHT}, got {weight.dtype}")
    row, column = int(start[0]), int(start[1])
    if not (0 <= row < weight.shape[0] and 0 <= column < weight.shape[1]):
        raise ValueError(f"start {start} lies outside the grid {weight.shape}")
    unit = cell_size / _STRAIGHT
    bound = 2**31 - 1 - 2 * _BUCKETS if np.isinf(limit) else int(limit / unit)
    cost = _sweep(np.ascontiguousarray(weight), row, column, bound)
    return np.where(cost < 0, np.inf, cost * unit).astype(np.float32)


@cached_njit()
def _trace(field: NDArray[np.float32], row: int, column: int) -> NDArray[np.int32]:
    height, width = field.shape
    path = np.empty((height * width, 2), np.int32)
    count = 0
    while count < height * width:
        path[count, 0], path[count, 1] = row, column
        count += 1
        lowest, next_row, next_column = field[row, column], -1, -1
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                r, c = row + dr, column + dc
                if 0 <= r < height and 0 <= c < width and field[r, c] < lowest:
                    cut = np.isinf(field[row, c]) or np.isinf(field[r, column])
                    if dr != 0 and dc != 0 and cut:
                        continue
                    lowest, next_row, next_column = field[r, c], r, c
        if next_row < 0:
            break
        row, column = next_row, next_column
    return path[:count].copy()


def trace_path(field: NDArray[np.float32], end: tuple[int, int]) -> NDArray[np.int32]:
    """Follow a field of `compute_cost_field` back: cells (M, 2) from its start to `end`; (0, 2) if
    unreached.
    """
    row, column = int(end[0]), int(end[1])
    if not np.isfinite(field[row, column]):
        return np.zeros((0, 2), np.int32)
    return _trace(field, row, column)[::-1]


@cached_njit()
def is_line_clear(
    weight: NDArray[np.uint8], row0: float, column0: float, row1: float, column1: float, worst: int
) -> bool:
    """Whether every cell on a segment (in cells, centres at +0.5) has a weight of 1 .. `worst`."""
    height, width = weight.shape
    steps = int(np.ceil(2 * max(abs(row1 - row0), abs(column1 - column0)))) + 1
    for k in range(steps + 1):
        row = int(np.floor(row0 + (row1 - row0) * k / steps))
        column = int(np.floor(column0 + (column1 - column0) * k / steps))
        if row < 0 or row >= height or column < 0 or column >= width:
            return False
        if weight[row, column] == 0 or weight[row, column] > worst:
            return False
    return True


def compute_cost_weights(
    walkable: NDArray[np.bool_],
    clearance: ArrayLike,
    radius: float,
    comfort: float,
    steepness: int = 4,
) -> NDArray[np.uint8]:
    """Turn clearance into `compute_cost_field` weights.

    Args:
        walkable: (H, W) cells that may be entered.
        clearance: (H, W) distance to the nearest obstacle [m].
        radius: cells nearer than this are blocked [m].
        comfort: cells farther than this cost 1; in between the cost rises to `steepness` [m].
        steepness: cost right beside the blocked zone, 1 .. 8.

    Returns:
        (H, W) uint8.
    """
    if not 1 <= steepness <= MAX_WEIGHT or not 0 <= radius <= comfort:
        raise ValueError(
            f"need 1 <= steepness {steepness} <= {MAX_WEIGHT} and "
            f"0 <= radius {radius} <= comfort {comfort}"
        )
    distance = np.asarray(clearance, np.float32)
    rise = (comfort - distance) / max(comfort - radius, 1e-6) * (steepness - 1)
    result = 1 + np.clip(np.ceil(rise), 0, steepness - 1)
    result[~walkable | (distance < radius)] = 0
    return result.astype(np.uint8)
