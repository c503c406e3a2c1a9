"""What the ticks of an arm's servos mean, kept in LeRobot's calibration file.

The file is JSON, motor name -> {id, drive_mode, homing_offset, range_min, range_max}: one made by
`lerobot-calibrate` can be used here, and one made here there. An angle comes out of it like this:
the middle of the range that was recorded is the middle of the joint's range in `robots/models`,
`drive_mode` 1 turns the sense round, and a turn has 4096 ticks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from math import tau
from pathlib import Path
from typing import Protocol

import numpy as np

from embodied import config as configuration
from embodied.errors import ConfigError
from embodied.files import write_text
from robots.arm import Joints
from robots.errors import DeviceError, ModelError
from robots.model import ArmModel

GRIPPER = "gripper"  # LeRobot's name for the servo that is no joint of the arm
TURN = 4096  # ticks
HALF = 2047  # what a servo reads in the middle of its range once it is homed
OFFSET = 2047  # largest magnitude of the homing offset: 11 bits beside the sign


@dataclass(frozen=True)
class ServoCalibration:
    """One servo, in the words of LeRobot's file.

    Attributes:
        id: on the bus.
        drive_mode: 1 if the joint's angle grows as the ticks fall, else 0.
        homing_offset: what the servo takes off its encoder's reading [ticks].
        range_min: smallest reading of the joint's range, offset taken off [ticks].
        range_max: largest.
    """

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int

    def __post_init__(self) -> None:
        if not 0 <= self.id <= 252:
            raise ModelError(f"id = {self.id}: 0 to 252 are possible")
        if self.drive_mode not in (0, 1):
            raise ModelError(f"drive_mode = {self.drive_mode}: 0 or 1 (inverted) are possible")
        if abs(self.homing_offset) > OFFSET:
            raise ModelError(f"homing_offset = {self.homing_offset} is beyond +-{OFFSET}")
        if not 0 <= self.range_min < self.range_max < TURN:
            raise ModelError(
                f"range {self.range_min} to {self.range_max} is not a rising one in 0 to {TURN - 1}"
            )

    @property
    def direction(self) -> int:
        """+1, or -1 if the joint's angle grows as the ticks fall."""
        return -1 if self.drive_mode else 1

    @property
    def middle(self) -> float:
        """Middle of the range [ticks]."""
        return (self.range_min + self.range_max) / 2

    @property
    def span(self) -> float:
        """Width of the range [rad]."""
        return (self.range_max - self.range_min) * tau / TURN


Calibration = Mapping[str, ServoCalibration]


class MotorsBus(Protocol):
    """A bus of servos as calibrating needs it; `robots.feetech.FeetechBus` is one."""

    @property
    def ids(self) -> Mapping[str, int]:
        """Names of the servos and their ids."""
        ...

    def read_positions(self) -> dict[str, int]:
        """Return what every servo reads, its homing offset taken off [ticks]."""
        ...

    def disable_torque(self) -> None:
        """Cut the torque of all servos."""
        ...

    def write_calibration(self, calibration: Calibration) -> None:
        """Store offsets and ranges in the servos, whose torque is off."""
        ...


def load_calibration(path: str | Path) -> dict[str, ServoCalibration]:
    """Read a calibration.

    Raises:
        ModelError: missing, not such a file, or with impossible values; names servo and key.
    """
    file = Path(path).expanduser()
    if not str(path) or not file.is_file():
        raise ModelError(
            f"no calibration at '{path}': calibrate the arm, or give the file that LeRobot made "
            "(~/.cache/huggingface/lerobot/calibration/robots/...)"
        )
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the calibration {file}: {error}. Calibrate again") from error
    if not isinstance(tree, dict) or not all(isinstance(fields, dict) for fields in tree.values()):
        raise ModelError(f"{file} is no calibration: it should map motor names to their values")
    found = {}
    for name, fields in tree.items():
        try:
            found[name] = configuration.build(ServoCalibration, fields, source=str(file))
        except (ConfigError, ModelError) as error:
            raise ModelError(f"{file}: {name}: {error}") from error
    return found


