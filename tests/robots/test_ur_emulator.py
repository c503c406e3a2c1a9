"""The emulated Universal Robots controller: its protocols by hand, and the real client on top."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robots.emulators.ur import UrEmulator
from robots.emulators.ur_arm import SimulatedArm
from robots.emulators.ur_controller import PERIOD
from robots.model import load_model

ROOT = Path(__file__).resolve().parents[2]
COUNT = itertools.count(1)
UR5E = load_model("ur5e")
HOME = list(UR5E.home)


def _address() -> str:
    """A loopback address of this process's own: the ports of a controller are fixed."""
    return f"127.{next(COUNT)}.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"


def _until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.002)


@pytest.fixture(name="emulator")
def _emulator() -> Iterator[UrEmulator]:
    with UrEmulator(UR5E, _address(), unlock_after=0.1) as emulator:
        yield emulator


class _Rtde:
    """A client of a few lines."""

    def __init__(self, host: str) -> None:
        self.line = socket.create_connection((host, 30004), 5.0)
        self.file = self.line.makefile("rb")

    def send(self, kind: str, payload: bytes = b"") -> None:
        self.line.sendall(struct.pack(">HB", 3 + len(payload), ord(kind)) + payload)

    def receive(self, kind: str) -> bytes:
        while True:
            size, got = struct.unpack(">HB", self.file.read(3))
            payload = self.file.read(size - 3)
            if got == ord(kind):
                return payload

    def ask(self, kind: str, payload: bytes = b"") -> bytes:
        self.send(kind, payload)
        return self.receive(kind)


def _dashboard(host: str, *commands: str) -> list[str]:
    with socket.create_connection((host, 29999), 5.0) as line:
        file = line.makefile("rw", newline="\n")
        answers = [file.readline().strip()]
        for command in commands:
            file.write(f"{command}\n")
            file.flush()
            answers.append(file.readline().strip())
    return answers


def test_rtde_negotiates_and_answers_with_types(emulator: UrEmulator) -> None:
    client = _Rtde(emulator.host)
    assert client.ask("V", struct.pack(">H", 1)) == b"\x00"
    assert client.ask("V", struct.pack(">H", 2)) == b"\x01"
    assert struct.unpack(">4I", client.ask("v"))[0] == 5
    names = b"timestamp,actual_q,robot_mode,joint_mode,nonsense"
    kinds = b"DOUBLE,VECTOR6D,INT32,VECTOR6INT32,NOT_FOUND"
    assert client.ask("O", struct.pack(">d", 125) + names) == b"\x01" + kinds


def test_rtde_publishes_at_the_rate_asked_for(emulator: UrEmulator) -> None:
    client = _Rtde(emulator.host)
    client.ask("O", struct.pack(">d", 125) + b"timestamp,actual_q")
    assert client.ask("S") == b"\x01"
    packages = [struct.unpack(">B7d", client.receive("U")) for _ in range(20)]
    assert np.diff([package[1] for package in packages]) == pytest.approx(0.008)
    assert packages[-1][2:] == pytest.approx(HOME)
    assert client.ask("P") == b"\x01"


def test_an_input_has_one_owner(emulator: UrEmulator) -> None:
    first, second = _Rtde(emulator.host), _Rtde(emulator.host)
    assert first.ask("I", b"input_int_register_0") == b"\x01INT32"
    assert first.ask("I", b"input_int_register_0,nonsense") == b"\x00INT32,NOT_FOUND"
    assert second.ask("I", b"input_int_register_0") == b"\x00IN_USE"
    first.file.close()
    first.line.close()
    _until(lambda: second.ask("I", b"input_int_register_0") == b"\x01INT32")
    second.send("U", b"\x01" + struct.pack(">i", 42))
    _until(lambda: emulator.controller.registers.int_in[0] == 42)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00U",
        b"\x00\x04U\x09",
        b"\x00\x05O\x01\x02",
        b"\x00\x0bO" + struct.pack(">d", math.nan),
        b"\x00\x05I\xff\xfe",
        b"\xff\xff" * 40_000,
    ],
)
def test_nonsense_ends_its_own_connection_only(emulator: UrEmulator, frame: bytes) -> None:
    other = _Rtde(emulator.host)
    with contextlib.suppress(ConnectionError), _Rtde(emulator.host).line as line:
        line.sendall(frame)
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass
    assert other.ask("V", struct.pack(">H", 2)) == b"\x01"


