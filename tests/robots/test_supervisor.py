"""Whoever is killed, the arm is stopped: by its own process in good order, or by the one watching.

Real processes and real signals; what happened is told through a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ELSEWHERE = "import os, sys; sys.platform = 'darwin'; del os.pidfd_open"  # as on a Mac
PROGRAM = """
import os, sys, time
from robots.supervisor import supervise_process
log = open({log!r}, "a", buffering=1)

def say(*words):
    print(*words, file=log)

def work(pulse):
    try:
        say("working", os.getpid())
        {body}
    finally:
        say("stopped in order")
    return 7

say("parent", os.getpid())
code = supervise_process(work, lambda: say("rescued"), 0.5)
say("code", code)
sys.exit(code)
"""


@pytest.fixture(params=["", ELSEWHERE], ids=["linux", "elsewhere"])
def started(request: pytest.FixtureRequest, tmp_path: Path):
    processes = []

    def start(body: str) -> tuple[subprocess.Popen, Path]:
        log = tmp_path / "log"
        program = textwrap.dedent(PROGRAM).format(log=str(log), body=body)
        program = request.param + program
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
        processes.append(process)
        return process, log

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def until(log: Path, words: str) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        text = log.read_text() if log.exists() else ""
        if words in text:
            return text
        time.sleep(0.01)
    raise AssertionError(f"'{words}' was not said: {log.read_text() if log.exists() else ''}")


def number(text: str, word: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(word))


def test_the_code_of_the_work_is_passed_on(started) -> None:
    process, log = started("pass")
    assert process.wait(30) == 7
    assert "rescued" not in log.read_text()


def test_sigterm_to_the_parent_ends_the_work_in_good_order(started) -> None:
    process, log = started("time.sleep(60)")
    until(log, "working")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    text = log.read_text()
    assert "stopped in order" in text
    assert "rescued" not in text


def test_a_parent_killed_by_force_takes_the_work_with_it_in_good_order(started) -> None:
    process, log = started("time.sleep(60)")
    until(log, "working")
    process.kill()
    until(log, "stopped in order")


def test_work_killed_by_force_is_cleaned_up_after(started) -> None:
    process, log = started("time.sleep(60)")
    os.kill(number(until(log, "working"), "working"), signal.SIGKILL)
    assert process.wait(30) == 128 + signal.SIGKILL
    text = log.read_text()
    assert "rescued" in text
    assert "stopped in order" not in text


def test_frozen_work_is_killed_and_cleaned_up_after(started) -> None:
    beating = "[(pulse(True), time.sleep(0.01)) for _ in range(10000)]"
    process, log = started(beating)
    child = number(until(log, "working"), "working")
    time.sleep(1.5)  # several times its patience
    assert "rescued" not in log.read_text()
    os.kill(child, signal.SIGSTOP)
    assert process.wait(30) == 128 + signal.SIGKILL
    assert "rescued" in log.read_text()
    assert b"no sign of life for 0.5 s" in process.stderr.read()


def test_work_that_hangs_between_two_beats_is_frozen_too(started) -> None:
    process, log = started("pulse(True); time.sleep(60)")
    assert process.wait(30) == 128 + signal.SIGKILL
    assert "rescued" in log.read_text()


def test_work_without_a_loop_may_take_its_time(started) -> None:
    process, log = started("time.sleep(1.2); pulse(True); pulse(False); time.sleep(1.2)")
    assert process.wait(30) == 7
    assert "rescued" not in log.read_text()


def test_who_was_suspended_together_goes_on_together(started) -> None:
    process, log = started("[(pulse(True), time.sleep(0.01)) for _ in range(300)]")
    child = number(until(log, "working"), "working")
    for one in (child, process.pid):
        os.kill(one, signal.SIGSTOP)
    time.sleep(1.0)
    for one in (process.pid, child):
        os.kill(one, signal.SIGCONT)
    assert process.wait(30) == 7


def test_an_error_nobody_caught_is_shown_and_cleaned_up_after(started) -> None:
    process, log = started("raise RuntimeError('cable')")
    assert process.wait(30) == 70
    assert "rescued" in log.read_text()
    assert b"RuntimeError: cable" in process.stderr.read()


def test_an_interrupt_from_the_terminal_is_an_orderly_end(started) -> None:
    process, log = started("os.kill(os.getpid(), __import__('signal').SIGINT); time.sleep(60)")
    assert process.wait(30) == 130
    assert "rescued" not in log.read_text()
