"""Panoramas with true classes from the scenes of a source: material to train perception on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import ConfigError
from embodied.simulators.base import AgentSpec, CameraSpec
from embodied.simulators.raycast import compute_camera_poses
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.navigation.sources import SceneList


@dataclass(frozen=True)
class PanoramaConfig:
    """Where panoramas are taken from and how.

    Attributes:
        scene: houses or scene files.
        width: columns of a panorama; it has half as many rows.
        heights: lowest and highest camera above the floor [m], drawn per panorama.
        max_depth: farther rays have no depth [m].
    """

    scene: SceneSource = field(default_factory=lambda: SceneSource(rooms=(2, 8)))
    width: int = 192
    heights: tuple[float, float] = (1.1, 1.7)
    max_depth: float = 20.0

    def __post_init__(self) -> None:
        if self.width < 12 or self.width % 2:
            raise ConfigError(f"width = {self.width} must be an even number of at least 12 columns")
        if not 0 < self.heights[0] <= self.heights[1]:
            raise ConfigError(f"heights {self.heights} must be (lowest, highest), both above 0")
        if not self.max_depth > 0:
            raise ConfigError(f"max_depth = {self.max_depth} m must be positive")


@dataclass(frozen=True)
class Panoramas:
    """N equirectangular images of the full sphere, first row at +90 deg.

    Attributes:
        rgb: (N, H, W, 3) uint8.
        depth: (N, H, W) float32 length of the rays [m], 0 = nothing hit.
        classes: (N, H, W) int64 ids into `MPCAT40`.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    classes: NDArray[np.int64]


class PanoramaSource:
    """Draws panoramas at random places of random scenes."""

    def __init__(self, config: PanoramaConfig) -> None:
        self.config = config
        self._scenes = SceneList(config.scene, AgentSpec())
        self._camera = CameraSpec(
            outputs=("rgb", "depth", "semantic"),
            width=config.width,
            height=config.width // 2,
            position=(0.0, 0.0, 0.0),
            projection="equirectangular",
            max_depth=config.max_depth,
        )

    def draw_panoramas(self, rng: np.random.Generator, scenes: int, places: int) -> Panoramas:
        """Render `places` panoramas in each of `scenes` different scenes.

        Args:
            rng: decides scenes, places, headings and heights.
            scenes: how many; no more than the source has.
            places: how many in each.
        """
        if not 1 <= scenes <= len(self._scenes) or places < 1:
            raise ConfigError(
                f"{scenes} scenes with {places} places asked of a source of {len(self._scenes)} "
                "scenes: ask for 1 to that many, and at least 1 place"
            )
        chosen = rng.choice(len(self._scenes), scenes, replace=False)
        parts = [self._render(int(number), rng, places) for number in chosen]
        return Panoramas(
            np.concatenate([p.rgb for p in parts]),
            np.concatenate([p.depth for p in parts]),
            np.concatenate([p.classes for p in parts]),
        )

    def _render(self, number: int, rng: np.random.Generator, places: int) -> Panoramas:
        world = self._scenes.load_world(number)
        finder = world.pathfinder
        points = finder.sample_points(rng, places, island=finder.largest_island)
        points[:, 1] += rng.uniform(*self.config.heights, places)
        poses = compute_camera_poses(points, rng.uniform(-np.pi, np.pi, places), self._camera)
        images = world.caster.render(self._camera, poses)
        # A scene's own classes come after mpcat40's; they have no name that others know.
        classes = images["semantic"].astype(np.int64)
        classes[classes >= len(MPCAT40)] = MPCAT40.index("unlabeled")
        return Panoramas(
            images["rgb"].astype(np.uint8), images["depth"].astype(np.float32), classes
        )
