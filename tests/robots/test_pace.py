"""A loop that must not be late goes first, and nothing else of its process does."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from robots.pace import request_realtime

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="Linux alone schedules in real time"
)


def policy() -> int:
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


def test_only_the_loop_hurries_and_only_while_it_runs() -> None:
    ask = "import os; print(os.sched_getscheduler(0))"
    assert policy() == os.SCHED_OTHER
    with request_realtime(0.01):
        assert policy() == os.SCHED_FIFO or os.geteuid() != 0
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(policy).result() == os.SCHED_OTHER
        made = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True)
        assert int(made.stdout) == os.SCHED_OTHER
    assert policy() == os.SCHED_OTHER


def test_where_the_system_has_no_real_time_it_only_switches_threads_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_setscheduler")
    with request_realtime(0.01):
        assert policy() == os.SCHED_OTHER
        assert sys.getswitchinterval() <= 0.01 / 50


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), request_realtime(0.01):
        raise KeyError
    assert policy() == os.SCHED_OTHER
