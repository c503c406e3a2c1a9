"""The SO-101's driver: the maker's SDK against emulated servos on a pseudo-terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import tau
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from embodied.errors import ConfigError, MissingExtraError
from robots.arm import Arm, ArmState, Setpoint, StopCategory
from robots.calibration import ServoCalibration, save_calibration
from robots.emulators.servo_bus import BusFaults, ServoBus
from robots.errors import DeviceError, ModelError
from robots.model import load_model

pytest.importorskip("scservo_sdk", reason="the servos' SDK: pip install feetech-servo-sdk")

from robots.feetech import FeetechArm, FeetechOptions
from robots.feetech_bus import FeetechBus

SO101 = load_model("so101")
NAMES = (*SO101.joint_names, "gripper")
TICK = tau / 4096  # [rad]
CALIBRATION = {
    "shoulder_pan": ServoCalibration(1, 0, 140, 737, 3404),
    "shoulder_lift": ServoCalibration(2, 1, -1021, 806, 3179),
    "elbow_flex": ServoCalibration(3, 0, 935, 911, 3087),
    "wrist_flex": ServoCalibration(4, 1, -1503, 846, 3154),
    "wrist_roll": ServoCalibration(5, 0, 47, 0, 4095),
    "gripper": ServoCalibration(6, 0, -300, 2015, 3498),
}
ALL = set(range(1, 7))


class Skip:
    """A clock that can jump ahead, so that no test waits for the servos."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Rig:
    """An emulated, calibrated SO-101 whose port is a link, so that it can be plugged in again."""

    def __init__(self, folder: Path) -> None:
        self.link, self.file, self.clock = folder / "tty", folder / "arm.json", Skip()
        save_calibration(self.file, CALIBRATION)
        self.plug()

    def plug(self) -> None:
        self.bus = ServoBus(clock=self.clock)
        self.link.symlink_to(self.bus.port)
        for name, servo in CALIBRATION.items():
            with self.bus.edit_servo(servo.id) as raw:
                raw.stops = (-2048.0, 6144.0)
                middle = servo.homing_offset + servo.middle
                raw.encoder = middle if name != "gripper" else middle - 200
                raw.registers[55] = 0
                raw.write_word(31, servo.homing_offset, 11)
                raw.write_word(9, servo.range_min)
                raw.write_word(11, servo.range_max)
                # Held there by an earlier session.
                raw.write_word(42, raw.position)
                raw.write(40, b"\x01")
                raw.write(9, bytes(raw.registers[9:13]))
                raw.registers[55] = 1

    def unplug(self) -> None:
        self.bus.close()
        # As udev does. The name of a closed terminal may be another program's next moment.
        self.link.unlink()

    def wait(self, seconds: float, arm: FeetechArm) -> None:
        """Let the servos have time, once the bus has taken what was sent."""
        arm.state()
        self.clock.ahead += seconds

    @property
    def options(self) -> FeetechOptions:
        return FeetechOptions(port=str(self.link), calibration=str(self.file))

    def arm(self, **options: object) -> FeetechArm:
        return FeetechArm(SO101, replace(self.options, **options))  # type: ignore[arg-type]

    def positions(self) -> list[int]:
        return [self.bus.get_servo(number).position for number in range(1, 7)]

    def torques(self) -> list[bool]:
        return [self.bus.get_servo(number).torque for number in range(1, 7)]

    def goals(self) -> list[int]:
        return [self.bus.get_servo(number).read_word(42) for number in range(1, 7)]


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.bus.close()


@pytest.fixture(name="arm")
def _arm(rig: Rig) -> Iterator[FeetechArm]:
    arm = rig.arm()
    arm.connect()
    yield arm
    arm.disconnect()


def setpoint(positions: object, gripper: float | None = None) -> Setpoint:
    return Setpoint(np.asarray(positions, np.float64), np.zeros(5), gripper)


MIDDLE = np.array([(joint.lower + joint.upper) / 2 for joint in SO101.joints])


def test_it_is_an_arm_that_says_what_it_is_before_it_is_connected() -> None:
    arm = FeetechArm(SO101)
    assert isinstance(arm, Arm)
    assert arm.features.joints == SO101.joint_names
    assert arm.features.gripper
    assert arm.features.falls_without_power
    assert not FeetechArm(SO101, FeetechOptions(gripper=0)).features.gripper
    arm.disconnect()


