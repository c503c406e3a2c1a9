"""Universal Robots e-Series arms (UR3e, UR5e, UR10e), through ur_rtde.

The SDK runs in a process of its own (`robots.ur_process`). Read and seen with ur-rtde 1.6.5:

- its constructors hold the interpreter's lock and wait without a deadline: one controller that
  accepts a connection and says nothing stops every thread of Python; the destructor holds it for
  seconds when the line is down;
- servoJ reports success to a controller that has fallen silent, and after a loss the SDK reconnects
  by itself and uploads the control script again, without a watchdog;
- it prints to stdout and stderr.

A process can be killed whatever it is doing, and then the controller's watchdog stops the arm. The
other way round, the process ends with its parent. Power is cut through a connection to the
dashboard server that does not involve the SDK.

Sources: ur_rtde API documentation and source (sdurobotics.gitlab.io/ur_rtde), "Real-Time Data
Exchange (RTDE) Guide" and "Dashboard Server e-Series" (docs.universal-robots.com).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from embodied.errors import ConfigError
from embodied.extras import require_package
from robots.arm import ArmDriver, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.errors import DeviceError, ModelError
from robots.model import ArmModel

DASHBOARD_PORT = 29999
# How long the dashboard, the SDK's process and a stop may take to answer [s].
DASHBOARD_TIMEOUT, REPLY_TIMEOUT, STOP_TIMEOUT = 0.5, 0.4, 1.5


@dataclass(frozen=True)
class UrOptions:
    """How to reach and drive the arm.

    Attributes:
        host: address of the controller, shown at the pendant under Settings > System > Network.
        rate: setpoints per second [Hz].
        lookahead: of servoJ, smooths the path: 0.03 to 0.2 [s]; the arm lags by about as much.
        gain: of servoJ, stiffness: 100 to 2000.
        watchdog: the controller ends the control script, and so stops the arm, when commands come
            less often than this [Hz].
        deceleration: of a stop, at the tool [m/s^2].
        dashboard: use the dashboard server, which PolyScope X lacks: power off, and a second way
            to stop.
        target_moments: give the torques the controller's model asks for as efforts [Nm]. They are
            targets; ur_rtde has no measured ones.
        connect_timeout: [s]; uploading the control script alone may take 5.
    """

    host: str = ""
    rate: float = 100.0
    lookahead: float = 0.1
    gain: float = 300.0
    watchdog: float = 10.0
    deceleration: float = 10.0
    dashboard: bool = True
    target_moments: bool = False
    connect_timeout: float = 12.0

    def __post_init__(self) -> None:
        for name, lower, upper in (
            ("rate", 20.0, 500.0),
            ("lookahead", 0.03, 0.2),
            ("gain", 100.0, 2000.0),
            ("watchdog", 1.0, self.rate / 2),
            ("deceleration", 0.1, 100.0),
            ("connect_timeout", 0.1, 120.0),
        ):
            value = getattr(self, name)
            if not lower <= value <= upper:
                raise ConfigError(f"UR arm: {name} = {value}, allowed: {lower} to {upper}")


class UrArm(ArmDriver):
    """One arm. It must be powered on, with its brakes released, and in remote control.

    Args:
        model: ur3e, ur5e or ur10e, or a description of one's own with six joints.
        options: how to reach it.
    """

    options_type: ClassVar[type] = UrOptions

    def __init__(self, model: ArmModel, options: UrOptions = UrOptions()) -> None:  # noqa: B008
        if len(model.joints) != 6:
            raise ModelError(f"{model.name}: {len(model.joints)} joints, but a UR arm has 6")
        self._model = model
        self._options = options
        self._where = f"{model.name} at {options.host or 'no address'}"
        self._sdk: _Sdk | None = None

    @property
    def features(self) -> ArmFeatures:
        """What the arm is; known before it is connected."""
        options, model = self._options, self._model
        return ArmFeatures(
            model.name, model.joint_names, rate=options.rate, efforts=options.target_moments
        )

    def connect(self) -> None:
        """Start the SDK's process, look at the arm, upload the control script, set its watchdog.

        Raises:
            DeviceError: nobody answers, another arm, not powered on, stopped by its safety system,
                or not in remote control.
            MissingExtraError: ur-rtde is not installed.
        """
        options = self._options
        if not options.host:
            raise DeviceError(f"{self._where}: set the option host to the controller's address")
        require_package("rtde_control", "The driver of Universal Robots arms")
        self.disconnect()
        self._sdk = _Sdk(
            {
                "host": options.host,
                "period": 1 / options.rate,
                "lookahead": options.lookahead,
                "gain": options.gain,
                "watchdog": options.watchdog,
                "deceleration": options.deceleration,
                "moments": options.target_moments,
            }
        )
        until = time.monotonic() + options.connect_timeout
        try:
            self._order("open", until - time.monotonic())
            if options.dashboard:
                self._check_model()
            self._order("control", until - time.monotonic())
        except DeviceError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Stop the arm and the control script and end the SDK's process. Safe to call twice."""
        if self._sdk is not None:
            # If it hangs or refuses, it is killed, and the controller's watchdog ends the script.
            with contextlib.suppress(DeviceError):
                self._order("end", STOP_TIMEOUT)
            self._sdk.end()
            self._sdk = None

    def state(self) -> ArmState:
        """Return the newest state; `fault` is what keeps the arm from following.

        Raises:
            DeviceError: no connection, or it is silent or lost. Connect again.
        """
        try:
            sample = self._connected().state(REPLY_TIMEOUT)
        except DeviceError as error:
            raise DeviceError(f"{self._where}: {error}") from error
        return ArmState(
            stamp=sample["stamp"],
            positions=np.array(sample["positions"]),
            velocities=np.array(sample["velocities"]),
            efforts=np.array(sample["moments"]) if self._options.target_moments else None,
            fault=sample["fault"],
        )

    def command(self, setpoint: Setpoint) -> None:
        """Pass a setpoint to servoJ, which aims to be there one period from now.

        Raises:
            DeviceError: no connection, or the control script does not run or does not take it.
        """
        self._order("servo", REPLY_TIMEOUT, setpoint.positions.tolist())

    def stop(self, category: StopCategory) -> None:
        """Stop servoing and wait until the arm stands; or cut its power, which engages its brakes.

        When the SDK cannot, the dashboard server stops the control script.

        Raises:
            DeviceError: neither way is confirmed, or power is to be cut and `dashboard` is off.
        """
        self._connected()
        if not self._options.dashboard:
            self._order("stop", STOP_TIMEOUT)
            if category != StopCategory.STOP_AND_HOLD:
                raise DeviceError(
                    f"{self._where}: the arm stands, but power is cut through the dashboard "
                    "server, and the option dashboard is off; use the emergency stop"
                )
            return
        if category != StopCategory.CUT_POWER:
            try:
                self._order("stop", STOP_TIMEOUT)
            except DeviceError:
                self._dashboard("stop", "Stopped")
        if category != StopCategory.STOP_AND_HOLD:
            try:
                self._dashboard("power off", "Powering off")
            except DeviceError:
                # With power on it should at least stand; that it has power is what is reported.
                with contextlib.suppress(DeviceError):
                    self._order("stop", STOP_TIMEOUT)
                raise

    def _connected(self) -> _Sdk:
        if self._sdk is None:
            raise DeviceError("not connected: call connect() first")
        return self._sdk

    def _order(self, do: str, timeout: float, positions: list[float] | None = None) -> None:
        try:
            self._connected().order(do, timeout, positions)
        except DeviceError as error:
            raise DeviceError(f"{self._where}: {error}") from error

    def _check_model(self) -> None:
        """Compare sizes: the dashboard says UR5 for a UR5e, and nothing of use on old versions."""
        found = self._dashboard("get robot model")
        sizes = ["".join(filter(str.isdigit, name)) for name in (found, self._model.name)]
        if all(sizes) and sizes[0] != sizes[1]:
            raise DeviceError(f"{self._where}: the controller drives a {found}; give its model")

    def _dashboard(self, command: str, expected: str = "") -> str:
        """Give one command to the dashboard server and return its answer."""
        try:
            with socket.create_connection(
                (self._options.host, DASHBOARD_PORT), DASHBOARD_TIMEOUT
            ) as line:
                file = line.makefile("rw", encoding="utf-8", errors="replace", newline="\n")
                file.readline()  # its greeting
                file.write(f"{command}\n")
                file.flush()
                answer = file.readline().strip()
        except OSError as error:
            raise DeviceError(
                f"{self._where}: the dashboard server does not answer '{command}' ({error}); use "
                "the emergency stop if the arm moves"
            ) from error
        if not answer.startswith(expected):
            raise DeviceError(f"{self._where}: the dashboard answers '{command}' with '{answer}'")
        return answer


