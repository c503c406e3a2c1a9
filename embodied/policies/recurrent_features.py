"""Turn observations into the small arrays a learned policy stores and reads.

Images become uint8 (a rollout of them fits the memory), the goal and the pose become a few bounded
numbers, and depth and pose also feed an egocentric map, so that the network need not remember
walls by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.base import Arrays
from maps.grid.egocentric import EgocentricMaps
from maps.paths.optimistic import compute_path_ring

SKIPPED = ("expert_action", "semantic", "instance")


@dataclass(frozen=True)
class FeatureConfig:
    """What the policy looks at.

    Attributes:
        images: camera outputs given to the network as they are, of "depth" and "rgb".
        map_cells: cell sizes [m] of the egocentric map windows; empty for no map. Needs depth and
            pose.
        map_size: side of a window in cells.
        path_ring: headings in which the policy is told how much nearer to a point goal its own map
            says a step would bring it (`maps.paths.optimistic`); 0 for none. Needs depth, pose
            and a point goal.
        hfov, camera_height, camera_pitch: the depth camera the map is built with [deg], [m], [deg];
            they must equal the task's camera.
    """

    images: tuple[str, ...] = ("depth", "rgb")
    map_cells: tuple[float, ...] = ()
    map_size: int = 32
    path_ring: int = 0
    hfov: float = 90.0
    camera_height: float = 1.25
    camera_pitch: float = 0.0

    @property
    def draws_map(self) -> bool:
        """Whether depth is drawn into an egocentric map."""
        return bool(self.map_cells or self.path_ring)


@dataclass(frozen=True)
class PolicyInputs:
    """The observation and action spaces a policy was made for; saved with its weights.

    Attributes:
        shapes: key -> shape of one agent's array.
        classes: key -> number of values, for Discrete observations.
        actions: number of discrete actions.
    """

    shapes: dict[str, tuple[int, ...]]
    classes: dict[str, int]
    actions: int

    @staticmethod
    def from_spaces(observation_space: Any, action_space: Any) -> PolicyInputs:
        """Read the spaces of one (not vectorised) environment; privileged keys are left out."""
        if not hasattr(action_space, "n") or not hasattr(observation_space, "spaces"):
            raise ConfigError(
                f"the recurrent policy needs a Dict observation space and discrete actions, "
                f"got {observation_space} and {action_space}"
            )
        shapes, classes = {}, {}
        for key, space in observation_space.spaces.items():
            if key in SKIPPED:
                continue
            shapes[key] = tuple(int(n) for n in space.shape)
            if hasattr(space, "n"):
                classes[key] = int(space.n)
        return PolicyInputs(shapes, classes, int(action_space.n))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for meta.json."""
        shapes = {key: list(shape) for key, shape in self.shapes.items()}
        return {"shapes": shapes, "classes": dict(self.classes), "actions": self.actions}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> PolicyInputs:
        """Build from `to_json`'s values."""
        shapes = {key: tuple(shape) for key, shape in data["shapes"].items()}
        return PolicyInputs(shapes, dict(data["classes"]), int(data["actions"]))


