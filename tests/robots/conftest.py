"""A cell, a clock that stands still until it is told to go on, and an arm that follows exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from robots.arm import ArmDriver, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.errors import DeviceError
from robots.limits import SafetyConfig, Workspace
from robots.model import ArmModel, load_model

CELL = Workspace(floor=0.02, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4)


class Clock:
    """Monotonic time that a test moves by hand [s]."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class ExactArm(ArmDriver):
    """Is where it was told to be; for tests of the layers above drivers, in no time at all."""

    model: ArmModel
    clock: Clock
    rate: float = 100.0
    sent: list[Setpoint] = field(default_factory=list)
    stops: list[StopCategory] = field(default_factory=list)
    broken: str = ""
    silent_since: float | None = None
    fault: str = ""
    options_type: ClassVar[type] = dict

    def __post_init__(self) -> None:
        self.positions = np.array(self.model.home)
        self.velocities = np.zeros(len(self.positions))

    @property
    def features(self) -> ArmFeatures:
        return ArmFeatures(self.model.name, self.model.joint_names, rate=self.rate, gripper=True)

    def connect(self) -> None:
        self.sent.clear()

    def disconnect(self) -> None:
        pass

    def state(self) -> ArmState:
        if self.broken:
            raise DeviceError(self.broken)
        stamp = self.clock() if self.silent_since is None else self.silent_since
        return ArmState(stamp, self.positions.copy(), self.velocities.copy(), fault=self.fault)

    def command(self, setpoint: Setpoint) -> None:
        if self.broken:
            raise DeviceError(self.broken)
        self.sent.append(setpoint)
        self.positions = setpoint.positions
        self.velocities = setpoint.velocities

    def stop(self, category: StopCategory) -> None:
        self.stops.append(category)
        self.velocities = np.zeros(len(self.positions))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def safety() -> SafetyConfig:
    return SafetyConfig(CELL)


@pytest.fixture(params=["fr3", "ur5e"])
def model(request: pytest.FixtureRequest) -> ArmModel:
    return load_model(request.param)


@pytest.fixture
def exact_arm(model: ArmModel, clock: Clock) -> ExactArm:
    return ExactArm(model, clock)
