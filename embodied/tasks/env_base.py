"""What the environments of every task share: settings by keyword, and batches behind Gymnasium.

A batch steps N episodes at once: `step(actions)` returns arrays (N,) of rewards and of what ended,
`observe()` observations (N, ...) by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from embodied.config_aliases import rename_old_keys
from embodied.errors import ConfigError, suggest_nearest

Config = TypeVar("Config")


def override_config(config: Config, overrides: Mapping[str, Any]) -> Config:
    """Lay keyword settings over a configuration dataclass.

    Raises:
        ConfigError: an unknown setting; names the nearest one.
    """
    settings = rename_old_keys(type(config), overrides)
    known = [f.name for f in fields(config)]  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise ConfigError(f"unknown setting '{name}': {suggest_nearest(name, known)}")
    return replace(config, **settings)  # type: ignore[type-var]


class BatchEnv(gymnasium.Env, ABC):
    """A batch of one as a single environment.

    Args:
        batch: steps one episode.
        render_mode: of `metadata`, or None.

    Attributes:
        batch: as given.
    """

    batch: Any

    def __init__(self, batch: Any, render_mode: str | None = None) -> None:
        self.batch = batch
        self.render_mode = render_mode
        self.observation_space = batch.observation_space
        self.action_space = batch.action_space

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Apply one action; see `gymnasium.Env.step`."""
        reward, terminated, truncated = self.batch.step(np.asarray(action)[None])
        ended, cut = bool(terminated[0]), bool(truncated[0])
        return self._observe(), float(reward[0]), ended, cut, self._info()

    def _observe(self) -> dict[str, Any]:
        return {name: values[0] for name, values in self.batch.observe().items()}

    @abstractmethod
    def _info(self) -> dict[str, Any]:
        """Return how the episode stands, as `gymnasium.Env.step` gives it."""


class BatchVectorEnv(VectorEnv):
    """A batch as a vector environment that begins the next episode in the step that ends one.

    Args:
        batch: steps N episodes.
        num_envs: N.

    Attributes:
        batch: as given.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []
    }  # fmt: skip
    batch: Any

    def __init__(self, batch: Any, num_envs: int) -> None:
        self.batch, self.num_envs = batch, num_envs
        self.single_observation_space = batch.observation_space
        self.single_action_space = batch.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _mask(self, rows: NDArray[np.integer] | list[int]) -> NDArray[np.bool_]:
        """Return which environments are among some rows, (N,)."""
        mask = np.zeros(self.num_envs, bool)
        mask[rows] = True
        return mask

    def _final(
        self,
        done: NDArray[np.integer] | list[int],
        last: Mapping[str, Any],
        info: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return what Gymnasium's vector environments say of ended episodes.

        Args:
            done: the K environments whose episode ended.
            last: their last observations, (K, ...) each.
            info: how they stood, with its masks.
        """
        observations, mask = np.full(self.num_envs, None, dtype=object), self._mask(done)
        for k, row in enumerate(done):
            observations[row] = {name: values[k] for name, values in last.items()}
        return {
            "final_obs": observations,
            "_final_obs": mask,
            "final_info": dict(info),
            "_final_info": mask,
        }


def add_masks(infos: Mapping[str, Any], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return infos with the mask (N,) that says for which environments each of them counts."""
    return {**infos, **{f"_{name}": mask for name in infos}}
