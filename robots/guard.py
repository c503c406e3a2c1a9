"""The guard: pure functions that say what an arm may be told.

Two questions, asked of every command and of every setpoint:

* `check_command`: may this command of a policy become a target? Whatever is not finite, of the
wrong shape
  or kind, too old, or beyond reach is refused; what exceeds a limit is clipped to it.
* `find_violation`: may the arm follow this path of setpoints? Positions, and velocities,
accelerations
  and jerks as differences at the driver's own rate, and the tool's place and speed by forward
  kinematics. A path that ends at rest and passes is one that the arm can be left on, whatever
  happens to the policy: `robots.shaper` never takes a step without such a path behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from robots.arm import Joints
from robots.errors import RobotError
from robots.intent import Command, CommandKind, pose_to_matrix
from robots.kernels import check_path, is_inside_box
from robots.kinematics import Kinematics
from robots.limits import ArmLimits

# Differences of float64 angles at 1 kHz lose 1e-16 / 1e-9: limits are compared with this slack.
SLACK = 1e-5
LONGEST_PATH = 1000  # setpoints of one command
# By the numbers of `robots.kernels`.
VIOLATIONS = (
    None,
    "setpoint not finite",
    "joint position limit",
    "tool outside the workspace",
    "tool speed limit",
    "joint velocity limit",
    "joint acceleration limit",
    "joint jerk limit",
)


class CommandOutcome(StrEnum):
    """What became of a command."""

    ALLOWED = "allowed"
    CLIPPED = "clipped"
    REFUSED = "refused"


class VerdictReason(StrEnum):
    """Why a command was clipped or refused."""

    NONE = ""
    SHAPE = "wrong shape"
    DTYPE = "wrong dtype"
    NOT_FINITE = "not finite"
    STALE = "command too old"
    OLD_OBSERVATION = "observation too old"
    FUTURE = "stamped in the future"
    POSITION = "joint position limit"
    VELOCITY = "joint velocity limit"
    WORKSPACE = "tool outside the workspace"
    UNREACHABLE = "pose out of reach"
    JUMP = "pose needs a jump of the joints"
    START = "first target too far from the arm"
    NOT_COMMANDING = "not in command"
    HELD = "held"
    STATE = "bridge is not armed"


@dataclass(frozen=True)
class Verdict:
    """The guard's answer.

    Attributes:
        outcome: allowed, clipped or refused.
        reason: why, unless it is allowed.
        target: (J,) the joint angles [rad] (or velocities [rad/s]) to make for, or the (K, 3, J)
            path to follow; None if refused.
        gripper: opening to set, 0 to 1, or None.
        detail: for people: which joint, how far.
    """

    outcome: CommandOutcome
    reason: VerdictReason = VerdictReason.NONE
    target: Joints | None = None
    gripper: float | None = None
    detail: str = ""


def refuse_command(reason: VerdictReason, detail: str = "") -> Verdict:
    """Return a refusal."""
    return Verdict(CommandOutcome.REFUSED, reason, detail=detail)


def check_command(
    command: Command,
    current: Joints,
    limits: ArmLimits,
    kinematics: Kinematics,
    now: float,
) -> Verdict:
    """Say whether a command may become a target.

    Args:
        command: what a policy asks.
        current: (J,) where the arm has been told to be [rad].
        limits: in force.
        kinematics: of the arm.
        now: monotonic clock [s].
    """
    old = check_command_age(command, limits, now)
    if old is not None:
        return refuse_command(
            old,
            f"decided {now - command.stamp:.3f} s, seen {now - command.observation_stamp:.3f} s "
            f"ago",
        )
    values = command.values
    expected: tuple[int, ...] = (7,) if command.kind is CommandKind.POSE else (limits.joints,)
    if command.kind is CommandKind.PATH:
        expected = (min(max(len(values) if values.ndim else 0, 1), LONGEST_PATH), 3, limits.joints)
    if values.shape != expected:
        return refuse_command(VerdictReason.SHAPE, f"{values.shape} instead of {expected}")
    if values.dtype.kind not in "fiu":
        return refuse_command(VerdictReason.DTYPE, f"{values.dtype}; real numbers are needed")
    values = values.astype(np.float64)
    gripper = command.gripper
    # Plain numbers: numpy takes longer to begin than 7 of them take.
    if not all(map(isfinite, values.ravel().tolist())) or not (
        gripper is None or isfinite(gripper)
    ):
        return refuse_command(
            VerdictReason.NOT_FINITE, f"values {values.tolist()}, gripper {gripper}"
        )
    if gripper is not None:
        gripper = min(1.0, max(0.0, float(gripper)))
    if command.kind is CommandKind.VELOCITY:
        clipped = np.maximum(np.minimum(values, limits.velocity), -limits.velocity)
        return _verdict(values, clipped, VerdictReason.VELOCITY, gripper)
    if command.kind is CommandKind.POSE:
        return _judge_pose(values, gripper, current, limits, kinematics)
    if command.kind is CommandKind.PATH:  # its every step is looked at before it is taken
        return Verdict(CommandOutcome.ALLOWED, target=values, gripper=gripper)
    clipped = np.maximum(np.minimum(values, limits.upper), limits.lower)
    tool = kinematics.compute_tip(clipped)
    if not is_inside_box(tool, limits.box, SLACK):
        return refuse_command(
            VerdictReason.WORKSPACE, f"tool would be at {np.round(tool, 3).tolist()} m"
        )
    return _verdict(values, clipped, VerdictReason.POSITION, gripper)


def check_command_age(command: Command, limits: ArmLimits, now: float) -> VerdictReason | None:
    """Say whether a command, or the observation it answers, is past its time; asked every tick."""
    safety = limits.safety
    # Written so that a stamp that is not a number is refused.
    if not now - command.stamp <= safety.command_age:
        return VerdictReason.STALE
    if not now - command.observation_stamp <= safety.observation_age:
        return VerdictReason.OLD_OBSERVATION
    if not max(command.stamp, command.observation_stamp) <= now + 1e-3:
        return VerdictReason.FUTURE
    return None


def find_violation(
    before: NDArray[np.float64],
    path: NDArray[np.float64],
    limits: ArmLimits,
    kinematics: Kinematics,
    period: float,
) -> str | None:
    """Say what is wrong with a path of setpoints, or None.

    Args:
        before: (3, J) the setpoints sent last, oldest first [rad].
        path: (K, J) those that would follow, one a period [rad].
        limits: in force.
        kinematics: of the arm.
        period: of the driver [s].

    Raises:
        RobotError: the arrays are not of this arm: compiled code would read past their ends.
    """
    count = limits.joints
    if (
        before.shape != (3, count)
        or path.shape != (len(path), count)
        or len(kinematics.chain) != count
    ):
        raise RobotError(f"setpoints {before.shape} and {path.shape} for an arm of {count} joints")
    found = check_path(
        np.ascontiguousarray(before, np.float64),
        np.ascontiguousarray(path, np.float64),
        kinematics.chain,
        kinematics.point,
        limits.bounds,
        limits.box,
        limits.safety.tool_speed,
        period,
        SLACK,
    )
    return VIOLATIONS[found]


def _judge_pose(
    values: Joints,
    gripper: float | None,
    current: Joints,
    limits: ArmLimits,
    kinematics: Kinematics,
) -> Verdict:
    with np.errstate(over="ignore"):  # an endless quaternion is refused like any other bad one
        norm = float(np.linalg.norm(values[3:]))
    if not 0.9 < norm < 1.1:
        return refuse_command(VerdictReason.SHAPE, f"quaternion of length {norm:.3f} instead of 1")
    pose = pose_to_matrix(values)
    pose[:3, 3] = np.clip(values[:3], *limits.box)
    found = kinematics.solve_ik(pose, current, limits.lower, limits.upper)
    if found is None:
        return refuse_command(
            VerdictReason.UNREACHABLE, f"tool at {np.round(values[:3], 3).tolist()} m"
        )
    far = float(np.abs(found - current).max())
    if far > limits.safety.jump:
        return refuse_command(VerdictReason.JUMP, f"{far:.2f} rad, {limits.safety.jump} allowed")
    outside = not np.array_equal(pose[:3, 3], values[:3])
    outcome = CommandOutcome.CLIPPED if outside else CommandOutcome.ALLOWED
    reason = VerdictReason.WORKSPACE if outside else VerdictReason.NONE
    return Verdict(outcome, reason, found, gripper)


def _verdict(asked: Joints, given: Joints, reason: VerdictReason, gripper: float | None) -> Verdict:
    if asked.tolist() == given.tolist():
        return Verdict(CommandOutcome.ALLOWED, target=given, gripper=gripper)
    worst = int(np.abs(asked - given).argmax())
    detail = f"joint {worst + 1}: asked {asked[worst]:.4g}, given {given[worst]:.4g}"
    return Verdict(CommandOutcome.CLIPPED, reason, given, gripper, detail)
