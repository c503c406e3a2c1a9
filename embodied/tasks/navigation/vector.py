"""Many navigation environments stepped as one batch, across many houses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.env_base import BatchVectorEnv, add_masks, override_config
from embodied.tasks.navigation.batch import NavigationBatch
from embodied.tasks.navigation.config import NavigationConfig

Observation = dict[str, NDArray]


class NavigationVectorEnv(BatchVectorEnv):
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

    batch: NavigationBatch

    def __init__(
        self, num_envs: int = 1, config: NavigationConfig | None = None, **overrides: Any
    ) -> None:
        self.config = override_config(config or NavigationConfig(), overrides)
        super().__init__(NavigationBatch(self.config, num_envs), num_envs)

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
        last = {name: values[done] for name, values in observation.items()}  # a copy
        info = {k: v for k, v in infos.items() if not k.startswith("_")}
        final = self._final(done, last, add_masks(info, self._mask(done)))
        self.batch.begin_episodes([int(i) for i in done])
        fresh, _ = self.batch.observe(done)
        for name, values in fresh.items():
            observation[name][done] = values
        return final

    def _infos(self) -> dict[str, Any]:
        return add_masks(self.batch.collect_info(), np.ones(self.num_envs, bool))
