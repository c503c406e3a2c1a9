"""What a policy asks of an arm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.types import quaternion_to_matrix
from robots.errors import RobotError


class CommandKind(StrEnum):
    """What the numbers of a command are."""

    POSITION = "position"
    VELOCITY = "velocity"
    POSE = "pose"
    PATH = "path"


@dataclass(frozen=True)
class Command:
    """One request of a policy. Nothing about it is trusted: `robots.guard.check_command` looks at
    it.

    Attributes:
        kind: of `values`.
        values: (J,) joint angles [rad], (J,) joint velocities [rad/s], (7,) the tool's position [m]
            and unit quaternion xyzw in the base frame, or (K, 3, J) setpoints to follow, one a
            period of the driver: position, velocity, acceleration. One of them is where the arm has
            been told to be, it goes on from there, and further ones should follow in good time.
        stamp: when it was decided, on this computer's monotonic clock [s].
        observation_stamp: when the observation it answers was made, on the same clock [s].
        gripper: opening, 0 closed to 1 open; None leaves it.

    Raises:
        RobotError: not numbers at all: the caller's mistake, in the caller's thread.
    """

    kind: CommandKind
    values: NDArray[Any]
    stamp: float
    observation_stamp: float
    gripper: float | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "values", np.asarray(self.values))
            for name in ("stamp", "observation_stamp", "gripper"):
                value = getattr(self, name)
                object.__setattr__(self, name, None if value is None else float(value))
            _ = self.stamp + self.observation_stamp
        except (TypeError, ValueError) as error:
            raise RobotError(f"this is no command: {error}. Give numbers and arrays") from error


def pose_to_matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (4, 4) transform of a pose command's (7,) values; the quaternion is normalised."""
    made = np.eye(4)
    made[:3, :3] = quaternion_to_matrix(values[3:] / np.linalg.norm(values[3:]))
    made[:3, 3] = values[:3]
    return made
