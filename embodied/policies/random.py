"""The floor every method must beat: actions drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.base import PolicyTask
from embodied.types import FORWARD, LEFT, RIGHT, STOP, DiscreteActions, Observations


@dataclass(frozen=True)
class RandomConfig:
    """What is drawn.

    Attributes:
        probabilities: of STOP, FORWARD, LEFT and RIGHT. The default walks half of the time and
            hardly ever stops, which is the strongest random walk.
    """

    probabilities: tuple[float, float, float, float] = (0.002, 0.499, 0.25, 0.249)

    def __post_init__(self) -> None:
        share = np.asarray(self.probabilities, np.float64)
        if share.shape != (4,) or (share < 0).any() or not np.isclose(share.sum(), 1):
            raise ConfigError(
                f"probabilities {self.probabilities} must be 4 non-negative numbers with sum 1"
            )


class RandomPolicy:
    """Draw actions independently.

    Args:
        seed: of the draws.
        config: what is drawn.
    """

    config_class: ClassVar[type] = RandomConfig

    def __init__(self, seed: int = 0, config: RandomConfig | None = None) -> None:
        self.config = config or RandomConfig()
        self._rng = np.random.default_rng(seed)

    @classmethod
    def from_config(cls, config: RandomConfig, task: PolicyTask) -> RandomPolicy:
        """Build it for a task; see `embodied.policies.factory`."""
        return cls(task.seed, config)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one action per agent; see `Policy`."""
        actions = np.array([STOP, FORWARD, LEFT, RIGHT])
        return self._rng.choice(actions, size=len(first), p=self.config.probabilities)
