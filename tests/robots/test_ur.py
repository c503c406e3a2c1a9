"""The Universal Robots driver: the real ur_rtde against the emulated controller."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.errors import ConfigError, MissingExtraError
from robots.arm import Arm, ArmState, Setpoint, StopCategory
from robots.emulators.ur import UrEmulator
from robots.emulators.ur_controller import RobotMode, RuntimeState
from robots.errors import DeviceError, ModelError
from robots.model import load_model
from robots.ur import UrArm, UrOptions

pytest.importorskip("rtde_control", reason="needs ur-rtde: pip install 'embodied-stack[ur]'")

ROOT = Path(__file__).resolve().parents[2]
COUNT = itertools.count(130)
UR5E = load_model("ur5e")
HOME = np.array(UR5E.home)
STILL = np.zeros(6)
PERIOD = 0.01
# Ten times what a call is allowed to take [s]: other programs keep this machine busy.
BOUND = 4.0


def _ur_address() -> str:
    """A loopback address of this process's own: the ports of a controller are fixed."""
    return f"127.{next(COUNT)}.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"


def _come_true(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.002)


def _ur_options(host: str, **more: Any) -> UrOptions:
    # A patient watchdog: these tests share their machine. The watchdog has a test of its own.
    return UrOptions(**{"host": host, "watchdog": 2.0, "lookahead": 0.03, **more})


@pytest.fixture(name="controller")
def _controller() -> Iterator[UrEmulator]:
    with UrEmulator(UR5E, _ur_address(), unlock_after=0.0) as emulator:
        yield emulator


@pytest.fixture(name="arm")
def _arm(controller: UrEmulator) -> Iterator[UrArm]:
    arm = UrArm(UR5E, _ur_options(controller.host))
    arm.connect()
    yield arm
    arm.disconnect()


def _follow(arm: UrArm, path: np.ndarray) -> list[ArmState]:
    states = []
    due = time.monotonic()
    for positions in path:
        arm.command(Setpoint(positions, STILL))
        states.append(arm.state())
        due += PERIOD
        time.sleep(max(0.0, due - time.monotonic()))  # the pace of a control loop
    return states


