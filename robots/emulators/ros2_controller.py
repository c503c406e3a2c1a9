"""A joint trajectory controller of ros2_control in small, over DDS or Zenoh, with ideal joints.

It follows what the controller's user documentation says of a topic's commands, with the parameters'
defaults: all joints must be named, in any order; lists must fit; times must grow; a trajectory must
end at rest; what is refused leaves the old trajectory running; NaN is not refused. Not modelled:
actions, tolerances, PID gains, `cmd_timeout`, delays of hardware.

`python -m robots.emulators.ros2_controller --model ur5e` offers an arm without the arm.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np

from robots.arm import Joints
from robots.errors import DeviceError
from robots.model import load_model
from robots.ros2_link import Ros2Link, open_link
from robots.ros2_types import (
    Duration,
    Header,
    JointState,
    JointTrajectory,
    JointTrajectoryControllerState,
    JointTrajectoryPoint,
    Time,
)

LISTS = ("positions", "velocities", "accelerations", "effort")


class TrajectoryFollower:
    """What the controller does with commands, apart from any transport.

    Args:
        names: its joints, in its own order.
        positions: where they are [rad].
        end_velocities: `allow_nonzero_velocity_at_trajectory_end`.
    """

    def __init__(
        self, names: Sequence[str], positions: Sequence[float], end_velocities: bool = False
    ) -> None:
        self.names = list(names)
        self._end_velocities = end_velocities
        # Knots of the running trajectory: (K,) times [s], (K, J) positions and velocities.
        self._times = np.array([time.monotonic()])
        self._positions = np.array([positions], np.float64)
        self._velocities: Joints | None = None

    def find_refusal(self, message: JointTrajectory, now: float) -> str:
        """Return why a message that comes at `now` [s] is refused; "" if it is not."""
        if sorted(message.joint_names) != sorted(self.names):
            return f"joints {message.joint_names} are not those of the controller, {self.names}"
        if not message.points:
            return "the trajectory is empty"
        last = message.points[-1]
        if not self._end_velocities and any(abs(v) > 1e-6 for v in last.velocities):
            return f"the velocity at the end of the trajectory is not zero: {last.velocities}"
        if _start(message, now) + _after(last) < now:
            return "the trajectory ends in the past"
        before = -1.0
        for point in message.points:
            if _after(point) <= before:
                return f"times do not grow: {before} s, then {_after(point)} s"
            before = _after(point)
            for name in LISTS:
                size = len(getattr(point, name))
                if size != len(self.names) and (size or name == "positions"):
                    return f"{len(self.names)} joints but {size} {name}"
        return ""

    def follow_trajectory(self, message: JointTrajectory, now: float) -> None:
        """Go on from where it is at `now` [s] along an accepted message."""
        here, moving = self.sample(now)
        order = [message.joint_names.index(name) for name in self.names]
        times = np.array([_start(message, now) + _after(point) for point in message.points])
        # Of points already past, the last still says where to be.
        times[-1] = max(times[-1], now + 1e-9)
        points = [point for point, at in zip(message.points, times, strict=True) if at > now]
        self._times = np.array([now, *times[times > now]])
        self._positions = np.array([here, *(np.take(p.positions, order) for p in points)])
        self._velocities = None
        if all(point.velocities for point in points):
            self._velocities = np.array([moving, *(np.take(p.velocities, order) for p in points)])

    def sample(self, now: float) -> tuple[Joints, Joints]:
        """Return (J,) positions [rad] and velocities [rad/s]: linear, or cubic with velocities."""
        if now >= self._times[-1]:
            return self._positions[-1], np.zeros(len(self.names))
        end = int(np.searchsorted(self._times, now, side="right"))
        start = end - 1
        span = float(self._times[end] - self._times[start])
        done = (now - float(self._times[start])) / span
        p, q = self._positions[start], self._positions[end]
        if self._velocities is None:
            return p + done * (q - p), (q - p) / span
        v, w = self._velocities[start] * span, self._velocities[end] * span
        a, b = 2 * (p - q) + v + w, 3 * (q - p) - 2 * v - w
        return p + done * (v + done * (b + done * a)), (v + done * (2 * b + 3 * done * a)) / span


class Ros2Controller:
    """The controller on a link, with the joint state broadcaster beside it.

    Args:
        trajectories: what it does.
        link: how it is reached; closed at the end.
        namespace: in front of all topics; "" for none.
        rate: states per second [Hz].
        velocities: the hardware measures them.
    """

    def __init__(
        self,
        trajectories: TrajectoryFollower,
        link: Ros2Link,
        namespace: str = "",
        rate: float = 100.0,
        velocities: bool = True,
    ) -> None:
        self.refused: deque[str] = deque(maxlen=1000)  # why, oldest first
        self.accepted: deque[JointTrajectory] = deque(maxlen=1000)
        self._trajectories, self._link = trajectories, link
        self._period, self._measures = 1 / rate, velocities
        root = f"/{namespace}" if namespace else ""
        own = f"{root}/joint_trajectory_controller"
        self._joint_states = link.create_publisher(f"{root}/joint_states", JointState)
        self._own_state = link.create_publisher(
            f"{own}/controller_state", JointTrajectoryControllerState
        )
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report, name="joint states", daemon=True)
        link.subscribe(f"{own}/joint_trajectory", JointTrajectory, self._command, reliable=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        del self._joint_states, self._own_state
        self._link.close()

    def _command(self, message: JointTrajectory | DeviceError) -> None:
        if isinstance(message, DeviceError):
            self.refused.append(str(message))
            return
        with self._lock:
            now = time.monotonic()
            reason = self._trajectories.find_refusal(message, now)
            if not reason:
                self._trajectories.follow_trajectory(message, now)
        if reason:
            self.refused.append(reason)
        else:
            self.accepted.append(message)

    def _report(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(due - time.monotonic()):
            due = max(due + self._period, time.monotonic())
            with self._lock:
                now = time.time_ns()
                positions, velocities = self._trajectories.sample(time.monotonic())
            header = Header(Time(*divmod(now, 1_000_000_000)))
            where, moving = positions.tolist(), velocities.tolist() if self._measures else []
            names = self._trajectories.names
            self._joint_states.publish(JointState(header, names, where, moving))
            point = JointTrajectoryPoint(where, moving)
            # Ideal joints: they are where they should be.
            self._own_state.publish(JointTrajectoryControllerState(header, names, point, point))


def _after(point: JointTrajectoryPoint) -> float:
    span: Duration = point.time_from_start
    return span.seconds


def _start(message: JointTrajectory, now: float) -> float:
    """Return when a trajectory begins, on the monotonic clock [s]; a stamp of zero means now."""
    stamp = message.header.stamp.nanoseconds
    return now + ((stamp - time.time_ns()) * 1e-9 if stamp else 0.0)


def main() -> None:
    """Offer a controller until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A joint trajectory controller without ROS.")
    parser.add_argument("--model", default="ur5e", help="in robots/models, or a .yaml file")
    parser.add_argument("--transport", choices=("dds", "zenoh"), default="dds")
    parser.add_argument("--domain", type=int, default=0)
    parser.add_argument("--interface", default="127.0.0.1")
    parser.add_argument("--listen", default="tcp/127.0.0.1:7447", help="Zenoh endpoint")
    given = parser.parse_args()
    model = load_model(given.model)
    link = open_link(given.transport, given.domain, given.interface, listen=(given.listen,))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Ros2Controller(TrajectoryFollower(model.joint_names, model.home), link):
        print(f"{model.name} over {given.transport}; Ctrl-C ends", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
