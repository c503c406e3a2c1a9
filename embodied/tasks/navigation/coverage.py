"""How much of the reachable floor an explorer has seen.

The floor is cut into 10 cm cells: the navigable ones on the start's island, on every storey. A cell
counts as seen when it lies inside the camera image no farther than `RANGE` and the depth image
shows nothing nearer along that pixel's ray, or when the agent came within `NEAR` of it in a
straight line over navigable cells (a level camera cannot see the floor at the agent's feet).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.errors import NavigationError
from embodied.simulators.base import CameraSpec
from embodied.simulators.embedded import World
from maps.compiled import cached_njit
from maps.pinhole import compute_focal_length

CELL = 0.1
RANGE = 10.0
NEAR = 1.0
TOLERANCE = 0.15


class CoverageGrid:
    """The reachable cells of one scene; shared by the episodes that start on one island.

    Args:
        world: the scene.
        start: (3,) a point on the island to cover.

    Attributes:
        points: (M, 3) cell centres [m].
        area: reachable floor [m2].

    Raises:
        NavigationError: the start is not navigable.
    """

    def __init__(self, world: World, start: NDArray[np.float64]) -> None:
        paths = world.pathfinder
        island = int(paths.get_island(start[None])[0])
        if island < 0:
            world.require_navigable(start[None], "start")
            raise NavigationError(f"the start in scene '{world.scene.name}' is on no island")
        low, high = paths.bounds
        xs = np.arange(low[0] + CELL / 2, high[0], CELL)
        zs = np.arange(low[2] + CELL / 2, high[2], CELL)
        grid_z, grid_x = np.meshgrid(zs, xs, indexing="ij")
        floors = []
        for floor in paths.floors:
            flat = np.stack([grid_x, np.full_like(grid_x, floor.height), grid_z], -1).reshape(-1, 3)
            good = paths.is_navigable(flat, 0.3)
            good[good] = paths.get_island(flat[good]) == island
            floors.append(good.reshape(grid_x.shape))
        self._mask = np.stack(floors)
        self._origin = np.array([low[0], low[2]])
        self._cells = np.argwhere(self._mask).astype(np.int32)
        heights = np.array([f.height for f in paths.floors])
        level, row, column = self._cells.T
        self.points = np.stack([xs[column], heights[level], zs[row]], axis=1)
        self.area = len(self.points) * CELL**2

    def mark_seen(
        self,
        seen: NDArray[np.bool_],
        camera: CameraSpec,
        pose: NDArray[np.float64],
        depth: NDArray[np.float32],
        feet: NDArray[np.float64],
    ) -> int:
        """Mark the cells one frame shows.

        Args:
            seen: (M,) updated.
            camera: pinhole camera that made the image.
            pose: (4, 4) camera-to-world.
            depth: (H, W) [m] along the optical axis, 0 = nothing hit.
            feet: (3,) agent position [m].

        Returns:
            How many cells are new.
        """
        focal = compute_focal_length(camera.width, camera.hfov)
        inverse = np.ascontiguousarray(pose[:3, :3].T)
        return int(
            _look(
                seen, self.points, self._cells, self._mask, self._origin, inverse,
                np.ascontiguousarray(pose[:3, 3]), depth, focal, camera.max_depth, feet,
            )
        )  # fmt: skip


@cached_njit()
def _look(seen, points, cells, mask, origin, inverse, eye, depth, focal, reach, feet):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    new = 0
    for i in range(len(points)):
        if seen[i]:
            continue
        x, y, z = points[i, 0] - eye[0], points[i, 1] - eye[1], points[i, 2] - eye[2]
        if x * x + z * z > RANGE * RANGE:
            continue
        ahead = -(inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z)
        if ahead > 0.05:
            right = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z
            above = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z
            u = int(np.floor(width / 2 + focal * right / ahead))
            v = int(np.floor(height / 2 - focal * above / ahead))
            if 0 <= u < width and 0 <= v < height:
                # Zero means nothing within the camera's depth range.
                measured = depth[v, u] if depth[v, u] > 0.0 else reach
                if measured >= ahead - TOLERANCE:
                    seen[i] = True
                    new += 1
                    continue
        x, y, z = points[i, 0] - feet[0], points[i, 1] - feet[1], points[i, 2] - feet[2]
        if (
            x * x + z * z <= NEAR * NEAR
            and abs(y) < 0.5
            and _clear(mask[cells[i, 0]], origin, feet, x, z)
        ):
            seen[i] = True
            new += 1
    return new


@cached_njit()
def _clear(free, origin, feet, x, z):  # type: ignore[no-untyped-def]
    """Tell whether the straight line from the feet to (x, z) away stays on free cells."""
    pieces = int(np.ceil(np.sqrt(x * x + z * z) / (CELL / 2)))
    for k in range(1, pieces):
        row = int((feet[2] + z * k / pieces - origin[1]) / CELL)
        column = int((feet[0] + x * k / pieces - origin[0]) / CELL)
        inside = 0 <= row < free.shape[0] and 0 <= column < free.shape[1]
        # The agent's own cell may be cut by the edge of the navigable area: skip the first two.
        if k > 2 and inside and not free[row, column]:
            return False
    return True
