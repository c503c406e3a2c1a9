"""The state of the emulated Universal Robots controller: power, safety, program, watchdog.

Numbers and answers as in "Real-Time Data Exchange (RTDE) Guide" and "Dashboard Server e-Series",
docs.universal-robots.com. Powering on and releasing brakes take no time here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum

from robots.emulators.ur_arm import SimulatedArm
from robots.emulators.ur_script import ControlScript, UrRegisters, parse_control_script
from robots.model import ArmModel

PERIOD = 0.002  # of the controller [s]
EMERGENCY_DECELERATION = 10.0  # [rad/s^2]
SERIAL = "20225500001"


class RobotMode(IntEnum):
    """Robot modes."""

    POWER_OFF = 3
    IDLE = 5
    RUNNING = 7


class SafetyMode(IntEnum):
    """Safety modes."""

    NORMAL = 1
    PROTECTIVE_STOP = 3
    ROBOT_EMERGENCY_STOP = 7


class RuntimeState(IntEnum):
    """States of the program."""

    STOPPED = 1
    PLAYING = 2
    PAUSED = 4


class UrController:
    """One controller; a step is one period.

    Args:
        model: the arm.
        version: of PolyScope: major, minor, bug fix, build.
        unlock_after: seconds for which a protective stop cannot be unlocked.

    Attributes:
        remote: whether the robot is in remote control; a local one runs no script from outside.
        record: (time, target, positions) of every step, the newest two minutes.
        commands: (time, number) of the commands the control script was given.
        scripts: every program received.
    """

    def __init__(
        self,
        model: ArmModel,
        version: tuple[int, int, int, int] = (5, 22, 1, 0),
        unlock_after: float = 5.0,
    ) -> None:
        self.model = model
        self.version = version
        self.arm = SimulatedArm(model)
        self.registers = UrRegisters()
        self.clock = 0.0
        self.mode, self.safety, self.runtime = (
            RobotMode.RUNNING,
            SafetyMode.NORMAL,
            RuntimeState.STOPPED,
        )
        self.remote = True
        self.record: deque[tuple[float, list[float], list[float]]] = deque(maxlen=60_000)
        self.commands: deque[tuple[float, int]] = deque(maxlen=60_000)
        self.scripts: list[str] = []
        self._unlock_after = unlock_after
        self._stopped_at = 0.0
        self._script: ControlScript | None = None
        self._watchdog = 0.0  # [Hz]; 0 is off
        self._written_at = 0.0

    def step(self) -> None:
        """Let one period pass."""
        self.clock += PERIOD
        if self.runtime == RuntimeState.PLAYING and self._script is not None:
            late = self._watchdog > 0 and self.clock - self._written_at > 1 / self._watchdog
            if late or not self._script.step():
                self.stop_program()
        self.arm.step(PERIOD)
        self.record.append((self.clock, self.arm.target.tolist(), self.arm.positions.tolist()))

    def note_input_written(self, name: str) -> None:
        """Take note that a client wrote an input of this name; feeds the watchdog."""
        if self._script is not None and name == f"input_int_register_{self._script.offset}":
            self._written_at = self.clock

    def load_program(self, text: str) -> None:
        """Run a program received on a script port; any program ends the one before.

        Only ur_rtde's control script does anything; other programs end at once.
        """
        if not self.remote or self.mode != RobotMode.RUNNING or self.safety != SafetyMode.NORMAL:
            return
        self.stop_program()
        self.scripts.append(text)
        offset = parse_control_script(text)
        if offset is not None:
            self._script = ControlScript(
                self.registers,
                self.arm,
                offset,
                watch=self._watch,
                protect=self.protective_stop,
                tell=lambda number: self.commands.append((self.clock, number)),
            )
            self.runtime = RuntimeState.PLAYING

    def stop_program(self) -> None:
        """End the program; the arm comes to rest."""
        if self.runtime != RuntimeState.STOPPED:
            self.runtime, self._script, self._watchdog = RuntimeState.STOPPED, None, 0.0
            self.arm.brake(EMERGENCY_DECELERATION)

    def protective_stop(self) -> None:
        """Stop the arm as a collision would; the program pauses."""
        if self.mode == RobotMode.RUNNING and self.safety == SafetyMode.NORMAL:
            self.safety, self._stopped_at = SafetyMode.PROTECTIVE_STOP, self.clock
            if self.runtime == RuntimeState.PLAYING:
                self.runtime = RuntimeState.PAUSED
            self.arm.brake(EMERGENCY_DECELERATION)

    def emergency_stop(self) -> None:
        """Press the emergency stop button: program and power end."""
        self.power_off()
        self.safety = SafetyMode.ROBOT_EMERGENCY_STOP

    def release_emergency_stop(self) -> None:
        """Pull the emergency stop button out again; power stays off."""
        if self.safety == SafetyMode.ROBOT_EMERGENCY_STOP:
            self.safety = SafetyMode.NORMAL

    def power_off(self) -> None:
        """Cut the power; the brakes hold the arm."""
        self.stop_program()
        self.mode = RobotMode.POWER_OFF
        self.arm.halt()

    def answer_dashboard(self, command: str) -> str:
        """Answer one line of the dashboard server."""
        asked = " ".join(command.split()).lower()
        if asked.startswith("popup "):
            return "showing popup"
        if asked.startswith("addtolog "):
            return "Added log message"
        if asked in self._questions:
            return self._questions[asked](self)
        if asked not in self._orders:
            return f"could not understand: {command.strip()}"
        if not self.remote:
            return f"Failed to execute: {command.strip()} (robot is in local control)"
        return self._orders[asked](self)

    def _watch(self, rate: float) -> None:
        self._watchdog, self._written_at = rate, self.clock

    def _power_on(self) -> str:
        if self.safety == SafetyMode.NORMAL and self.mode == RobotMode.POWER_OFF:
            self.mode = RobotMode.IDLE
        return "Powering on"

    def _brake_release(self) -> str:
        if self.safety == SafetyMode.NORMAL:
            self.mode = RobotMode.RUNNING
        return "Brake releasing"

    def _power_off(self) -> str:
        self.power_off()
        return "Powering off"

    def _play(self) -> str:
        if self.runtime != RuntimeState.PAUSED or self.safety != SafetyMode.NORMAL:
            return "Failed to execute: play"
        self.runtime = RuntimeState.PLAYING
        return "Starting program"

    def _pause(self) -> str:
        if self.runtime != RuntimeState.PLAYING:
            return "Failed to execute: pause"
        self.runtime = RuntimeState.PAUSED
        self.arm.brake(EMERGENCY_DECELERATION)
        return "Pausing program"

    def _stop(self) -> str:
        # ur_rtde, which stops its script first and then asks, relies on this answer in any case.
        self.stop_program()
        return "Stopped"

    def _unlock(self) -> str:
        if self.safety != SafetyMode.PROTECTIVE_STOP:
            return "Protective stop releasing"
        if self.clock - self._stopped_at < self._unlock_after:
            return (
                "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of "
                "protective stop before unlocking"
            )
        self.safety = SafetyMode.NORMAL
        return "Protective stop releasing"

    _questions: dict[str, Callable[[UrController], str]] = {
        "robotmode": lambda c: f"Robotmode: {c.mode.name}",
        "safetystatus": lambda c: f"Safetystatus: {c.safety.name}",
        "safetymode": lambda c: f"Safetymode: {c.safety.name}",
        "running": lambda c: f"Program running: {str(c.runtime == RuntimeState.PLAYING).lower()}",
        "programstate": lambda c: f"{c.runtime.name} rtde_control",
        "get loaded program": lambda _c: "No program loaded",
        "isprogramsaved": lambda _c: "true rtde_control",
        "polyscopeversion": lambda c: f"URSoftware {'.'.join(map(str, c.version))} (Jan 01 2026)",
        "is in remote control": lambda c: str(c.remote).lower(),
        "get serial number": lambda _c: SERIAL,
        "get robot model": lambda c: c.model.name.upper().removesuffix("E"),
        "close popup": lambda _c: "closing popup",
        "close safety popup": lambda _c: "closing safety popup",
    }
    _orders: dict[str, Callable[[UrController], str]] = {
        "power on": _power_on,
        "power off": _power_off,
        "brake release": _brake_release,
        "play": _play,
        "pause": _pause,
        "stop": _stop,
        "unlock protective stop": _unlock,
    }
