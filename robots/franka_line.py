"""The connection to a Franka arm, kept by a thread of its own.

libfranka blocks for a second when an idle robot falls silent and for two during a motion, and the
control loop must not. So one thread per connection makes all calls of the SDK, keeps the newest
state, and takes setpoints and requests; who asks gets an answer, or a DeviceError, at once. The SDK
releases Python's lock while it waits. It has no stubs that could be relied on: its objects are Any.

Sources: franky 2.0.0 (`_franky.pyi`) and libfranka's documentation; times measured with franky-sim.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from robots.arm import ArmState, Joints, Setpoint
from robots.errors import DeviceError
from robots.model import ArmModel

RATE = 100.0  # setpoints a second
_PAUSE = 0.002  # between two looks at the robot [s]; it sends its state every millisecond
_CONFIRM = 0.1  # how long a stop may take to be accepted [s]


class FrankaLine:
    """A thread that alone talks to one connection of the SDK and keeps its newest answer.

    Args:
        franky: the SDK.
        name: of the device and where it is, for messages.
        silence: how long it may say nothing before it counts as lost [s].
    """

    def __init__(self, franky: Any, name: str, silence: float) -> None:
        self._franky = franky
        # franky's own classes, and what C++ throws beside them (planner and socket errors).
        self._errors: tuple[type[Exception], ...] = (franky.Exception, RuntimeError)
        self._name = name
        self._silence = silence
        self._changed = threading.Condition()  # guards all that follows
        self._seen: float | None = None  # when the device was last heard
        self._failure = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def open(self, timeout: float) -> None:
        """Start, and wait until the device is heard.

        Raises:
            DeviceError: refused, or silent for `timeout` [s].
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._seen is not None or self._failure, timeout)
            if self._failure:
                raise DeviceError(self._failure)
            if self._seen is None:
                raise DeviceError(
                    f"{self._name} did not answer in {timeout} s: is it on, is FCI active, and is "
                    "no other program connected?"
                )

    def close(self) -> None:
        """Ask the thread to end; one that hangs in the SDK ends when the SDK gives up."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(0.5)

    def _check(self) -> float:
        """Return when the device was last heard. Call with the lock held.

        Raises:
            DeviceError: the line is down.
        """
        if self._failure:
            raise DeviceError(self._failure)
        if self._seen is None:
            raise DeviceError(f"{self._name} was not heard yet: connect first")
        age = time.monotonic() - self._seen
        if age > self._silence:
            raise DeviceError(
                f"{self._name} has been silent for {age:.2f} s, allowed are {self._silence} s: "
                "check cable, robot and the load of this computer, then connect again"
            )
        return self._seen

    def _run(self) -> None:
        try:
            self._serve()
        except self._errors as error:
            with self._changed:
                self._failure = self._words(error)
                self._changed.notify_all()

    def _serve(self) -> None:
        """Talk to the device until `_closing`."""
        raise NotImplementedError

    def _words(self, error: Exception) -> str:
        said = str(error).removeprefix("libfranka: ").rstrip(".!")
        return f"{self._name}: {said} ({type(error).__name__})"


class FrankaArmLine(FrankaLine):
    """The connection to the arm.

    Args:
        franky: the SDK.
        host: address of its FCI.
        model: whose limits are set in franky.
        realtime: demand a real-time kernel.
        dynamics: franky's relative dynamics factor.
        gain: velocity per error of position [1/s].
        correction: the most of that [rad/s].
        watchdog: how long a velocity is held [s].
        silence: see Line.
        recover: clear errors on connecting.
    """

    def __init__(
        self,
        franky: Any,
        host: str,
        model: ArmModel,
        *,
        realtime: bool,
        dynamics: float,
        gain: float,
        correction: float,
        watchdog: float,
        silence: float,
        recover: bool,
    ) -> None:
        super().__init__(franky, f"the Franka at {host}", silence)
        self._host = host
        self._model = model
        self._realtime = realtime
        self._dynamics = dynamics
        self._gain = gain
        self._correction = correction
        self._held = franky.Duration(round(watchdog * 1000))
        self._recovers = recover
        self._top: Joints = np.zeros(7)  # fastest velocity franky takes [rad/s]
        self._desired: Joints = np.zeros(7)
        self._clock = -1  # the robot's own, of the newest state [ms]
        self._newest: tuple[Joints, Joints, Joints] = (np.zeros(7), np.zeros(7), np.zeros(7))
        self._fault = ""
        self._complaint = ""  # of a motion that failed; stays until reset
        self._setpoint: Setpoint | None = None
        self._request: Callable[[Any], None] | None = None

    def get_state(self, gripper: float | None) -> ArmState:
        """Return the newest state, with the hand's opening added."""
        with self._changed:
            stamp = self._check()
            fault = self._complaint or self._fault
            return ArmState(stamp, *self._newest, gripper=gripper, fault=fault)

    def send_setpoint(self, setpoint: Setpoint) -> None:
        """Hand over a setpoint; one that was not taken yet is replaced."""
        with self._changed:
            self._check()
            if self._complaint:
                raise DeviceError(f"{self._complaint}: clear the cause, then reset() the arm")
            self._setpoint = setpoint
            self._changed.notify_all()

    def stop_motion(self, *, hard: bool) -> None:
        """Slow down, or abort the motion, and wait until that was accepted."""
        self._ask(self._abort if hard else self._slow_down, _CONFIRM, "a stop")

    def recover_from_errors(self, timeout: float) -> None:
        """Recover from errors; `timeout` in seconds."""
        self._ask(self._recover, timeout, "a reset")

    def _ask(self, request: Callable[[Any], None], timeout: float, what: str) -> None:
        answer: Future[None] = Future()

        def act(robot: Any) -> None:
            try:
                request(robot)
            except self._errors as error:
                answer.set_exception(error)
                raise
            answer.set_result(None)

        with self._changed:
            self._check()
            self._request = act
            self._changed.notify_all()
        failures: tuple[type[Exception], ...] = (TimeoutError, *self._errors)
        try:
            answer.result(timeout)
        except failures as error:
            reason = str(error) or f"no answer in {timeout} s"
            raise DeviceError(f"{self._name} did not confirm {what}: {reason}") from error

    def _serve(self) -> None:
        robot = self._connect()
        while not self._closing:
            with self._changed:
                if self._request is None and self._setpoint is None:
                    self._changed.wait(_PAUSE)
                request, setpoint = self._request, self._setpoint
                self._request = self._setpoint = None
            try:
                if request is not None:  # and the setpoint from before it is dropped
                    request(robot)
                elif setpoint is not None:
                    self._move(robot, setpoint)
                robot.poll_motion()
            except self._franky.NetworkException:
                raise
            except self._errors as error:
                self._complaint = self._words(error)
            self._read(robot)
        self._slow_down(robot)
        robot.join_motion(timeout=1.0)

    def _connect(self) -> Any:
        kind = self._franky.RealtimeConfig
        robot = self._franky.Robot(
            self._host,
            relative_dynamics_factor=self._dynamics,
            realtime_config=kind.Enforce if self._realtime else kind.Ignore,
        )
        joints = self._model.joints
        # franky's limits are the Panda's, and in places above those of the FR3.
        for limit, ours in (
            (robot.joint_velocity_limit, [joint.velocity for joint in joints]),
            (robot.joint_acceleration_limit, [joint.acceleration for joint in joints]),
            (robot.joint_jerk_limit, [joint.jerk for joint in joints]),
        ):
            limit.set(np.minimum(limit.max, ours))
        self._top = np.asarray(robot.joint_velocity_limit.get(), np.float64)
        if self._recovers:
            self._recover(robot)
        self._read(robot)
        return robot

    def _read(self, robot: Any) -> None:
        """Keep the newest state, if it is newer than the one kept."""
        state = robot.state
        stamp, clock = time.monotonic(), state.time.to_msec()
        if clock == self._clock:  # during a motion the SDK repeats the last one it got
            return
        mode, errors = state.robot_mode.name, str(state.current_errors)
        well = mode in ("Idle", "Move") and errors == "[]"
        with self._changed:
            self._clock, self._seen = clock, stamp
            self._desired = np.array(state.q_d, np.float64)
            self._newest = (
                np.array(state.q, np.float64),
                np.array(state.dq, np.float64),
                np.array(state.tau_J, np.float64),
            )
            self._fault = "" if well else f"the robot is in mode {mode}, errors {errors}"
            self._changed.notify_all()

    def _move(self, robot: Any, setpoint: Setpoint) -> None:
        # The setpoint lies one period ahead, when its velocity has brought us so much further.
        left = setpoint.positions - self._desired - setpoint.velocities / RATE
        velocity = setpoint.velocities + np.clip(
            self._gain * left, -self._correction, self._correction
        )
        # franky refuses a motion beyond its limits, and the arm would stop for our own feedback.
        velocity = np.clip(velocity, -self._top, self._top)
        robot.move(self._franky.JointVelocityMotion(velocity, self._held), asynchronous=True)

    def _slow_down(self, robot: Any) -> None:
        if robot.is_in_control:
            robot.move(self._franky.JointVelocityStopMotion(), asynchronous=True)

    def _abort(self, robot: Any) -> None:
        robot.stop()
        try:
            robot.join_motion(timeout=_CONFIRM)
        except self._franky.ControlException as error:
            if "preempted" not in str(error):  # the SDK's word for a motion that we ended
                raise

    def _recover(self, robot: Any) -> None:
        if not robot.recover_from_errors():
            raise RuntimeError("it cannot recover by itself: see Desk, user stop and brakes")
        self._complaint = ""