def test_dashboard_takes_the_arm_through_a_day(emulator: UrEmulator) -> None:
    answers = _dashboard(
        emulator.host,
        *("robotmode", "get robot model", "power off", "robotmode", "power on", "robotmode"),
        *("brake release", "robotmode", "safetystatus", "running", "is in remote control", "dance"),
    )
    assert answers == [
        "Connected: Universal Robots Dashboard Server",
        *("Robotmode: RUNNING", "UR5", "Powering off", "Robotmode: POWER_OFF"),
        *("Powering on", "Robotmode: IDLE", "Brake releasing", "Robotmode: RUNNING"),
        *("Safetystatus: NORMAL", "Program running: false", "true", "could not understand: dance"),
    ]


def test_a_protective_stop_cannot_be_unlocked_at_once(emulator: UrEmulator) -> None:
    emulator.inject_fault("protective")
    assert _dashboard(emulator.host, "unlock protective stop")[1].startswith("Cannot unlock")
    assert _dashboard(emulator.host, "safetystatus")[1] == "Safetystatus: PROTECTIVE_STOP"
    asked = emulator.controller.clock
    _until(lambda: emulator.controller.clock > asked + 0.1)
    assert _dashboard(emulator.host, "unlock protective stop")[1] == "Protective stop releasing"
    assert _dashboard(emulator.host, "safetystatus")[1] == "Safetystatus: NORMAL"


def test_local_control_takes_no_orders_and_no_scripts(emulator: UrEmulator) -> None:
    emulator.inject_fault("local")
    assert _dashboard(emulator.host, "power off")[1].startswith("Failed to execute")
    for mode, expected in (("local", []), ("remote", ["def program():\n  sync()\nend\n"])):
        emulator.inject_fault(mode)
        with socket.create_connection((emulator.host, 30003), 5.0) as line:
            line.sendall(b"def program():\n  sync()\nend\n")
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b""  # it has read all and closes
        assert emulator.controller.scripts == expected


def test_only_loopback_and_one_emulator_an_address(emulator: UrEmulator) -> None:
    with pytest.raises(ValueError, match="127"):
        UrEmulator(host="0.0.0.0")  # noqa: S104 - what must not be
    with pytest.raises(OSError, match="in use"):
        UrEmulator(host=emulator.host).start()
    with pytest.raises(ValueError, match="protective"):
        emulator.inject_fault("dance")


def _speeds(arm: SimulatedArm, steps: int) -> np.ndarray:
    rows = [arm.positions]
    for _ in range(steps):
        arm.step(PERIOD)
        rows.append(arm.positions)
    return np.abs(np.diff(rows, axis=0)) / PERIOD


@pytest.mark.parametrize("kind", ["servo", "move", "speed"])
def test_no_joint_is_faster_than_its_maker_says(kind: str) -> None:
    arm = SimulatedArm(UR5E)
    far = arm.positions + np.array([3.0, -2.0, 1.0, 4.0, -4.0, 0.0])
    if kind == "servo":
        arm.servo_joints(far, lookahead=0.03)
    elif kind == "move":
        arm.move_joints(far, speed=10.0, acceleration=100.0)
    else:
        arm.speed_joints(np.full(6, 10.0), acceleration=100.0, seconds=0.0)
    speeds = _speeds(arm, 2500)
    assert np.all(speeds.max(axis=0) <= arm.fastest * (1 + 1e-9))
    assert speeds.max() == pytest.approx(arm.fastest.max(), rel=0.01)
    if kind != "speed":
        assert arm.positions == pytest.approx(far, abs=1e-4)
        assert not arm.busy
    arm.brake(5.0)
    _speeds(arm, 500)
    assert not arm.busy
    assert not arm.velocities.any()


