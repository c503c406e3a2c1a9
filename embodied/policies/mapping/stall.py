"""Notice that a walk does not get on."""

from __future__ import annotations

import numpy as np

_NEARER = 0.1  # [m] less to go than ever before: it gets on


class StallCounter:
    """Counts the steps since a walk last got nearer to its end.

    Attributes:
        steps: so many.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin another walk."""
        self.steps = 0
        self._closest = np.inf

    def update(self, remaining: float) -> None:
        """Take in the length of the path that is left [m]; once a step."""
        if remaining < self._closest - _NEARER:
            self._closest, self.steps = remaining, 0
        else:
            self.steps += 1
