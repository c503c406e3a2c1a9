"""Gymnasium environments of language-guided navigation with low-level actions.

>>> env = gymnasium.make("embodied/VLNCE-Houses-v0", max_steps=300)
>>> observation, info = env.reset(seed=0)

See `embodied.tasks.vln.continuous.ContinuousBatch` for observations and actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.tasks.vln.continuous import ContinuousBatch
from embodied.tasks.vln.continuous_task import ContinuousSource, ContinuousTaskConfig
from embodied.tasks.vln.vector import VLNVectorEnv


def override_config(
    config: ContinuousTaskConfig | None, overrides: Mapping[str, Any]
) -> ContinuousTaskConfig:
    """Lay keyword settings over a configuration.

    Raises:
        ConfigError: an unknown setting; names the nearest one.
    """
    known = [f.name for f in fields(ContinuousTaskConfig)]
    for name in overrides:
        if name not in known:
            raise ConfigError(f"unknown setting '{name}': {suggest_nearest(name, known)}")
    return replace(config or ContinuousTaskConfig(), **overrides)


class ContinuousEnv(gymnasium.Env):
    """One body following one instruction at a time: the view of a batch of one.

    Episodes come in random order; `reset(options={"episode": 3})` plays a chosen one. `info` holds
    the metrics so far and "episode".

    Args:
        config: the task; keyword overrides are laid over it (`max_steps=300`).
        source: worlds, episodes and scenes, if not those that the configuration names.
        render_mode: "rgb_array" for the panorama.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        config: ContinuousTaskConfig | None = None,
        *,
        source: ContinuousSource | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config, overrides)
        self.render_mode = render_mode
        self.batch = ContinuousBatch(self.config, 1, source)
        self.observation_space = self.batch.observation_space
        self.action_space = self.batch.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the next episode."""
        super().reset(seed=seed)
        number = (options or {}).get("episode")
        if number is None:
            number = int(self.np_random.integers(len(self.batch.episodes)))
        self.batch.begin_episodes([0], [int(number)])
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply one action; see `gymnasium.Env.step`."""
        reward, ended, cut = self.batch.step(np.array([action]))
        return self._observe(), float(reward[0]), bool(ended[0]), bool(cut[0]), self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return the panorama (H, W, 3) in mode "rgb_array"."""
        if self.render_mode != "rgb_array" or self.batch.current[0] < 0:
            return None
        image: NDArray[np.uint8] = self.batch.observe()["rgb"][0]
        return image

    def _observe(self) -> dict[str, Any]:
        return {name: values[0] for name, values in self.batch.observe().items()}

    def _info(self) -> dict[str, Any]:
        return {**self.batch.compute_metrics(0), "episode": int(self.batch.current[0])}


class ContinuousVectorEnv(VLNVectorEnv):
    """N bodies in one process, one render call per step; otherwise as `VLNVectorEnv`.

    Args:
        num_envs: N.
        config: the task; keyword overrides are laid over it.
        sequential: environment i plays episodes i, i + N, i + 2N, ... of the split.
        source: worlds, episodes and scenes, if not those that the configuration names.
    """

    def __init__(
        self,
        num_envs: int = 1,
        config: ContinuousTaskConfig | None = None,
        sequential: bool = True,
        source: ContinuousSource | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config, overrides)  # type: ignore[assignment]
        self.batch = ContinuousBatch(self.config, num_envs, source)  # type: ignore[arg-type, assignment]
        self.num_envs, self.sequential = num_envs, sequential
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = self.batch.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._played = np.zeros(num_envs, np.int64)
        self._chance: list[np.random.Generator] = []

    def _final(self, done: NDArray[np.integer], last: dict[str, Any]) -> dict[str, Any]:
        """Collect the last observations and metrics of ended episodes."""
        mask = np.zeros(self.num_envs, bool)
        mask[done] = True
        observations = np.full(self.num_envs, None, dtype=object)
        final: dict[str, NDArray[Any]] = {"episode": self.batch.current.copy(), "_episode": mask}
        for k, row in enumerate(done):
            observations[row] = {name: values[k] for name, values in last.items()}
            for name, value in self.batch.compute_metrics(int(row)).items():
                final.setdefault(name, np.full(self.num_envs, np.nan))[row] = value
                final[f"_{name}"] = mask
        return {
            "final_obs": observations,
            "_final_obs": mask,
            "final_info": final,
            "_final_info": mask,
        }
