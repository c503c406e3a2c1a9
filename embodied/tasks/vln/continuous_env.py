"""Gymnasium environments of language-guided navigation with low-level actions.

>>> env = gymnasium.make("embodied/VLNCE-Houses-v0", max_steps=300)
>>> observation, info = env.reset(seed=0)

See `embodied.tasks.vln.continuous.ContinuousBatch` for observations and actions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.env_base import override_config
from embodied.tasks.vln.continuous import ContinuousBatch
from embodied.tasks.vln.continuous_task import ContinuousSource, ContinuousTaskConfig
from embodied.tasks.vln.env import ListedEpisodesEnv
from embodied.tasks.vln.vector import VLNVectorEnv


class ContinuousEnv(ListedEpisodesEnv):
    """One body following one instruction at a time: the view of a batch of one.

    Episodes come in random order; `reset(options={"episode": 3})` plays a chosen one. `info` holds
    the metrics so far and "episode".

    Args:
        config: the task; keyword overrides are laid over it (`max_steps=300`).
        source: worlds, episodes and scenes, if not those that the configuration names.
        render_mode: "rgb_array" for the panorama.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    batch: ContinuousBatch

    def __init__(
        self,
        config: ContinuousTaskConfig | None = None,
        *,
        source: ContinuousSource | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config or ContinuousTaskConfig(), overrides)
        super().__init__(ContinuousBatch(self.config, 1, source), render_mode)

    def render(self) -> NDArray[np.uint8] | None:
        """Return the panorama (H, W, 3) in mode "rgb_array"."""
        if self.render_mode != "rgb_array" or self.batch.current[0] < 0:
            return None
        image: NDArray[np.uint8] = self.batch.observe()["rgb"][0]
        return image


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
        settings = override_config(config or ContinuousTaskConfig(), overrides)
        self.config = settings  # type: ignore[assignment]
        self._list_episodes(ContinuousBatch(settings, num_envs, source), num_envs, sequential)

    def _final_info(self, done: NDArray[np.integer]) -> dict[str, Any]:
        return self._collect_metrics(done)
