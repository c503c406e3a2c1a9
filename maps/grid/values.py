"""Value layers: a score per image (say, how well it fits an instruction) spread over what it shows.

The confidence-weighted fusion follows VLFM (Yokoyama et al., "VLFM: Vision-language frontier maps
for zero-shot semantic navigation", ICRA 2024): a cell on the optical axis is trusted most, and
confidence itself is averaged weighted by itself, which favours the more confident view.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.grid.layers import realign_layer
from maps.grid.occupancy import OccupancyMap


class ValueMap:
    """C values per cell of an occupancy map, with one confidence.

    Args:
        grid: the map whose cells are used; it may grow at any time.
        channels: number of values C.
        max_range: cells beyond this are left alone [m].
        decay: factor on all confidences at each update; below 1, old evidence fades.
    """

    def __init__(
        self, grid: OccupancyMap, channels: int = 1, *, max_range: float = 5.0, decay: float = 1.0
    ) -> None:
        if channels < 1 or max_range <= 0 or not 0 < decay <= 1:
            raise ValueError(
                f"need channels {channels} >= 1, max_range {max_range} > 0 "
                f"and 0 < decay {decay} <= 1"
            )
        self.grid = grid
        self.max_range = float(max_range)
        self.decay = float(decay)
        self._first = grid.first
        self._values = [np.zeros(grid.shape, np.float32) for _ in range(channels)]
        self._confidence = np.zeros(grid.shape, np.float32)

    def _align(self) -> None:
        grid = self.grid
        if self._first != grid.first or self._confidence.shape != grid.shape:
            move = (self._first, grid.first, grid.shape)
            self._values = [realign_layer(layer, *move) for layer in self._values]
            self._confidence = realign_layer(self._confidence, *move)
            self._first = grid.first

    @property
    def values(self) -> NDArray[np.float32]:
        """(C, H, W) fused values, 0 where nothing is known."""
        self._align()
        return np.stack(self._values)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(H, W) confidence in [0, 1]."""
        self._align()
        return self._confidence

    def update(
        self,
        scores: ArrayLike,
        pose: ArrayLike,
        hfov: float,
        depth: ArrayLike | None = None,
    ) -> None:
        """Spread the scores of one image over the cells in its field of view.

        Args:
            scores: (C,) or a scalar.
            pose: (4, 4) camera-to-world.
            hfov: horizontal field of view [deg].
            depth: (H, W) [m]; cells beyond the farthest point of their image column are left alone.

        Raises:
            ValueError: a wrong number of scores or scores that are not finite.
        """
        score = np.atleast_1d(np.asarray(scores, np.float64))
        if score.shape != (len(self._values),) or not np.isfinite(score).all():
            raise ValueError(f"scores must be {len(self._values)} finite numbers, got {scores!r}")
        transform = np.asarray(pose, np.float64)
        x, z = transform[0, 3], transform[2, 3]
        reach = self.max_range
        self.grid.grow_to_cover((x - reach, z - reach), (x + reach, z + reach))
        self._align()
        if self.decay < 1:
            self._confidence *= np.float32(self.decay)
        (row0, column0), (row1, column1) = self.grid.to_cell(
            [[x - reach, 0, z - reach], [x + reach, 0, z + reach]]
        )
        part = (slice(row0, row1 + 1), slice(column0, column1 + 1))
        origin_x, origin_z = self.grid.origin
        cell = self.grid.cell_size
        dx = (np.arange(column0, column1 + 1) + 0.5)[None] * cell + origin_x - x
        dz = (np.arange(row0, row1 + 1) + 0.5)[:, None] * cell + origin_z - z
        forward = -transform[[0, 2], 2]
        length = np.hypot(*forward)
        if length < 1e-6:
            raise ValueError("the camera looks straight up or down: its view has no heading")
        forward = forward / length
        ahead = dx * forward[0] + dz * forward[1]
        left = dx * forward[1] - dz * forward[0]
        angle = np.arctan2(left, ahead)
        half = np.deg2rad(hfov) / 2
        inside = (np.abs(angle) < half) & (np.hypot(dx, dz) <= reach)
        if depth is not None:
            inside &= ahead <= self._sight(np.asarray(depth, np.float32), angle, half)
        new = np.where(inside, np.cos(angle / half * np.pi / 2) ** 2, 0.0)
        old = self._confidence[part].astype(np.float64)
        total = np.maximum(new + old, 1e-12)
        for layer, value in zip(self._values, score, strict=True):
            layer[part] = np.where(inside, (new * value + old * layer[part]) / total, layer[part])
        self._confidence[part] = np.where(inside, (new**2 + old**2) / total, old)

    @staticmethod
    def _sight(
        depth: NDArray[np.float32], angle: NDArray[np.float64], half: float
    ) -> NDArray[np.float64]:
        """Farthest depth seen in the image column that looks at each angle (+ = left) [m]."""
        if depth.ndim != 2:
            raise ValueError(f"depth must be (H, W), got {depth.shape}")
        with np.errstate(invalid="ignore"):
            farthest = np.where(np.isfinite(depth), depth, 0.0).max(axis=0)
        width = len(farthest)
        bounded = np.clip(angle, -half, half)
        column = ((1 - np.tan(bounded) / np.tan(half)) * width / 2).astype(int)
        return farthest[np.clip(column, 0, width - 1)].astype(np.float64)

    def max_value_near(self, points: ArrayLike, radius: float = 0.5) -> NDArray[np.float64]:
        """Highest value within `radius` [m] of points (N, 2) x, z: (N, C), 0 where nothing is
        known.
        """
        self._align()
        array = np.atleast_2d(np.asarray(points, np.float64))
        if array.shape[1] != 2:
            raise ValueError(f"points must be (N, 2) x, z, got {array.shape}")
        cells = self.grid.to_cell(np.stack([array[:, 0], 0 * array[:, 0], array[:, 1]], axis=1))
        reach = int(np.ceil(radius / self.grid.cell_size))
        result = np.zeros((len(array), len(self._values)))
        for index, (row, column) in enumerate(cells):
            rows = slice(max(0, row - reach), max(0, row + reach + 1))
            columns = slice(max(0, column - reach), max(0, column + reach + 1))
            known = self._confidence[rows, columns] > 0
            if known.any():
                result[index] = [layer[rows, columns][known].max() for layer in self._values]
        return result
