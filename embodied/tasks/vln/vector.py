"""Many language-guided navigation environments stepped as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.env_base import BatchVectorEnv, add_masks, override_config
from embodied.tasks.vln.batch import Observation, VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import VLNSource


class VLNVectorEnv(BatchVectorEnv):
    """N environments in one process over shared worlds.

    Autoreset is SAME_STEP: when episode i ends, the returned observation is already the first of
    its next episode, `infos["final_obs"][i]` holds the last one and `infos["final_info"]` its
    metrics (arrays (N,), valid where `infos["final_info"]["_<name>"]`), besides "walk" and
    "answer", the places visited and the object named, which `submission.build_entry` turns into
    what a test server takes. On every step `infos` carries the running "steps", "path_length" and
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

    batch: VLNBatch

    def __init__(
        self,
        num_envs: int = 1,
        config: VLNConfig | None = None,
        sequential: bool = True,
        source: VLNSource | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config or VLNConfig(), overrides)
        self._list_episodes(VLNBatch(self.config, num_envs, source), num_envs, sequential)

    def _list_episodes(self, batch: Any, num_envs: int, sequential: bool) -> None:
        super().__init__(batch, num_envs)
        self.sequential = sequential
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
            infos |= self._final(done, last, self._final_info(done))
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

    def _final_info(self, done: NDArray[np.integer]) -> dict[str, Any]:
        """Return how ended episodes stood, with the masks (N,) of what counts for which of them."""
        walks, answers = (np.full(self.num_envs, None, dtype=object) for _ in range(2))
        for row in done:  # as objects: they are no metrics
            walks[row] = tuple(self.batch.walks[row])
            answers[row] = int(self.batch.answers[row])
        ended = add_masks({"walk": walks, "answer": answers}, self._mask(done))
        return {**self._collect_metrics(done), **ended}

    def _collect_metrics(self, done: NDArray[np.integer]) -> dict[str, Any]:
        info = add_masks({"episode": self.batch.current.copy()}, self._mask(done))
        for row in done:
            for name, value in self.batch.compute_metrics(int(row)).items():
                if name not in info:
                    info[name] = np.full(self.num_envs, np.nan)
                    info[f"_{name}"] = np.zeros(self.num_envs, bool)
                info[name][row], info[f"_{name}"][row] = value, True
        return info

    def _infos(self) -> dict[str, Any]:
        infos: dict[str, Any] = {
            "steps": self.batch.moves.copy(),
            "path_length": self.batch.travelled.copy(),
            "episode": self.batch.current.copy(),
        }
        return add_masks(infos, np.ones(self.num_envs, bool))
