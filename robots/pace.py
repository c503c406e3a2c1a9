"""Keep a loop at its rate."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator


class LoopTimer:
    """Waits for the next tick of a loop, on absolute deadlines.

    Args:
        period: of the loop [s].
        clock: monotonic [s].
        sleep: waits so many seconds.

    Attributes:
        tick_delay: how late the newest tick began [s].
    """

    def __init__(
        self, period: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._period, self._clock, self._sleep = period, clock, sleep
        self._due = clock()
        self.tick_delay = 0.0

    def wait_tick(self) -> None:
        """Sleep until the next tick is due."""
        now = self._clock()
        # Late: do not catch up by hurrying. Nor wait for a clock that was set back.
        self._due = min(max(self._due + self._period, now), now + self._period)
        self._sleep(self._due - now)
        self.tick_delay = max(0.0, self._clock() - self._due)


@contextlib.contextmanager
def request_realtime(period: float) -> Iterator[None]:
    """Let the calling thread run when it is due, as far as the system allows; not what it starts.

    Python lets a busy thread keep the interpreter for 5 ms, half a period at 100 Hz; and Linux lets
    other programs go first unless we may ask for real-time scheduling (root, or `ulimit -r`).
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), period / 50))
    if not hasattr(os, "sched_setscheduler"):  # not on Linux
        yield
        return
    # A thread or process started by the loop would else push others aside, the loop among them.
    alone = os.SCHED_RESET_ON_FORK
    before = os.sched_getscheduler(0) | alone, os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | alone, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def freeze_gc() -> None:
    """Spare the garbage collector's rounds what exists by now; `gc.unfreeze` takes it back.

    A full round looks at every object of the process, 80 ms long with all that a deployment
    imports, and no thread runs meanwhile. Not even one last round is made here: the arm is
    connected by now, and 0.3 s without reading it are taken for its silence.
    """
    gc.freeze()
