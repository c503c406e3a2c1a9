"""LeRobot both ways: its robots as our arms, and our bridge as one of its robots.

`LeRobotArm` drives any robot that follows `lerobot.robots.Robot` (written against lerobot 0.4.4).
`EmbodiedRobot` is such a robot, whose actions go through the bridge: LeRobot's own programs then
record, replay and roll out with our limits in force, and log what was really sent. LeRobot imports
torch; nothing of it is imported before one of the two is used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
from types import GenericAlias
from typing import Any, ClassVar

import numpy as np

from embodied.errors import ConfigError
from embodied.extras import require_extra
from robots.arm import ArmDriver, ArmFeatures, ArmState, Joints, Setpoint, StopCategory
from robots.errors import DeviceError
from robots.model import ArmModel

UNITS = ("degrees", "radians", "normalized")
# What LeRobot and the device libraries below it raise when a device or its line fails.
FAILURES = (OSError, RuntimeError, ValueError, KeyError)


@dataclass(frozen=True)
class LeRobotOptions:
    """Which of LeRobot's robots, and how its numbers are meant.

    An angle is sign * value + offset.

    Attributes:
        type: name under which the robot is registered.
        module: imported first; registers it. A plug-in's own, for third-party robots.
        config: fields of its configuration, such as `port` and `id`.
        units: of its positions: "degrees", "radians", or "normalized": -100 to 100 over the range
            of each joint in the arm's model, which its calibration must then have covered.
        motors: its names of the joints, base to tool; () takes those of the model.
        gripper: its name of the gripper, 0 to 100 there; "" for none.
        signs: 1 or -1 for each joint; () means 1.
        offsets: angle of each joint where LeRobot says 0 [rad]; () means 0.
        rate: setpoints per second [Hz]; reading a servo bus takes 2 to 5 ms of each.
        retries: a read or a setpoint that failed is tried again so often: LeRobot itself gives up
            at the first answer that comes late. Each try takes up to 60 ms of the loop's time.
        falls_without_power: no brakes.
    """

    type: str = "so101_follower"
    module: str = "lerobot.robots.so_follower"
    config: Mapping[str, Any] = field(default_factory=dict)
    units: str = "degrees"
    motors: tuple[str, ...] = ()
    gripper: str = "gripper"
    signs: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    rate: float = 50.0
    retries: int = 1
    falls_without_power: bool = True

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise ConfigError(f"lerobot: units '{self.units}'; allowed: {', '.join(UNITS)}")
        if any(abs(sign) != 1 for sign in self.signs):
            raise ConfigError(f"lerobot: signs {self.signs}; each must be 1 or -1")
        if self.retries < 0:
            raise ConfigError(f"lerobot: retries {self.retries} must not be negative")
        if not 0 < self.rate <= 1000:
            raise ConfigError(f"lerobot: rate {self.rate} must be above 0 and at most 1000 Hz")


class LeRobotArm(ArmDriver):
    """A robot of LeRobot as an arm.

    LeRobot knows no stop: every category is "hold where you are", so the torque stays on, and it
    is kept on when the line is closed. Velocities are differences of positions. Of a servo arm
    LeRobot switches the torque off for a moment while it connects.

    Args:
        model: of the arm.
        options: which robot.
        robot: one that was made already; replaces `type`, `module` and `config`.

    Raises:
        ConfigError: the options do not fit the model.
        MissingExtraError: the package lerobot is absent.
        DeviceError: LeRobot cannot make the robot.
    """

    options_type: ClassVar[type] = LeRobotOptions

    def __init__(
        self, model: ArmModel, options: LeRobotOptions = LeRobotOptions(), robot: Any = None
    ) -> None:
        count = len(model.joints)
        for name in ("motors", "signs", "offsets"):
            if len(getattr(options, name)) not in (0, count):
                raise ConfigError(f"lerobot: {name} {getattr(options, name)} for {count} joints")
        self.features = ArmFeatures(
            model.name,
            model.joint_names,
            options.rate,
            gripper=bool(options.gripper),
            falls_without_power=options.falls_without_power,
        )
        self._keys = [f"{name}.pos" for name in options.motors or model.joint_names]
        self._gripper = f"{options.gripper}.pos" if options.gripper else ""
        scale = np.full(count, {"degrees": np.pi / 180}.get(options.units, 1.0))
        center = np.zeros(count)
        if options.units == "normalized":
            lower = np.array([joint.lower for joint in model.joints])
            upper = np.array([joint.upper for joint in model.joints])
            scale, center = (upper - lower) / 200, (upper + lower) / 2
        self._scale = scale * np.array(options.signs or np.ones(count))
        self._offset = center + np.array(options.offsets or np.zeros(count))
        self._tries = 1 + options.retries
        self._last: ArmState | None = None
        self._robot = robot if robot is not None else _make(options)

    def connect(self) -> None:
        """Open the line, keep the arm where it is, and read its first state."""
        features = self._robot.observation_features
        missing = [key for key in (*self._keys, self._gripper) if key and key not in features]
        if missing:
            raise DeviceError(
                f"LeRobot's {self._robot.name} has no {', '.join(missing)}; it has "
                f"{', '.join(features)}. Set the options 'motors' and 'gripper'"
            )
        # Its default lets an arm without brakes fall at the end of every session.
        if hasattr(getattr(self._robot, "config", None), "disable_torque_on_disconnect"):
            self._robot.config.disable_torque_on_disconnect = False
        try:
            # Calibrating asks questions on the terminal and lets the arm go limp.
            self._call(lambda: self._robot.connect(calibrate=False))
            if not self._call(lambda: self._robot.is_calibrated, self._tries):
                raise DeviceError(
                    f"LeRobot's {self._robot.name} is not calibrated: run lerobot-calibrate with "
                    "the same type, port and id"
                )
            self._last = None
            self.stop(StopCategory.STOP_AND_HOLD)
        except DeviceError:
            with contextlib.suppress(DeviceError):
                self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close the line; the arm holds."""
        if self._robot.is_connected:
            self._call(self._robot.disconnect)

    def state(self) -> ArmState:
        """Read positions; one exchange on the servo bus."""
        stamp = time.monotonic()
        seen = self._call(self._robot.get_observation, self._tries)
        values = np.array([float(seen[key]) for key in self._keys])
        positions = self._scale * values + self._offset
        velocities = np.zeros(len(values))
        if self._last is not None and stamp > self._last.stamp:
            velocities = (positions - self._last.positions) / (stamp - self._last.stamp)
        gripper = float(seen[self._gripper]) / 100 if self._gripper else None
        self._last = ArmState(stamp, positions, velocities, gripper=gripper)
        return self._last

    def command(self, setpoint: Setpoint) -> None:
        """Send positions; one exchange on the servo bus."""
        values = (setpoint.positions - self._offset) / self._scale
        action = dict(zip(self._keys, values.tolist(), strict=True))
        if self._gripper and setpoint.gripper is not None:
            action[self._gripper] = 100 * setpoint.gripper
        self._call(lambda: self._robot.send_action(action), self._tries)

    def stop(self, category: StopCategory) -> None:
        """Hold where the arm is, whatever the category."""
        now = self.state()
        self.command(Setpoint(now.positions, np.zeros_like(now.positions)))

    def _call(self, function: Callable[[], Any], tries: int = 1) -> Any:
        for left in reversed(range(tries)):
            try:
                return function()
            except FAILURES as error:
                if not left:
                    raise DeviceError(
                        f"LeRobot's {self._robot.name}: {type(error).__name__}: {error}. Check "
                        "power, cable and port"
                    ) from error
        raise AssertionError("at least one try")


