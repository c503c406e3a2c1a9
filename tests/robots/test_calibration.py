"""Calibration: LeRobot's file both ways, what is refused, and the procedure on emulated servos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robots.calibration import (
    ServoCalibration,
    calibrate_servos,
    check_calibration,
    install_calibration,
    load_calibration,
    move_to_rest,
    save_calibration,
)
from robots.emulators.servo_bus import ServoBus
from robots.errors import DeviceError, ModelError
from robots.model import load_model

pytest.importorskip("scservo_sdk", reason="the servos' SDK: pip install feetech-servo-sdk")

from robots.feetech import FeetechArm, FeetechOptions
from robots.feetech_bus import FeetechBus

SO101 = load_model("so101")
IDS = {name: number for number, name in enumerate([*SO101.joint_names, "gripper"], start=1)}

# As `lerobot-calibrate` writes it for an SO-101.
LEROBOT: dict[str, dict[str, int]] = {
    "shoulder_pan": {
        "id": 1,
        "drive_mode": 0,
        "homing_offset": 140,
        "range_min": 737,
        "range_max": 3404,
    },
    "shoulder_lift": {
        "id": 2,
        "drive_mode": 0,
        "homing_offset": -1021,
        "range_min": 806,
        "range_max": 3179,
    },
    "elbow_flex": {
        "id": 3,
        "drive_mode": 0,
        "homing_offset": 935,
        "range_min": 911,
        "range_max": 3087,
    },
    "wrist_flex": {
        "id": 4,
        "drive_mode": 0,
        "homing_offset": -1503,
        "range_min": 846,
        "range_max": 3154,
    },
    "wrist_roll": {
        "id": 5,
        "drive_mode": 0,
        "homing_offset": 2047,
        "range_min": 0,
        "range_max": 4095,
    },
    "gripper": {
        "id": 6,
        "drive_mode": 0,
        "homing_offset": -2047,
        "range_min": 2015,
        "range_max": 3498,
    },
}


def written(folder: Path, change: Callable[[Any], Any] = lambda tree: tree) -> Path:
    """Write LeRobot's file, changed."""
    file = folder / "arm.json"
    file.write_text(json.dumps(change(json.loads(json.dumps(LEROBOT)))))
    return file


def changed(name: str, key: str, value: Any) -> Callable[[Any], Any]:
    def change(tree: Any) -> Any:
        tree[name][key] = value
        return tree

    return change


def without(name: str, key: str) -> Callable[[Any], Any]:
    def change(tree: Any) -> Any:
        del tree[name][key]
        return tree

    return change


@pytest.fixture(name="servos")
def _servos() -> Iterator[tuple[ServoBus, FeetechBus]]:
    with ServoBus(falls=False) as emulator:
        servos = FeetechBus(emulator.port, 1_000_000, IDS)
        servos.open()
        yield emulator, servos
        servos.close()


def test_lerobots_file_is_read_and_written_back_as_it_was(tmp_path: Path) -> None:
    calibration = load_calibration(written(tmp_path))
    assert calibration["elbow_flex"] == ServoCalibration(3, 0, 935, 911, 3087)
    save_calibration(tmp_path / "deep" / "again.json", calibration)
    assert json.loads((tmp_path / "deep" / "again.json").read_text()) == LEROBOT
    check_calibration(calibration, SO101, IDS)


def test_an_old_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = written(tmp_path)
    calibration = load_calibration(file)
    calibration["gripper"] = ServoCalibration(6, 1, 5, 10, 1000)
    save_calibration(file, calibration)
    assert load_calibration(file) == calibration
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("path", ["", "no/such/file.json", "."])
def test_a_missing_file_is_named_with_what_to_do(path: str) -> None:
    with pytest.raises(ModelError, match=f"no calibration at '{path}': calibrate the arm"):
        load_calibration(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"null", b"7"])
def test_a_corrupt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "arm.json"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=str(file)):
        load_calibration(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("elbow_flex", "range_min", 3087), "elbow_flex.*range 3087 to 3087"),
        (changed("elbow_flex", "range_max", 4096), "elbow_flex.*range 911 to 4096"),
        (changed("elbow_flex", "range_min", -1), "elbow_flex.*range -1"),
        (changed("gripper", "homing_offset", 2048), r"gripper.*homing_offset = 2048"),
        (changed("gripper", "drive_mode", 2), "gripper.*drive_mode = 2"),
        (changed("gripper", "id", 254), "gripper.*id = 254"),
        (changed("wrist_roll", "id", "five"), "wrist_roll.*id"),
        (changed("wrist_roll", "range_min", None), "wrist_roll.*range_min"),
        (changed("wrist_roll", "range_min", float("nan")), "wrist_roll.*range_min"),
        (changed("wrist_roll", "range_mim", 3), "wrist_roll.*range_min"),
        (without("wrist_roll", "range_min"), "wrist_roll.*range_min"),
        (lambda tree: {**tree, "gripper": 3}, "motor names"),
    ],
)
def test_impossible_values_are_refused_by_name(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_calibration(written(tmp_path, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("elbow_flex", "id", 7), "elbow_flex has id 7 in the calibration and 3"),
        (lambda tree: {k: v for k, v in tree.items() if k != "gripper"}, "the calibration has"),
        (lambda tree: {**tree, "knee": tree["gripper"]}, "knee"),
        (changed("shoulder_lift", "range_max", 1900), "shoulder_lift was moved over 1.68 rad"),
        (changed("wrist_flex", "range_min", 10), "wrist_flex was moved over 4.82 rad"),
    ],
)
def test_another_arms_calibration_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    calibration = load_calibration(written(tmp_path, change))
    with pytest.raises(ModelError, match=message):
        check_calibration(calibration, SO101, IDS)


