"""Messages of ROS 2 as classes, without ROS.

IDL classes of the `cyclonedds` package, field for field as in trajectory_msgs, sensor_msgs,
control_msgs and std_msgs. Encoded with `serialize(use_version_2=False)` they are plain CDR (XCDR1,
little endian), the bytes that every middleware of ROS 2 sends.
"""

# No `from __future__ import annotations`: Cyclone's IDL classes read their annotations as types.
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from embodied.extras import require_extra

with require_extra("An arm behind ROS 2"):
    from cyclonedds.idl import IdlStruct
    from cyclonedds.idl.types import float64, int32, uint32

if TYPE_CHECKING:
    sequence = list
else:
    from cyclonedds.idl.types import sequence


@dataclass
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    """A moment of the sender's ROS clock; all zero: none, or "now" in a command."""

    sec: int32 = 0
    nanosec: uint32 = 0

    @property
    def nanoseconds(self) -> int:
        """All of it [ns]."""
        return self.sec * 1_000_000_000 + self.nanosec


@dataclass
class Duration(IdlStruct, typename="builtin_interfaces.msg.dds_.Duration_"):
    """A span of time."""

    sec: int32 = 0
    nanosec: uint32 = 0

    @property
    def seconds(self) -> float:
        """All of it [s]."""
        return self.sec + self.nanosec * 1e-9


@dataclass
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    """When and in which frame."""

    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class JointTrajectoryPoint(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectoryPoint_"):
    """Each list has one value per joint [rad, rad/s, rad/s^2, Nm], or none at all."""

    positions: sequence[float64] = field(default_factory=list)
    velocities: sequence[float64] = field(default_factory=list)
    accelerations: sequence[float64] = field(default_factory=list)
    effort: sequence[float64] = field(default_factory=list)
    time_from_start: Duration = field(default_factory=Duration)


@dataclass
class JointTrajectory(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectory_"):
    """The command of a joint trajectory controller."""

    header: Header = field(default_factory=Header)
    joint_names: sequence[str] = field(default_factory=list)
    points: sequence[JointTrajectoryPoint] = field(default_factory=list)


class JointMeasurement(NamedTuple):
    """What either message of a state says: the sender's stamp [ns], and a value per joint."""

    stamp: int
    names: list[str]
    positions: list[float]
    velocities: list[float]
    efforts: list[float]


@dataclass
class JointState(IdlStruct, typename="sensor_msgs.msg.dds_.JointState_"):
    """What the joints measure [rad, rad/s, Nm]; velocity and effort may be left out."""

    header: Header = field(default_factory=Header)
    name: sequence[str] = field(default_factory=list)
    position: sequence[float64] = field(default_factory=list)
    velocity: sequence[float64] = field(default_factory=list)
    effort: sequence[float64] = field(default_factory=list)

    def to_measurement(self) -> JointMeasurement:
        """Return the measurement."""
        stamp = self.header.stamp.nanoseconds
        return JointMeasurement(stamp, self.name, self.position, self.velocity, self.effort)


@dataclass
class JointTrajectoryControllerState(
    IdlStruct, typename="control_msgs.msg.dds_.JointTrajectoryControllerState_"
):
    """What the controller wants and measures.

    The fields that all releases of control_msgs begin with. What follows (error, output, several
    degrees of freedom) changed from release to release; a reader of CDR may stop before it.
    """

    header: Header = field(default_factory=Header)
    joint_names: sequence[str] = field(default_factory=list)
    reference: JointTrajectoryPoint = field(default_factory=JointTrajectoryPoint)
    feedback: JointTrajectoryPoint = field(default_factory=JointTrajectoryPoint)

    def to_measurement(self) -> JointMeasurement:
        """Return the measurement."""
        stamp, now = self.header.stamp.nanoseconds, self.feedback
        return JointMeasurement(stamp, self.joint_names, now.positions, now.velocities, now.effort)