def _lost(call: Callable[[], Any]) -> DeviceError:
    """Call until it raises DeviceError; no call may take long."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            call()
        except DeviceError as error:
            assert time.monotonic() - begun < BOUND
            return error
        assert time.monotonic() - begun < BOUND
        time.sleep(PERIOD)
    raise AssertionError("the loss was not noticed")


def test_what_it_is_before_it_is_connected() -> None:
    arm = UrArm(load_model("ur10e"), UrOptions(rate=125.0, target_moments=True))
    assert isinstance(arm, Arm)
    features = arm.features
    assert (features.model, features.rate, features.efforts) == ("ur10e", 125.0, True)
    assert features.joints == load_model("ur10e").joint_names
    with pytest.raises(DeviceError, match="call connect"):
        arm.state()
    for category in StopCategory:
        with pytest.raises(DeviceError, match="call connect"):
            arm.stop(category)
    arm.disconnect()
    with pytest.raises(DeviceError, match="host"):
        arm.connect()
    with pytest.raises(ModelError, match="7 joints"):
        UrArm(load_model("fr3"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", 1000.0), ("lookahead", 0.5), ("gain", 10.0), ("watchdog", 60.0), ("rate", np.nan)],
)
def test_options_say_what_is_allowed(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {value}, allowed"):
        UrOptions(**{name: value})


def test_without_the_sdk_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtde_control", None)
    with pytest.raises(MissingExtraError, match="ur-rtde"):
        UrArm(UR5E, UrOptions(host="127.0.0.1")).connect()


def test_connecting_says_why_it_cannot(controller: UrEmulator) -> None:
    nobody = UrArm(UR5E, _ur_options(_ur_address()))
    with pytest.raises(DeviceError, match="Could not connect.*is the robot on"):
        nobody.connect()
    with pytest.raises(DeviceError, match="drives a UR5"):
        UrArm(load_model("ur10e"), _ur_options(controller.host)).connect()
    arm = UrArm(UR5E, _ur_options(controller.host))
    for fault, message in (
        ("local", "remote control"),
        ("protective", "protective stop: clear the cause"),
        ("emergency", "robot emergency stop: release"),
        ("release", "robot mode power off: power on"),
    ):
        controller.inject_fault(fault)
        with pytest.raises(DeviceError, match=message):
            arm.connect()
    assert not controller.controller.scripts


def test_states_have_rising_stamps_of_this_clock(
    arm: UrArm, capfd: pytest.CaptureFixture[str]
) -> None:
    states = [arm.state()]
    while len(states) < 50:
        _come_true(lambda: arm.state().stamp > states[-1].stamp)
        states.append(arm.state())
    stamps = np.array([state.stamp for state in states])
    assert np.all(np.diff(stamps) > 0)
    assert 0 <= time.monotonic() - stamps[-1] < 0.3
    assert states[-1].positions == pytest.approx(HOME)
    assert states[-1].fault == ""
    assert states[-1].efforts is None
    assert capfd.readouterr() == ("", "")


def test_a_second_of_setpoints_is_followed(arm: UrArm, controller: UrEmulator) -> None:
    phase = np.linspace(0, np.pi, 100)
    path = HOME + np.outer((1 - np.cos(phase)) / 2, [0.3, 0.2, -0.2, 0.1, -0.1, 0.3])
    begun = controller.controller.clock
    states = _follow(arm, path)
    _come_true(lambda: np.abs(arm.state().positions - path[-1]).max() < 1e-3)
    rows = [row for row in controller.controller.record.copy() if row[0] > begun]
    targets, positions = np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    assert len(np.unique(targets[:, 0])) > 50
    assert {tuple(target) for target in targets} <= {tuple(row) for row in path} | {tuple(HOME)}
    # 0.47 rad/s at most, times a lag of 0.03 s, and what a late setpoint may add.
    assert np.abs(targets - positions).max() < 0.1
    assert max(state.velocities[0] for state in states) > 0.3


def test_joints_are_no_faster_than_the_maker_says(arm: UrArm, controller: UrEmulator) -> None:
    far = HOME + np.array([1.5, 0, 0, 0, 0, 1.5])
    begun = controller.controller.clock
    while np.abs(arm.state().positions - far).max() > 1e-2:
        arm.command(Setpoint(far, STILL))
        assert controller.controller.clock < begun + 10
    rows = [row[2] for row in controller.controller.record.copy() if row[0] > begun]
    speeds = np.abs(np.diff(rows, axis=0)).max(axis=0) / 0.002
    assert np.all(speeds <= [joint.velocity * 1.001 for joint in UR5E.joints])
    assert speeds[0] > 2.0


def test_stop_and_hold_keeps_the_power_and_the_way_on(arm: UrArm, controller: UrEmulator) -> None:
    ahead = HOME + 0.5
    arm.command(Setpoint(ahead, STILL))
    _come_true(lambda: arm.state().velocities.max() > 0.3)
    arm.stop(StopCategory.STOP_AND_HOLD)
    assert np.abs(arm.state().velocities).max() < 0.05
    held = arm.state().positions
    assert np.abs(held - ahead).max() > 0.01
    # Idle, the driver itself satisfies the watchdog: three of its periods later all is well.
    begun = controller.controller.clock
    _come_true(lambda: controller.controller.clock > begun + 1.5)
    assert arm.state().fault == ""
    assert arm.state().positions == pytest.approx(held, abs=1e-3)
    arm.command(Setpoint(ahead, STILL))
    _come_true(lambda: np.abs(arm.state().positions - held).max() > 0.01)
    arm.disconnect()
    assert controller.controller.mode == RobotMode.RUNNING
    assert controller.controller.runtime == RuntimeState.STOPPED
    assert not controller.controller.arm.velocities.any()


@pytest.mark.parametrize("category", [StopCategory.CUT_POWER, StopCategory.STOP_THEN_POWER_OFF])
def test_power_goes_off(arm: UrArm, controller: UrEmulator, category: StopCategory) -> None:
    arm.command(Setpoint(HOME + 0.5, STILL))
    _come_true(lambda: arm.state().velocities.max() > 0.3)
    arm.stop(category)
    assert controller.controller.mode == RobotMode.POWER_OFF
    _come_true(lambda: "power off" in arm.state().fault)
    stops = [number for _, number in controller.get_report()["commands"] if number == 16]
    assert len(stops) == (category == StopCategory.STOP_THEN_POWER_OFF)
    with pytest.raises(DeviceError, match="refused: robot mode power off"):
        arm.command(Setpoint(HOME, STILL))


@pytest.mark.parametrize("dashboard", [True, False])
def test_an_arm_whose_power_stays_on_stands_and_says_so(
    controller: UrEmulator, dashboard: bool
) -> None:
    arm = UrArm(UR5E, _ur_options(controller.host, dashboard=dashboard))
    arm.connect()
    arm.command(Setpoint(HOME + 0.5, STILL))
    _come_true(lambda: arm.state().velocities.max() > 0.3)
    if dashboard:
        controller.inject_fault("local")  # the dashboard takes no orders any more
    with pytest.raises(DeviceError, match="dashboard"):
        arm.stop(StopCategory.CUT_POWER)
    assert controller.controller.mode == RobotMode.RUNNING
    assert np.abs(arm.state().velocities).max() < 0.05
    arm.disconnect()


def test_a_protective_stop_is_a_fault_until_it_is_unlocked(
    arm: UrArm, controller: UrEmulator
) -> None:
    arm.command(Setpoint(HOME + 0.5, STILL))
    controller.inject_fault("protective")
    _come_true(lambda: arm.state().fault.startswith("protective stop"))
    with pytest.raises(DeviceError, match="refused: protective stop"):
        arm.command(Setpoint(HOME, STILL))
    arm.stop(StopCategory.STOP_AND_HOLD)
    arm.disconnect()
    assert controller.controller.answer_dashboard("unlock protective stop").endswith("releasing")
    arm.connect()
    assert arm.state().fault == ""


def test_the_watchdog_stops_an_arm_that_gets_no_setpoints(controller: UrEmulator) -> None:
    arm = UrArm(UR5E, _ur_options(controller.host, watchdog=5.0, target_moments=True))
    with arm:
        assert arm.state().efforts is not None
        arm.command(Setpoint(HOME + 3.0, STILL))
        _come_true(lambda: arm.state().fault.startswith("the control script has ended"))
        assert controller.controller.runtime == RuntimeState.STOPPED
        assert np.abs(arm.state().positions - HOME).max() < 1.0
        with pytest.raises(DeviceError, match="refused: the control script has ended"):
            arm.command(Setpoint(HOME, STILL))


@pytest.mark.parametrize(("fault", "message"), [("drop", "ended the conn"), ("silent", "no state")])
def test_a_lost_line_is_an_error_and_can_be_opened_again(
    arm: UrArm, controller: UrEmulator, fault: str, message: str
) -> None:
    arm.command(Setpoint(HOME + 0.1, STILL))
    controller.inject_fault(fault)
    assert message in str(_lost(lambda: arm.command(Setpoint(HOME, STILL))))
    assert "connect again" in str(_lost(arm.state))
    arm.stop(StopCategory.STOP_AND_HOLD)  # by way of the dashboard
    assert controller.controller.runtime == RuntimeState.STOPPED
    controller.inject_fault("speak")
    arm.connect()
    assert arm.state().fault == ""
    _follow(arm, np.tile(HOME, (5, 1)))


def test_a_frozen_controller_freezes_nobody_else() -> None:
    host = _ur_address()
    command = [sys.executable, "-m", "robots.emulators.ur", "--host", host]
    emulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    arm = UrArm(UR5E, _ur_options(host))
    try:
        assert emulator.stdout is not None
        assert b"ur5e" in emulator.stdout.readline()
        arm.connect()
        arm.command(Setpoint(HOME, STILL))
        os.kill(emulator.pid, signal.SIGSTOP)
        _lost(lambda: arm.command(Setpoint(HOME, STILL)))
        _lost(arm.state)
        _lost(lambda: arm.stop(StopCategory.STOP_AND_HOLD))
        assert "dashboard" in str(_lost(lambda: arm.stop(StopCategory.CUT_POWER)))
        begun = time.monotonic()
        arm.disconnect()
        impatient = UrArm(UR5E, _ur_options(host, connect_timeout=1.0))
        with pytest.raises(DeviceError, match="no answer within"):
            impatient.connect()
        assert time.monotonic() - begun < 10 * 1.5
        os.kill(emulator.pid, signal.SIGCONT)
        arm.connect()
        assert arm.state().fault == ""
    finally:
        arm.disconnect()
        emulator.kill()
        emulator.communicate()


def test_the_arm_stops_when_the_process_that_drives_it_is_killed(controller: UrEmulator) -> None:
    program = f"""
from robots.arm import Setpoint
from robots.model import load_model
from robots.ur import UrArm, UrOptions
import numpy, time
arm = UrArm(load_model("ur5e"), UrOptions(host="{controller.host}", watchdog=2.0))
arm.connect()
while True:
    arm.command(Setpoint(numpy.array({UR5E.home}) + 3.0, numpy.zeros(6)))
    print(arm.state().velocities.max(), flush=True)
    time.sleep(0.01)
"""
    driving = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert driving.stdout is not None
        assert any(float(line) > 0.5 for line in driving.stdout)
    finally:
        driving.kill()
        driving.communicate()
    _come_true(lambda: controller.controller.runtime == RuntimeState.STOPPED)
    _come_true(lambda: not controller.controller.arm.busy)
    # Not by the watchdog: the SDK's process noticed, and ended the script in good order.
    assert [number for _, number in controller.get_report()["commands"]][-2:] == [16, 255]