class Featurizer:
    """Stateful map from observations of N agents to features; one per policy.

    `shapes` names the features and their shape per agent. Image-like ones are uint8 (C, H, W);
    "vector" is float32 and not yet normalised; "polar" is a point goal as observed, for drawing it
    into the maps.
    """

    def __init__(self, inputs: PolicyInputs, config: FeatureConfig) -> None:
        self.inputs = inputs
        self.config = config
        self.shapes: dict[str, tuple[int, ...]] = {}
        for key, shape in inputs.shapes.items():
            if len(shape) == 2 and key in config.images:
                self.shapes[key] = (1, *shape)
            elif len(shape) == 3 and (key in config.images or key == "goal"):
                self.shapes[key] = (shape[2], *shape[:2])
        self._mapped = config.draws_map
        if self._mapped and not {"depth", "pose"} <= set(inputs.shapes):
            raise ConfigError(
                "the policy's map (policy.features.map_cells, path_ring) needs the observations "
                "'depth' and 'pose'; this task gives "
                f"{', '.join(sorted(inputs.shapes))}. Set them to [] and 0."
            )
        for index in range(len(config.map_cells)):
            self.shapes[f"map{index}"] = (3, config.map_size, config.map_size)
        pointed = inputs.shapes.get("goal") == (2,)
        if config.path_ring and not pointed:
            raise ConfigError(
                f"policy.features.path_ring = {config.path_ring} needs a point goal; "
                "set it to 0 for this task"
            )
        if config.map_cells and pointed:
            self.shapes["polar"] = (2,)
        self._pose: NDArray[np.float32] | None = None
        self._maps: EgocentricMaps | None = None
        sample = self._vector(_zeros(inputs, 1), np.full(1, -1), np.ones(1, bool))
        self.shapes["vector"] = sample.shape[1:]

    def __call__(
        self,
        observations: Mapping[str, NDArray[Any]],
        previous: NDArray[np.int64],
        first: NDArray[np.bool_],
    ) -> Arrays:
        """Return the features of N agents.

        Args:
            observations: arrays (N, ...).
            previous: (N,) last action, ignored where an episode begins.
            first: (N,) true on an episode's first step.
        """
        count = len(first)
        features: Arrays = {}
        for key, shape in self.shapes.items():
            if key in observations and len(shape) == 3:
                features[key] = _image(np.asarray(observations[key]))
        if self._mapped:
            pose = np.asarray(observations["pose"], np.float32)
            if self._maps is None or len(self._maps.grid) != count:
                c = self.config
                self._maps = EgocentricMaps(count, c.hfov, c.camera_height, c.camera_pitch)
            self._maps.clear_maps(first)
            self._maps.integrate_depth(np.asarray(observations["depth"], np.float32), pose)
            for index, cell in enumerate(self.config.map_cells):
                out = np.empty((count, *self.shapes[f"map{index}"]), np.uint8)
                self._maps.crop_windows(pose, cell, self.config.map_size, out)
                features[f"map{index}"] = out
        if "polar" in self.shapes:
            features["polar"] = np.asarray(observations["goal"], np.float32)
        features["vector"] = self._vector(observations, previous, first)
        return features

    @contextmanager
    def preserve_state(self) -> Iterator[None]:
        """Undo the memory of the calls inside the block (seeing the same image twice leaves a map
        as it is).
        """
        pose = self._pose
        try:
            yield
        finally:
            self._pose = pose

    def _vector(
        self,
        observations: Mapping[str, NDArray[Any]],
        previous: NDArray[np.int64],
        first: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        count = len(first)
        parts = [np.eye(self.inputs.actions + 1, dtype=np.float32)[np.where(first, -1, previous)]]
        for key, shape in self.inputs.shapes.items():
            if key in self.inputs.classes:
                parts.append(np.eye(self.inputs.classes[key], dtype=np.float32)[observations[key]])
            elif key == "goal" and shape == (2,):
                goal = np.asarray(observations[key], np.float32)
                parts.append(_polar(goal))
                if self.config.path_ring:
                    parts.append(self._paths(np.asarray(observations["pose"], np.float32), goal))
            elif key == "pose":
                parts.append(self._motion(np.asarray(observations[key], np.float32), first))
            elif len(shape) == 1:
                parts.append(np.asarray(observations[key], np.float32).reshape(count, -1))
        return np.concatenate(parts, axis=1)

    def _paths(self, pose: NDArray[np.float32], goal: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 4 * path_ring + 2): the ring, the way left by the map, and how much of it is
        detour.
        """
        if self._maps is None:  # only asked for the length
            return np.zeros((len(pose), 4 * self.config.path_ring + 2), np.float32)
        ring, way = compute_path_ring(self._maps, pose, goal, self.config.path_ring)
        detour = np.clip(way - goal[:, 0], 0.0, 20.0)
        ways = np.stack([np.log1p(way), np.log1p(detour)], axis=1)
        return np.concatenate([ring.reshape(len(pose), -1), ways], axis=1).astype(np.float32)

    def _motion(self, pose: NDArray[np.float32], first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(N, 5): position in the episode's frame, heading, and metres moved since the last
        step.
        """
        last = self._pose if self._pose is not None and len(self._pose) == len(pose) else pose
        moved = np.where(first, 0.0, np.hypot(pose[:, 0] - last[:, 0], pose[:, 2] - last[:, 2]))
        self._pose = pose.copy()
        columns = [
            pose[:, 0] / 10,
            pose[:, 2] / 10,
            np.sin(pose[:, 3]),
            np.cos(pose[:, 3]),
            moved * 4,
        ]
        return np.stack(columns, axis=1).astype(np.float32)


def _polar(goal: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 5): direction, and distance on scales that show both 0.2 m and 20 m."""
    distance, angle = goal[:, 0], goal[:, 1]
    near = np.exp(-2.0 * distance)
    return np.stack(
        [np.cos(angle), np.sin(angle), np.log1p(distance), near, np.minimum(distance, 0.6)], axis=1
    ).astype(np.float32)


def _image(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Depth (N, H, W) [m] to nearness 255 / (1 + d), 0 where nothing was seen; colour to channels
    first.
    """
    if image.ndim == 3:
        near = np.where(image > 0, 255.0 / (1.0 + image), 0.0)
        return near.astype(np.uint8)[:, None]
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


def _zeros(inputs: PolicyInputs, count: int) -> Arrays:
    return {
        key: np.zeros((count, *shape), np.int64 if key in inputs.classes else np.float32)
        for key, shape in inputs.shapes.items()
    }
