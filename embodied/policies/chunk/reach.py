"""A scripted policy for arms: visits a few places around home, chunk by chunk. Learns nothing.

It is what a new cell is tried with: it needs no weights, moves every joint a little, and speaks the
same language as a learned policy (an observation in, a chunk of joint positions out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError

# Directions of the places visited, one row each, repeated over the joints.
PATTERN = ((1.0, -1.0, 1.0), (-1.0, 0.0, 1.0), (0.0, 1.0, -1.0), (0.0, 0.0, 0.0))


class ReachPolicy:
    """Serves chunks of joint positions; satisfies `embodied.serving.protocol.ServedPolicy`.

    Args:
        home: (J,) joint angles it moves around [rad].
        reach: how far each joint goes to either side [rad].
        speed: of the fastest joint [rad/s].
        period: time between two actions of a chunk [s].
        horizon: actions per chunk.
        tolerance: a place counts as visited this near [rad].
    """

    def __init__(
        self,
        home: Sequence[float],
        reach: float = 0.15,
        speed: float = 0.3,
        period: float = 0.05,
        horizon: int = 20,
        tolerance: float = 0.01,
    ) -> None:
        if not (reach > 0 and speed > 0 and period > 0 and horizon > 0 and tolerance > 0):
            raise ConfigError("reach, speed, period, horizon and tolerance must be above 0")
        self._home = np.asarray(home, np.float64)
        signs = np.resize(np.array(PATTERN), (len(PATTERN), len(self._home)))
        self._places = self._home + reach * signs
        self._step, self._horizon, self._period = speed * period, horizon, period
        self._tolerance = tolerance
        self.visited = 0

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What clients are told."""
        return {
            "policy": "reach",
            "action_size": len(self._home),
            "period": self._period,
            "horizon": self._horizon,
        }

    def infer(self, observation: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Return the next actions from where the arm is.

        Args:
            observation: "observation/state" (>= J,) holds the joint angles first [rad].

        Returns:
            "actions" (horizon, J) [rad], one a period.

        Raises:
            ConfigError: no state, or one of another arm.
        """
        count = len(self._home)
        state = np.asarray(observation.get("observation/state", ()), np.float64)
        if state.ndim != 1 or len(state) < count:
            raise ConfigError(
                f"observation/state of shape {state.shape}: the reach policy moves {count} joints"
            )
        now = state[:count].copy()
        actions = np.empty((self._horizon, count))
        if np.abs(self._place - now).max() < self._tolerance:
            self.visited += 1
        for row in actions:
            way = self._place - now
            far = np.abs(way).max()
            now = now + way * min(1.0, self._step / max(far, 1e-9))
            row[:] = now
        return {"actions": actions}

    @property
    def _place(self) -> NDArray[np.float64]:
        place: NDArray[np.float64] = self._places[self.visited % len(self._places)]
        return place