def test_connecting_holds_the_arm_where_it_is(rig: Rig) -> None:
    rig.bus.power_cycle()
    with rig.bus.edit_servo(2) as servo:
        servo.falls = False
        servo.write_word(42, 900)  # an old goal far away
        servo.write_word(46, 10)  # and a crawling speed
    with rig.arm() as arm:
        before = rig.positions()
        rig.wait(10, arm)
        assert_allclose(rig.positions(), before, atol=30)  # they were falling
        assert rig.positions()[1] == before[1]
        assert all(rig.torques())
        assert arm.state().fault == ""
        assert rig.bus.get_servo(2).read_word(46) == 0
        assert rig.bus.get_servo(6).read_word(48) == 500


@pytest.mark.parametrize("seed", range(5))
def test_angles_arrive_and_are_measured_to_a_tick(rig: Rig, arm: FeetechArm, seed: int) -> None:
    dice = np.random.default_rng(seed)
    lower = np.array([joint.lower for joint in SO101.joints])
    upper = np.array([joint.upper for joint in SO101.joints])
    target = lower + (upper - lower) * dice.uniform(0.05, 0.95, 5)
    gripper = float(dice.uniform())
    arm.command(setpoint(target, gripper))
    rig.wait(10, arm)
    state = arm.state()
    assert_allclose(state.positions, target, atol=0.51 * TICK)
    assert_allclose(state.velocities, 0)
    assert state.gripper == pytest.approx(gripper, abs=1 / 1483)
    # LeRobot's own formula for degrees, which takes a turn for 4095 ticks.
    for name, angle, middle, ticks in zip(
        SO101.joint_names, state.positions, MIDDLE, rig.positions()[:5], strict=True
    ):
        servo = CALIBRATION[name]
        degrees = (ticks - (servo.range_min + servo.range_max) / 2) * 360 / 4095
        assert servo.direction * np.radians(degrees) == pytest.approx(angle - middle, abs=1e-3)


def test_velocities_have_the_joints_sense(rig: Rig, arm: FeetechArm) -> None:
    arm.command(setpoint(MIDDLE + [1.0, 1.0, -1.0, -1.0, 1.0]))
    rig.wait(0.1, arm)
    state = arm.state()
    assert (np.sign(state.velocities) == [1, 1, -1, -1, 1]).all()
    assert 0.5 < abs(state.velocities[0]) < 5.0
    assert (np.sign(state.positions - MIDDLE) == [1, 1, -1, -1, 1]).all()


def test_the_gripper_is_left_alone_without_an_opening(rig: Rig, arm: FeetechArm) -> None:
    arm.command(setpoint(MIDDLE, 1.0))
    rig.wait(10, arm)
    arm.command(setpoint(MIDDLE + 0.1))
    rig.wait(10, arm)
    assert arm.state().gripper == pytest.approx(1.0, abs=0.001)


def test_an_arm_without_a_gripper_has_none(rig: Rig) -> None:
    save_calibration(rig.file, {n: s for n, s in CALIBRATION.items() if n != "gripper"})
    with rig.arm(gripper=0) as arm:
        assert arm.state().gripper is None
        before = rig.goals()
        arm.command(setpoint(MIDDLE + 0.2, 0.3))
        arm.state()
        changed = [now != then for now, then in zip(rig.goals(), before, strict=True)]
        assert changed == [*[True] * 5, False]


def test_stamps_never_claim_to_be_younger_than_the_measurement(arm: FeetechArm) -> None:
    before = time.monotonic()
    first, second = arm.state().stamp, arm.state().stamp
    assert before <= first < second <= time.monotonic()


def test_a_hundred_hertz_loop_has_room(arm: FeetechArm) -> None:
    start, count = time.monotonic(), 200
    for _ in range(count):
        arm.state()
        arm.command(setpoint(MIDDLE))
    assert count / (time.monotonic() - start) > 100


def test_what_a_servo_cannot_be_told_is_not_sent(rig: Rig, arm: FeetechArm) -> None:
    before = rig.goals()
    for value in (np.nan, np.inf, -1e9):
        with pytest.raises(DeviceError, match="cannot be told"):
            arm.command(setpoint([0.2, value, 0.0, 0.0, 0.0]))
    arm.state()
    assert rig.goals() == before


@pytest.mark.parametrize("category", StopCategory)
def test_every_stop_holds_and_none_cuts_the_torque(
    rig: Rig, arm: FeetechArm, category: StopCategory
) -> None:
    arm.command(setpoint(MIDDLE + [1.5, 1.5, -1.5, 1.5, 1.5]))
    rig.wait(0.15, arm)
    at = arm.state()
    assert np.abs(at.positions - MIDDLE).min() > 0.1
    arm.stop(category)
    rig.wait(10, arm)
    assert all(rig.torques())
    # Braking from full speed takes v^2 / 2a, after which the servo returns to where it was told.
    assert_allclose(arm.state().positions, at.positions, atol=0.3)
    assert_allclose(arm.state().velocities, 0)


