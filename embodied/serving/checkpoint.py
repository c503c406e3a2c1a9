"""Serve a trained policy that acts step by step, as the navigation policies here do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.policies.base import Policy

FIRST = "first"


class ServedCheckpoint:
    """Answers one observation with one action; satisfies `embodied.serving.protocol.ServedPolicy`.

    Args:
        policy: acts for a batch; it is asked for one agent at a time.
        metadata: what clients are told.
    """

    def __init__(self, policy: Policy, metadata: Mapping[str, Any]) -> None:
        self._policy = policy
        self._metadata = {**metadata, "horizon": 1}
        self._fresh = True

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What clients are told."""
        return self._metadata

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Return the next action.

        Args:
            observation: one agent's, keys and shapes of the task without the batch axis; "first"
                (bool) begins an episode, and so does the first request of all.

        Returns:
            "actions" (1, ...): one step.
        """
        seen = dict(observation)
        first = bool(seen.pop(FIRST, False)) or self._fresh
        self._fresh = False
        batch = {name: np.asarray(value)[None] for name, value in seen.items()}
        return {"actions": np.asarray(self._policy.act(batch, np.array([first])))[None, 0]}
