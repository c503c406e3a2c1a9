"""Every fault of the kit befalls a moving arm once; how often and how fast: `bench robot_faults`.

Real processes, signals, sockets and serial protocol. Promised times are checked tenfold: a busy
test machine must not decide.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._rigs import MOVING, ROOT, STILL, Franka, Run, Server, Servos, broken
from benchmarks.robot_faults import FAULTS, Trial, figures, strike, suspended
from robots.arm import ArmState, StopCategory
from robots.bridge import Bridge
from robots.episode import RecordingOrigin
from robots.errors import DeviceError
from robots.intent import Command, CommandKind
from robots.model import load_model
from robots.recorder import Recorder
from robots.robot_config import load_robot
from robots.shaper import JointMotion
from robots.state_machine import BridgeState

pytest.importorskip("scservo_sdk", reason="the servos' SDK: pip install feetech-servo-sdk")

CALM = {"state_age": 0.5}  # a test machine may be busy
BRAKING = 0.5  # from full speed, and by a wide margin [s]
# Seen by the policy's client as others are, and left to the slow run.
SAME = ("link_cut", "link_half_open")
ON_SERVOS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SAME else [])
    for name, fault in FAULTS.items()
    if "feetech" in fault.arms
]
ON_FRANKA = [name for name, fault in FAULTS.items() if "fr3" in fault.arms]


@pytest.fixture
def servos(tmp_path: Path) -> Iterator[Servos]:
    with closing(Servos(tmp_path)) as rig:
        yield rig


@pytest.fixture(scope="module")
def reach_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with (
        closing(Servos(tmp_path_factory.mktemp("served"))) as rig,
        closing(Server(rig)) as server,
    ):
        yield server


def until(what: Callable[[], bool], why: str = "it did not come true") -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.005)


def check(trial: Trial, within: float) -> None:
    assert trial.wrong == ""
    # NaN where nothing has to be noticed, or to stop.
    assert not trial.detect > 10 * within
    assert not trial.stop > 10 * (within + BRAKING)


@pytest.mark.parametrize("name", ON_SERVOS)
def test_a_fault_ends_as_promised_on_the_servo_arm(
    name: str, servos: Servos, reach_server: Server
) -> None:
    fault = FAULTS[name]
    with Run(servos, reach_server if fault.served else None, safety=CALM) as run:
        check(strike(run, fault), fault.within)
    until(lambda: servos.speed(None) < STILL)
    assert servos.holding(), "a servo lost its torque, or is not where it was told to be"


def test_a_bridge_that_was_suspended_faults_when_it_wakes(servos: Servos, tmp_path: Path) -> None:
    check(suspended(servos, tmp_path), 0.1)
    assert servos.holding()


@pytest.mark.parametrize(
    "victim", ["bridge", "parent", "frozen", pytest.param("both", marks=pytest.mark.slow)]
)
def test_whoever_is_killed_the_servos_end_holding_still(servos: Servos, victim: str) -> None:
    """And a bridge that is suspended for good ends as one that was killed."""
    deploy = [sys.executable, "-m", "embodied", "deploy", "--robot", str(servos.recipe)]
    parent = subprocess.Popen(deploy, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: servos.speed(None) > MOVING)
        child = int(Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text())
        if victim in ("parent", "both"):
            parent.kill()
        if victim != "parent":
            os.kill(child, signal.SIGSTOP if victim == "frozen" else signal.SIGKILL)
        code = parent.wait(60)
        until(lambda: gone(child))
        said = parent.stderr.read().decode() if parent.stderr else ""
    finally:
        parent.kill()
        parent.communicate()
    if victim in ("bridge", "frozen"):
        assert code == 128 + signal.SIGKILL
        assert ("no sign of life" in said) == (victim == "frozen")
        assert "was killed; stopping the arm" in said
    until(lambda: servos.speed(None) < STILL)
    assert servos.holding()
    # And the arm can be had again, by whoever comes next.
    with Run(servos, safety=CALM) as run:
        run.until_moving()


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody collects stays listed (Z)."""
    try:
        return ") Z" in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_full_disk_ends_the_recording_and_nothing_else(servos: Servos, tmp_path: Path) -> None:
    pytest.importorskip("mcap", reason="recording: pip install 'embodied-stack[record]'")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(0)
    recorder = Recorder(tmp_path / "run", RecordingOrigin("left", "so101", ("a",)))
    with recorder, Run(servos, log=recorder, safety=CALM) as run:
        run.until_moving()
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            for _ in range(4000):  # more than there is room for
                recorder.record_message("noise", 0.0, {"numbers": rng.random(50).tolist()})
            until(lambda: recorder.problem != "")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "File too large" in recorder.problem
        sent = len(run.sent)
        until(lambda: len(run.sent) > sent + 50)
        until(lambda: run.state is BridgeState.RUNNING)
        assert run.bridge.get_status().fault == ""
        assert run.violation() is None


def test_a_second_program_at_the_port_is_refused_and_disturbs_nothing(servos: Servos) -> None:
    with Run(servos, safety=CALM) as run:
        run.until_moving()
        for _ in range(20):
            with load_robot(str(servos.recipe)).open_arm() as second:
                with pytest.raises(DeviceError, match="end other programs"):
                    second.connect()
                second.disconnect()
            time.sleep(0.01)  # another moment of the exchange each time
        assert run.bridge.get_status().fault == ""
        assert run.violation() is None


def test_the_check_of_setpoints_sees_a_step_too_far(servos: Servos) -> None:
    cell = load_robot(str(servos.recipe))
    still = np.tile(cell.model.home, (120, 1))
    assert broken(still, cell) is None
    still[110, 0] += 0.01
    assert broken(still, cell) is not None


