"""Watch over the process that moves an arm, and stop the arm when that process is gone.

A process killed by force runs no cleanup. So the work is done in a child: if it dies of anything
but its own decision, the parent stops the arm through a connection of its own; and if the parent
dies, the kernel ends the child with SIGTERM, which stops the arm in good order.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received: leave every `with` block, then exit."""


def supervise(work: Callable[[], int], rescue: Callable[[], None]) -> int:
    """Do work in a child process and clean up after it if it is killed.

    Must be called before threads are started.

    Args:
        work: returns an exit code; SIGTERM raises `Terminated` in it.
        rescue: stops the arm through a new connection; called when the child was killed, or ended
            by an error that it did not catch.

    Returns:
        The exit code of `work`; 128 + the signal's number if it was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _work(work, parent)
    with _passed_on(child):
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        rescue()
        return 128 - code
    if code == UNCAUGHT:
        rescue()
    return code


UNCAUGHT = 70  # EX_SOFTWARE of sysexits.h


def _work(work: Callable[[], int], parent: int) -> NoReturn:
    code = UNCAUGHT
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
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
