"""The navigation tasks as Gymnasium environments; `import embodied` registers them.

>>> env = gymnasium.make("embodied/PointNav-v0", scene=SceneSource(split="val", rooms=(3, 6)))
>>> observation, info = env.reset(seed=0)

Observation: the camera's outputs ("rgb", "depth", "semantic", "instance"), "pose" = (x, y, z, yaw)
in the frame of the episode's start, and "goal": PointNav (distance [m], angle [rad], left
positive), ObjectNav a class id, ImageNav an image, Explore none. `info` carries the metrics so far.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.raycast import compute_camera_poses
from embodied.tasks.env_base import BatchEnv, override_config
from embodied.tasks.navigation.batch import NavigationBatch
from embodied.tasks.navigation.config import NavigationConfig, SceneSource

__all__ = [
    "ExploreEnv",
    "ImageNavEnv",
    "NavigationConfig",
    "NavigationEnv",
    "ObjectNavEnv",
    "PointNavEnv",
    "SceneSource",
]


class NavigationEnv(BatchEnv):
    """One agent in one scene at a time: the view of a batch of one.

    Args:
        config: the task; keyword overrides are laid over it (`max_steps=200`).
        render_mode: None or "rgb_array" (what the camera sees).

    Raises:
        ConfigError: an unknown or unusable setting.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    batch: NavigationBatch
    task: ClassVar[str] = "pointnav"

    def __init__(
        self,
        config: NavigationConfig | None = None,
        *,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        settings = {**overrides, "task": self.task}
        self.config = override_config(config or NavigationConfig(), settings)
        super().__init__(NavigationBatch(self.config, 1), render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the next episode; a seed restarts the stream of episodes."""
        super().reset(seed=seed)
        if seed is not None or not self.batch.prepared_episodes:
            start = seed if seed is not None else int(self.np_random.integers(2**31))
            self.batch.restart_streams([start])
        self.batch.begin_episodes([0])
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply one action; see `gymnasium.Env.step`."""
        reward, terminated, truncated = self.batch.step(np.array([action]))
        observation = self._observe()
        total = float(reward[0] + self._gain)
        return observation, total, bool(terminated[0]), bool(truncated[0]), self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return what the agent's camera sees, (H, W, 3) uint8, in mode "rgb_array"."""
        if self.render_mode != "rgb_array" or not self.batch.prepared_episodes:
            return None
        camera = replace(self.config.camera, outputs=("rgb",))
        batch = self.batch
        poses = compute_camera_poses(batch.positions, batch.yaw, camera, batch.pitch)
        return batch.prepared_episodes[0].world.caster.render(camera, poses)["rgb"][0]

    def close(self) -> None:
        """Stop the background thread."""
        self.batch.close()

    def _observe(self) -> dict[str, Any]:
        # What a look is worth, as in exploration, is known only after it.
        observation, gain = self.batch.observe()
        self._gain = gain[0]
        return {name: values[0] for name, values in observation.items()}

    def _info(self) -> dict[str, Any]:
        return {name: values[0].item() for name, values in self.batch.collect_info().items()}


class PointNavEnv(NavigationEnv):
    """Reach a point given as distance and angle, and call STOP."""

    task = "pointnav"


class ObjectNavEnv(NavigationEnv):
    """Find any object of a class, stand within 1 m with it in sight, and call STOP."""

    task = "objectnav"


class ImageNavEnv(NavigationEnv):
    """Reach the place an image was taken from, and call STOP."""

    task = "imagenav"


class ExploreEnv(NavigationEnv):
    """See as much of the reachable floor as possible."""

    task = "explore"
