"""Franka FR3 and Panda through `franky-control`, the Python binding of libfranka.

How setpoints are streamed, and why. franky has no setpoint stream, but a new motion of the same
kind takes over from a running one within 0.3 ms. Compared against franky-sim (2 s, up to 0.2 rad
and 0.63 rad/s on all joints, 100 Hz, FR3 limits, measured on the robot's own clock):

    asynchronous JointMotion to each setpoint               RMS 108 mrad   lag 364 ms
    the same with the setpoint's velocity                       99              410
    waypoint with velocity, then one to stop at                 95              398
    JointVelocityMotion, setpoint velocity alone                 1.2            < 2, drifts
    JointVelocityMotion, velocity + 10 / 20 / 50 x error   0.5 / 0.3 / 0.1      < 2

A JointMotion plans to arrive at rest and starts anew from a filtered estimate, so it never catches
up (280 ms of its lag are in `q_d` already, the rest is the simulator's soft position controller).
Velocity motions do, and they carry a watchdog of their own: each is held for
`FrankaOptions.watchdog` and then slows down to rest within the acceleration limits, without help
from this process. That is the way taken. The error is that of the robot's desired position (`q_d`),
which has no sensor noise.

All calls of the SDK are made by the thread of `robots.franka_line` and the process of
`robots.franka_hand`.

Sources: franky 2.0.0 (`_franky.pyi`), libfranka's documentation, "Robot and interface
specifications" of FCI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embodied.errors import ConfigError
from embodied.extras import require_extra
from robots.arm import ArmDriver, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.errors import DeviceError, ModelError
from robots.franka_hand import FrankaHandLine
from robots.franka_line import RATE, FrankaArmLine
from robots.model import ArmModel


@dataclass(frozen=True)
class FrankaOptions:
    """How to reach the robot and how lively it may follow.

    Attributes:
        host: address of the robot's FCI, as in Desk; a franky-sim's on the loopback interface.
        realtime: demand a PREEMPT_RT kernel, as the maker does; False tries without, for
            simulators and computers whose loop is known to hold 1 kHz.
        relative_dynamics_factor: share of the acceleration and jerk limits to use, above 0 to 1.
        gain: how fast an error of position is worked off [1/s]; see the module's comparison.
        max_correction: the most that this may add to a joint's velocity [rad/s]. Without a bound an
            arm that fell behind hurries after its setpoints faster than these were allowed to be.
        watchdog: how long the last velocity is held when no setpoint follows [s].
        silence: how long the robot may say nothing before it counts as lost [s].
        timeout: how long connecting, or recovering, may take [s].
        recover: clear a reflex or other error left from before when connecting.
        gripper: also use the Franka Hand.
        gripper_speed: of its fingers [m/s].
        gripper_force: with which it closes [N].
    """

    host: str = "172.16.0.2"
    realtime: bool = True
    relative_dynamics_factor: float = 1.0
    gain: float = 20.0
    max_correction: float = 0.1
    watchdog: float = 0.05
    silence: float = 0.25
    timeout: float = 10.0
    recover: bool = False
    gripper: bool = False
    gripper_speed: float = 0.1
    gripper_force: float = 20.0

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host is empty: give the address of the robot's FCI")
        ranges = {
            "relative_dynamics_factor": (0.01, 1.0),
            "gain": (0.0, RATE),
            "max_correction": (0.0, 1.0),
            "watchdog": (0.02, 1.0),
            "silence": (0.02, 10.0),
            "timeout": (0.1, 120.0),
            "gripper_speed": (0.001, 0.2),
            "gripper_force": (1.0, 140.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} = {value}: allowed are {low} to {high}")


class FrankaArm(ArmDriver):
    """A Franka arm.

    The robot holds its pose by itself whenever no motion runs, and has fail-safe brakes. FCI can
    neither switch its power nor close its brakes; that takes Desk or the emergency stop.

    Args:
        model: `fr3` or `panda`; its limits are handed to franky where they are the lower ones.
        options: how to reach it.

    Raises:
        ModelError: the model has not seven joints.
    """

    options_type: ClassVar[type] = FrankaOptions

    def __init__(self, model: ArmModel, options: FrankaOptions = FrankaOptions()) -> None:
        if len(model.joints) != 7:
            raise ModelError(
                f"{model.name} has {len(model.joints)} joints, a Franka has 7: take fr3 or panda"
            )
        self._model = model
        self._options = options
        self._arm: FrankaArmLine | None = None
        self._hand: FrankaHandLine | None = None

    @property
    def features(self) -> ArmFeatures:
        """What the arm is."""
        return ArmFeatures(
            self._model.name,
            self._model.joint_names,
            RATE,
            gripper=self._options.gripper,
            efforts=True,
        )

    def connect(self) -> None:
        """Open the control interface and wait for the first state.

        Raises:
            MissingExtraError: franky-control is not installed.
            DeviceError: refused, silent, no realtime kernel, or errors that could not be cleared.
        """
        self.disconnect()
        franky, options = _franky(), self._options
        self._arm = FrankaArmLine(
            franky,
            options.host,
            self._model,
            realtime=options.realtime,
            dynamics=options.relative_dynamics_factor,
            gain=options.gain,
            correction=options.max_correction,
            watchdog=options.watchdog,
            silence=options.silence,
            recover=options.recover,
        )
        if options.gripper:
            self._hand = FrankaHandLine(
                franky,
                options.host,
                options.gripper_speed,
                options.gripper_force,
                options.silence,
            )
        try:
            self._arm.open(options.timeout)
            if self._hand is not None:
                self._hand.open(options.timeout)
        except DeviceError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Bring a running motion to rest and close the line; the robot holds its pose."""
        for line in (self._arm, self._hand):
            if line is not None:
                line.close()
        self._arm = self._hand = None

    def state(self) -> ArmState:
        """Return the newest state, stamped when it came in (at most 3 ms after it was measured).

        `fault` names reflexes, a pressed user stop, hand guiding and motions that failed.

        Raises:
            DeviceError: not connected, or silent for longer than `FrankaOptions.silence`.
        """
        return self._line().get_state(self._hand.get_opening() if self._hand is not None else None)

    def command(self, setpoint: Setpoint) -> None:
        """Turn a setpoint into a velocity motion that takes over from the running one.

        Raises:
            DeviceError: the line is down, or an earlier motion failed and `reset` was not called.
        """
        self._line().send_setpoint(setpoint)
        if self._hand is not None and setpoint.gripper is not None:
            self._hand.set_opening(setpoint.gripper)

    def stop(self, category: StopCategory) -> None:
        """Stop. The robot then holds its pose by its own controller, power on.

        Both controlled stops slow down within the acceleration limits. `CUT_POWER` does the hardest
        FCI offers: it aborts the motion and the robot brakes as fast as it can. Power and brakes
        are beyond FCI.

        Raises:
            DeviceError: the robot did not accept it in time.
        """
        self._line().stop_motion(hard=category is StopCategory.CUT_POWER)

    def recover(self) -> None:
        """Clear a reflex or another error, after its cause is gone. Blocks until done.

        Raises:
            DeviceError: the robot refuses, as with a pressed user stop.
        """
        self._line().recover_from_errors(self._options.timeout)

    def _line(self) -> FrankaArmLine:
        if self._arm is None:
            raise DeviceError("the Franka arm is not connected: connect() first")
        return self._arm


def _franky() -> Any:
    with require_extra("The Franka driver"):
        import franky
    return franky
