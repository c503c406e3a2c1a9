"""Occupancy grid from depth images: log-odds, any extent, y up.

Each frame gives a cell at most one piece of evidence, so a nearby wall seen by a thousand pixels
weighs as much as a far one. Two sweeps per frame:

* forward: every pixel whose point lies in the obstacle height band marks the cell below it;
* inverse: the floor point of every cell in view is projected into the image and is free when the
  depth there reaches it. Unlike drawing rays pixel by pixel this leaves no gaps at long range or
  low resolution, and a ray that passes over a table never clears the table.

Rows of the grid run along +z, columns along +x. Log-odds as in Moravec and Elfes, "High resolution
maps from wide angle sonar", ICRA 1985; the clamping that keeps the map able to change is OctoMap's
(Hornung et al., 2013).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.grid.kernels import classify_view, integrate_view
from maps.pinhole import compute_focal_length

BoolGrid = NDArray[np.bool_]


class OccupancyMap:
    """A growing top-down log-odds grid of one floor.

    Evidence weights are multiples of 1/4, which float32 adds exactly: below the clamps the order
    of the frames does not matter.

    Args:
        cell_size: edge of a cell [m].
        floor: height of the floor in the world frame [m]; `integrate_depth` may override it per
            frame.
        obstacle_height: (low, high) above the floor [m]; points in between block the agent. Lower
            ones are stepped over, higher ones passed under.
        max_range: horizontal range beyond which depth is not used [m].
        hit: log-odds added for an obstacle seen.
        miss: log-odds added for floor seen.
        limits: (lowest, highest) log-odds kept.
        block: cells by which the grid grows.
    """

    def __init__(
        self,
        cell_size: float = 0.05,
        *,
        floor: float = 0.0,
        obstacle_height: tuple[float, float] = (0.2, 1.5),
        max_range: float = 10.0,
        hit: float = 1.0,
        miss: float = -0.25,
        limits: tuple[float, float] = (-2.0, 4.0),
        block: int = 128,
    ) -> None:
        if cell_size <= 0 or max_range <= 0 or block < 1:
            raise ValueError(
                f"cell_size {cell_size}, max_range {max_range} and block {block} must be positive"
            )
        low, high = obstacle_height
        if not 0 < low < high:
            raise ValueError(f"obstacle_height {obstacle_height} must be 0 < low < high [m]")
        if not (limits[0] < miss <= 0 < hit < limits[1]):
            raise ValueError(
                f"need limits[0] < miss <= 0 < hit < limits[1], got {miss}, {hit}, {limits}"
            )
        self.cell_size = float(cell_size)
        self.floor = float(floor)
        self.obstacle_height = (float(low), float(high))
        self.max_range = float(max_range)
        self.hit, self.miss, self.limits = float(hit), float(miss), limits
        self.block = int(block)
        self.reset()

    def reset(self, floor: float | None = None) -> None:
        """Forget everything; optionally set a new floor height [m]."""
        if floor is not None:
            self.floor = float(floor)
        side = 2 * self.block
        self.log_odds: NDArray[np.float32] = np.zeros((side, side), np.float32)
        self._seen: NDArray[np.uint8] = np.zeros((side, side), np.uint8)
        self._stamp: NDArray[np.int32] = np.zeros((side, side), np.int32)
        self._first = (-self.block, -self.block)  # lattice index of row 0, column 0
        self._frame = 0

    # -- geometry ---

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (z) and columns (x) allocated."""
        return self.log_odds.shape[0], self.log_odds.shape[1]

    @property
    def first(self) -> tuple[int, int]:
        """Lattice index (row, column) of cell (0, 0): stays meaningful when the grid grows."""
        return self._first

    @property
    def origin(self) -> tuple[float, float]:
        """World (x, z) of the low corner of cell (0, 0) [m]."""
        return self._first[1] * self.cell_size, self._first[0] * self.cell_size

    def to_cell(self, points: ArrayLike) -> NDArray[np.int64]:
        """Map points (..., 3) [m] to cells (..., 2) (row, column); may lie outside the grid."""
        array = np.asarray(points, np.float64)
        if array.ndim < 1 or array.shape[-1] != 3:
            raise ValueError(f"points must be (..., 3), got {array.shape}")
        lattice = np.floor(array[..., [2, 0]] / self.cell_size).astype(np.int64)
        return lattice - np.array(self._first)

    def to_world(self, cells: ArrayLike) -> NDArray[np.float64]:
        """Map cells (..., 2) (row, column) to the centres (..., 3) [m] at floor height."""
        array = np.asarray(cells, np.float64)
        if array.ndim < 1 or array.shape[-1] != 2:
            raise ValueError(f"cells must be (..., 2), got {array.shape}")
        center = (array + np.array(self._first) + 0.5) * self.cell_size
        height = np.full(center.shape[:-1], self.floor)
        return np.stack([center[..., 1], height, center[..., 0]], axis=-1)

    def contains(self, cells: ArrayLike) -> BoolGrid:
        """Whether cells (..., 2) lie inside the allocated grid."""
        array = np.asarray(cells)
        return np.asarray(((array >= 0) & (array < np.array(self.shape))).all(axis=-1))

    def grow_to_cover(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Grow until the box from `low` (x, z) to `high` (x, z) [m] is inside; content stays
        put.
        """
        want_low = [int(np.floor(v / self.cell_size)) for v in (low[1], low[0])]
        want_high = [int(np.floor(v / self.cell_size)) + 1 for v in (high[1], high[0])]
        pads = []
        for axis in range(2):
            before = max(0, self._first[axis] - want_low[axis])
            after = max(0, want_high[axis] - self._first[axis] - self.shape[axis])
            pads.append(tuple(-(-v // self.block) * self.block for v in (before, after)))
        if any(v for pair in pads for v in pair):
            self.log_odds = np.pad(self.log_odds, pads)
            self._seen = np.pad(self._seen, pads)
            self._stamp = np.pad(self._stamp, pads)
            self._first = (self._first[0] - pads[0][0], self._first[1] - pads[1][0])

    # -- evidence ---

    def integrate_depth(
        self, depth: ArrayLike, pose: ArrayLike, hfov: float, floor: float | None = None
    ) -> None:
        """Add one depth image.

        Args:
            depth: (H, W) along the optical axis [m]; NaN, infinite and non-positive pixels are
                ignored.
            pose: (4, 4) camera-to-world, camera looking along its own -z, +y up.
            hfov: horizontal field of view [deg].
            floor: height of the floor the agent stands on [m]; the map's own by default.

        Raises:
            ValueError: wrong shapes, a pose that is not finite, or a field of view outside
                (0, 180).
        """
        image = np.ascontiguousarray(depth, np.float32)
        transform = np.ascontiguousarray(pose, np.float64)
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[:, :, 0]
        if image.ndim != 2 or image.size == 0:
            raise ValueError(f"depth must be a non-empty (H, W) image, got {image.shape}")
        if transform.shape != (4, 4) or not np.isfinite(transform).all():
            raise ValueError(
                f"pose must be a finite (4, 4) camera-to-world matrix, got {transform}"
            )
        if not 0 < hfov < 180:
            raise ValueError(f"hfov {hfov} must lie strictly between 0 and 180 degrees")
        ground = self.floor if floor is None else float(floor)
        focal = compute_focal_length(image.shape[1], hfov)
        low, high = self.obstacle_height
        kinds, rows, columns, box = classify_view(
            image, transform, focal, ground, low, high, self.max_range, self.cell_size
        )
        if not kinds.any():
            return
        # One cell more on each side: the kernels multiply by 1 / cell_size where `cover` divides,
        # and a point on the border between two cells may round to either.
        edge = self.cell_size
        self.grow_to_cover((box[0] - edge, box[1] - edge), (box[2] + edge, box[3] + edge))
        self._frame += 1
        integrate_view(
            image,
            kinds,
            rows,
            columns,
            box,
            transform,
            focal,
            ground,
            high,
            self.max_range,
            self.cell_size,
            self._first[0],
            self._first[1],
            self._frame,
            np.array([self.hit, self.miss, *self.limits]),
            self.log_odds,
            self._seen,
            self._stamp,
        )

    def integrate_depths(
        self, depths: Iterable[ArrayLike], poses: Iterable[ArrayLike], hfov: float
    ) -> None:
        """Add images (N, H, W) taken at poses (N, 4, 4); see `integrate_depth`."""
        for depth, pose in zip(depths, poses, strict=True):
            self.integrate_depth(depth, pose, hfov)

    def mark_points(
        self,
        points: ArrayLike,
        *,
        occupied: bool,
        radius: float = 0.0,
        log_odds: float | None = None,
    ) -> None:
        """Set discs around points: a bump, or the floor the agent stands on.

        Args:
            points: (N, 3) [m].
            occupied: whether something is there.
            radius: of the discs [m].
            log_odds: what to set them to; as certain as the map gets by default.
        """
        array = np.atleast_2d(np.asarray(points, np.float64))
        if array.shape[-1] != 3 or not np.isfinite(array).all():
            raise ValueError(f"points must be finite (N, 3), got {array.shape}")
        if len(array) == 0:
            return
        margin = radius + self.cell_size
        low, high = array.min(axis=0) - margin, array.max(axis=0) + margin
        self.grow_to_cover((low[0], low[2]), (high[0], high[2]))
        reach = int(np.ceil(radius / self.cell_size))
        offset = np.argwhere(np.ones((2 * reach + 1, 2 * reach + 1), bool)) - reach
        offset = offset[np.hypot(*offset.T) * self.cell_size <= radius + 1e-9]
        cells = (self.to_cell(array)[:, None] + offset).reshape(-1, 2)
        if log_odds is None:
            log_odds = self.limits[1] if occupied else self.limits[0]
        self.log_odds[cells[:, 0], cells[:, 1]] = log_odds
        self._seen[cells[:, 0], cells[:, 1]] = 1

    # -- reading ---

    @property
    def explored(self) -> BoolGrid:
        """(H, W) cells with any evidence."""
        return self._seen.view(np.bool_)

    @property
    def occupied(self) -> BoolGrid:
        """(H, W) cells more likely blocked than free."""
        return self.log_odds > 0

    @property
    def free(self) -> BoolGrid:
        """(H, W) explored cells that are not occupied."""
        return self.explored & (self.log_odds <= 0)

    def compute_clearance(self) -> NDArray[np.float32]:
        """(H, W) distance from each cell's centre to the nearest occupied one's [m]."""
        occupied = self.occupied
        if not occupied.any():
            return np.full(self.shape, np.inf, np.float32)
        inverse = (~occupied).view(np.uint8)
        return cv2.distanceTransform(inverse, cv2.DIST_L2, 5) * np.float32(self.cell_size)

    def inflate_obstacles(self, radius: float) -> BoolGrid:
        """(H, W) cells whose centre is within `radius` [m] of an occupied cell's centre."""
        if radius < 0:
            raise ValueError(f"radius {radius} must not be negative")
        return self.compute_clearance() <= radius

    def find_explored_window(self, margin: float = 0.0) -> tuple[slice, slice]:
        """Rows and columns of the explored part, `margin` [m] wider; (0, 0)-sized before any
        evidence.
        """
        rows = np.flatnonzero(self._seen.any(axis=1))
        columns = np.flatnonzero(self._seen.any(axis=0))
        if len(rows) == 0:
            return slice(0, 0), slice(0, 0)
        pad = int(np.ceil(margin / self.cell_size))
        return (
            slice(max(0, int(rows[0]) - pad), min(self.shape[0], int(rows[-1]) + 1 + pad)),
            slice(max(0, int(columns[0]) - pad), min(self.shape[1], int(columns[-1]) + 1 + pad)),
        )

    def crop_explored(self, margin: float = 0.0) -> OccupancyMap:
        """Return a copy that holds the explored part only, in the same world frame."""
        rows, columns = self.find_explored_window(margin)
        part = OccupancyMap(
            self.cell_size,
            floor=self.floor,
            obstacle_height=self.obstacle_height,
            max_range=self.max_range,
            hit=self.hit,
            miss=self.miss,
            limits=self.limits,
            block=self.block,
        )
        if rows.stop > rows.start:
            part.log_odds = self.log_odds[rows, columns].copy()
            part._seen = self._seen[rows, columns].copy()
            part._stamp = np.zeros_like(self._stamp[rows, columns])
            part._first = (self._first[0] + rows.start, self._first[1] + columns.start)
        return part
