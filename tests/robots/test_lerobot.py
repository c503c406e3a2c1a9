"""LeRobot's own code on our data sets, its robots as our arms and our bridge as its robot.

LeRobot 0.4.4 pins an older torch and lives in its own environment; test_lerobot_reader.py makes one
and runs this file in it. Without LeRobot only what needs none of it is tested.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embodied.errors import ConfigError, MissingExtraError
from robots.arm import Arm, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.errors import DeviceError
from robots.lerobot import LeRobotArm, LeRobotOptions
from robots.lerobot_export import export_dataset
from robots.model import load_model
from tests.robots.recordings import CAMERA_RATE, LEAD, number_of, opening, path, record

needs_lerobot = pytest.mark.skipif(
    find_spec("lerobot") is None,
    reason="lerobot is not installed here: pytest -m slow tests/robots/test_lerobot_reader.py",
)
SO101 = load_model("so101")
COUNT = len(SO101.joints)
FPS = 20


class Servos:
    """Follows LeRobot's robot contract; for what has to do with our numbers only."""

    name = "servos"
    is_calibrated = True

    def __init__(self, **positions: float) -> None:
        self.values = {f"{motor}.pos": value for motor, value in positions.items()}
        self.observation_features = dict.fromkeys(self.values, float)
        self.config = SimpleNamespace(disable_torque_on_disconnect=True)
        self.is_connected, self.broken = False, 0

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False

    def get_observation(self) -> dict[str, float]:
        if self.broken:
            self.broken -= 1
            raise ConnectionError("no status packet")
        return dict(self.values)

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.values |= action
        return action


def servos() -> Servos:
    return Servos(**dict.fromkeys((*SO101.joint_names, "gripper"), 0.0))


def told(positions: Any, gripper: float | None = None) -> Setpoint:
    return Setpoint(np.asarray(positions, np.float64), np.zeros(COUNT), gripper)


@pytest.mark.parametrize(
    ("options", "value", "angle"),
    [
        (LeRobotOptions(), 90.0, np.pi / 2),
        (LeRobotOptions(units="radians"), 0.3, 0.3),
        (LeRobotOptions(signs=(-1.0,) * COUNT, offsets=(0.5,) * COUNT), 90.0, 0.5 - np.pi / 2),
    ],
)
def test_units_are_converted_both_ways(options: LeRobotOptions, value: float, angle: float) -> None:
    robot = servos()
    with LeRobotArm(SO101, options, robot) as arm:
        robot.values["elbow_flex.pos"] = value
        robot.values["gripper.pos"] = 25.0
        state = arm.state()
        assert state.positions[2] == pytest.approx(angle)
        assert state.gripper == 0.25
        arm.command(told(state.positions, 0.75))
        assert robot.values["elbow_flex.pos"] == pytest.approx(value)
        assert robot.values["gripper.pos"] == 75.0
        arm.command(told(state.positions))
        assert robot.values["gripper.pos"] == 75.0
    assert not robot.is_connected
    assert robot.config.disable_torque_on_disconnect is False


def test_normalized_units_span_the_joints_of_the_model() -> None:
    robot = servos()
    with LeRobotArm(SO101, LeRobotOptions(units="normalized"), robot) as arm:
        for value, side in ((-100.0, "lower"), (100.0, "upper")):
            robot.values = dict.fromkeys(robot.values, value)
            ends = [getattr(joint, side) for joint in SO101.joints]
            assert np.allclose(arm.state().positions, ends)


def test_velocities_are_differences() -> None:
    robot = servos()
    with LeRobotArm(SO101, LeRobotOptions(units="radians"), robot) as arm:
        before = arm.state()
        robot.values = dict.fromkeys(robot.values, 0.1)
        after = arm.state()
    assert np.allclose(after.velocities * (after.stamp - before.stamp), 0.1)


def test_stopping_is_holding_where_the_arm_is() -> None:
    robot = servos()
    with LeRobotArm(SO101, robot=robot) as arm:
        robot.values["wrist_roll.pos"] = 30.0
        for category in StopCategory:
            arm.stop(category)
            assert robot.values["wrist_roll.pos"] == pytest.approx(30.0)


def test_failures_say_what_to_do() -> None:
    robot = servos()
    arm = LeRobotArm(SO101, robot=robot)
    assert isinstance(arm, Arm)
    arm.connect()
    robot.broken = 1
    arm.state()  # one late answer is no failure
    robot.broken = 2
    with pytest.raises(DeviceError, match="no status packet. Check power"):
        arm.state()
    with pytest.raises(DeviceError, match=r"has no shoulder_lift\.pos.*Set the options 'motors'"):
        LeRobotArm(SO101, robot=Servos(shoulder_pan=0.0)).connect()
    robot = servos()
    robot.is_calibrated = False
    with pytest.raises(DeviceError, match="lerobot-calibrate"):
        LeRobotArm(SO101, robot=robot).connect()
    assert not robot.is_connected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "turns"}, "units 'turns'; allowed: degrees"),
        ({"signs": (2.0,)}, "must be 1 or -1"),
        ({"rate": 0.0}, "above 0"),
        ({"retries": -1}, "not be negative"),
        ({"motors": ("one",)}, "for 5 joints"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LeRobotArm(SO101, LeRobotOptions(**options), servos())


@pytest.mark.skipif(find_spec("lerobot") is not None, reason="lerobot is installed here")
def test_without_lerobot_the_error_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match="pip install lerobot"):
        LeRobotArm(SO101)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lerobot")
    episodes = [record(folder / str(number), 2.0 + number) for number in range(2)]
    return export_dataset(episodes, folder / "set", FPS, "stack the cubes")