def test_figures_of_trials_tell_a_broken_promise() -> None:
    assert figures("f", []) == {"f.promised": 0.0, "f.trials": 0.0}
    made = figures("f", [Trial(0.1, float("nan")), Trial(0.3, 0.2, "moving")])
    assert made == {
        "f.promised": 0.0,
        "f.trials": 2.0,
        "f.detect_p50_ms": 200.0,
        "f.detect_p99_ms": 298.0,
    }


# What the kit found wrong with the bridge's loop, in the small.


class Failing:
    """A log that fails, as no log should."""

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        if kind == "setpoint":
            raise MemoryError("no room")


def test_whatever_ends_a_tick_is_a_latched_fault_and_the_loop_goes_on(
    exact_arm, model, safety, clock
) -> None:
    waits: list[float] = []
    beat = threading.Semaphore(0)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        beat.acquire(timeout=20)
        clock.sleep(seconds)

    bridge = Bridge(exact_arm, model, safety, Failing(), clock, sleep)
    with bridge:
        until(lambda: len(waits) == 1)
        token, now = bridge.arm("policy"), clock()
        bridge.submit_command(token, Command(CommandKind.POSITION, np.array(model.home), now, now))
        beat.release()
        until(lambda: len(waits) == 2)
        assert bridge.get_status().state is BridgeState.FAULT
        assert "MemoryError('no room')" in bridge.get_status().fault
        assert exact_arm.stops == [StopCategory.STOP_THEN_POWER_OFF]
        for beats in (3, 4, 5):
            beat.release()
            until(lambda beats=beats: len(waits) == beats)
        beat.release(1000)


def test_a_clock_that_is_set_back_does_not_put_the_loop_to_sleep(
    exact_arm, model, safety, clock
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds - (5.0 if len(waits) == 3 else 0.0)
        if len(waits) == 10:
            bridge._ending.set()

    bridge = Bridge(exact_arm, model, safety, None, clock, sleep)
    bridge.run()
    assert max(waits) <= bridge.period + 1e-9


def test_a_measurement_from_the_future_is_a_fault(exact_arm, model, safety, clock) -> None:
    bridge = Bridge(exact_arm, model, safety, None, clock, clock.sleep)
    bridge.tick()
    bridge.arm("policy")
    exact_arm.silent_since = clock() + 5.0  # and might be as old as that before it counts as old
    bridge.tick()
    assert bridge.get_status().state is BridgeState.FAULT
    assert "-5.000 s old" in bridge.get_status().fault


def test_time_that_passes_while_measuring_counts_before_the_next_setpoint(
    exact_arm, model, safety, clock
) -> None:
    bridge = Bridge(exact_arm, model, safety, None, clock, clock.sleep)
    bridge.tick()
    token, now = bridge.arm("policy"), clock()
    bridge.submit_command(
        token, Command(CommandKind.POSITION, np.array(model.home) + 0.05, now, now)
    )
    measure = exact_arm.state

    def interrupted() -> ArmState:
        clock.sleep(3.0)  # suspended between two lines of the loop
        return measure()

    exact_arm.state = interrupted
    bridge.tick()
    assert bridge.get_status().state is BridgeState.FAULT
    assert not exact_arm.sent


def test_where_ruckig_gives_up_the_arm_takes_its_way_to_rest(exact_arm, safety, clock) -> None:
    so101 = load_model("so101")
    bridge = Bridge(type(exact_arm)(so101, clock), so101, safety, None, clock, clock.sleep)
    bridge.tick()
    token = bridge.arm("policy")
    bridge.tick()  # the first setpoint stands still
    now = clock()
    # As it was found, a hair beside a target: "error in step 2 in dof: 1 for t sync: 0.000000".
    bridge._shaper.motion = JointMotion(
        np.array([0.0, 0.0, 0.0, 0.0, -3.574565081215363e-16]),
        np.array([-6.19e-19, 9.656710397176156e-16, -6.19e-19, 9.656710397176156e-16, -5.72e-19]),
        np.array([2.03e-16, -9.929947489273339e-14, 2.03e-16, -9.929947489273339e-14, -1.73e-16]),
    )
    bridge.submit_command(token, Command(CommandKind.POSITION, np.zeros(5), now, now))
    bridge.tick()
    status = bridge.get_status()
    assert status.state is BridgeState.RUNNING
    assert "no plan" in status.blocked_reason
    assert status.setpoint.positions == pytest.approx(np.zeros(5))
    bridge.tick()
    assert bridge.get_status().fault == ""


@pytest.fixture(scope="module")
def franka_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Franka, Server]]:
    pytest.importorskip("franky", reason="franky-control is not installed (extra 'franka')")
    pytest.importorskip("franky_sim", reason="franky-sim is not installed (extra 'franka')")
    with (
        closing(Franka(tmp_path_factory.mktemp("franka"))) as rig,
        closing(Server(rig)) as server,
    ):
        yield rig, server


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_FRANKA)
def test_a_fault_ends_as_promised_on_the_fr3(name: str, franka_rig: tuple[Franka, Server]) -> None:
    (rig, server), fault = franka_rig, FAULTS[name]
    rig.renew()
    with Run(rig, server if fault.served else None, safety=CALM) as run:
        check(strike(run, fault), fault.within)


@pytest.mark.slow
def test_a_suspended_bridge_faults_on_the_fr3(
    franka_rig: tuple[Franka, Server], tmp_path: Path
) -> None:
    franka_rig[0].renew()
    check(suspended(franka_rig[0], tmp_path), 0.1)
