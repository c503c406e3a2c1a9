"""Moving arms on which faults can be tried: what `robot_faults` and its tests stand on.

`Run` is a real bridge, driven by a policy through `run_policy`, on (a) an SO-101 whose emulated
servos speak Feetech's protocol on a pseudo-terminal or (b) an FR3 behind franky-sim.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from math import isnan, nan, tau
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from embodied.policies.chunk.reach import ReachPolicy
from embodied.serving.client import PolicyClient
from robots.arm import ArmState, Setpoint
from robots.audit import TOLERANCE, compute_limit_usage
from robots.bridge import Bridge, EventLog
from robots.calibration import ServoCalibration, save_calibration
from robots.emulators.franka import FrankaSimulator
from robots.emulators.proxy import FaultProxy
from robots.emulators.servo_bus import ServoBus
from robots.errors import RobotError
from robots.intent import CommandKind
from robots.model import load_model
from robots.robot_config import RobotSetup, load_robot
from robots.rollout import RolloutConfig, run_policy
from robots.state_machine import BridgeState

ROOT = Path(__file__).resolve().parents[1]
MOVING, STILL = 0.1, 0.02  # joint speeds [rad/s]
PERIOD = 0.01  # of both arms [s]
PATIENCE = 30.0  # for anything to happen at all [s]
ALL_SERVOS = frozenset(range(1, 7))
Actions = NDArray[Any]


class Servos:
    """An SO-101 of emulated servos; what is measured is what the servos do."""

    name = "feetech"

    def __init__(self, folder: Path) -> None:
        self.recipe, self._calibration = folder / "so101.yaml", folder / "so101.json"
        self.bus = ServoBus()
        spans = [(j.name, j.upper - j.lower) for j in load_model("so101").joints]
        self._servos = {
            name: ServoCalibration(number, 0, 0, 2047 - half, 2047 + half)
            for number, (name, span) in enumerate([*spans, ("gripper", 2.0)], start=1)
            if (half := round(span / 2 * 4096 / tau))
        }
        self.renew()

    def renew(self) -> None:
        """Put an arm there whose servos are well and hold the middle of their ranges."""
        self.bus.close()
        self.bus = ServoBus()
        for servo in self._servos.values():
            with self.bus.edit_servo(servo.id) as raw:
                raw.encoder = servo.middle
                raw.write_word(9, servo.range_min)
                raw.write_word(11, servo.range_max)
                raw.write_word(42, raw.position)
                raw.write(40, b"\x01")
        save_calibration(self._calibration, self._servos)
        box = {"floor": 0.02, "lower": [0.05, -0.3], "upper": [0.45, 0.3], "ceiling": 0.4}
        options = {"port": self.bus.port, "calibration": str(self._calibration)}
        self.recipe.write_text(yaml.safe_dump({
            "driver": "feetech", "model": "so101", "options": options, "safety": {"workspace": box},
        }))  # fmt: skip

    def speed(self, state: ArmState | None) -> float:
        """Return the speed of the fastest joint [rad/s]."""
        return max(abs(self.bus.get_servo(number).speed) for number in range(1, 6)) * tau / 4096

    def holding(self) -> bool:
        """Whether every servo has torque and is where it shall be."""
        servos = [self.bus.get_servo(number) for number in sorted(ALL_SERVOS)]
        return all(s.torque and abs(s.position - s.read_word(42)) <= 1 for s in servos)

    def close(self) -> None:
        """End the bus."""
        self.bus.close()


class Franka:
    """An FR3 in franky-sim; what is measured is what the robot reports."""

    name = "fr3"

    def __init__(self, folder: Path) -> None:
        self.recipe = folder / "fr3.yaml"
        self.simulator = FrankaSimulator()
        self.simulator.start()
        self._frozen = False
        box = {"floor": 0.02, "lower": [0.1, -0.6], "upper": [0.8, 0.6], "ceiling": 1.0}
        options = {"host": self.simulator.host, "realtime": False}
        self.recipe.write_text(yaml.safe_dump({
            "driver": "franka", "model": "fr3", "options": options, "safety": {"workspace": box},
        }))  # fmt: skip

    def renew(self) -> None:
        """Wake the simulator if it was frozen."""
        os.kill(self.simulator.pid, signal.SIGCONT)
        self._frozen = False

    def freeze(self) -> None:
        """Suspend the simulator, and with it all that can be seen of the arm."""
        os.kill(self.simulator.pid, signal.SIGSTOP)
        self._frozen = True

    def speed(self, state: ArmState | None) -> float:
        """Return the speed of the fastest joint but the seventh, which rattles [rad/s]."""
        return nan if state is None or self._frozen else float(np.abs(state.velocities[:6]).max())

    def close(self) -> None:
        """End the simulator."""
        self.simulator.stop()


Rig = Servos | Franka


class Server:
    """`embodied serve reach` as a process of its own, behind a proxy."""

    def __init__(self, rig: Rig) -> None:
        self._recipe, self.port = str(rig.recipe), 0
        self.start()
        self.proxy = FaultProxy("127.0.0.1", self.port).__enter__()

    def start(self) -> None:
        """Start it, at the port it had before."""
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "embodied", "serve", "reach", "--robot", self._recipe,
             "--port", str(self.port)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self.process.stdout.readline() if self.process.stdout else ""
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise RobotError(f"the policy server did not start: {line}")
        self.port = int(found[1])

    def renew(self) -> None:
        """Make it well again, whatever was done to it."""
        self.proxy.clear_faults()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.start()

    def kill(self) -> None:
        """End it by force, frozen or not."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def close(self) -> None:
        """End it and its proxy."""
        self.proxy.close()
        self.kill()


