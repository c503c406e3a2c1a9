"""What the control script that `ur_rtde` uploads does on a controller, as a state machine.

The script itself is URScript; an interpreter for one program would be out of proportion. It takes a
command's number from input integer register 0 and its arguments from the input double registers,
and answers in output integer register 0: 1 ready, 2 done. Continuous commands (servo, speed) are
ready at once; the others are done when their motion is, and ready after command 0.

Source: `scripts/rtde_control.script` in the source distribution of ur-rtde 1.6.5 (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from robots.emulators.ur_arm import SimulatedArm

READY, DONE = 1, 2
REGISTERS = 48


class ScriptCommand(IntEnum):
    """Numbers of the commands that are emulated."""

    NONE = 0
    MOVEJ = 1
    ZERO_FT_SENSOR = 8
    SPEEDJ = 9
    SERVOJ = 11
    SPEED_STOP = 15
    SERVO_STOP = 16
    SET_PAYLOAD = 17
    GET_STEPTIME = 26
    SET_TCP = 29
    PROTECTIVE_STOP = 31
    STOPL = 33
    STOPJ = 34
    SET_WATCHDOG = 35
    STOP_SCRIPT = 255


KNOWN = frozenset(int(command) for command in ScriptCommand)
CONTINUOUS = {ScriptCommand.SPEEDJ, ScriptCommand.SERVOJ, ScriptCommand.GET_STEPTIME}


@dataclass
class UrRegisters:
    """The general purpose registers of a controller."""

    int_in: list[int] = field(default_factory=lambda: [0] * REGISTERS)
    double_in: list[float] = field(default_factory=lambda: [0.0] * REGISTERS)
    int_out: list[int] = field(default_factory=lambda: [0] * REGISTERS)
    double_out: list[float] = field(default_factory=lambda: [0.0] * REGISTERS)


def parse_control_script(text: str) -> int | None:
    """Return the register offset of ur_rtde's control script, None if it is another program."""
    found = re.search(r"reg_offset_int = # int register offset\n\s*(\d+)", text)
    return int(found.group(1)) if found and "def rtde_cmd()" in text else None


class ControlScript:
    """The running script.

    Args:
        registers: read and written.
        arm: moved.
        offset: of the registers it uses, 0 or 24.
        watch: called with the lowest rate [Hz] at which command registers must be written.
        protect: called to make a protective stop.
        tell: called with each new command.
    """

    def __init__(
        self,
        registers: UrRegisters,
        arm: SimulatedArm,
        offset: int,
        *,
        watch: Callable[[float], None],
        protect: Callable[[], None],
        tell: Callable[[int], None],
    ) -> None:
        self._registers = registers
        self._arm = arm
        self.offset = offset
        self._watch, self._protect, self._tell = watch, protect, tell
        self._waiting = False  # a command that is done when its motion is
        self._executed = False  # done, and command 0 not seen since
        self._asynchronous = False  # a movej in its own thread
        self._writes = self._operations = 0
        self._last = 0
        self._progress(running=False)
        self._answer(READY)

    def step(self) -> bool:
        """Run one cycle of the main loop.

        Returns:
            False when the script ends: on request, or at a command that is not emulated.
        """
        if self._asynchronous and not self._arm.busy:
            self._asynchronous = False
            self._progress(running=False)
        if self._waiting:
            if not self._arm.busy:
                self._waiting = False
                self._answer(DONE)
            return True
        number = self._registers.int_in[self.offset]
        if number not in (self._last, ScriptCommand.NONE):
            self._tell(number)
        self._last = number
        if number == ScriptCommand.STOP_SCRIPT or number not in KNOWN:
            return False
        if number in CONTINUOUS:
            self._begin(ScriptCommand(number))
            self._answer(READY)
        elif number == ScriptCommand.NONE:
            self._executed = False
            self._answer(READY)
        elif not self._executed:
            self._executed = True
            self._begin(ScriptCommand(number))
            self._waiting = self._arm.busy and not self._asynchronous
            if not self._waiting:
                self._answer(DONE)
        return True

    def _begin(self, command: ScriptCommand) -> None:
        """Start a command."""
        doubles = self._registers.double_in[self.offset :]
        joints = np.array(doubles[:6])
        if command == ScriptCommand.SERVOJ:
            self._arm.servo_joints(joints, lookahead=doubles[9])
        elif command == ScriptCommand.SPEEDJ:
            self._arm.speed_joints(joints, acceleration=doubles[6], seconds=doubles[7])
        elif command == ScriptCommand.MOVEJ:
            self._arm.move_joints(joints, speed=doubles[6], acceleration=doubles[7])
            self._asynchronous = self._registers.int_in[self.offset + 1] == 1
            if self._asynchronous:
                self._progress(running=True)
        elif command in (
            ScriptCommand.SPEED_STOP,
            ScriptCommand.SERVO_STOP,
            ScriptCommand.STOPJ,
            ScriptCommand.STOPL,
        ):
            # Tool decelerations [m/s^2] are taken for joint decelerations [rad/s^2] here.
            self._asynchronous = False
            self._arm.brake(doubles[0])
        elif command == ScriptCommand.SET_WATCHDOG:
            self._watch(doubles[0])
        elif command == ScriptCommand.PROTECTIVE_STOP:
            self._protect()
        elif command == ScriptCommand.GET_STEPTIME:
            self._registers.double_out[self.offset] = 0.002

    def _answer(self, state: int) -> None:
        self._registers.int_out[self.offset] = state

    def _progress(self, *, running: bool) -> None:
        """Show the state of an asynchronous movej: operation, count of writes, running."""
        self._writes = (self._writes + 1) % 128
        self._operations = (self._operations + running) % 128
        self._registers.int_out[self.offset + 2] = (
            self._operations << 24 | self._writes << 16 | running << 15
        )
