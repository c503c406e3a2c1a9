"""Many navigation environments stepped as one batch, across many houses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from embodied.tasks.navigation.batch import NavigationBatch
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.envs import override_config

Observation = dict[str, NDArray]


class NavigationVectorEnv(VectorEnv):
    """N navigation environments in one process: one render call, batched motion, shared scenes.

    Environment i behaves exactly like the single environment reset with seed `seed + i`. Autoreset
    is SAME_STEP: when episode i ends, the returned observation is already the first of its next
    episode, `infos["final_obs"][i]` holds the last one and `infos["final_info"]` its metrics
    (arrays (N,), valid where `infos["_final_info"]`). Returned arrays are fresh on every step.

    Args:
        num_envs: N.
        config: the task; keyword overrides are laid over it (`max_steps=200`).

    Raises:
        ConfigError: an unknown or unusable setting.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self, num_envs: int = 1, config: NavigationConfig | None = None, **overrides: Any
    ) -> None:
        self.config = override_config(config, overrides)
        self.batch = NavigationBatch(self.config, num_envs)
        self.num_envs = num_envs
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = self.batch.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every environment; see `gymnasium.vector.VectorEnv.reset`."""
        if seed is not None or not self.batch.prepared_episodes:
            if isinstance(seed, int):
                seeds: list[int | None] = [seed + i for i in range(self.num_envs)]
            else:
                seeds = list(seed) if seed is not None else [None] * self.num_envs
            chance = np.random.default_rng()
            self.batch.restart_streams(
                [int(chance.integers(2**31)) if s is None else s for s in seeds]
            )
        self.batch.begin_episodes(range(self.num_envs))
        observation, _ = self.batch.observe()
        return observation, self._infos()

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step every environment; see `gymnasium.vector.VectorEnv.step`."""
        reward, terminated, truncated = self.batch.step(np.asarray(actions))
        observation, gain = self.batch.observe()
        reward += gain
        infos = self._infos()
        done = np.flatnonzero(terminated | truncated)
        if len(done):
            infos.update(self._finish(done, observation, infos))
        return observation, reward, terminated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the background thread."""
        self.batch.close()

    def _finish(
        self, done: NDArray[np.integer], observation: Observation, infos: dict[str, Any]
    ) -> dict[str, Any]:
        """Keep the last observations and metrics of ended episodes and start the next ones."""
        mask = np.zeros(self.num_envs, bool)
        mask[done] = True
        last = np.full(self.num_envs, None, dtype=object)
        for i in done:
            last[i] = {name: values[i].copy() for name, values in observation.items()}
        final = {k: v for k, v in infos.items() if not k.startswith("_")}
        final.update({f"_{k}": mask for k in list(final)})
        self.batch.begin_episodes([int(i) for i in done])
        fresh, _ = self.batch.observe(done)
        for name, values in fresh.items():
            observation[name][done] = values
        return {"final_obs": last, "_final_obs": mask, "final_info": final, "_final_info": mask}

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = dict(self.batch.collect_info())
        everyone = np.ones(self.num_envs, bool)
        infos.update({f"_{k}": everyone for k in list(infos)})
        return infos