def test_stopping_again_and_again_does_not_let_the_arm_creep_down(
    rig: Rig, arm: FeetechArm
) -> None:
    before = rig.goals()
    for _ in range(5):
        for number in range(1, 6):
            with rig.bus.edit_servo(number) as servo:
                servo.encoder += servo.read_word(42) - 30 - servo.position  # its weight
        arm.stop(StopCategory.STOP_AND_HOLD)
    assert rig.goals() == before


def test_stopping_does_not_drop_what_the_gripper_holds(rig: Rig, arm: FeetechArm) -> None:
    with rig.bus.edit_servo(6) as servo:
        servo.stops = (servo.encoder, 6144.0)  # something in its jaws
    arm.command(setpoint(MIDDLE, 0.0))
    rig.wait(10, arm)
    arm.stop(StopCategory.STOP_AND_HOLD)
    assert rig.bus.get_servo(6).read_word(42) == CALIBRATION["gripper"].range_min
    assert arm.state().gripper == pytest.approx(0.5 - 200 / 1483, abs=0.001)


def test_a_servo_that_does_not_hold_is_named(rig: Rig, arm: FeetechArm) -> None:
    with rig.bus.edit_servo(4) as servo:
        servo.write(40, b"\x00")
    with pytest.raises(DeviceError, match=r"servo 4 \(wrist_flex\) does not hold: torque 0"):
        arm.stop(StopCategory.STOP_AND_HOLD)


FAULTS = [
    (BusFaults(silent=set(ALL)), r"servo 1 \(shoulder_pan\) does not answer"),
    (BusFaults(silent={4}), r"servo 4 \(wrist_flex\) does not answer"),
    (BusFaults(silent={6}), r"servo 6 \(gripper\) does not answer"),
    (BusFaults(corrupt={3}), r"servo 3 \(elbow_flex\) is garbled"),
    (BusFaults(corrupt=set(ALL)), r"servo 1 \(shoulder_pan\) is garbled"),
    (BusFaults(half=set(ALL)), r"servo 1 \(shoulder_pan\) is garbled"),
    (BusFaults(half={6}), r"servo 6 \(gripper\) is garbled or breaks off"),
    (BusFaults(late=0.2), r"servo 1 \(shoulder_pan\) does not answer"),
    (BusFaults(babble=True), "only noise|garbled"),
]


@pytest.mark.parametrize(("faults", "message"), FAULTS)
def test_a_faulty_line_is_told_in_time_holds_and_is_well_again(
    rig: Rig, arm: FeetechArm, faults: BusFaults, message: str
) -> None:
    before = rig.positions()
    for ask in (arm.state, lambda: arm.stop(StopCategory.STOP_AND_HOLD)):
        rig.bus.faults = faults
        start = time.monotonic()
        with pytest.raises(DeviceError, match=message):
            ask()
        assert time.monotonic() - start < 1.0  # it takes 0.1 s
        rig.bus.faults = BusFaults()
        faults = replace(faults)
        wait_well(arm)
    rig.clock.ahead += 10
    assert rig.positions() == before
    arm.command(setpoint(MIDDLE + 0.2))
    rig.wait(10, arm)
    assert_allclose(arm.state().positions, MIDDLE + 0.2, atol=TICK)


def wait_well(arm: FeetechArm) -> ArmState:
    """Return the first state after a fault: late answers are still on their way."""
    end = time.monotonic() + 5
    while True:
        try:
            return arm.state()
        except DeviceError:
            if time.monotonic() > end:
                raise


def test_a_late_answer_is_not_taken_for_a_new_one(rig: Rig, arm: FeetechArm) -> None:
    rig.bus.faults.late = 0.12
    with pytest.raises(DeviceError):
        arm.state()
    rig.bus.faults.late = 0.0
    # The answers to come tell of the old position; only now the arm is moved.
    for number in ALL:
        with rig.bus.edit_servo(number) as servo:
            servo.encoder += 100
            servo.write_word(42, servo.position)
    shift = [CALIBRATION[name].direction * 100 * TICK for name in SO101.joint_names]
    assert_allclose(wait_well(arm).positions, MIDDLE + shift, atol=TICK)


