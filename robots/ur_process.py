"""The process that holds ur_rtde for `robots.ur`; see there why it is one of its own.

It gets orders on one socket and requests for the newest state on another, as lines of JSON. It ends
when its parent does, and when the line to the controller is lost: then another begins anew. It
imports nothing of ours, to be there soon.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

# The controller sends 500 states a second; after a silence this long [s] the line is lost.
SILENCE = 0.3
POLL = 0.001  # [s]: how late a new state may be noticed
REST, REST_TIMEOUT = 0.02, 1.0  # [rad/s] below which the arm stands; how long that may take [s]
KICKS = 3.0  # writes per watchdog period while the arm is not in motion

PLAYING, RUNNING, NORMAL, REDUCED = 2, 7, 1, 2  # program, robot mode, two safety modes
ROBOT_MODES = {
    -1: "no controller",
    0: "disconnected",
    1: "confirm safety",
    2: "booting",
    3: "power off",
    4: "power on",
    5: "idle, brakes engaged",
    6: "backdrive",
    8: "updating firmware",
}
SAFETY_MODES = {
    3: "protective stop: clear the cause and unlock it at the pendant",
    4: "recovery mode: move the arm back inside its safety limits at the pendant",
    5: "safeguard stop: reset it",
    6: "system emergency stop: release it and power the arm on",
    7: "robot emergency stop: release the button and power the arm on",
    8: "safety violation: restart the safety system at the pendant",
    9: "safety fault: restart the safety system at the pendant",
}


class UrSdkWorker:
    """What runs in the process: the holder of the SDK's two interfaces.

    Args:
        orders: questions that may take time, answered one by one.
        states: asked for the newest state, answered at once by a thread.
        options: host, period [s], lookahead [s], gain, watchdog [Hz], deceleration [m/s^2] and
            moments (whether states have them).
    """

    def __init__(
        self, orders: socket.socket, states: socket.socket, options: dict[str, Any]
    ) -> None:
        self._orders, self._states, self._options = orders, states, options
        self._receive: Any = None
        self._control: Any = None
        self._sample: dict[str, Any] = {"stamp": -math.inf, "timestamp": math.nan, "fault": ""}
        self._servoing = False

    def run(self) -> NoReturn:
        """Carry out orders until there is nobody to give them."""
        carry_out: dict[str, Callable[[Any], None]] = {
            "open": lambda _: self._open(),
            "control": lambda _: self._take_control(),
            "servo": self._servo,
            "stop": lambda _: self._stop(),
            "end": lambda _: self._finish(),
        }
        lines = self._orders.makefile("rb")
        pause = 1 / (KICKS * self._options["watchdog"])
        while True:
            while not select.select([self._orders], [], [], pause)[0]:
                # In motion only setpoints may feed the watchdog.
                if self._control is not None and not self._servoing and not self._sample["fault"]:
                    self._control.kickWatchdog()
            order = json.loads(lines.readline() or b'{"do": "end"}')
            answer = {}
            try:
                carry_out[order["do"]](order.get("positions"))
            except (RuntimeError, ValueError) as error:  # all that the SDK raises
                answer = {"error": str(error)}
            try:
                self._orders.sendall(json.dumps(answer).encode() + b"\n")
            finally:
                if order["do"] == "end":
                    os._exit(0)  # the SDK's destructors may wait for ever

    def _open(self) -> None:
        """Receive states."""
        from rtde_receive import RTDEReceiveInterface

        names = ["timestamp", "actual_q", "actual_qd", "robot_mode", "safety_mode", "runtime_state"]
        names += ["target_moment"] * self._options["moments"]
        try:
            self._receive = RTDEReceiveInterface(self._options["host"], variables=names)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; is the robot on, and the network cable in?") from error
        if not self._receive.isConnected():
            raise RuntimeError("the controller accepts the connection but sends no states")
        while "positions" not in self._sample:
            self._look()
        if self._sample["fault"]:
            raise RuntimeError(f"cannot start: {self._sample['fault']}; then connect again")
        threading.Thread(target=self._answer_states, daemon=True).start()

    def _take_control(self) -> None:
        """Upload the control script and set its watchdog."""
        from rtde_control import RTDEControlInterface

        try:
            control = RTDEControlInterface(self._options["host"])
        except RuntimeError as error:
            raise RuntimeError(
                f"{error}; is the robot in remote control (top right of the pendant, enabled under "
                "Settings > System > Remote Control)?"
            ) from error
        if not control.setWatchdog(self._options["watchdog"]):
            raise RuntimeError("the controller does not take the watchdog; connect again")
        self._control = control

    def _servo(self, positions: list[float]) -> None:
        # The SDK would print a line for each call that cannot succeed.
        options, fault = self._options, self._sample["fault"]
        self._servoing = not fault
        if fault or not self._control.servoJ(
            positions, 0.0, 0.0, options["period"], options["lookahead"], options["gain"]
        ):
            raise RuntimeError(f"setpoint refused: {fault or 'the control script is busy'}")

    def _stop(self) -> None:
        """End servoing and see the arm stand, whoever stopped it."""
        if not self._sample["fault"] and not self._control.servoStop(self._options["deceleration"]):
            raise RuntimeError("the control script does not confirm the stop")
        until = time.monotonic() + REST_TIMEOUT
        while max(map(abs, self._sample["velocities"])) > REST:
            if time.monotonic() > until:
                raise RuntimeError("the arm still moves; use the emergency stop")
            time.sleep(POLL)
        self._servoing = False

    def _finish(self) -> None:
        if self._control is not None and not self._sample["fault"]:
            if self._servoing:
                self._control.servoStop(self._options["deceleration"])
            self._control.stopScript()

    def _answer_states(self) -> None:
        """Notice every new state when it comes, and answer requests with the newest."""
        while True:
            asked = select.select([self._states], [], [], POLL)[0]
            self._look()
            if asked:
                if not self._states.recv(1 << 16):
                    return  # the parent has ended; `run` sees it too
                self._states.sendall(json.dumps(self._sample).encode() + b"\n")

    def _look(self) -> None:
        """Take over a new state, or leave when there has been none for too long."""
        receive, last = self._receive, self._sample
        now, timestamp = time.monotonic(), receive.getTimestamp()
        if timestamp == last["timestamp"]:
            connected = receive.isConnected()
            if not connected or now - last["stamp"] > SILENCE:
                why = f"has sent no state for {SILENCE} s" if connected else "ended the connection"
                print(f"the controller {why}", file=sys.stderr, flush=True)
                os._exit(1)  # at once, before the SDK reconnects by itself
            return
        sample = {
            "stamp": now,
            "timestamp": timestamp,
            "positions": receive.getActualQ(),
            "velocities": receive.getActualQd(),
            "moments": receive.getTargetMoment() if self._options["moments"] else None,
            "fault": self._fault(),
        }
        # Another state may have come in between: then this is a mixture of two, and the next
        # look, a moment later, finds it whole.
        if receive.getTimestamp() == timestamp:
            self._sample = sample

    def _fault(self) -> str:
        """Say what keeps the arm from following."""
        safety, mode = self._receive.getSafetyMode(), self._receive.getRobotMode()
        if safety not in (NORMAL, REDUCED):
            return SAFETY_MODES.get(safety, f"safety mode {safety}: see the pendant")
        if mode != RUNNING:
            return f"robot mode {ROBOT_MODES.get(mode, mode)}: power on and release the brakes"
        if self._control is not None and self._receive.getRuntimeState() != PLAYING:
            return (
                "the control script has ended: no setpoint came in time for its watchdog, or it "
                "was stopped at the pendant; connect again"
            )
        return ""


def main() -> NoReturn:
    """Serve the parent: numbers of two inherited sockets and the options, as JSON."""
    orders, states = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    UrSdkWorker(orders, states, json.loads(sys.argv[3])).run()


if __name__ == "__main__":
    main()
