"""Where things were seen: places in the world from masks and depth, kept while nothing speaks
against them.

A look from at least about as near replaces what was remembered, one from farther away confirms it.
A place that is looked at from near, with nothing before it, and does not show the thing any more is
forgotten after some such looks: the thing was moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from maps.pinhole import compute_focal_length, unproject_pixels

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectMemoryConfig:
    """What is believed.

    Attributes:
        min_pixels: a mask of fewer pixels is noise.
        votes: looks that must agree before a place counts.
        radius: sightings nearer to each other are of the same thing [m].
        max_range: depth beyond this is not used [m].
        sure: a place nearer than this shows the thing if it is there [m].
        misses: looks without it after which a place is forgotten.
        occlusion: something that stands more than this before a place hides it [m].
    """

    min_pixels: int = 3
    votes: int = 2
    radius: float = 0.25
    max_range: float = 8.0
    sure: float = 2.0
    misses: int = 3
    occlusion: float = 0.06

    def __post_init__(self) -> None:
        for name in ("min_pixels", "votes", "radius", "max_range", "sure", "misses", "occlusion"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"sightings.{name} = {getattr(self, name)} must be above 0")


@dataclass
class ObjectSighting:
    """One place where the thing was seen.

    Attributes:
        position: (3,) middle of what was seen of it [m].
        pixels: of the best look.
        votes: looks that showed it.
        missed: looks in a row that should have shown it and did not.
        ruled_out: it cannot be got there.
    """

    position: Array
    pixels: int
    votes: int = 1
    missed: int = 0
    ruled_out: bool = False


class ObjectMemory:
    """The memory of one thing in one episode.

    Attributes:
        sightings: all places, in order of discovery.
    """

    def __init__(self, config: ObjectMemoryConfig | None = None) -> None:
        self.config = config or ObjectMemoryConfig()
        self.sightings: list[ObjectSighting] = []

    def reset(self) -> None:
        """Forget the episode."""
        self.sightings = []

    def add_view(
        self, mask: NDArray[np.bool_], depth: NDArray[np.floating], pose: Array, hfov: float
    ) -> ObjectSighting | None:
        """Take in one image and return the place that it shows, if any.

        Args:
            mask: (H, W) pixels that show the thing.
            depth: (H, W) along the optical axis [m], 0 where nothing was measured.
            pose: (4, 4) camera to world, looking along its own -z.
            hfov: horizontal field of view [deg].
        """
        config = self.config
        row, column = np.nonzero(mask & (depth > 0) & (depth <= config.max_range))
        seen: ObjectSighting | None = None
        if len(row) >= config.min_pixels:
            points = unproject_pixels(row, column, depth, pose, hfov)
            seen = self._place(np.median(points, axis=0), len(row))
        self.sightings = [
            place
            for place in self.sightings
            if place is seen or not self._missed(place, depth, pose, hfov)
        ]
        return seen

    def find_best_sighting(self) -> ObjectSighting | None:
        """Return the place that is known best and not ruled out."""
        good = [p for p in self.sightings if p.votes >= self.config.votes and not p.ruled_out]
        return max(good, key=lambda place: place.pixels, default=None)

    def _place(self, position: Array, pixels: int) -> ObjectSighting:
        """Add a look to the place that it shows, or begin a new one."""
        for place in self.sightings:
            gap = float(np.linalg.norm(place.position - position))
            if gap < self.config.radius:
                if 2 * pixels >= place.pixels:
                    place.position, place.pixels = position, pixels
                place.votes, place.missed = place.votes + 1, 0
                return place
        self.sightings.append(ObjectSighting(position, pixels))
        return self.sightings[-1]

    def _missed(
        self, place: ObjectSighting, depth: NDArray[np.floating], pose: Array, hfov: float
    ) -> bool:
        """Tell whether a place is to be forgotten after a look that did not show the thing."""
        height, width = depth.shape
        focal = compute_focal_length(width, hfov)
        x, y, z = (place.position - pose[:3, 3]) @ pose[:3, :3]
        if not 0 < -z < self.config.sure:
            return False
        column, row = width / 2 - focal * x / z, height / 2 + focal * y / z
        if not (1 <= column < width - 1 and 1 <= row < height - 1):
            return False
        measured = float(depth[int(row), int(column)])
        if 0 < measured < -z - self.config.occlusion:
            return False
        place.missed += 1
        return place.missed >= self.config.misses