def test_one_lost_answer_is_asked_for_again(rig: Rig, arm: FeetechArm) -> None:
    class Once(set[int]):
        """Holds a number until it is asked for."""

        def __contains__(self, number: object) -> bool:
            there = super().__contains__(number)
            self.discard(number)  # type: ignore[arg-type]
            return there

    for fault in (
        BusFaults(corrupt=Once({3})),
        BusFaults(silent=Once({2})),
        BusFaults(half=Once({6})),
    ):
        rig.bus.faults = fault
        assert_allclose(arm.state().positions, MIDDLE, atol=TICK)
        assert not fault.corrupt | fault.silent | fault.half


@pytest.mark.parametrize(
    ("bits", "text"), [(32, "overload"), (4, "overheated"), (1 | 8, "voltage, overcurrent")]
)
def test_a_servos_complaint_is_the_arms_fault(
    rig: Rig, arm: FeetechArm, bits: int, text: str
) -> None:
    rig.bus.faults.errors[3] = bits
    assert arm.state().fault == f"servo 3 (elbow_flex): {text}"
    arm.stop(StopCategory.STOP_AND_HOLD)
    with pytest.raises(DeviceError, match=f"the arm reports: servo 3.*{text}"):
        arm.connect()
    rig.bus.faults.errors.clear()
    arm.recover()
    assert arm.state().fault == ""


def test_a_pulled_plug_is_told_and_the_arm_found_again(rig: Rig, arm: FeetechArm) -> None:
    rig.unplug()
    calls: list[Callable[[], object]] = [
        arm.state,
        lambda: arm.command(setpoint(MIDDLE)),
        lambda: arm.stop(StopCategory.CUT_POWER),
    ]
    for call in calls:
        start = time.monotonic()
        with pytest.raises(DeviceError, match="the line failed.*USB plug"):
            call()
        assert time.monotonic() - start < 1.0
    with pytest.raises(DeviceError, match="cannot open"):
        arm.recover()
    rig.plug()
    arm.recover()
    assert_allclose(arm.state().positions, MIDDLE, atol=TICK)
    arm.disconnect()
    arm.disconnect()


def test_nothing_works_without_connecting(rig: Rig) -> None:
    arm = rig.arm()
    for call in (
        arm.state,
        lambda: arm.command(setpoint(MIDDLE)),
        lambda: arm.stop(StopCategory.STOP_AND_HOLD),
    ):
        with pytest.raises(DeviceError, match="connect"):
            call()


def test_one_program_at_a_time(rig: Rig, arm: FeetechArm) -> None:
    with pytest.raises(DeviceError, match="end other programs"):
        rig.arm().connect()
    arm.state()
    arm.disconnect()
    with rig.arm() as other:
        other.state()


def refuse_kind(rig: Rig) -> None:
    with rig.bus.edit_servo(3) as servo:
        servo.registers[3:5] = (1284).to_bytes(2, "little")


def refuse_offset(rig: Rig) -> None:
    with rig.bus.edit_servo(3) as servo:
        servo.write_word(31, 936, 11)


def refuse_range(rig: Rig) -> None:
    with rig.bus.edit_servo(3) as servo:
        servo.write_word(11, 4095)


def refuse_mode(rig: Rig) -> None:
    with rig.bus.edit_servo(3) as servo:
        servo.registers[33] = 1


def refuse_missing(rig: Rig) -> None:
    rig.bus.faults.silent |= {3, 5}


def refuse_dead(rig: Rig) -> None:
    rig.bus.faults.silent |= ALL


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (refuse_kind, r"servo 3 \(elbow_flex\) is model 1284, not an STS3215"),
        (refuse_offset, r"servo 3 \(elbow_flex\) has offset and range \(936, 911, 3087\)"),
        (refuse_range, r"servo 3 \(elbow_flex\) .*4095.*calibrate"),
        (refuse_mode, r"servo 3 \(elbow_flex\) .*mode 1"),
        (refuse_missing, r"servo 3 \(elbow_flex\) does not.*servo 5 \(wrist_roll\) does not"),
        (refuse_dead, r"servo 1 .*servo 6 .*power supply"),
    ],
)
def test_another_arm_than_described_is_refused_untouched(
    rig: Rig, spoil: Callable[[Rig], None], message: str
) -> None:
    rig.bus.power_cycle()
    spoil(rig)
    before = rig.goals()
    arm, start = rig.arm(), time.monotonic()
    with pytest.raises(DeviceError, match=message):
        arm.connect()
    assert not arm.bus.is_open
    assert time.monotonic() - start < 2.0
    assert rig.goals() == before
    assert not any(rig.torques())


