"""What an arm may do in one cell: its maker's limits cut down, and the space its tool may use."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from robots.arm import Joints
from robots.model import ArmModel


@dataclass(frozen=True)
class Workspace:
    """The box the tool centre point stays in, in the base frame [m].

    Attributes:
        floor: lowest height of the tool: the table. Measure it; there is no default.
        lower: smallest x and y.
        upper: largest x and y.
        ceiling: greatest height.
    """

    floor: float
    lower: tuple[float, float]
    upper: tuple[float, float]
    ceiling: float

    def __post_init__(self) -> None:
        sides = zip((*self.lower, self.floor), (*self.upper, self.ceiling), strict=True)
        if not all(np.isfinite(low) and np.isfinite(high) and low < high for low, high in sides):
            raise ConfigError(
                f"workspace: lower {(*self.lower, self.floor)} must be finite and below upper "
                f"{(*self.upper, self.ceiling)}"
            )


@dataclass(frozen=True)
class SafetyConfig:
    """How careful to be. The workspace has no default: only you know where the table is.

    Attributes:
        workspace: where the tool may be.
        share: of the maker's maxima of velocity, acceleration and jerk, 0 to 1.
        margin: kept from the ends of every joint [rad].
        tool_speed: of the tool centre point at most [m/s]. 0.25 is the reduced speed of
            EN ISO 10218-2; choosing it does not make this a safety function.
        start_distance: the first target may be so far from the measured pose [rad].
        command_age: commands older than this are never executed [s].
        observation_age: nor are those that answer an older observation [s].
        state_age: without a younger measurement the arm is stopped [s].
        tracking: the arm may lag its setpoint so far [rad].
        jump: largest joint motion that a Cartesian command may cause [rad].
    """

    workspace: Workspace
    share: float = 0.25
    margin: float = 0.05
    tool_speed: float = 0.25
    start_distance: float = 0.1
    command_age: float = 0.15
    observation_age: float = 0.5
    state_age: float = 0.1
    tracking: float = 0.3
    jump: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"safety.share = {self.share} must be above 0 and at most 1")
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(f"safety.margin = {self.margin} must be at least 0 rad and finite")
        for name in ("tool_speed", "start_distance", "command_age", "observation_age",
                     "state_age", "tracking", "jump"):  # fmt: skip
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"safety.{name} = {getattr(self, name)} must be above 0, finite")


@dataclass(frozen=True)
class ArmLimits:
    """The limits in force, as arrays.

    Attributes:
        lower: (J,) smallest angles [rad], margin included.
        upper: (J,) largest.
        velocity: (J,) [rad/s].
        acceleration: (J,) [rad/s^2].
        jerk: (J,) [rad/s^3].
        box: (2, 3) corners of the tool's workspace [m].
        safety: what they were made from.
    """

    lower: Joints
    upper: Joints
    velocity: Joints
    acceleration: Joints
    jerk: Joints
    box: NDArray[np.float64]
    safety: SafetyConfig

    @property
    def joints(self) -> int:
        """How many joints."""
        return len(self.lower)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """(5, J) lower, upper, velocity, acceleration, jerk: for `robots.kernels`."""
        rows = self.lower, self.upper, self.velocity, self.acceleration, self.jerk
        return np.array(rows, np.float64)


def build_arm_limits(model: ArmModel, safety: SafetyConfig) -> ArmLimits:
    """Cut a maker's limits down to those in force.

    Raises:
        ConfigError: the margin leaves a joint no room.
    """

    def column(name: str) -> Joints:
        return np.array([getattr(joint, name) for joint in model.joints], np.float64)

    lower, upper = column("lower") + safety.margin, column("upper") - safety.margin
    for name, low, high in zip(model.joint_names, lower, upper, strict=True):
        if low >= high:
            raise ConfigError(f"safety.margin = {safety.margin} leaves joint '{name}' no room")
    box = safety.workspace
    limits = ArmLimits(
        lower,
        upper,
        column("velocity") * safety.share,
        column("acceleration") * safety.share,
        column("jerk") * safety.share,
        box=np.array([(*box.lower, box.floor), (*box.upper, box.ceiling)], np.float64),
        safety=safety,
    )
    for field in fields(limits):
        if field.name != "safety":
            getattr(limits, field.name).setflags(write=False)
    return limits
