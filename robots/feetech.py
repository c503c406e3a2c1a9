"""SO-100 and SO-101: arms of Feetech STS3215 servos on a serial line.

The servos have no brakes. Every stop is therefore "hold where you are", and the torque stays on
when the line is closed or lost: the servos keep their last goal by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import tau
from typing import ClassVar

import numpy as np

from embodied.errors import ConfigError
from robots.arm import ArmDriver, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.calibration import GRIPPER, TURN, Calibration, check_calibration, load_calibration
from robots.errors import DeviceError, RobotError
from robots.feetech_bus import (
    ACCELERATION,
    GOAL_POSITION,
    HOMING_OFFSET,
    MIN_POSITION,
    MODE,
    PRESENT_POSITION,
    TORQUE_ENABLE,
    TORQUE_LIMIT,
    FeetechBus,
    decode_word,
    encode_word,
)
from robots.model import ArmModel

BAUDRATES = (38_400, 57_600, 115_200, 128_000, 250_000, 500_000, 1_000_000)
ERRORS = {1: "voltage", 2: "angle sensor", 4: "overheated", 8: "overcurrent", 32: "overload"}
NEAR = 40  # [ticks] from its goal, 3.5 deg: a servo that gives way that much under load holds it
AT_REST = 0.1  # [rad] from the rest pose and [rad/s]


@dataclass(frozen=True)
class FeetechOptions:
    """How to reach the arm.

    Attributes:
        port: of the USB adapter.
        calibration: file of this very arm, ours or LeRobot's (see `robots.calibration`).
        baudrate: as set in the servos [bit/s].
        ids: of the joints' servos, base to tool.
        gripper: id of the gripper's servo; 0 for none.
        gripper_torque: part of its torque it may use, so that it survives holding something.
        rest: joint angles at which the arm lies by itself [rad]; empty if unknown.
        release_at_rest: cut the torque on disconnecting, if the arm is there.
    """

    port: str = "/dev/ttyACM0"
    calibration: str = ""
    baudrate: int = 1_000_000
    ids: tuple[int, ...] = (1, 2, 3, 4, 5)
    gripper: int = 6
    gripper_torque: float = 0.5
    rest: tuple[float, ...] = ()
    release_at_rest: bool = False

    def __post_init__(self) -> None:
        if self.baudrate not in BAUDRATES:
            raise ConfigError(f"baudrate = {self.baudrate}: allowed are {BAUDRATES}")
        numbers = [*self.ids, self.gripper] if self.gripper else list(self.ids)
        if len(set(numbers)) < len(numbers) or not all(1 <= n <= 252 for n in numbers):
            raise ConfigError(f"ids {numbers}: every servo needs its own, 1 to 252")
        if not 0 < self.gripper_torque <= 1:
            raise ConfigError(f"gripper_torque = {self.gripper_torque} must be above 0, at most 1")
        if self.release_at_rest and not self.rest:
            raise ConfigError("release_at_rest needs the joint angles of `rest`")


class FeetechArm(ArmDriver):
    """An SO-100, an SO-101 or another arm of STS3215 servos.

    Args:
        model: its joints, base to tool.
        options: how to reach it.

    Raises:
        ConfigError: options that do not fit the model.
    """

    options_type: ClassVar[type] = FeetechOptions

    def __init__(self, model: ArmModel, options: FeetechOptions = FeetechOptions()) -> None:
        for what, values in (("ids", options.ids), ("rest", options.rest or model.home)):
            if len(values) != len(model.joints):
                raise ConfigError(
                    f"{what} {values}: {model.name} has {len(model.joints)} joints, give as many"
                )
        self.model, self.options = model, options
        ids = dict(zip(model.joint_names, options.ids, strict=True))
        if options.gripper:
            ids[GRIPPER] = options.gripper
        self.bus = FeetechBus(options.port, options.baudrate, ids)
        self._calibration: Calibration = {}
        self._centers = np.array([(joint.lower + joint.upper) / 2 for joint in model.joints])

    @property
    def features(self) -> ArmFeatures:
        """What the arm is."""
        return ArmFeatures(
            self.model.name,
            self.model.joint_names,
            gripper=bool(self.options.gripper),
            falls_without_power=True,
        )

    def connect(self) -> None:
        """Open the line and hold the arm where it is.

        Raises:
            ModelError: the calibration is missing, corrupt or another arm's.
            DeviceError: see `FeetechBus.open`; or the servos are not set as the calibration says.
        """
        calibration = load_calibration(self.options.calibration)
        check_calibration(calibration, self.model, self.bus.ids)
        self.bus.open()
        try:
            self._compare(calibration)
            self._calibration = calibration
            self._take_hold()
            fault = self.state().fault
            if fault:
                raise DeviceError(f"the arm reports: {fault}. Find the cause, then connect again")
        except RobotError:
            self.bus.close()
            raise

    def disconnect(self) -> None:
        """Close the line and leave the arm holding; see `release_at_rest`. Safe to call twice."""
        try:
            if self.options.release_at_rest and self.bus.is_open:
                with suppress(DeviceError):  # not at rest, or the line is down: it goes on holding
                    self.disable_torque()
        finally:
            self.bus.close()

    def recover(self) -> None:
        """Connect again after a fault, the arm held where it is.

        Raises:
            DeviceError: see `connect`.
        """
        self.connect()

    def state(self) -> ArmState:
        """Measure, in one exchange with all servos.

        Raises:
            DeviceError: see `FeetechBus.sync_read`.
        """
        rows, errors, stamp = self.bus.sync_read(PRESENT_POSITION, 4)
        positions, velocities, gripper = [], [], None
        for name, row in zip(self.bus.ids, rows, strict=True):
            servo = self._calibration[name]
            ticks = decode_word(row[:2]) - servo.middle
            if name == GRIPPER:
                gripper = 0.5 + servo.direction * ticks / (servo.range_max - servo.range_min)
            else:
                positions.append(servo.direction * ticks)
                velocities.append(servo.direction * decode_word(row[2:4]))
        faults = [
            f"servo {number} ({name}): {_name_errors(bits)}"
            for (name, number), bits in zip(self.bus.ids.items(), errors, strict=True)
            if bits
        ]
        return ArmState(
            stamp,
            self._centers + np.array(positions) * tau / TURN,
            np.array(velocities) * tau / TURN,
            gripper=gripper,
            fault="; ".join(faults),
        )

    def command(self, setpoint: Setpoint) -> None:
        """Give all servos their goals, in one packet.

        Raises:
            DeviceError: the line is down, or a goal is no number a servo can be told.
        """
        self.bus.require_open()
        goals = {}
        ticks = (setpoint.positions - self._centers) * TURN / tau
        for name, distance in zip(self.model.joint_names, ticks, strict=True):
            servo = self._calibration[name]
            goals[name] = encode_word(servo.middle + servo.direction * float(distance))
        if setpoint.gripper is not None and GRIPPER in self.bus.ids:
            servo = self._calibration[GRIPPER]
            part = servo.direction * (setpoint.gripper - 0.5)
            goals[GRIPPER] = encode_word(servo.middle + part * (servo.range_max - servo.range_min))
        self.bus.sync_write(GOAL_POSITION, goals)

    def stop(self, category: StopCategory) -> None:
        """Hold where the arm is, whatever the category: without torque it would fall.

        Raises:
            DeviceError: the servos do not confirm.
        """
        goals = self._goals_to_hold()
        self.bus.sync_write(GOAL_POSITION, goals)
        self._confirm(goals)

    def disable_torque(self) -> None:
        """Cut the torque, if the arm is at its rest pose.

        Raises:
            DeviceError: it is not, or the servos do not confirm.
        """
        state = self.state()
        off = np.abs(state.positions - self.options.rest) if self.options.rest else np.inf
        if not np.max(off) <= AT_REST or np.abs(state.velocities).max() > AT_REST:
            raise DeviceError(
                f"the arm is not at its rest pose {self.options.rest} but at "
                f"{np.round(state.positions, 2).tolist()}: its torque stays on"
            )
        self.bus.disable_torque()

    def _compare(self, calibration: Calibration) -> None:
        """Refuse servos that are not set as the calibration says: every angle would be wrong."""
        ranges, _, _ = self.bus.sync_read(MIN_POSITION, 4)
        homings, _, _ = self.bus.sync_read(HOMING_OFFSET, 3)
        for name, limits, homing in zip(self.bus.ids, ranges, homings, strict=True):
            servo, mode = calibration[name], homing[MODE - HOMING_OFFSET]
            has = (decode_word(homing[:2], 11), decode_word(limits[:2]), decode_word(limits[2:]))
            wants = (servo.homing_offset, servo.range_min, servo.range_max)
            if has != wants or mode != 0:
                raise DeviceError(
                    f"servo {servo.id} ({name}) has offset and range {has} and mode {mode}, the "
                    f"calibration {wants} and mode 0: give this arm's calibration, install it in "
                    "the servos, or calibrate again"
                )

    def _take_hold(self) -> None:
        goals = self._goals_to_hold()
        for name, goal in goals.items():
            # The largest acceleration, and no time or speed limit that another program left behind:
            # the bridge shapes the motion. Goals before torque, so that nothing jumps.
            self.bus.write(name, ACCELERATION, b"\xfe" + goal + bytes(4))
        if GRIPPER in goals:
            limit = round(1000 * self.options.gripper_torque)
            self.bus.write(GRIPPER, TORQUE_LIMIT, encode_word(limit))
        for name in goals:
            self.bus.write(name, TORQUE_ENABLE, b"\x01")
        self._confirm(goals)

    def _goals_to_hold(self) -> dict[str, bytes]:
        """Return goals that keep every servo where it is.

        One that is near its goal keeps it: a goal lowered to where the weight has pulled the joint
        would let the arm creep down a little with every stop. The gripper always does: what it
        squeezes keeps it from its goal, and is dropped with any other.
        """
        now = self.bus.read_positions()
        rows, _, _ = self.bus.sync_read(TORQUE_ENABLE, 4)
        goals = {}
        for (name, position), row in zip(now.items(), rows, strict=True):
            near = name == GRIPPER or abs(decode_word(row[2:4]) - position) <= NEAR
            keep = near and row[0] == 1
            goals[name] = row[2:4] if keep else encode_word(position)
        return goals

    def _confirm(self, goals: Mapping[str, bytes]) -> None:
        rows, _, _ = self.bus.sync_read(TORQUE_ENABLE, 4)
        for (name, goal), row in zip(goals.items(), rows, strict=True):
            if row[0] != 1 or row[2:4] != goal:
                raise DeviceError(
                    f"servo {self.bus.ids[name]} ({name}) does not hold: torque {row[0]}, goal "
                    f"{decode_word(row[2:4])} instead of {decode_word(goal)}"
                )


def _name_errors(bits: int) -> str:
    return ", ".join(
        ERRORS.get(bit, f"error bit {bit}") for bit in (1 << i for i in range(8)) if bits & bit
    )
