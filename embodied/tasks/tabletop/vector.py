"""Many tabletop environments stepped as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.env_base import BatchVectorEnv, add_masks, override_config
from embodied.tasks.tabletop.batch import TabletopBatch
from embodied.tasks.tabletop.config import TabletopConfig
from embodied.tasks.tabletop.workcell import WorkcellSnapshot

Observation = dict[str, Any]


class TabletopVectorEnv(BatchVectorEnv):
    """N tabletop environments in one process.

    Episodes are numbered: reset with seed s plays the episodes s, s + 1, ... whatever N is, each
    the same wherever it is played (`infos["episode_seed"]`). Autoreset is SAME_STEP: when episode i
    ends, the returned observation is already the first of its next episode,
    `infos["final_obs"][i]` holds the last one and `infos["final_info"]` how it stood (arrays (N,),
    valid where `infos["_final_info"]`). Returned arrays are fresh on every step.

    Args:
        num_envs: N.
        config: the task; keyword overrides are laid over it (`level=2`).
        lazy: images are rendered where they are looked at before the next step, see `LazyImage`;
            those of `final_obs` always are.

    Attributes:
        batch: the workcells.
        lazy: as given.

    Raises:
        ConfigError: an unknown or unusable setting.
        SimulationError: unknown robot, or a URDF that cannot be loaded.
    """

    metadata = {  # noqa: RUF012
        **BatchVectorEnv.metadata, "render_fps": 20
    }  # fmt: skip
    batch: TabletopBatch

    def __init__(
        self, num_envs: int = 1, config: TabletopConfig | None = None, lazy: bool = False,
        **overrides: Any,
    ) -> None:  # fmt: skip
        self.config = override_config(config or TabletopConfig(), overrides)
        self.lazy = lazy
        super().__init__(TabletopBatch(self.config, num_envs), num_envs)
        self._next: list[int] = []

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every environment; see `gymnasium.vector.VectorEnv.reset`."""
        if seed is not None or not self._next:
            if seed is None or isinstance(seed, int):
                first = int(np.random.default_rng().integers(2**31)) if seed is None else seed
                self._next = [first + row for row in range(self.num_envs)]
            else:
                chance = np.random.default_rng()
                self._next = [int(chance.integers(2**31)) if s is None else s for s in seed]
        self._begin(range(self.num_envs))
        return self.batch.observe(self.lazy), self._infos()

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step every environment; see `gymnasium.vector.VectorEnv.step`."""
        reward, terminated, truncated = self.batch.step(actions)
        observation, infos = self.batch.observe(self.lazy), self._infos()
        done = np.flatnonzero(terminated | truncated).tolist()
        if done:
            last = {name: [values[row] for row in done] for name, values in observation.items()}
            info = {k: v for k, v in infos.items() if not k.startswith("_")}
            final = self._final(done, last, add_masks(info, self._mask(done)))
            self._begin(done)
            observation = self.batch.observe(self.lazy)
            infos = {**self._infos(), **final}
        return observation, reward, terminated, truncated, infos

    def save_state(self, row: int) -> WorkcellSnapshot:
        """Return the state of one environment."""
        return self.batch.cells[row].save_state()

    def restore_state(self, row: int, state: WorkcellSnapshot) -> None:
        """Put one environment into a state, of itself or of any other of the same task and robot.

        Raises:
            SimulationError: a state of another task or robot.
        """
        self.batch.restore_state(row, state)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the worlds."""
        self.batch.close()

    def _begin(self, rows: Sequence[int]) -> None:
        self.batch.begin_episodes(rows, [self._next[row] for row in rows])
        for row in rows:
            self._next[row] += self.num_envs

    def _infos(self) -> dict[str, Any]:
        return add_masks(self.batch.collect_info(), np.ones(self.num_envs, bool))