class Person:
    """Moves the emulated arm as asked; `lazy` servos are forgotten.

    Encoders are at `middles` when the joints are in the middle of their ranges.
    """

    half_spans = (1333, 1186, 1088, 1154, 900, 742)
    middles = (2187, 1000, 2982, 500, 4000, 100)

    def __init__(self, emulator: ServoBus, lazy: tuple[int, ...] = ()) -> None:
        self.emulator, self.lazy, self.asked = emulator, lazy, list[str]()
        # Every servo in turn to its lower and its upper stop.
        self._plan = [
            (number, sign * half)
            for number, half in enumerate(self.half_spans, start=1)
            if number not in lazy
            for sign in (-1, 1, 0)
        ]

    def ask(self, text: str) -> None:
        self.asked.append(text)
        if "middle" in text:
            assert not any(self.emulator.get_servo(n).torque for n in range(1, 7))
            for number in range(1, 7):
                self._turn(number, 0)

    def done(self) -> bool:
        if self._plan:
            self._turn(*self._plan.pop(0))
            return False
        return True

    def _turn(self, number: int, distance: int) -> None:
        with self.emulator.edit_servo(number) as servo:
            servo.stops = (-5000.0, 9000.0)
            servo.encoder = (self.middles[number - 1] + distance) % 4096


def test_calibrating_finds_offsets_and_ranges_and_leaves_them_in_the_servos(
    servos: tuple[ServoBus, FeetechBus], tmp_path: Path
) -> None:
    emulator, bus = servos
    for name in IDS:
        bus.write(name, 40, b"\x01")
    person = Person(emulator)
    found = calibrate_servos(bus, person.ask, person.done)
    assert "Support the arm" in person.asked[0]
    for name, half, middle in zip(IDS, person.half_spans, person.middles, strict=True):
        assert found[name].homing_offset == middle - 2047
        if name == "wrist_roll":
            assert (found[name].range_min, found[name].range_max) == (0, 4095)
        else:
            assert (found[name].range_min, found[name].range_max) == (2047 - half, 2047 + half)
    check_calibration({n: s for n, s in found.items()}, SO101, IDS)
    save_calibration(tmp_path / "arm.json", found)
    bus.close()
    emulator.power_cycle()
    arm = FeetechArm(SO101, FeetechOptions(emulator.port, str(tmp_path / "arm.json")))
    with arm:  # finds the servos set as the file says
        middle = [(joint.lower + joint.upper) / 2 for joint in SO101.joints]
        np.testing.assert_allclose(arm.state().positions, middle, atol=0.002)


def test_a_joint_that_was_not_moved_is_named(servos: tuple[ServoBus, FeetechBus]) -> None:
    emulator, bus = servos
    person = Person(emulator, lazy=(3,))
    with pytest.raises(ModelError, match="elbow_flex did not move"):
        calibrate_servos(bus, person.ask, person.done)


def test_an_offset_is_not_changed_under_torque(servos: tuple[ServoBus, FeetechBus]) -> None:
    emulator, bus = servos
    bus.write("elbow_flex", 40, b"\x01")
    with pytest.raises(DeviceError, match="have torque"):
        bus.write_calibration({"elbow_flex": ServoCalibration(3, 0, 100, 0, 4095)})
    assert emulator.get_servo(3).read_word(31, 11) == 0


def test_a_file_is_installed_in_the_servos_for_good(
    servos: tuple[ServoBus, FeetechBus], tmp_path: Path
) -> None:
    emulator, bus = servos
    asked: list[str] = []
    install_calibration(bus, load_calibration(written(tmp_path)), asked.append)
    emulator.power_cycle()
    for servo in LEROBOT.values():
        has = emulator.get_servo(servo["id"])
        assert has.read_word(31, 11) == servo["homing_offset"]
        assert (has.read_word(9), has.read_word(11)) == (servo["range_min"], servo["range_max"])
    assert len(asked) == 1


@pytest.mark.parametrize(("where", "let_go"), [(0.0, True), (0.05, True), (0.3, False)])
def test_rest_lets_go_only_at_the_rest_pose(where: float, let_go: bool) -> None:
    done: list[str] = []
    pose = np.array([0.1, -1.2, 0.7])

    def run() -> None:
        move_to_rest(
            lambda target: done.append(f"go {target.tolist()}"),
            lambda: pose + np.array([0.0, where, 0.0]),
            pose,
            lambda: done.append("release"),
        )

    if let_go:
        run()
        assert done == ["go [0.1, -1.2, 0.7]", "release"]
    else:
        with pytest.raises(DeviceError, match=r"0.30 rad from its rest pose.*stays on"):
            run()
        assert done == ["go [0.1, -1.2, 0.7]"]


def test_rest_keeps_the_torque_unless_told_otherwise_and_when_it_cannot_measure() -> None:
    done: list[str] = []
    pose = np.zeros(2)
    move_to_rest(lambda _: done.append("go"), lambda: pose, pose)
    assert done == ["go"]
    with pytest.raises(DeviceError):
        move_to_rest(lambda _: None, lambda: pose * np.nan, pose, lambda: done.append("release"))
    assert done == ["go"]
