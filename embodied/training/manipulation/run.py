"""What trainings of manipulation policies share: rows of figures, validated now and then."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from embodied.training.loop import ResumableRun


class ValidatedRun(ResumableRun):
    """A run that plays validation episodes every so many rows, and writes a checkpoint then.

    Args:
        config: the whole run.
        run_dir: its folder.
        resume: go on from the newest checkpoint.
        loop: its part that says `steps`, `log_every`, `validate_every`, `keep` and
            `threads`.
    """

    settings: Any
    _score: float | None = None

    def __init__(self, config: Any, run_dir: Path, resume: bool, loop: Any) -> None:
        total = loop.steps // loop.log_every
        super().__init__(config, run_dir, resume, total, loop.keep, loop.threads)
        self.settings = config
        self._every = loop.validate_every // loop.log_every

    @abstractmethod
    def _validate(self) -> dict[str, float]:
        """Play validation episodes, note their score in `_score` and return their figures."""

    def is_checkpoint_due(self) -> bool:
        """Whether a validation and a checkpoint are due."""
        return self.update % self._every == 0

    def get_score(self) -> float | None:
        """Return the score of the weights if they were just validated."""
        return self._score

    def _closed(self, row: dict[str, Any], begun: float, start: str = "") -> dict[str, Any]:
        """Validate if that is due; return the row with those figures and what both parts took.

        Args:
            row: of the update just done.
            begun: when its learning began, by `time.monotonic`.
            start: of the names of validation's figures.
        """
        learnt, self._score = time.monotonic(), None
        if self.is_checkpoint_due() or self.update == self.total:
            row |= {start + name: value for name, value in self._validate().items()}
        row["learn_seconds"] = learnt - begun
        row["validate_seconds"] = time.monotonic() - learnt
        return row
