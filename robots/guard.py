"""The guard: pure functions that say what an arm may be told.

Two questions, asked of every command and of every setpoint:

* `judge`: may this command of a policy become a target? Whatever is not finite, of the wrong shape
  or kind, too old, or beyond reach is refused; what exceeds a limit is clipped to it.
* `violation`: may the arm follow this path of setpoints? Positions, and velocities, accelerations
  and jerks as differences at the driver's own rate, and the tool's place and speed by forward
  kinematics. A path that ends at rest and passes is one that the arm can be left on, whatever
  happens to the policy: `robots.shaper` never takes a step without such a path behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from robots.arm import Joints
from robots.intent import Command, Kind, pose_matrix
from robots.kinematics import Kinematics
from robots.limits import ArmLimits

# Differences of float64 angles at 1 kHz lose 1e-16 / 1e-9: limits are compared with this slack.
SLACK = 1e-5


class Outcome(StrEnum):
    """What became of a command."""

    ALLOWED = "allowed"
    CLIPPED = "clipped"
    REFUSED = "refused"


class Reason(StrEnum):
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
        target: (J,) the joint angles [rad] (or velocities [rad/s]) to make for; None if refused.
        gripper: opening to set, 0 to 1, or None.
        detail: for people: which joint, how far.
    """

    outcome: Outcome
    reason: Reason = Reason.NONE
    target: Joints | None = None
    gripper: float | None = None
    detail: str = ""


def refuse(reason: Reason, detail: str = "") -> Verdict:
    """Return a refusal."""
    return Verdict(Outcome.REFUSED, reason, detail=detail)


def judge(
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
    old = too_old(command, limits, now)
    if old is not None:
        return refuse(
            old, f"decided {now - command.stamp:.3f} s, seen {now - command.observed:.3f} s ago"
        )
    values = command.values
    expected = (7,) if command.kind is Kind.POSE else (limits.joints,)
    if values.shape != expected:
        return refuse(Reason.SHAPE, f"{values.shape} instead of {expected}")
    if values.dtype.kind not in "fiu":
        return refuse(Reason.DTYPE, f"{values.dtype}; real numbers are needed")
    values = values.astype(np.float64)
    gripper = command.gripper
    if not np.isfinite(values).all() or (gripper is not None and not np.isfinite(gripper)):
        return refuse(Reason.NOT_FINITE, f"values {values.tolist()}, gripper {gripper}")
    if gripper is not None:
        gripper = min(1.0, max(0.0, float(gripper)))
    if command.kind is Kind.VELOCITY:
        clipped = np.clip(values, -limits.velocity, limits.velocity)
        return _verdict(values, clipped, Reason.VELOCITY, gripper)
    if command.kind is Kind.POSE:
        return _judge_pose(values, gripper, current, limits, kinematics)
    clipped = np.clip(values, limits.lower, limits.upper)
    tool = kinematics.tip(clipped)
    if not _inside(tool, limits):
        return refuse(Reason.WORKSPACE, f"tool would be at {np.round(tool, 3).tolist()} m")
    return _verdict(values, clipped, Reason.POSITION, gripper)


def too_old(command: Command, limits: ArmLimits, now: float) -> Reason | None:
    """Say whether a command, or the observation it answers, is past its time; asked every tick."""
    safety = limits.safety
    # Written so that a stamp that is not a number is refused.
    if not now - command.stamp <= safety.command_age:
        return Reason.STALE
    if not now - command.observed <= safety.observation_age:
        return Reason.OLD_OBSERVATION
    if not max(command.stamp, command.observed) <= now + 1e-3:
        return Reason.FUTURE
    return None


def violation(
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
    """
    if not np.isfinite(path).all():
        return "setpoint not finite"
    if (path < limits.lower - SLACK).any() or (path > limits.upper + SLACK).any():
        return "joint position limit"
    series = np.concatenate([before, path])
    tools = kinematics.tip(series[2:])
    if not _inside(tools[1:], limits):
        return "tool outside the workspace"
    speeds = np.linalg.norm(np.diff(tools, axis=0), axis=1) / period
    if (speeds > limits.safety.tool_speed * (1 + SLACK)).any():
        return "tool speed limit"
    steepest = (_differences(len(path), period) @ series).reshape(3, len(path), -1)
    bounds = np.stack([limits.velocity, limits.acceleration, limits.jerk])[:, None]
    beyond = (np.abs(steepest) > bounds * (1 + SLACK) + SLACK / period).any(axis=(1, 2))
    if beyond.any():
        return f"joint {('velocity', 'acceleration', 'jerk')[int(beyond.argmax())]} limit"
    return None


@lru_cache(maxsize=256)
def _differences(count: int, period: float) -> NDArray[np.float64]:
    """Return the (3 K, K + 3) matrix that makes velocities, accelerations and jerks of the last K
    of K + 3 setpoints.
    """
    rows = np.eye(count + 3)
    found = []
    for _ in range(3):
        rows = np.diff(rows, axis=0) / period
        found.append(rows[-count:])
    return np.concatenate(found)


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
        return refuse(Reason.SHAPE, f"quaternion of length {norm:.3f} instead of 1")
    pose = pose_matrix(values)
    pose[:3, 3] = np.clip(values[:3], *limits.box)
    found = kinematics.solve(pose, current, limits.lower, limits.upper)
    if found is None:
        return refuse(Reason.UNREACHABLE, f"tool at {np.round(values[:3], 3).tolist()} m")
    far = float(np.abs(found - current).max())
    if far > limits.safety.jump:
        return refuse(Reason.JUMP, f"{far:.2f} rad, {limits.safety.jump} allowed")
    outside = not np.array_equal(pose[:3, 3], values[:3])
    outcome = Outcome.CLIPPED if outside else Outcome.ALLOWED
    reason = Reason.WORKSPACE if outside else Reason.NONE
    return Verdict(outcome, reason, found, gripper)


def _verdict(asked: Joints, given: Joints, reason: Reason, gripper: float | None) -> Verdict:
    beyond = np.abs(asked - given)
    if not beyond.any():
        return Verdict(Outcome.ALLOWED, target=given, gripper=gripper)
    worst = int(beyond.argmax())
    detail = f"joint {worst + 1}: asked {asked[worst]:.4g}, given {given[worst]:.4g}"
    return Verdict(Outcome.CLIPPED, reason, given, gripper, detail)


def _inside(tools: NDArray[np.float64], limits: ArmLimits) -> bool:
    lower, upper = limits.box
    return bool((tools >= lower - SLACK).all() and (tools <= upper + SLACK).all())
