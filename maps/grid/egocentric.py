"""Small maps that follow many agents at once: what each one saw, as it lies around it now.

One 2-D grid per agent in the frame of its episode's start, filled from depth images, and windows
cut out of it that turn with the agent (forward is up). Made for policies: a batch costs
microseconds per agent, where `OccupancyMap` keeps probabilities, any extent and the world frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

FLOOR, OBSTACLE, VISITED = 1, 2, 4  # bits of a cell


class EgocentricMaps:
    """Maps of N agents.

    The grid wraps around, so an agent may walk any distance; only things `cells * cell_size` apart
    share a cell (51 m with the defaults).

    Args:
        count: number of agents N.
        hfov: horizontal field of view of the depth camera [deg].
        camera_height: of the lens above the floor [m].
        pitch: of the camera [deg], positive looks up.
        cell_size: [m].
        cells: grid side, a power of two.
        floor_height: points below this height above the agent's floor are floor [m].
        body_height: points above this height are not in the agent's way [m].
        max_range: farther points are ignored [m].
    """

    def __init__(
        self,
        count: int,
        hfov: float,
        camera_height: float,
        pitch: float = 0.0,
        cell_size: float = 0.1,
        cells: int = 512,
        floor_height: float = 0.15,
        body_height: float = 1.5,
        max_range: float = 10.0,
    ) -> None:
        if count < 1 or not 0 < hfov < 180 or cell_size <= 0:
            raise ValueError(
                f"need count >= 1, 0 < hfov < 180, cell_size > 0; got {count}, {hfov}, {cell_size}"
            )
        if cells < 2 or cells & (cells - 1):
            raise ValueError(f"cells = {cells} must be a power of two: the grid wraps around")
        self.cell_size = cell_size
        self.grid: NDArray[np.uint8] = np.zeros((count, cells, cells), np.uint8)
        self._hfov = np.deg2rad(hfov)
        self._pitch = np.deg2rad(pitch)
        self._heights = (camera_height, floor_height, body_height)
        self._max_range = max_range

    def clear_maps(self, which: NDArray[np.bool_]) -> None:
        """Forget the maps of the agents marked in `which` (N,)."""
        self.grid[which] = 0

    def integrate_depth(self, depth: NDArray[np.float32], pose: NDArray[np.float32]) -> None:
        """Add one depth image per agent.

        Args:
            depth: (N, H, W) along the optical axis [m], 0 = nothing seen.
            pose: (N, 4) x, y, z [m], yaw [rad] of each agent.
        """
        if depth.ndim != 3 or len(depth) != len(self.grid) or pose.shape != (len(depth), 4):
            raise ValueError(
                f"depth {depth.shape} and pose {pose.shape} must be ({len(self.grid)}, H, W) and "
                f"({len(self.grid)}, 4)"
            )
        _integrate(
            self.grid, depth, pose.astype(np.float64), self._hfov, self._pitch, *self._heights,
            self._max_range, self.cell_size,
        )  # fmt: skip

    def crop_windows(
        self, pose: NDArray[np.float32], cell_size: float, size: int, out: NDArray[np.uint8]
    ) -> None:
        """Cut a window centred on each agent, its heading up.

        Args:
            pose: (N, 4) as for `integrate_depth`.
            cell_size: of the window [m], a multiple of the grid's is sampled that finely.
            size: window side in cells.
            out: (N, 3, size, size) filled with obstacle, floor and visited shares, 0-255.
        """
        samples = max(1, min(3, round(cell_size / self.cell_size)))
        _crop(self.grid, pose.astype(np.float64), cell_size, size, samples, self.cell_size, out)


def compute_window_cells(cell_size: float, size: int) -> NDArray[np.float32]:
    """Return the centres (size, size, 2) of a window's cells: metres ahead and metres to the
    left.
    """
    offset = ((size - 1) / 2 - np.arange(size, dtype=np.float32)) * np.float32(cell_size)
    ahead, left = np.meshgrid(offset, offset, indexing="ij")
    return np.stack([ahead, left], axis=-1)


@cached_njit(fastmath=True)
def _integrate(  # type: ignore[no-untyped-def]
    grid, depth, pose, hfov, pitch, camera_height, floor_height, body_height, max_range, cell
):
    count, height, width = depth.shape
    cells = grid.shape[1]
    mask = cells - 1
    focal = 0.5 * width / np.tan(0.5 * hfov)
    inverse = 1.0 / cell
    up = (0.5 * height - 0.5 - np.arange(height)) / focal
    # Per metre of depth: how far ahead, how much higher, how far to the right, in cells but for
    # the height.
    ahead_of = (np.cos(pitch) - up * np.sin(pitch)) * inverse
    climb_of = np.sin(pitch) + up * np.cos(pitch)
    side_of = (np.arange(width) + 0.5 - 0.5 * width) / focal * inverse
    limit = (max_range * inverse) ** 2
    for i in range(count):
        # A large multiple of the grid's side keeps the numbers positive: int() then rounds down.
        x0 = pose[i, 0] * inverse + 1024 * cells
        z0 = pose[i, 2] * inverse + 1024 * cells
        cos_yaw, sin_yaw = np.cos(pose[i, 3]), np.sin(pose[i, 3])
        grid[i, int(z0) & mask, int(x0) & mask] |= VISITED | FLOOR
        for u in range(width):
            was_floor = False
            last_ahead = last_side = 0.0
            for row in range(height):
                v = (
                    height - 1 - row
                )  # upwards from the feet: floor between two floor pixels is floor
                d = depth[i, v, u]
                level = camera_height + d * climb_of[v]
                ahead, side = d * ahead_of[v], d * side_of[u]
                is_floor = level <= floor_height
                if d <= 0.0 or level > body_height or ahead * ahead + side * side > limit:
                    is_floor = False
                elif not is_floor:
                    x = int(x0 - sin_yaw * ahead + cos_yaw * side) & mask
                    z = int(z0 - cos_yaw * ahead - sin_yaw * side) & mask
                    grid[i, z, x] |= OBSTACLE
                else:
                    if not was_floor:
                        last_ahead, last_side = ahead, side
                    da, ds = ahead - last_ahead, side - last_side
                    steps = int(abs(da) + abs(ds)) + 1
                    for k in range(steps):
                        share = (k + 1.0) / steps
                        a, s = last_ahead + da * share, last_side + ds * share
                        x = int(x0 - sin_yaw * a + cos_yaw * s) & mask
                        z = int(z0 - cos_yaw * a - sin_yaw * s) & mask
                        grid[i, z, x] |= FLOOR
                    last_ahead, last_side = ahead, side
                was_floor = is_floor


@cached_njit(fastmath=True)
def _crop(grid, pose, cell_size, size, samples, cell, out):  # type: ignore[no-untyped-def]
    # Walks the grid in 16.16 fixed point: two additions per sample instead of a rotation.
    mask = grid.shape[1] - 1
    one = 65536.0
    fine = cell_size / cell / samples
    half = 0.5 * size * samples - 0.5
    floor_share = 255 // (samples * samples)
    obstacle_share = 255 // samples  # a wall is thin: a full row of samples already counts as solid
    for i in range(len(grid)):
        cos_yaw, sin_yaw = np.cos(pose[i, 3]), np.sin(pose[i, 3])
        x0, z0 = pose[i, 0] / cell, pose[i, 2] / cell
        down_x, down_z = int(sin_yaw * fine * one), int(cos_yaw * fine * one)
        right_x, right_z = int(cos_yaw * fine * one), int(-sin_yaw * fine * one)
        corner_x = int((x0 - sin_yaw * half * fine - cos_yaw * half * fine) * one)
        corner_z = int((z0 - cos_yaw * half * fine + sin_yaw * half * fine) * one)
        for row in range(size):
            for column in range(size):
                obstacle = floor = visited = 0
                for a in range(samples):
                    x = corner_x + (row * samples + a) * down_x + column * samples * right_x
                    z = corner_z + (row * samples + a) * down_z + column * samples * right_z
                    for _ in range(samples):
                        bits = grid[i, (z >> 16) & mask, (x >> 16) & mask]
                        floor += bits & 1
                        obstacle += (bits >> 1) & 1
                        visited |= bits
                        x += right_x
                        z += right_z
                out[i, 0, row, column] = min(255, obstacle * obstacle_share)
                out[i, 1, row, column] = floor * floor_share
                out[i, 2, row, column] = 255 * ((visited >> 2) & 1)
