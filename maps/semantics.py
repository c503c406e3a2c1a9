"""What stands where: per-class evidence on the cells of an occupancy map."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.grid.layers import realign_layer
from maps.grid.occupancy import OccupancyMap
from maps.pinhole import unproject_pixels


class SemanticMap:
    """Counts, per class and cell, the frames in which the class was seen there.

    Args:
        grid: the map whose cells are used; it may grow at any time.
        min_pixels: fewer pixels of a class in an image are taken for noise.
        max_range: depth beyond this is not used [m].
    """

    def __init__(self, grid: OccupancyMap, *, min_pixels: int = 8, max_range: float = 8.0) -> None:
        if min_pixels < 1 or max_range <= 0:
            raise ValueError(f"min_pixels {min_pixels} and max_range {max_range} must be positive")
        self.grid = grid
        self.min_pixels = int(min_pixels)
        self.max_range = float(max_range)
        self._first = grid.first
        self._votes: dict[int, NDArray[np.uint16]] = {}

    def integrate_labels(
        self,
        labels: ArrayLike,
        depth: ArrayLike,
        pose: ArrayLike,
        hfov: float,
        classes: Iterable[int],
    ) -> dict[int, int]:
        """Add one labelled image.

        Args:
            labels: (H, W) class ids.
            depth: (H, W) along the optical axis [m]; invalid pixels as in
                `OccupancyMap.integrate_depth`.
            pose: (4, 4) camera-to-world.
            hfov: horizontal field of view [deg].
            classes: the ids to keep; the others are ignored.

        Returns:
            Pixels used per class; 0 for a class that was not seen or too small.

        Raises:
            ValueError: images of different shape.
        """
        names = np.asarray(labels)
        image = np.asarray(depth, np.float32)
        if names.shape != image.shape or names.ndim != 2:
            raise ValueError(f"labels {names.shape} and depth {image.shape} must be equal (H, W)")
        transform = np.asarray(pose, np.float64)
        found: dict[int, int] = {}
        for name in classes:
            row, column = np.nonzero(names == name)
            d = image[row, column].astype(np.float64)
            with np.errstate(invalid="ignore"):
                good = (d > 0) & (d <= self.max_range)
            row, column = row[good], column[good]
            if len(row) < self.min_pixels:
                found[name] = 0
                continue
            points = unproject_pixels(row, column, image, transform, hfov)
            self.grid.grow_to_cover(
                (points[:, 0].min(), points[:, 2].min()), (points[:, 0].max(), points[:, 2].max())
            )
            cells = np.unique(self.grid.to_cell(points), axis=0)
            votes = self.get_votes(name)
            seen = votes[cells[:, 0], cells[:, 1]]
            votes[cells[:, 0], cells[:, 1]] = seen + (seen < np.iinfo(np.uint16).max)
            found[name] = len(d)
        return found

    def get_votes(self, name: int) -> NDArray[np.uint16]:
        """(H, W) frames that showed the class in each cell, aligned with the map as it is now."""
        grid = self.grid
        if self._first != grid.first or any(v.shape != grid.shape for v in self._votes.values()):
            self._votes = {
                key: realign_layer(value, self._first, grid.first, grid.shape)
                for key, value in self._votes.items()
            }
            self._first = grid.first
        if name not in self._votes:
            self._votes[name] = np.zeros(grid.shape, np.uint16)
        return self._votes[name]

    def clear_class(self, name: int, points: ArrayLike, radius: float) -> None:
        """Forget a class around points (N, 3) [m]."""
        votes = self.get_votes(name)
        centers = self.grid.to_cell(np.atleast_2d(np.asarray(points, np.float64)))
        row, column = np.ogrid[: votes.shape[0], : votes.shape[1]]
        for r, c in centers:
            votes[np.hypot(row - r, column - c) * self.grid.cell_size <= radius] = 0

    def compute_distance(self, name: int, min_votes: int = 1) -> NDArray[np.float32]:
        """(H, W) distance from each cell to the nearest cell of the class [m]; inf when there is
        none.
        """
        seen = self.get_votes(name) >= min_votes
        if not seen.any():
            return np.full(self.grid.shape, np.inf, np.float32)
        inverse = (~seen).view(np.uint8)
        return cv2.distanceTransform(inverse, cv2.DIST_L2, 5) * np.float32(self.grid.cell_size)