class Run:
    """A bridge that a policy drives, before, while and after something happens to it.

    Args:
        rig: the arm.
        server: drives it; None for a policy in this process.
        log: takes note of what the bridge does, too.
        safety: keys of the recipe's limits to change.
    """

    def __init__(
        self,
        rig: Rig,
        server: Server | None = None,
        log: EventLog | None = None,
        safety: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.rig, self.server, self._log = rig, server, log
        self.cell = load_robot(str(rig.recipe), [f"safety.{k}={v}" for k, v in safety.items()])
        self.goes_on = threading.Event()  # cleared: the thread that gives commands stands still
        self.goes_on.set()
        self.harm: Callable[[Actions], Any] = lambda actions: actions
        self.sent: list[NDArray[np.float64]] = []  # to the driver
        self.ahead = 0.0  # of the bridge's clock [s]
        self.began = self.noticed = self.stopped = nan
        self._end = False
        self._policy = ReachPolicy(self.cell.model.home)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            arm = stack.enter_context(self.cell.open_arm())
            command = arm.command

            def noted(setpoint: Setpoint) -> None:
                self.sent.append(setpoint.positions)
                command(setpoint)

            arm.command = noted  # type: ignore[method-assign]
            infer: Any = self._infer
            if self.server is not None:
                self.server.renew()
                uri = f"ws://127.0.0.1:{self.server.proxy.port}"
                infer = stack.enter_context(PolicyClient(uri)).infer
            self.bridge = Bridge(arm, self.cell.model, self.cell.safety, self, self.clock)
            step = self.bridge._shaper.step

            def watched(target: Any, kind: CommandKind = CommandKind.POSITION) -> Any:
                if target is None:
                    self.notice()
                return step(target, kind)

            self.bridge._shaper.step = watched  # type: ignore[method-assign]
            stack.enter_context(self.bridge)
            config = RolloutConfig(action_size=len(self.cell.model.joints), action_timeout=60.0)
            thread = threading.Thread(
                target=run_policy,
                args=(self.bridge, infer, config, 600.0, None, self._stopping),
                daemon=True,
            )
            stack.callback(self._finish, thread)
            thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clock(self) -> float:
        """Return the bridge's time [s]."""
        return time.monotonic() + self.ahead

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        """Watch for the fault; `robots.bridge.EventLog`."""
        if fields.get("event") == "fault":
            self.notice(stamp - self.ahead)
        if self._log is not None:
            self._log.record_message(kind, stamp, fields)

    def notice(self, now: float | None = None) -> None:
        """The fault has been noticed now, if there is one and it was not before."""
        if isnan(self.noticed) and not isnan(self.began):
            self.noticed = time.monotonic() if now is None else now

    @property
    def state(self) -> BridgeState:
        """The bridge's."""
        return self.bridge.state_machine.state

    @property
    def fault(self) -> str:
        """The bridge's; "" while there is none."""
        return self.bridge.state_machine.fault

    @property
    def speed(self) -> float:
        """Of the fastest joint [rad/s]."""
        return self.rig.speed(self.bridge.get_status().arm_state)

    def wait(self, what: Callable[[], bool], lasting: float = 0.0) -> bool:
        """Wait until something is true, and stays so; note when the arm was last seen moving."""
        end, since = time.monotonic() + PATIENCE, nan
        while (now := time.monotonic()) < end:
            if self.speed >= STILL:
                self.stopped = now
            if not what():
                since = nan
            elif isnan(since):
                since = now
            if now - since >= lasting:
                return True
            time.sleep(0.004)
        return False

    def until_moving(self) -> None:
        """Wait until the arm is well under way."""
        going = self.wait(
            lambda: self.fault != "" or self.state is BridgeState.RUNNING and self.speed > MOVING,
            0.1,
        )
        if not going or self.fault:
            raise RobotError(f"the arm does not move: {self.fault or self.bridge.get_status()}")

    def violation(self) -> str | None:
        """Say what was wrong with a setpoint that the driver was given, or None."""
        return broken(np.array(self.sent), self.cell)

    def _stopping(self) -> bool:
        self.goes_on.wait()
        return self._end

    def _finish(self, thread: threading.Thread) -> None:
        self._end = True
        self.goes_on.set()
        thread.join()

    def _infer(self, observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        return {"actions": self.harm(self._policy.infer(observation)["actions"])}


def broken(sent: NDArray[np.float64], cell: RobotSetup) -> str | None:
    """Say which limit a series of (N, J) setpoints, one a period, broke; None if none."""
    used = compute_limit_usage(sent, PERIOD, cell.model, cell.safety) if len(sent) else {}
    return next((name for name, share in used.items() if not share <= 1 + TOLERANCE), None)
