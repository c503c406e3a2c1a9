"""Compiled inner loops of the occupancy map. Pixel kinds tell what a depth pixel's point is to a
walking agent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

NONE, FLOOR, OBSTACLE, ABOVE, BELOW, FAR = 0, 1, 2, 3, 4, 5
FLAT = -(2**31)  # row of FLOOR pixels on the floor plane itself
_PLANE = 0.03  # [m] tolerance of that plane
_SURFACE = 0.05  # [m] height change between two pixels that still is one horizontal surface
_OBLIQUE = 2.0  # slope of depth over width up to which two pixels are one wall
_GAP = 0.5  # [m] longest gap bridged


@cached_njit(fastmath={"contract", "reassoc", "arcp"}, error_model="numpy")
def classify_view(
    depth: NDArray[np.float32],
    pose: NDArray[np.float64],
    focal: float,
    floor: float,
    low: float,
    high: float,
    reach: float,
    cell: float,
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Classify each pixel and find the ground box in view.

    Returns:
        kinds (H, W), lattice rows and columns (H, W) of OBSTACLE pixels and of
        FLOOR pixels off the plane, box (4,) = x0, z0, x1, z1 [m].
    """
    height, width = depth.shape
    kinds = np.zeros((height, width), np.uint8)
    rows = np.empty((height, width), np.int32)
    columns = np.empty((height, width), np.int32)
    px, py, pz = pose[0, 3], pose[1, 3] - floor, pose[2, 3]
    x0 = x1 = px
    z0 = z1 = pz
    inverse, reach2 = 1.0 / cell, reach * reach
    for i in range(height):
        b = (0.5 * height - i - 0.5) / focal
        bx = b * pose[0, 1] - pose[0, 2]
        by = b * pose[1, 1] - pose[1, 2]
        bz = b * pose[2, 1] - pose[2, 2]
        for j in range(width):
            d = depth[i, j]
            if not (d > 0.0 and d < 1e6):
                continue
            a = (j + 0.5 - 0.5 * width) / focal
            dx = d * (bx + a * pose[0, 0])
            dz = d * (bz + a * pose[2, 0])
            flat2 = dx * dx + dz * dz
            if flat2 > reach2:
                kinds[i, j] = FAR
                scale = reach / np.sqrt(flat2)
                dx *= scale
                dz *= scale
            else:
                y = py + d * (by + a * pose[1, 0])
                if y < -low:
                    kinds[i, j] = BELOW
                elif y <= low:
                    kinds[i, j] = FLOOR
                    if abs(y) < _PLANE:
                        rows[i, j] = FLAT
                    else:
                        rows[i, j] = int(np.floor((pz + dz) * inverse))
                        columns[i, j] = int(np.floor((px + dx) * inverse))
                elif y < high:
                    kinds[i, j] = OBSTACLE
                    rows[i, j] = int(np.floor((pz + dz) * inverse))
                    columns[i, j] = int(np.floor((px + dx) * inverse))
                else:
                    kinds[i, j] = ABOVE
            x, z = px + dx, pz + dz
            x0, x1 = min(x0, x), max(x1, x)
            z0, z1 = min(z0, z), max(z1, z)
    return kinds, rows, columns, np.array([x0, z0, x1, z1])


@cached_njit(inline="always")
def _raise(
    row: int,
    column: int,
    frame: int,
    weights: NDArray[np.float64],
    log_odds: NDArray[np.float32],
    seen: NDArray[np.uint8],
    stamp: NDArray[np.int32],
) -> None:
    if stamp[row, column] != frame:
        stamp[row, column] = frame
        seen[row, column] = 1
        log_odds[row, column] = min(log_odds[row, column] + weights[0], weights[3])


@cached_njit()
def _bridge(
    row: int,
    column: int,
    row2: int,
    column2: int,
    frame: int,
    weights: NDArray[np.float64],
    log_odds: NDArray[np.float32],
    seen: NDArray[np.uint8],
    stamp: NDArray[np.int32],
) -> None:
    """Raise the cells strictly between two cells."""
    steps = max(abs(row2 - row), abs(column2 - column))
    for k in range(1, steps):
        r, c = row + (row2 - row) * k // steps, column + (column2 - column) * k // steps
        _raise(r, c, frame, weights, log_odds, seen, stamp)


