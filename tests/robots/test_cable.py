"""The cable is pulled: the robot, or the policy's server, sits behind a link that goes down.

Network namespaces joined by a pair of virtual cards; unlike a proxy's faults, nothing at all comes
through, and nobody is told. Needs root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks._rigs import MOVING, STILL, Servos
from embodied.policies.chunk.reach import ReachPolicy
from embodied.serving.client import PolicyClient
from robots.arm import StopCategory
from robots.bridge import Bridge
from robots.robot_config import RobotSetup, load_robot
from robots.rollout import RolloutConfig, run_policy
from robots.state_machine import BridgeState

pytestmark = pytest.mark.slow

KEY = "a-key-for-a-test"
TENFOLD = 10  # of promised times: a busy test machine must not decide


class Cable:
    """A namespace behind a link; `there` is its address."""

    def __init__(self, number: int) -> None:
        self.name, self.card = f"emb{os.getpid()}n{number}", f"embv{os.getpid() % 10000}n{number}"
        self.here, self.there = f"10.83.{number}.1", f"10.83.{number}.2"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Run a program of ours behind the cable; it ends with `stop`."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def pull(self) -> None:
        ip("link", "set", self.card, "down")

    def plug(self) -> None:
        ip("link", "set", self.card, "up")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def cable(number: int) -> Iterator[Cable]:
    made = Cable(number)
    far = f"{made.card}f"
    try:
        ip("netns", "add", made.name)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("network namespaces need root and the command ip")
    try:
        ip("link", "add", made.card, "type", "veth", "peer", "name", far, "netns", made.name)
        ip("address", "add", f"{made.here}/24", "dev", made.card)
        made.plug()
        ip("-n", made.name, "address", "add", f"{made.there}/24", "dev", far)
        for card in (far, "lo"):
            ip("-n", made.name, "link", "set", card, "up")
        yield made
    finally:
        ip("netns", "delete", made.name)


@contextmanager
def served(process: subprocess.Popen[str], words: str) -> Iterator[str]:
    """Wait for a line with these words, and end the process at the end."""
    try:
        line = ""
        while words not in line:
            line = process.stdout.readline() if process.stdout else ""
            assert line, f"it did not say '{words}'"
        yield line
    finally:
        process.kill()
        process.communicate()


def until(what: Callable[[], bool], seconds: float = 30.0) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() < begun + seconds, "it did not come true"
        time.sleep(0.002)
    return time.monotonic() - begun


@contextmanager
def driven(bridge: Bridge, infer: Any) -> Iterator[None]:
    """Let a policy drive in a thread of its own."""
    ending = threading.Event()
    config = RolloutConfig(action_size=len(bridge.model.joints), action_timeout=60.0)
    runner = threading.Thread(
        target=run_policy, args=(bridge, infer, config, 90.0, None, ending.is_set)
    )
    runner.start()
    try:
        yield
    finally:
        ending.set()
        runner.join()


class Events:
    """A log of events."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        if kind == "event":
            self.rows.append(fields)


def moving(bridge: Bridge) -> bool:
    status = bridge.get_status()
    assert status.fault == ""
    speeds = status.setpoint.velocities if status.setpoint else np.zeros(1)
    return status.state is BridgeState.RUNNING and float(np.abs(speeds).max()) > MOVING


def written(folder: Path, content: Mapping[str, Any]) -> RobotSetup:
    file = folder / "cell.yaml"
    file.write_text(yaml.safe_dump(dict(content)))
    return load_robot(str(file))


def test_a_franka_whose_cable_is_pulled_is_a_fault_of_category_1(tmp_path: Path) -> None:
    pytest.importorskip("franky", reason="franky-control is not installed (extra 'franka')")
    pytest.importorskip("franky_sim", reason="franky-sim is not installed (extra 'franka')")
    events = Events()
    with (
        cable(71) as link,
        served(link.start("robots.emulators.franka", "--host", link.there), "FR3 at"),
    ):
        box = {"floor": 0.02, "lower": [0.1, -0.6], "upper": [0.8, 0.6], "ceiling": 1.0}
        cell = written(tmp_path, {
            "driver": "franka", "model": "fr3", "safety": {"workspace": box, "state_age": 0.3},
            "options": {"host": link.there, "realtime": False},
        })  # fmt: skip
        with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety, events) as bridge:
            policy = ReachPolicy(cell.model.home)
            with driven(bridge, lambda seen, observed_at: policy.infer(seen)):
                until(lambda: moving(bridge))
                link.pull()
                took = until(lambda: bridge.get_status().state is BridgeState.FAULT)
            assert took < TENFOLD * cell.safety.state_age
            fault = next(row for row in events.rows if row["event"] == "fault")
            assert fault["category"] == StopCategory.STOP_THEN_POWER_OFF
            assert fault["stop_failed"]  # nobody could hear it; the robot's own watchdog has to do
            link.plug()


def test_a_policy_server_whose_cable_is_pulled_leaves_the_arm_holding(tmp_path: Path) -> None:
    pytest.importorskip("scservo_sdk", reason="the servos' SDK: pip install feetech-servo-sdk")
    key = tmp_path / "key"
    key.write_text(KEY)
    servos = Servos(tmp_path)
    try:
        words = ("serve", "reach", "--robot", str(servos.recipe), "--key-file", str(key))
        with cable(72) as link:
            process = link.start("embodied", *words, "--host", link.there, "--port", "8000")
            cell = load_robot(str(servos.recipe), ["safety.state_age=0.5"])
            with (
                served(process, "serving"),
                cell.open_arm() as arm,
                PolicyClient(f"ws://{link.there}:8000", KEY) as client,
                Bridge(arm, cell.model, cell.safety) as bridge,
                driven(bridge, client.infer),
            ):
                until(lambda: servos.speed(None) > MOVING)
                link.pull()
                took = until(lambda: bridge.get_status().state is BridgeState.HOLDING)
                assert took < TENFOLD * cell.safety.observation_age
                until(lambda: servos.speed(None) < STILL)
                link.plug()
                until(lambda: bridge.get_status().state is BridgeState.RUNNING)
        assert servos.holding()
    finally:
        servos.close()
