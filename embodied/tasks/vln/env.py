"""Language-guided navigation as Gymnasium environments; `import embodied` registers them.

>>> env = gymnasium.make("embodied/VLN-REVERIE-v0", split="val_unseen")
>>> observation, info = env.reset(seed=0)

See `embodied.tasks.vln.batch.VLNBatch` for observations and actions.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from embodied.tasks.env_base import BatchEnv, override_config
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import VLNSource


class ListedEpisodesEnv(BatchEnv):
    """A batch of one that plays the episodes of a list, in random order or one by its number."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the next episode, or the one of `options["episode"]`."""
        super().reset(seed=seed)
        number = (options or {}).get("episode")
        if number is None:
            number = int(self.np_random.integers(len(self.batch.episodes)))
        self.batch.begin_episodes([0], [int(number)])
        return self._observe(), self._info()

    def _info(self) -> dict[str, Any]:
        return {**self.batch.compute_metrics(0), "episode": int(self.batch.current[0])}


class VLNEnv(ListedEpisodesEnv):
    """One agent following one instruction at a time: the view of a batch of one.

    Episodes come in random order. `reset(options={"episode": 3})` plays a chosen one. `info` holds
    the metrics so far and "episode", the number of the episode.

    Args:
        config: the task; keyword overrides are laid over it (`split="val_seen"`).
        source: worlds and episodes, if not those that the configuration names.

    Raises:
        ConfigError: an unknown or unusable setting.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    batch: VLNBatch
    dataset: ClassVar[str] = "reverie"

    def __init__(
        self, config: VLNConfig | None = None, *, source: VLNSource | None = None, **overrides: Any
    ) -> None:
        settings = {**overrides, "dataset": self.dataset}
        self.config = override_config(config or VLNConfig(), settings)
        super().__init__(VLNBatch(self.config, 1, source))

    def _observe(self) -> dict[str, Any]:
        seen = self.batch.observe()
        return {n: np.asarray(v[0]) if isinstance(v, np.ndarray) else v[0] for n, v in seen.items()}


class R2REnv(VLNEnv):
    """Follow a route description to its end."""

    dataset = "r2r"


class ReverieEnv(VLNEnv):
    """Go where an object is and name it."""

    dataset = "reverie"


class SoonEnv(VLNEnv):
    """Find an object described by its surroundings."""

    dataset = "soon"


class HousesEnv(VLNEnv):
    """Follow generated instructions through three-dimensional scenes."""

    dataset = "houses"