@cached_njit(fastmath={"contract", "reassoc", "arcp"}, error_model="numpy")
def integrate_view(
    depth: NDArray[np.float32],
    kinds: NDArray[np.uint8],
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    box: NDArray[np.float64],
    pose: NDArray[np.float64],
    focal: float,
    floor: float,
    high: float,
    reach: float,
    cell: float,
    first_row: int,
    first_column: int,
    frame: int,
    weights: NDArray[np.float64],
    log_odds: NDArray[np.float32],
    seen: NDArray[np.uint8],
    stamp: NDArray[np.int32],
) -> None:
    """Raise cells under obstacle pixels, then lower cells whose floor point the image shows.

    `weights` = hit, miss, lowest, highest. The grid arrays are changed in place; `box` must lie
    inside them.
    """
    height, width = depth.shape
    for i in range(height):
        b = (0.5 * height - i - 0.5) / focal
        for j in range(width):
            if kinds[i, j] != OBSTACLE:
                continue
            row, column = rows[i, j] - first_row, columns[i, j] - first_column
            _raise(row, column, frame, weights, log_odds, seen, stamp)
            # far away, consecutive pixels land cells apart: bridge a wall along its row of pixels
            # and a table top along its column
            if j + 1 < width and kinds[i, j + 1] == OBSTACLE:
                row2, column2 = rows[i, j + 1] - first_row, columns[i, j + 1] - first_column
                steps = max(abs(row2 - row), abs(column2 - column))
                if steps > 1 and steps * cell < _GAP:
                    d = depth[i, j]
                    if abs(d - depth[i, j + 1]) < _OBLIQUE * d / focal:
                        _bridge(row, column, row2, column2, frame, weights, log_odds, seen, stamp)
            if i + 1 < height and kinds[i + 1, j] == OBSTACLE:
                row2, column2 = rows[i + 1, j] - first_row, columns[i + 1, j] - first_column
                steps = max(abs(row2 - row), abs(column2 - column))
                if steps > 1 and steps * cell < _GAP:
                    a = (j + 0.5 - 0.5 * width) / focal
                    rise = a * pose[1, 0] - pose[1, 2]
                    y = depth[i, j] * (b * pose[1, 1] + rise)
                    y2 = depth[i + 1, j] * ((b - 1.0 / focal) * pose[1, 1] + rise)
                    if abs(y - y2) < _SURFACE:
                        _bridge(row, column, row2, column2, frame, weights, log_odds, seen, stamp)

    # steps, sills and carpets lie beside the floor plane the sweep below looks at
    for i in range(height):
        for j in range(width):
            if kinds[i, j] == FLOOR and rows[i, j] != FLAT:
                row, column = rows[i, j] - first_row, columns[i, j] - first_column
                if stamp[row, column] != frame:
                    stamp[row, column] = frame
                    seen[row, column] = 1
                    log_odds[row, column] = max(log_odds[row, column] + weights[1], weights[2])

    px, py, pz = pose[0, 3], pose[1, 3] - floor, pose[2, 3]
    row0 = int(np.floor(box[1] / cell)) - first_row
    row1 = int(np.floor(box[3] / cell)) - first_row
    column0 = int(np.floor(box[0] / cell)) - first_column
    column1 = int(np.floor(box[2] / cell)) - first_column
    for row in range(row0, row1 + 1):
        dz = (row + first_row + 0.5) * cell - pz
        for column in range(column0, column1 + 1):
            if stamp[row, column] == frame:
                continue
            dx = (column + first_column + 0.5) * cell - px
            forward = -(dx * pose[0, 2] - py * pose[1, 2] + dz * pose[2, 2])
            if forward < 1e-3:
                continue
            flat2 = dx * dx + dz * dz
            if flat2 > reach * reach:
                continue
            right = dx * pose[0, 0] - py * pose[1, 0] + dz * pose[2, 0]
            up = dx * pose[0, 1] - py * pose[1, 1] + dz * pose[2, 1]
            u = focal * right / forward + 0.5 * width
            v = 0.5 * height - focal * up / forward
            if u < 0.0 or u >= width or v < 0.0:
                continue
            j = int(u)
            if v >= height:
                # nearer than the lowest ray: that ray passes over the cell, so it is seen but not
                # proven free
                if seen[row, column] == 0 and kinds[height - 1, j] != NONE:
                    a = (j + 0.5 - 0.5 * width) / focal
                    b = (0.5 - 0.5 * height) / focal
                    gx = a * pose[0, 0] + b * pose[0, 1] - pose[0, 2]
                    gy = a * pose[1, 0] + b * pose[1, 1] - pose[1, 2]
                    gz = a * pose[2, 0] + b * pose[2, 1] - pose[2, 2]
                    along = np.sqrt(flat2 / (gx * gx + gz * gz + 1e-12))
                    if along < depth[height - 1, j] and py + along * gy < high:
                        seen[row, column] = 1
                continue
            i = int(v)
            kind = kinds[i, j]
            if kind in (NONE, BELOW):
                continue
            d = depth[i, j]
            if kind == FLOOR:
                # The pixel stands for the floor up to where the pixel above it lands. A wall above
                # lands no farther, so nothing behind it is taken for seen.
                bound = d + 0.75 * d * d / (focal * max(py, 0.1)) + cell
                if i > 0 and kinds[i - 1, j] != NONE:
                    bound = min(bound, max(d, depth[i - 1, j]))
                if forward > bound:
                    continue
            elif forward > d:
                continue
            seen[row, column] = 1
            log_odds[row, column] = max(log_odds[row, column] + weights[1], weights[2])
