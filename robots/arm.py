"""What every driver of an arm is.

A driver speaks its device's language and nothing else: it holds no safety logic. It is told joint
setpoints only. Velocities and Cartesian poses that a policy asks for become joint setpoints above
the guard (see `robots.intent`), so that one check covers every kind of command on every arm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]


class StopCategory(IntEnum):
    """How an arm stops (IEC 60204-1).

    A servo arm without brakes falls when its torque is cut: its driver answers `CUT_POWER` with a
    controlled stop, and says so in `ArmFeatures.falls_without_power`.
    """

    CUT_POWER = 0
    STOP_THEN_POWER_OFF = 1
    STOP_AND_HOLD = 2


@dataclass(frozen=True)
class ArmFeatures:
    """What is known of an arm before it is connected.

    Attributes:
        model: name of its description in `robots/models`.
        joints: names of its J joints, base to tool; the order of every joint array.
        rate: setpoints per second the driver is meant to get [Hz].
        gripper: whether setpoints carry a gripper opening.
        efforts: whether the state has joint torques.
        falls_without_power: no brakes: cutting the torque drops the arm.
    """

    model: str
    joints: tuple[str, ...]
    rate: float = 100.0
    gripper: bool = False
    efforts: bool = False
    falls_without_power: bool = False


@dataclass(frozen=True)
class ArmState:
    """What an arm measured.

    Attributes:
        stamp: when, on this computer's monotonic clock [s].
        positions: (J,) joint angles [rad].
        velocities: (J,) [rad/s].
        efforts: (J,) joint torques [Nm], or None.
        gripper: opening, 0 closed to 1 open, or None.
        fault: the device's own complaint; "" when it is well.
    """

    stamp: float
    positions: Joints
    velocities: Joints
    efforts: Joints | None = None
    gripper: float | None = None
    fault: str = ""


@dataclass(frozen=True)
class Setpoint:
    """Where the arm is to be one period from now.

    Attributes:
        positions: (J,) joint angles [rad].
        velocities: (J,) [rad/s], for devices that can use them.
        gripper: opening, 0 closed to 1 open; None leaves it.
    """

    positions: Joints
    velocities: Joints
    gripper: float | None = None


@runtime_checkable
class Arm(Protocol):
    """One arm. Used as a context manager: connects on entry, stops and disconnects on exit.

    Only the bridge calls `command`. No method may block longer than a few periods; a device that
    does not answer raises DeviceError.
    """

    @property
    def features(self) -> ArmFeatures:
        """What the arm is; known before it is connected."""
        ...

    def connect(self) -> None:
        """Open the line and read the first state. The arm must not move by itself.

        Raises:
            DeviceError: nobody answers, or the device is not the one described.
        """
        ...

    def disconnect(self) -> None:
        """Close the line and leave the arm holding where it can. Safe to call twice."""
        ...

    def state(self) -> ArmState:
        """Return the newest measurement with the time it was made.

        Raises:
            DeviceError: there is none, or the line is down.
        """
        ...

    def command(self, setpoint: Setpoint) -> None:
        """Pass a setpoint to the device; `features.rate` times a second.

        Raises:
            DeviceError: it could not be passed.
        """
        ...

    def stop(self, category: StopCategory) -> None:
        """Stop the arm by the device's own means. `STOP_AND_HOLD` is "hold where you are".

        Raises:
            DeviceError: the device does not confirm.
        """
        ...

    def recover(self) -> None:
        """Clear what a fault left behind in the device; a person has asked for it.

        Raises:
            DeviceError: it cannot be cleared.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class ArmDriver(ABC):
    """What all drivers share: `with` connects, leaving stops and disconnects."""

    @abstractmethod
    def connect(self) -> None:
        """Open the line."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close it."""

    @abstractmethod
    def stop(self, category: StopCategory) -> None:
        """Stop the arm."""

    def recover(self) -> None:  # noqa: B027 - most arms have nothing to clear
        """Do nothing: see `Arm.recover`."""

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop(StopCategory.STOP_AND_HOLD)
        finally:
            self.disconnect()