class _Sdk:
    """The process that holds the SDK.

    Args:
        options: see `robots.ur_process.UrSdkWorker`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._orders, orders = socket.socketpair()
        self._states, states = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._lost = ""
        sockets = [orders.fileno(), states.fileno()]
        arguments = [*map(str, sockets), json.dumps(options)]
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        with orders, states:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "robots.ur_process", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=sockets,
                start_new_session=True,  # Ctrl-C is for the parent, which stops the arm first
            )

    def order(self, do: str, timeout: float, positions: list[float] | None = None) -> None:
        """Have something done: open, control, servo (positions [rad]), stop or end.

        Raises:
            DeviceError: refused, or not answered in time [s]; then the process is ended.
        """
        answer = self._ask(self._orders, {"do": do, "positions": positions}, timeout)
        if "error" in answer:
            raise DeviceError(answer["error"])

    def state(self, timeout: float) -> dict[str, Any]:
        """Return the newest sample (see `robots.ur_process`).

        Raises:
            DeviceError: not answered in time [s]; then the process is ended.
        """
        return self._ask(self._states, "state", timeout)

    def end(self) -> None:
        """Kill the process, and close what belongs to it."""
        self._process.kill()
        self._process.wait()
        for file in (self._orders, self._states, self._output):
            file.close()

    def _ask(self, line: socket.socket, question: Any, timeout: float) -> dict[str, Any]:
        if self._lost:
            raise DeviceError(self._lost)
        until, data = time.monotonic() + timeout, b""
        try:
            line.settimeout(max(timeout, 0.001))
            line.sendall(json.dumps(question).encode() + b"\n")
            while not data.endswith(b"\n"):
                line.settimeout(max(until - time.monotonic(), 0.001))
                more = line.recv(1 << 16)
                if not more:
                    raise ConnectionResetError
                data += more
        except OSError as error:
            what = "the process of ur_rtde has ended"
            if isinstance(error, TimeoutError):
                what = f"no answer within {timeout:.1f} s"
            self._process.kill()
            self._process.wait()
            self._lost = f"line lost: {what}{self._last_words()}; check the robot and the network, "
            self._lost += "then connect again"
            raise DeviceError(self._lost) from error
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _last_words(self) -> str:
        """Return the last lines that the process printed."""
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").splitlines()
        return "".join(f"; {line.strip()}" for line in lines[-2:])