def test_the_tools_pose_is_right_where_rotations_are_hard() -> None:
    arm = SimulatedArm(UR5E)
    # The first is half a turn, where the sine of the angle gives no axis.
    for turn, expected in ((0.0, math.pi), (0.5, None)):
        arm.positions = np.array([0.0, -math.pi / 2, math.pi / 2, -math.pi / 2, -math.pi / 2, turn])
        vector = arm.compute_tool_pose()[3:]
        angle = float(np.linalg.norm(vector))
        assert 0 < angle <= math.pi + 1e-9
        if expected is not None:
            assert angle == pytest.approx(expected, abs=1e-6)


class _Process:
    """An emulator in a process of its own, as the client's constructors stop all Python threads."""

    def __init__(self) -> None:
        self.host = _address()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robots.emulators.ur", "--host", self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert "ur5e" in self.process.stdout.readline()

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        return self.process.stdout.readline().strip()

    def report(self) -> dict[str, Any]:
        return json.loads(self.say("report"))


@pytest.fixture(name="outside", scope="module")
def _outside() -> Iterator[_Process]:
    pytest.importorskip("rtde_receive", reason="needs ur-rtde: pip install 'embodied-stack[ur]'")
    outside = _Process()
    yield outside
    assert outside.say("quit") == ""
    try:
        assert outside.process.wait(10) == 0
    finally:
        outside.process.kill()
        outside.process.communicate()


def test_the_command_line_answers(outside: _Process) -> None:
    assert outside.say("dance").startswith("'dance': one of protective")
    assert outside.say("local") == outside.say("remote") == "ok"
    assert outside.report()["safety"] == "NORMAL"


def test_the_real_client_reads_everything(outside: _Process) -> None:
    from rtde_receive import RTDEReceiveInterface

    receive = RTDEReceiveInterface(outside.host)
    stamps = [receive.getTimestamp()]
    while len(stamps) < 50:
        _until(lambda: receive.getTimestamp() != stamps[-1])
        stamps.append(receive.getTimestamp())
    assert np.all(np.diff(stamps) > 0)
    assert receive.getActualQ() == pytest.approx(HOME)
    assert len(receive.getActualTCPPose()) == len(receive.getTargetMoment()) == 6
    assert (receive.getRobotMode(), receive.getSafetyMode()) == (7, 1)
    assert not receive.isProtectiveStopped()
    outside.say("protective")
    _until(receive.isProtectiveStopped)
    outside.say("emergency")
    _until(receive.isEmergencyStopped)
    outside.say("release")
    _dashboard(outside.host, "power on", "brake release")
    _until(lambda: (receive.getRobotMode(), receive.getSafetyMode()) == (7, 1))
    receive.disconnect()


def test_the_real_client_moves_the_arm(outside: _Process) -> None:
    from rtde_control import RTDEControlInterface

    control = RTDEControlInterface(outside.host)
    assert control.isProgramRunning()
    target = [angle + 0.2 for angle in HOME]
    assert control.moveJ(target, 1.0, 4.0)
    assert outside.report()["positions"] == pytest.approx(target, abs=1e-4)
    assert control.moveJ(HOME, 1.0, 4.0, True)
    _until(lambda: control.getAsyncOperationProgress() < 0)
    assert outside.report()["positions"] == pytest.approx(HOME, abs=1e-4)
    assert control.speedJ([0.5, 0, 0, 0, 0, 0], 4.0, 0.0)
    _until(lambda: outside.report()["positions"][0] > 0.05)
    assert control.speedStop()
    for _ in range(100):
        start = control.initPeriod()
        assert control.servoJ(HOME, 0.5, 0.5, 0.01, 0.03, 300)
        control.waitPeriod(start)
    assert outside.report()["positions"] == pytest.approx(HOME, abs=1e-3)
    assert control.servoStop()
    assert {1, 9, 11, 15, 16} <= {number for _, number in outside.report()["commands"]}
    control.stopScript()
    _until(lambda: outside.report()["runtime"] == "STOPPED")
    control.disconnect()


def test_its_watchdog_ends_the_script(outside: _Process) -> None:
    from rtde_control import RTDEControlInterface

    control = RTDEControlInterface(outside.host)
    assert control.setWatchdog(2.0)
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert control.kickWatchdog()
    assert control.isProgramRunning()
    _until(lambda: not control.isProgramRunning())
    assert not control.moveJ(HOME, 1.0, 1.0)
    control.disconnect()
