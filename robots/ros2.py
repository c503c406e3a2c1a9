"""An arm behind ROS 2: a joint trajectory controller of ros2_control, with no ROS on our side.

Every setpoint is published as a trajectory of one point on the controller's topic; the state is
read from `/joint_states` or from the controller's own state topic. Sources: the joint trajectory
controller's user documentation and parameters (ros-controls/ros2_controllers), the messages of
trajectory_msgs, sensor_msgs and control_msgs.

Set `interpolate_from_desired_state: true` at the controller: otherwise each setpoint starts from
the measured position, and an arm that lags behind falls back further. The controller checks
neither limits nor NaN, and holds the last setpoint when they cease.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from robots.arm import ArmDriver, ArmFeatures, ArmState, Joints, Setpoint, StopCategory
from robots.errors import DeviceError, ModelError
from robots.model import ArmModel

if TYPE_CHECKING:
    from robots.ros2_link import Ros2Link, Ros2Publisher
    from robots.ros2_types import JointMeasurement, JointState, JointTrajectoryControllerState


@dataclass(frozen=True)
class Ros2Options:
    """How the controller is reached and spoken to.

    Attributes:
        transport: "dds" for nodes that use DDS; "zenoh" for a zenoh-bridge-ros2dds beside them.
        domain: DDS: their ROS_DOMAIN_ID.
        interface: DDS: address of this computer's network interface towards them; "" leaves it to
            CYCLONEDDS_URI. The default stays within this computer; nodes must do the same
            (ROS_LOCALHOST_ONLY=1, or ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST) to be found there.
        endpoints: Zenoh: where the bridge listens.
        namespace: in front of all topics, such as "left"; "" for none.
        controller: the controller's name.
        prefix: in front of all joint names, such as "left_".
        state_source: "joint_states", or "controller_state", which carries this arm's joints only.
        command_topic: another topic for setpoints; "" follows from the controller's name.
        state_topic: likewise for the state; older releases call it `<controller>/state`.
        rate: setpoints per second [Hz].
        periods: when a setpoint is to be reached, in periods from its arrival. 1 tracks closest; 2
            lags by one more and bridges a late message.
        velocities: send velocities with the positions. Since ROS 2 Iron the controller refuses
            points that do not end at rest unless its `allow_nonzero_velocity_at_trajectory_end` is
            true. Without velocities it interpolates linearly.
        efforts: the state has joint torques.
        stop_time: in which to come to rest where the arm was when told to stop [s].
        state_timeout: age of the newest state at which the line counts as down [s].
        connect_timeout: how long to wait for the first state and for the controller [s].
    """

    transport: Literal["dds", "zenoh"] = "dds"
    domain: int = 0
    interface: str = "127.0.0.1"
    endpoints: tuple[str, ...] = ("tcp/127.0.0.1:7447",)
    namespace: str = ""
    controller: str = "joint_trajectory_controller"
    prefix: str = ""
    state_source: Literal["joint_states", "controller_state"] = "joint_states"
    command_topic: str = ""
    state_topic: str = ""
    rate: float = 100.0
    periods: int = 2
    velocities: bool = False
    efforts: bool = False
    stop_time: float = 0.1
    state_timeout: float = 0.5
    connect_timeout: float = 5.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("transport", ("dds", "zenoh")),
            ("state_source", ("joint_states", "controller_state")),
        ):
            if getattr(self, name) not in allowed:
                raise ModelError(f"{name} = '{getattr(self, name)}': allowed are {allowed}")
        # Beyond 232 the ports of the DDS standard, 7400 + 250 x domain, do not exist.
        if not 0 <= self.domain <= 232:
            raise ModelError(f"domain = {self.domain} must be within 0 and 232")
        if self.transport == "zenoh" and not self.endpoints:
            raise ModelError("endpoints is empty: name where the Zenoh bridge listens")
        for name in ("rate", "periods", "stop_time", "state_timeout", "connect_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ModelError(f"{name} = {getattr(self, name)} must be above 0 and finite")

    def resolve_topics(self) -> tuple[str, str]:
        """Return the ROS names of the topics of setpoints and of the state."""
        root = f"/{self.namespace.strip('/')}" if self.namespace else ""
        own = f"{root}/{self.controller}"
        states = f"{root}/joint_states"
        if self.state_source == "controller_state":
            states = f"{own}/controller_state"
        return self.command_topic or f"{own}/joint_trajectory", self.state_topic or states


class Ros2Arm(ArmDriver):
    """An arm moved by a joint trajectory controller; see the module.

    Joints are found by name, whatever their order. States carry the time at which they arrived;
    the sender's stamp, on a clock of its own, serves to know a repeated message, which does not
    make a state newer, and to difference positions where the sender measures no velocities.

    Args:
        model: its joints are named as in the robot's URDF.
        options: how to reach the controller.
    """

    options_type: ClassVar[type] = Ros2Options

    def __init__(self, model: ArmModel, options: Ros2Options = Ros2Options()) -> None:
        self._model, self._options = model, options
        self._names = tuple(options.prefix + name for name in model.joint_names)
        self._command_topic, self._state_topic = options.resolve_topics()
        self._link: Ros2Link | None = None
        self._commands: Ros2Publisher | None = None
        self._arrived = threading.Condition()
        self._newest: ArmState | DeviceError | None = None
        self._states = self._reader()

    @property
    def features(self) -> ArmFeatures:
        """What the arm is."""
        return ArmFeatures(
            self._model.name,
            self._model.joint_names,
            rate=self._options.rate,
            efforts=self._options.efforts,
        )

    def connect(self) -> None:
        """Wait until the state comes and the controller listens. Moves nothing.

        Raises:
            DeviceError: either is missing, or the state lacks joints of this arm.
            MissingExtraError: the transport's package is not installed.
        """
        from robots import ros2_types as ros
        from robots.ros2_link import open_link

        options = self._options
        by_controller = options.state_source == "controller_state"
        kind: Any = ros.JointTrajectoryControllerState if by_controller else ros.JointState
        self._newest, self._states = None, self._reader()
        self._link = open_link(
            options.transport, options.domain, options.interface, connect=options.endpoints
        )
        try:
            self._commands = self._link.create_publisher(self._command_topic, ros.JointTrajectory)
            self._link.subscribe(self._state_topic, kind, self._receive)
            self._await()
        except DeviceError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Leave; the controller holds the last setpoint."""
        self._commands = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def state(self) -> ArmState:
        """Return the newest state, stamped when it arrived.

        Raises:
            DeviceError: none for `state_timeout`, or the newest is no state of this arm.
        """
        newest = self._newest
        if self._link is None or newest is None:
            raise DeviceError(f"no state: {self._model.name} is not connected; call connect()")
        if isinstance(newest, DeviceError):
            raise DeviceError(str(newest))
        age = time.monotonic() - newest.stamp
        if age > self._options.state_timeout:
            raise DeviceError(
                f"{self._state_topic} has been silent for {age:.2f} s (state_timeout is "
                f"{self._options.state_timeout} s): is the controller, and the network, up?"
            )
        return newest

    def command(self, setpoint: Setpoint) -> None:
        """Publish a setpoint, to be reached `periods` from now. Never waits.

        Raises:
            DeviceError: no controller listens, or the transport failed.
        """
        velocities = setpoint.velocities if self._options.velocities else None
        self._send(setpoint.positions, velocities, self._options.periods / self._options.rate)

    def stop(self, category: StopCategory) -> None:
        """Come to rest at the measured position within `stop_time`: STOP_AND_HOLD.

        A topic cannot do more, so every category ends there, with the drives on. To take power
        off, deactivate the controller or the hardware (services of the controller manager), or use
        the vendor's stop; the emergency stop must not depend on ROS.

        Raises:
            DeviceError: there is no measured position, or nobody listens. The controller then
                holds the last setpoint it got.
        """
        positions = self.state().positions
        self._send(positions, np.zeros_like(positions), self._options.stop_time)

    def _send(self, positions: Joints, velocities: Joints | None, seconds: float) -> None:
        from robots import ros2_types as ros

        if self._commands is None:
            raise DeviceError(f"{self._model.name} is not connected; call connect()")
        if not self._commands.has_subscribers():
            raise DeviceError(
                f"nobody subscribes to {self._command_topic}: is the controller "
                f"'{self._options.controller}' active (ros2 control list_controllers)?"
            )
        whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
        point = ros.JointTrajectoryPoint(
            positions=np.asarray(positions, np.float64).tolist(),
            velocities=[] if velocities is None else np.asarray(velocities, np.float64).tolist(),
            time_from_start=ros.Duration(whole, rest),
        )
        # The header's stamp stays zero: begin on arrival, whatever the clocks say.
        self._commands.publish(ros.JointTrajectory(joint_names=list(self._names), points=[point]))

    def _reader(self) -> _States:
        options = self._options
        return _States(self._names, self._state_topic, options.efforts, options.state_timeout)

    def _await(self) -> None:
        """Wait for the first state and for somebody to command."""
        deadline = time.monotonic() + self._options.connect_timeout
        with self._arrived:
            while self._newest is None and self._arrived.wait(deadline - time.monotonic()):
                pass
        if self._newest is None:
            others = self._states.others
            others = f"; it names {', '.join(others)} only" if others else ""
            raise DeviceError(
                f"no state of {', '.join(self._names)} on {self._state_topic} within "
                f"{self._options.connect_timeout} s{others}. Check that the controllers run, and "
                "that transport, domain, interface, namespace and joint names are theirs"
            )
        while (
            not (self._commands and self._commands.has_subscribers())
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        if not (self._commands and self._commands.has_subscribers()):
            raise DeviceError(
                f"the state comes, but nobody subscribes to {self._command_topic}: is the "
                f"controller '{self._options.controller}' active (ros2 control list_controllers)?"
            )
        self.state()

    def _receive(self, message: JointState | JointTrajectoryControllerState | DeviceError) -> None:
        """Take what arrived; called in a thread of the link's."""
        newest: ArmState | DeviceError | None
        try:
            if isinstance(message, DeviceError):
                raise message
            newest = self._states.read(message.to_measurement(), time.monotonic_ns())
        except DeviceError as error:
            newest = error
        if newest is not None:
            with self._arrived:
                self._newest = newest
                self._arrived.notify_all()


class _States:
    """Turns what arrives on a topic into states of one arm."""

    def __init__(self, names: tuple[str, ...], topic: str, efforts: bool, patience: float) -> None:
        self._names, self._topic, self._efforts = names, topic, efforts
        self._patience = patience * 1e9  # between two positions to difference [ns]
        self._before: tuple[int, Joints] | None = None  # when [ns] and where it was
        self._stamp = 0  # the sender's, of the last measurement [ns]
        self.others: Sequence[str] = ()  # joints named in messages that are not about this arm

    def read(self, measured: JointMeasurement, now: int) -> ArmState | None:
        """Return the state in a message that came at `now` [ns]; None if it has nothing new.

        Raises:
            DeviceError: joints are missing, or have no value.
        """
        missing = [name for name in self._names if name not in measured.names]
        if len(missing) == len(self._names):
            # Grippers and other arms may share /joint_states.
            self.others = measured.names
            return None
        if missing:
            raise DeviceError(
                f"{self._topic} lacks {', '.join(missing)}; it names {', '.join(measured.names)}"
            )
        if measured.stamp and measured.stamp == self._stamp:
            return None
        self._stamp = measured.stamp
        positions = self._ordered("positions", measured.positions, measured.names)
        moment = measured.stamp or now
        before, self._before = self._before, (moment, positions)
        if measured.velocities and np.isfinite(measured.velocities).all():
            velocities = self._ordered("velocities", measured.velocities, measured.names)
        elif before is not None and 0 < moment - before[0] < self._patience:
            velocities = (positions - before[1]) / ((moment - before[0]) * 1e-9)
        else:
            return None
        efforts = None
        if self._efforts:
            efforts = self._ordered("efforts", measured.efforts, measured.names)
        return ArmState(now * 1e-9, positions, velocities, efforts)

    def _ordered(self, what: str, values: Sequence[float], names: Sequence[str]) -> Joints:
        """Return (J,) values in the order of the arm's joints."""
        if len(values) != len(names):
            raise DeviceError(f"{self._topic} has {len(values)} {what} for {len(names)} joints")
        mine = np.array([values[names.index(name)] for name in self._names], np.float64)
        if not np.isfinite(mine).all():
            raise DeviceError(
                f"{self._topic}: {what} are {mine}. ros2_control reports NaN for what the hardware "
                "does not measure, or has not measured yet"
            )
        return mine