def test_a_port_or_calibration_that_is_not_there_is_named(rig: Rig) -> None:
    with pytest.raises(DeviceError, match=r"cannot open /dev/no-such-tty.*ls /dev/ttyACM"):
        rig.arm(port="/dev/no-such-tty").connect()
    with pytest.raises(DeviceError, match="cannot open"):
        rig.arm(port=str(rig.file)).connect()
    with pytest.raises(ModelError, match="no calibration at ''"):
        rig.arm(calibration="").connect()


def test_the_missing_sdk_is_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scservo_sdk", None)
    with pytest.raises(MissingExtraError, match=r"feetech-servo-sdk.*embodied-stack\[feetech\]"):
        rig.arm().connect()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baudrate": 9601}, "baudrate"),
        ({"ids": (1, 2, 3, 4, 6)}, "ids"),
        ({"ids": (0, 2, 3, 4, 5)}, "ids"),
        ({"ids": (1, 2, 3)}, "so101 has 5 joints"),
        ({"rest": (0.0,)}, "rest.*so101 has 5 joints"),
        ({"gripper_torque": 0.0}, "gripper_torque"),
        ({"gripper_torque": float("nan")}, "gripper_torque"),
        ({"release_at_rest": True}, "rest"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FeetechArm(SO101, FeetechOptions(**options))  # type: ignore[arg-type]


def test_without_torque_this_arm_would_fall(rig: Rig, arm: FeetechArm) -> None:
    before = rig.positions()
    rig.bus.power_cycle()
    rig.clock.ahead += 1
    assert all(now != then for now, then in zip(rig.positions(), before, strict=True))


def test_it_does_not_fall_when_the_line_is_closed(rig: Rig) -> None:
    with rig.arm():
        before = rig.positions()
    rig.clock.ahead += 10
    assert rig.positions() == before


def test_it_does_not_fall_on_an_exception(rig: Rig) -> None:
    def run() -> None:
        with rig.arm() as arm:
            arm.command(setpoint(MIDDLE + 0.3))
            rig.wait(10, arm)
            raise RuntimeError("the policy broke")

    with pytest.raises(RuntimeError, match="policy"):
        run()
    before = rig.positions()
    rig.clock.ahead += 10
    assert rig.positions() == before
    assert all(rig.torques())


def test_it_does_not_fall_when_its_program_is_killed(rig: Rig) -> None:
    program = (
        "import sys, time\n"
        "from robots.feetech import FeetechArm, FeetechOptions\n"
        "from robots.model import load_model\n"
        "FeetechArm(load_model('so101'), FeetechOptions(sys.argv[1], sys.argv[2])).connect()\n"
        "print('connected', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(rig.link), str(rig.file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "connected\n"
    before = rig.positions()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    rig.clock.ahead += 10
    assert rig.positions() == before
    with rig.arm() as arm:  # and can be taken over as it hangs there
        assert rig.positions() == before
        arm.state()


@pytest.mark.parametrize(("away", "falls"), [(0.05, True), (0.4, False)])
def test_it_is_released_only_at_its_rest_pose(rig: Rig, away: float, falls: bool) -> None:
    rest = (0.2, -1.0, 1.0, 0.5, 0.0)
    with rig.arm(rest=rest, release_at_rest=True) as arm:
        arm.command(setpoint(np.array(rest) + [0, away, 0, 0, 0]))
        rig.wait(10, arm)
        if not falls:
            with pytest.raises(DeviceError, match="not at its rest pose.*stays on"):
                arm.disable_torque()
    assert rig.torques() == [not falls] * 6


def test_it_is_not_released_on_the_way_or_over_a_broken_line(rig: Rig) -> None:
    rest = tuple(MIDDLE.tolist())
    arm = rig.arm(rest=rest, release_at_rest=True)
    arm.connect()
    rig.bus.faults.corrupt |= {2}
    arm.disconnect()
    assert all(rig.torques())
    with pytest.raises(DeviceError, match="not connected"):
        arm.state()


def test_threads_may_share_the_bus(rig: Rig, arm: FeetechArm) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(_: int) -> None:
        for _ in range(50):
            assert_allclose(arm.state().positions, MIDDLE, atol=TICK)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_full_packet_of_servos_is_within_the_buses_length(rig: Rig) -> None:
    bus = FeetechBus(str(rig.link), 1_000_000, {name: s.id for name, s in CALIBRATION.items()})
    bus.open()
    rows, errors, _ = bus.sync_read(0, 86)
    assert [len(row) for row in rows] == [86] * 6
    assert errors == [0] * 6
    assert [row[5] for row in rows] == [1, 2, 3, 4, 5, 6]
    bus.close()
