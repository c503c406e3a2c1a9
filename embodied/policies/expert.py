"""The ceiling: the shortest-path expert, read from the privileged observation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.policies.base import require_observations
from embodied.types import DiscreteActions, Observations


class ExpertPolicy:
    """Do what the task's expert would; needs tasks made with `expert=True`."""

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one action per agent; see `Policy`."""
        (action,) = require_observations(observations, "expert_action")
        return np.asarray(action).reshape(len(first)).astype(np.int64)