def save_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration that LeRobot can read too; an old file is replaced whole or not at all.

    Raises:
        UnwritableError: the place cannot be written to.
    """
    tree = {name: asdict(servo) for name, servo in calibration.items()}
    write_text(Path(path).expanduser(), json.dumps(tree, indent=4) + "\n")


def check_calibration(calibration: Calibration, model: ArmModel, ids: Mapping[str, int]) -> None:
    """Check that a calibration is of this kind of arm.

    Raises:
        ModelError: other names, other ids, or a range so unlike the joint's that its middle cannot
            be trusted.
    """
    if set(calibration) != set(ids):
        raise ModelError(
            f"the calibration has {', '.join(sorted(calibration))}; the arm has "
            f"{', '.join(sorted(ids))}: give this arm's calibration, or its model"
        )
    for name, number in ids.items():
        if calibration[name].id != number:
            raise ModelError(
                f"{name} has id {calibration[name].id} in the calibration and {number} in the "
                "options: give this arm's calibration"
            )
    for joint in model.joints:
        servo, span = calibration[joint.name], joint.upper - joint.lower
        # A servo that turns right round has no range to find; its middle was set by hand.
        full = servo.range_max - servo.range_min >= TURN - 1
        if not full and not 0.75 < servo.span / span < 1.25:
            raise ModelError(
                f"{joint.name} was moved over {servo.span:.2f} rad and has {span:.2f}: calibrate "
                "again, moving it from stop to stop"
            )


def calibrate_servos(
    servos: MotorsBus,
    ask: Callable[[str], object],
    done: Callable[[], bool],
    full_turn: Collection[str] = ("wrist_roll",),
) -> dict[str, ServoCalibration]:
    """Find offsets and ranges with the help of somebody who moves the arm by hand.

    The torque goes off and stays off. The values are in the servos afterwards; save them too.

    Args:
        servos: connected.
        ask: shows a text and returns when the person is ready.
        done: polled while the joints are moved; whether the person is finished.
        full_turn: servos without stops, whose range is not recorded.

    Raises:
        ModelError: a joint was not moved.
        DeviceError: the bus failed.
    """
    ask("Support the arm with your hand: its torque goes off now.")
    servos.disable_torque()
    blank = {
        name: ServoCalibration(number, 0, 0, 0, TURN - 1) for name, number in servos.ids.items()
    }
    servos.write_calibration(blank)
    ask("Move every joint to the middle of its range.")
    # The reading shall be HALF here, so that no joint's range runs over the end of the scale.
    homed = {
        name: replace(blank[name], homing_offset=min(reading - HALF, OFFSET))
        for name, reading in servos.read_positions().items()
    }
    servos.write_calibration(homed)
    swept = [name for name in homed if name not in full_turn]
    ask(f"Now move {', '.join(swept)} from stop to stop, one after the other; then say so.")
    low = high = servos.read_positions()
    while not done():
        now = servos.read_positions()
        low = {name: min(low[name], now[name]) for name in now}
        high = {name: max(high[name], now[name]) for name in now}
        time.sleep(0.005)
    still = [name for name in swept if high[name] - low[name] < TURN // 20]
    if still:
        raise ModelError(f"{', '.join(still)} did not move: calibrate again, moving every joint")
    found = {
        name: replace(servo, range_min=low[name], range_max=high[name]) if name in swept else servo
        for name, servo in homed.items()
    }
    servos.write_calibration(found)
    return found


def install_calibration(
    servos: MotorsBus, calibration: Calibration, ask: Callable[[str], object]
) -> None:
    """Store a calibration from a file in the servos, whose torque goes off and stays off.

    Raises:
        DeviceError: the bus failed.
    """
    ask("Support the arm with your hand: its torque goes off now.")
    servos.disable_torque()
    servos.write_calibration(calibration)


def move_to_rest(
    go: Callable[[Joints], None],
    measured: Callable[[], Joints],
    pose: Joints,
    release: Callable[[], None] | None = None,
    tolerance: float = 0.1,
) -> None:
    """End safely: move to where the arm lies by itself, and only there let go of it.

    Args:
        go: moves the arm slowly and returns when it has arrived.
        measured: returns the (J,) joint angles [rad].
        pose: (J,) at which the arm needs no torque [rad].
        release: cuts the torque; None leaves it on.
        tolerance: how far from the pose counts as there [rad].

    Raises:
        DeviceError: it did not get there; the torque stays on.
    """
    go(pose)
    off = float(np.abs(measured() - pose).max())
    if not off <= tolerance:
        raise DeviceError(
            f"the arm stopped {off:.2f} rad from its rest pose, {tolerance} allowed: its torque "
            "stays on. Clear its way, or support it before cutting the power"
        )
    if release is not None:
        release()
