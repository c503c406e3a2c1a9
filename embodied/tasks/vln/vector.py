"""Many language-guided navigation environments stepped as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from embodied.tasks.vln.batch import Observation, VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.env import override_config
from embodied.tasks.vln.source import VLNSource


class VLNVectorEnv(VectorEnv):
    """N environments in one process over shared worlds.

    Autoreset is SAME_STEP: when episode i ends, the returned observation is already the first of
    its next episode, `infos["final_obs"][i]` holds the last one and `infos["final_info"]` its
    metrics (arrays (N,), valid where `infos["final_info"]["_<name>"]`), besides "walk" and
    "answer", the places visited and the object named, which `submission.entry` turns into what a
    test server takes. On every step `infos` carries the running "steps", "path_length" and
    "episode". Returned arrays are fresh.

    Args:
        num_envs: N.
        config: the task; keyword overrides are laid over it (`split="val_seen"`).
        sequential: environment i plays episodes i, i + N, i + 2N, ... of the split, wrapping
            around; otherwise each draws episodes at random from its own seed.
        source: worlds and episodes, if not those that the configuration names.

    Raises:
        ConfigError: an unknown or unusable setting.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        config: VLNConfig | None = None,
        sequential: bool = True,
        source: VLNSource | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config, overrides)
        self.batch = VLNBatch(self.config, num_envs, source)
        self.num_envs, self.sequential = num_envs, sequential
        self.single_observation_space = self.batch.observation_space
        self.single_action_space = self.batch.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._played = np.zeros(num_envs, np.int64)
        self._chance: list[np.random.Generator] = []

    @property
    def episodes(self) -> list:
        """The episodes that may be played."""
        return self.batch.episodes

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every environment; a seed begins the order of episodes anew."""
        if seed is not None or not self._chance:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            self._chance = [np.random.default_rng(s) for s in seeds or [None] * self.num_envs]
            self._played[:] = 0
        self._begin(np.arange(self.num_envs))
        return self.batch.observe(), self._infos()

    def step(
        self, actions: NDArray[np.integer]
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step every environment; see `gymnasium.vector.VectorEnv.step`."""
        reward, terminated, truncated = self.batch.step(np.asarray(actions))
        infos = self._infos()
        done = np.flatnonzero(terminated | truncated)
        if len(done):
            last = self.batch.observe(done)
            infos |= self._final(done, last)
            self._begin(done)
            infos["episode"][done] = self.batch.current[done]
        return self.batch.observe(), reward, terminated, truncated, infos

    def _begin(self, rows: NDArray[np.integer]) -> None:
        total = len(self.batch.episodes)
        if self.sequential:
            chosen = [int(r + self.num_envs * self._played[r]) % total for r in rows]
        else:
            chosen = [int(self._chance[r].integers(total)) for r in rows]
        self._played[rows] += 1
        self.batch.begin_episodes(rows, chosen)

    def _final(self, done: NDArray[np.integer], last: Observation) -> dict[str, Any]:
        """Collect the last observations and metrics of ended episodes."""
        mask = np.zeros(self.num_envs, bool)
        mask[done] = True
        observations = np.full(self.num_envs, None, dtype=object)
        final: dict[str, NDArray] = {
            "episode": self.batch.current.copy(),
            "_episode": mask,
        }
        for name in ("walk", "answer"):  # as objects: they are no metrics
            final[name], final[f"_{name}"] = np.full(self.num_envs, None, dtype=object), mask
        for k, row in enumerate(done):
            final["walk"][row] = tuple(self.batch.walks[row])
            final["answer"][row] = int(self.batch.answers[row])
            observations[row] = {name: values[k] for name, values in last.items()}
            for name, value in self.batch.compute_metrics(int(row)).items():
                if name not in final:
                    final[name] = np.full(self.num_envs, np.nan)
                    final[f"_{name}"] = np.zeros(self.num_envs, bool)
                final[name][row], final[f"_{name}"][row] = value, True
        return {
            "final_obs": observations, "_final_obs": mask, "final_info": final, "_final_info": mask
        }  # fmt: skip

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {
            "steps": self.batch.moves.copy(),
            "path_length": self.batch.travelled.copy(),
            "episode": self.batch.current.copy(),
        }
        everyone = np.ones(self.num_envs, bool)
        return infos | {f"_{name}": everyone for name in infos}
