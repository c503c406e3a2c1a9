"""The floor every method must beat: actions drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.base import FORWARD, LEFT, RIGHT, STOP, Observations


class RandomPolicy:
    """Draw actions independently.

    Args:
        seed: of the draws.
        probabilities: of STOP, MOVE_FORWARD, TURN_LEFT, TURN_RIGHT. The default walks half of the
            time and hardly ever stops, which is the strongest random walk.
    """

    def __init__(
        self, seed: int = 0, probabilities: Sequence[float] = (0.002, 0.499, 0.25, 0.249)
    ) -> None:
        share = np.asarray(probabilities, np.float64)
        if share.shape != (4,) or (share < 0).any() or not np.isclose(share.sum(), 1):
            raise ConfigError(
                f"probabilities {probabilities} must be 4 non-negative numbers with sum 1"
            )
        self._share = share
        self._rng = np.random.default_rng(seed)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Choose one action per agent; see `Policy`."""
        actions = np.array([STOP, FORWARD, LEFT, RIGHT])
        return self._rng.choice(actions, size=len(first), p=self._share)