def _make(options: LeRobotOptions) -> Any:
    robots = _lerobot("robots")
    try:
        importlib.import_module(options.module)
        config = robots.RobotConfig.get_choice_class(options.type)(**options.config)
        return robots.make_robot_from_config(config)
    except (*FAILURES, ImportError, TypeError) as error:
        raise DeviceError(
            f"LeRobot cannot make the robot '{options.type}' of {options.module} with "
            f"{dict(options.config)}: {type(error).__name__}: {error}"
        ) from error


def _lerobot(part: str) -> Any:
    with require_extra("A robot of LeRobot"):
        return importlib.import_module(f"lerobot.{part}")


@functools.cache
def _plugin() -> dict[str, type]:
    """Make the classes that derive from LeRobot's."""
    robots, cameras = _lerobot("robots"), _lerobot("cameras")
    errors = _lerobot("utils.errors")

    config = make_dataclass(
        "EmbodiedRobotConfig",
        [("cameras", GenericAlias(dict, (str, cameras.CameraConfig)), field(default_factory=dict))],
        bases=(robots.RobotConfig,),
        kw_only=True,
        namespace={"__module__": __name__, "__doc__": "Cameras of an EmbodiedRobot."},
    )
    robots.RobotConfig.register_subclass("embodied")(config)

    class EmbodiedRobot(robots.Robot):  # type: ignore[name-defined]
        """Our bridge as a robot of LeRobot: `<joint>.pos` [rad] and `gripper.pos`, 0 to 1.

        The bridge lives outside: it is connected, armed and closed by whoever made it, and goes on
        guarding when LeRobot's program ends.

        Args:
            config: an EmbodiedRobotConfig.
            features: of the arm.
            observe: returns the newest state.
            send: takes (J,) joint angles [rad], the gripper's opening or None, and the stamp of
                the observation they answer; returns what was really sent, or the setpoint the arm
                stays on where the bridge refused.
        """

        config_class = config
        name = "embodied"

        def __init__(
            self,
            config: Any,
            features: ArmFeatures,
            observe: Callable[[], ArmState],
            send: Callable[[Joints, float | None, float], Setpoint],
        ) -> None:
            super().__init__(config)
            self.config, self.features = config, features
            self._observe, self._send = observe, send
            self.cameras = cameras.make_cameras_from_configs(config.cameras)
            self._connected = False
            self._observed = -np.inf

        @property
        def action_features(self) -> dict[str, type]:
            names = [*self.features.joints, *(["gripper"] if self.features.gripper else [])]
            return {f"{name}.pos": float for name in names}

        @property
        def observation_features(self) -> dict[str, Any]:
            sizes = {name: (c.height, c.width, 3) for name, c in self.config.cameras.items()}
            return {**self.action_features, **sizes}

        @property
        def is_connected(self) -> bool:
            return self._connected and all(c.is_connected for c in self.cameras.values())

        @property
        def is_calibrated(self) -> bool:
            return True

        def calibrate(self) -> None:
            """Nothing to do: the driver below the bridge knows its arm."""

        def configure(self) -> None:
            """Nothing to do."""

        def connect(self, calibrate: bool = True) -> None:
            for camera in self.cameras.values():
                camera.connect()
            self._connected = True

        def disconnect(self) -> None:
            for camera in self.cameras.values():
                camera.disconnect()
            self._connected = False

        def get_observation(self) -> dict[str, Any]:
            self._require_connection()
            state = self._observe()
            self._observed = state.stamp
            images = {name: camera.read_latest() for name, camera in self.cameras.items()}
            return {**self._named(state.positions, state.gripper), **images}

        def send_action(self, action: dict[str, Any]) -> dict[str, float]:
            self._require_connection()
            values = np.array([float(action[f"{name}.pos"]) for name in self.features.joints])
            gripper = float(action["gripper.pos"]) if self.features.gripper else None
            sent = self._send(values, gripper, self._observed)
            return self._named(sent.positions, gripper if sent.gripper is None else sent.gripper)

        def _named(self, positions: Joints, gripper: float | None) -> dict[str, float]:
            values = [*positions.tolist(), *([gripper] if self.features.gripper else [])]
            return dict(zip(self.action_features, values, strict=True))

        def _require_connection(self) -> None:
            if not self.is_connected:
                raise errors.DeviceNotConnectedError("connect() the robot first")

    return {"EmbodiedRobotConfig": config, "EmbodiedRobot": EmbodiedRobot}


def __getattr__(name: str) -> Any:
    """Give the classes that need LeRobot: EmbodiedRobot and EmbodiedRobotConfig."""
    if name in ("EmbodiedRobot", "EmbodiedRobotConfig"):
        return _plugin()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