def load(made: Path, **options: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/cubes", root=made, video_backend="pyav", **options)


@needs_lerobot
def test_lerobot_reads_every_frame_as_it_was_recorded(made: Path) -> None:
    dataset = load(made)
    assert (dataset.num_episodes, len(dataset), dataset.fps) == (2, 41 + 61, FPS)
    assert dataset.meta.robot_type == "so101"
    frames = [(0, k) for k in range(41)] + [(1, k) for k in range(61)]
    for index, (episode, number) in enumerate(frames):
        item, now = dataset[index], number / FPS
        assert item["index"].item() == index
        assert (item["episode_index"].item(), item["frame_index"].item()) == (episode, number)
        assert item["timestamp"].item() == pytest.approx(now, abs=1e-6)
        assert item["task"] == "stack the cubes"
        state, action = item["observation.state"].numpy(), item["action"].numpy()
        assert np.abs(state[:3] - path(now)).max() < 1e-3
        assert np.abs(action[:3] - path(now + LEAD)).max() < 1e-3
        assert abs(state[3] - opening(now)) < 1e-3
        assert abs(action[3] - opening(now + LEAD)) < 1e-3
        image = (255 * item["observation.images.wrist"].permute(1, 2, 0)).byte().numpy()
        assert number_of(image) == int(now * CAMERA_RATE + 1e-6)


@needs_lerobot
def test_lerobot_takes_windows_and_parts_of_the_set(made: Path) -> None:
    window = {"action": [0.0, 1 / FPS, 2 / FPS], "observation.images.wrist": [-1 / FPS, 0.0]}
    dataset = load(made, episodes=[1], delta_timestamps=window)
    assert len(dataset) == 61
    item = dataset[30]
    expected = path(np.array([30, 31, 32]) / FPS + LEAD)
    assert np.abs(item["action"].numpy()[:, :3] - expected).max() < 1e-3
    shown = (255 * item["observation.images.wrist"].permute(0, 2, 3, 1)).byte().numpy()
    assert [number_of(image) for image in shown] == [43, 45]
    assert load(made, delta_timestamps=window)[40]["action_is_pad"].tolist() == [False, True, True]


@needs_lerobot
def test_our_statistics_have_the_shapes_of_lerobots_own(made: Path) -> None:
    from lerobot.datasets.compute_stats import aggregate_stats

    stats = load(made).meta.stats
    again = aggregate_stats([stats, stats])  # refuses shapes that are not its own
    assert again.keys() == stats.keys()
    for key in ("action", "observation.images.wrist"):
        assert np.allclose(again[key]["mean"], stats[key]["mean"])
        assert again[key].keys() == stats[key].keys()


@needs_lerobot
def test_lerobot_goes_on_recording_where_our_data_set_ends(made: Path, tmp_path: Path) -> None:
    made = Path(shutil.copytree(made, tmp_path / "set"))
    dataset = load(made)
    for number in range(3):
        frame = {name: np.full(4, number, np.float32) for name in ("action", "observation.state")}
        picture = np.full((64, 96, 3), 50, np.uint8)
        dataset.add_frame({**frame, "observation.images.wrist": picture, "task": "wave"})
    dataset.save_episode()
    dataset.finalize()
    longer = load(made)
    assert len(longer) == 41 + 61 + 3
    assert longer[104]["task"] == "wave"
    assert longer[104]["action"].tolist() == [2.0] * 4
    assert longer[0]["task"] == "stack the cubes"


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[tuple[Any, LeRobotOptions]]:
    """LeRobot's own SO-101 follower on an emulated servo bus."""
    pytest.importorskip("scservo_sdk", reason="the servos' SDK: pip install feetech-servo-sdk")
    from robots.calibration import ServoCalibration, save_calibration
    from robots.emulators.servo_bus import ServoBus

    motors = (*SO101.joint_names, "gripper")
    calibration = {m: ServoCalibration(k, 0, 0, 700, 3400) for k, m in enumerate(motors, 1)}
    save_calibration(tmp_path / "left.json", calibration)
    with ServoBus() as bus:
        for servo in calibration.values():
            with bus.edit_servo(servo.id) as raw:
                raw.stops, raw.encoder = (0.0, 4095.0), 2050.0
                raw.registers[55] = 0
                raw.write_word(9, servo.range_min)
                raw.write_word(11, servo.range_max)
                raw.write_word(42, 2050)
        config = {"port": bus.port, "id": "left", "calibration_dir": tmp_path}
        # The emulator may be slow to answer on a busy machine.
        yield bus, LeRobotOptions(config=config, retries=5)


def patiently(connect: Callable[[], None]) -> None:
    """LeRobot exchanges hundreds of packets with the servos and allows for no late answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect()
        except DeviceError:
            if time.monotonic() > deadline:
                raise


@needs_lerobot
def test_lerobots_so101_moves_as_our_arm(follower: tuple[Any, LeRobotOptions]) -> None:
    bus, options = follower
    arm = LeRobotArm(SO101, options)
    patiently(arm.connect)
    try:
        # LeRobot cuts the torque while it configures the servos, and the arm may sag.
        assert np.abs(arm.state().positions).max() < 0.2
        target = np.array([0.2, -0.2, 0.3, 0.1, -0.4])
        deadline = time.monotonic() + 20
        while np.abs(arm.state().positions - target).max() > 0.02:
            assert time.monotonic() < deadline
            arm.command(told(target, 0.6))
        assert bus.servo(3).position == pytest.approx(2050 + 0.3 / (2 * np.pi) * 4096, abs=15)
    finally:
        arm.disconnect()
    assert bus.servo(3).torque  # it holds after the line is closed


@needs_lerobot
def test_a_dead_bus_is_a_device_error(follower: tuple[Any, LeRobotOptions]) -> None:
    bus, options = follower
    arm = LeRobotArm(SO101, replace(options, retries=0))
    patiently(arm.connect)
    bus.faults.silent = set(range(1, 7))
    with pytest.raises(DeviceError, match="ConnectionError"):
        arm.state()


@needs_lerobot
def test_a_robot_that_lerobot_does_not_know() -> None:
    with pytest.raises(DeviceError, match="cannot make the robot 'no_such_arm'"):
        LeRobotArm(SO101, LeRobotOptions(type="no_such_arm"))


FEATURES = ArmFeatures("so101", ("pan", "lift", "elbow"), gripper=True)


class Cell:
    """Stands where a bridge would: clips to +-1 rad."""

    def __init__(self) -> None:
        self.positions, self.gripper, self.observed = np.zeros(3), 0.5, 0.0

    def observe(self) -> ArmState:
        return ArmState(123.0, self.positions, np.zeros(3), gripper=self.gripper)

    def send(self, positions: Any, gripper: float | None, observed: float) -> Setpoint:
        self.observed = observed
        self.positions = np.clip(positions, -1, 1)
        return Setpoint(self.positions, np.zeros(3), gripper)


@needs_lerobot
def test_lerobot_is_told_what_was_really_sent(made: Path, tmp_path: Path) -> None:
    from lerobot.datasets.utils import hw_to_dataset_features
    from lerobot.robots import Robot
    from lerobot.utils.errors import DeviceNotConnectedError

    from robots.lerobot import EmbodiedRobot, EmbodiedRobotConfig

    cell = Cell()
    config = EmbodiedRobotConfig(id="left", calibration_dir=tmp_path)
    robot = EmbodiedRobot(config, FEATURES, cell.observe, cell.send)
    assert isinstance(robot, Robot)
    assert config.type == "embodied"
    asked = {"pan.pos": 0.5, "lift.pos": 9.0, "elbow.pos": -9.0, "gripper.pos": 0.2}
    with pytest.raises(DeviceNotConnectedError):
        robot.send_action(asked)
    with robot:
        assert robot.get_observation()["gripper.pos"] == 0.5
        sent = robot.send_action(asked)
    assert sent == {"pan.pos": 0.5, "lift.pos": 1.0, "elbow.pos": -1.0, "gripper.pos": 0.2}
    assert cell.observed == 123.0
    # A policy trained on an exported set finds the names it knows.
    features = hw_to_dataset_features(robot.action_features, "action")
    assert features["action"]["names"] == load(made).meta.features["action"]["names"]


PLUGIN = """
from dataclasses import dataclass
from lerobot.robots import RobotConfig
from robots.lerobot import EmbodiedRobot, EmbodiedRobotConfig
from tests.robots.test_lerobot import FEATURES, Cell

@RobotConfig.register_subclass("cell")
@dataclass
class CellRobotConfig(EmbodiedRobotConfig):
    pass

class CellRobot(EmbodiedRobot):
    config_class, name = CellRobotConfig, "cell"

    def __init__(self, config):
        cell = Cell()
        super().__init__(config, FEATURES, cell.observe, cell.send)
"""


@needs_lerobot
def test_a_plug_in_makes_the_robot_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import draccus
    from lerobot.robots import RobotConfig, make_robot_from_config

    (tmp_path / "lerobot_robot_cell.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("lerobot_robot_cell")
    program = make_dataclass("Program", [("robot", RobotConfig)])
    words = ["--robot.type=cell", f"--robot.calibration_dir={tmp_path}"]
    with make_robot_from_config(draccus.parse(program, args=words).robot) as robot:
        assert robot.send_action({f"{n}.pos": 2.0 for n in FEATURES.joints} | {"gripper.pos": 0.0})[
            "pan.pos"
        ] == pytest.approx(1.0)
    del sys.modules["lerobot_robot_cell"]
