"""Has something been heard of in time?"""

from __future__ import annotations


class Watchdog:
    """Times one source of messages.

    Args:
        limit: longest silence allowed [s].
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._heard: float | None = None

    def feed(self, stamp: float) -> None:
        """Note a message made at `stamp` on the monotonic clock [s]; older ones change nothing."""
        if self._heard is None or stamp > self._heard:
            self._heard = stamp

    def silence(self, now: float) -> float:
        """Return how long ago the newest message was made [s]; infinite before the first."""
        return float("inf") if self._heard is None else now - self._heard

    def barks(self, now: float) -> bool:
        """Whether it has been silent too long."""
        # Written so that a stamp that is not a number barks.
        return not self.silence(now) <= self.limit

    def reset(self) -> None:
        """Forget what was heard."""
        self._heard = None
