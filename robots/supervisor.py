"""Watch over the process that moves an arm, and stop the arm when that process is gone or frozen.

A process killed by force runs no cleanup. So the work is done in a child: if it dies of anything
but its own decision, the parent stops the arm through a connection of its own; and if the parent
dies, the kernel (or, outside Linux, a thread) ends the child with SIGTERM, which stops the arm in
good order. A child that is
suspended, or hangs, does not die: its loop leaves a sign of life every tick, and if these cease,
the parent ends the child by force.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received: leave every `with` block, then exit."""


class Heartbeat:
    """The signs of life of a loop, seen from two processes: the newest one's time, 0 for none."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)  # anonymous: a forked child has the same

    def __call__(self, beats: bool) -> None:
        """Give a sign of life, or say that there will be no more and none are to be expected."""
        struct.pack_into("d", self._shared, 0, time.monotonic() if beats else 0.0)

    def silent_seconds(self, now: float) -> float:
        """Return how long ago the last sign was [s]; 0 where none is expected."""
        (last,) = struct.unpack_from("d", self._shared, 0)
        return max(0.0, now - last) if last else 0.0


def supervise_process(
    work: Callable[[Heartbeat], int], rescue: Callable[[], None], timeout: float = 2.0
) -> int:
    """Do work in a child process and clean up after it if it is killed or freezes.

    Must be called before threads are started.

    Args:
        work: returns an exit code; SIGTERM raises `Terminated` in it. It is given the pulse that a
            `robots.bridge.Bridge` keeps; without that nobody sees it freeze.
        rescue: stops the arm through a new connection; called when the child was killed, or ended
            by an error that it did not catch.
        timeout: the child is killed when its pulse was silent for so long [s].

    Returns:
        The exit code of `work`; 128 + the signal's number if it was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent, pulse = os.getpid(), Heartbeat()
    child = os.fork()
    if child == 0:
        _work(lambda: work(pulse), parent)
    with _passed_on(child):
        status = _watch(child, pulse, timeout)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        rescue()
        return 128 - code
    if code == UNCAUGHT:
        rescue()
    return code


def _watch(child: int, pulse: Heartbeat, patience: float) -> int:
    """Wait until a child has ended and return its status; end it if its pulse is silent."""
    looked = time.monotonic()
    with _waiting_for(child) as wait:
        while (status := wait(patience / 8)) is None:
            before, looked = looked, time.monotonic()
            # Whoever was suspended together with the child has seen nothing of its life.
            if looked - before < patience / 2 and pulse.silent_seconds(looked) > patience:
                print(f"error: no sign of life for {patience} s", file=sys.stderr, flush=True)
                os.kill(child, signal.SIGKILL)
                return os.waitpid(child, 0)[1]
    return status


@contextmanager
def _waiting_for(child: int) -> Iterator[Callable[[float], int | None]]:
    """Give a function that waits so long [s] at most for a child's end and returns its status."""
    if not hasattr(os, "pidfd_open"):  # not on Linux
        yield lambda seconds: _poll(child, seconds)
        return
    ended = os.pidfd_open(child)

    def wait(seconds: float) -> int | None:
        return os.waitpid(child, 0)[1] if select.select([ended], [], [], seconds)[0] else None

    try:
        yield wait
    finally:
        os.close(ended)


def _poll(child: int, seconds: float) -> int | None:
    """Look every 10 ms whether a child has ended; return its status, or None after so long [s]."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


UNCAUGHT = 70  # EX_SOFTWARE of sysexits.h


def _work(work: Callable[[], int], parent: int) -> NoReturn:
    code = UNCAUGHT
    try:
        _end_with(parent)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminate)
        if os.getppid() != parent:  # it died before the line above
            raise Terminated(128 + signal.SIGTERM)
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Have this process get SIGTERM when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        return

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _terminate(number: int, _: FrameType | None) -> None:
    raise Terminated(128 + number)


@contextmanager
def _passed_on(child: int) -> Iterator[None]:
    """Hand SIGTERM and SIGHUP to the child; Ctrl-C reaches it from the terminal by itself."""

    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
