"""The emulated servos: bytes against the maker's manual, and the motion behind them."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from robots.emulators import sts3215
from robots.emulators.servo_bus import ServoBus, compute_checksum
from robots.emulators.sts3215 import ServoEmulator


@pytest.fixture(name="bus")
def _bus() -> Iterator[ServoBus]:
    with ServoBus(falls=False) as bus:
        yield bus


class Raw:
    """The other end of the line, without any SDK."""

    def __init__(self, port: str) -> None:
        self.file = os.open(port, os.O_RDWR | os.O_NOCTTY)

    def ask(self, request: str | bytes, size: int) -> str:
        """Send bytes and return `size` bytes of the answer, both in hexadecimal."""
        os.write(self.file, bytes.fromhex(request) if isinstance(request, str) else request)
        answer, end = b"", time.monotonic() + 2
        while len(answer) < size and time.monotonic() < end:
            if select.select([self.file], [], [], 0.1)[0]:
                answer += os.read(self.file, 4096)
        return answer.hex(" ").upper()


def instruction(number: int, code: int, *parameters: int) -> bytes:
    body = bytes([number, len(parameters) + 2, code, *parameters])
    return b"\xff\xff" + body + bytes([compute_checksum(body)])


@pytest.fixture(name="raw")
def _raw(bus: ServoBus) -> Iterator[Raw]:
    raw = Raw(bus.port)
    yield raw
    os.close(raw.file)


def test_ping_is_the_manuals_example(raw: Raw) -> None:
    assert raw.ask("FF FF 01 02 01 FB", 6) == "FF FF 01 02 00 FC"


def test_reading_the_position_is_the_manuals_example(bus: ServoBus, raw: Raw) -> None:
    with bus.edit_servo(1) as servo:
        servo.encoder = 0x0518
    assert raw.ask("FF FF 01 04 02 38 02 BE", 8) == "FF FF 01 04 00 18 05 DD"


def test_writing_a_goal_with_time_and_speed_is_the_manuals_example(bus: ServoBus, raw: Raw) -> None:
    assert raw.ask("FF FF 01 09 03 2A 00 08 00 00 E8 03 D5", 6) == "FF FF 01 02 00 FC"
    assert bus.get_servo(1).read_word(sts3215.GOAL_POSITION) == 0x0800
    assert bus.get_servo(1).read_word(sts3215.GOAL_SPEED) == 1000


def test_sync_write_is_the_manuals_example_and_unanswered(bus: ServoBus, raw: Raw) -> None:
    request = (
        "FF FF FE 20 83 2A 06 01 00 08 00 00 E8 03 02 00 08 00 00 E8 03 "
        "03 00 08 00 00 E8 03 04 00 08 00 00 E8 03 58"
    )
    # The answer that comes is that of the PING behind it.
    assert raw.ask(request + "FF FF 01 02 01 FB", 6) == "FF FF 01 02 00 FC"
    for number in (1, 2, 3, 4):
        assert bus.get_servo(number).read_word(sts3215.GOAL_POSITION) == 0x0800


def test_sync_read_answers_in_the_order_asked(raw: Raw) -> None:
    answer = raw.ask(instruction(0xFE, 0x82, 3, 2, 5, 2), 16)
    assert answer == "FF FF 05 04 00 09 03 EA FF FF 02 04 00 09 03 ED"


def test_broadcast_ping_finds_everybody(raw: Raw) -> None:
    answer = bytes.fromhex(raw.ask(instruction(0xFE, 1), 36))
    assert [answer[i + 2] for i in range(0, 36, 6)] == [1, 2, 3, 4, 5, 6]


def test_a_kept_write_waits_for_the_action(bus: ServoBus, raw: Raw) -> None:
    raw.ask(instruction(1, 4, sts3215.GOAL_POSITION, 0x10, 0x04), 6)
    assert bus.get_servo(1).read_word(sts3215.GOAL_POSITION) == 2047
    raw.ask(instruction(0xFE, 5) + instruction(1, 1), 6)
    assert bus.get_servo(1).read_word(sts3215.GOAL_POSITION) == 0x0410


def test_what_is_measured_cannot_be_written(bus: ServoBus, raw: Raw) -> None:
    raw.ask(instruction(1, 3, sts3215.PRESENT_POSITION, 1, 1), 6)
    raw.ask(instruction(1, 3, 3, 1, 1), 6)
    assert bus.get_servo(1).position == 2047
    assert bus.get_servo(1).read_word(3) == 777


def test_packets_in_pieces_and_after_noise_are_understood(bus: ServoBus, raw: Raw) -> None:
    ping = instruction(1, 1)
    os.write(raw.file, b"\x00\xff\x17" + instruction(1, 1)[:-1] + b"\x00")
    os.write(raw.file, b"\xff" + ping[:3])
    assert raw.ask(ping[3:], 6) == "FF FF 01 02 00 FC"
    assert bus.rejected == 1


def test_a_packet_too_short_for_its_instruction_is_ignored(bus: ServoBus, raw: Raw) -> None:
    short = instruction(1, 2) + instruction(1, 3) + instruction(0xFE, 0x82)
    assert raw.ask(short + instruction(2, 1), 6) == "FF FF 02 02 00 FB"
    assert bus.rejected == 3


def test_any_bytes_leave_the_bus_alive(raw: Raw) -> None:
    dice = random.Random(5)  # noqa: S311
    for _ in range(100):
        noise = dice.randbytes(dice.randrange(1, 30))
        raw.ask(instruction(dice.randrange(1, 7), dice.randrange(6, 256), *noise), 0)
    os.write(raw.file, bytes(300))
    assert raw.ask(instruction(1, 1), 6).endswith("FF FF 01 02 00 FC")


def test_only_what_was_written_unlocked_outlasts_a_power_cut(bus: ServoBus, raw: Raw) -> None:
    raw.ask(instruction(1, 3, sts3215.HOMING_OFFSET, 10, 0), 6)
    bus.power_cycle()
    assert bus.get_servo(1).read_word(sts3215.HOMING_OFFSET, 11) == 0
    raw.ask(instruction(1, 3, sts3215.LOCK, 0), 6)
    raw.ask(instruction(1, 3, sts3215.HOMING_OFFSET, 10, 8), 6)
    bus.power_cycle()
    assert bus.get_servo(1).read_word(sts3215.HOMING_OFFSET, 11) == -10
    assert bus.get_servo(1).position == 2057


def test_a_changed_id_is_the_new_name(bus: ServoBus, raw: Raw) -> None:
    raw.ask(instruction(6, 3, sts3215.ID, 9), 6)
    assert raw.ask(instruction(9, 1), 6) == "FF FF 09 02 00 F4"
    with pytest.raises(KeyError):
        bus.get_servo(6)


@pytest.mark.parametrize("goal", [0, 1000, 2040, 2048, 3500, 4095])
@pytest.mark.parametrize(("speed", "acceleration"), [(0, 0), (500, 20), (3000, 254)])
def test_a_servo_reaches_its_goal_within_its_limits(
    goal: int, speed: int, acceleration: int
) -> None:
    servo = ServoEmulator(1)
    servo.write(sts3215.ACCELERATION, bytes([acceleration]))
    servo.write_word(sts3215.GOAL_SPEED, speed)
    servo.write(sts3215.GOAL_POSITION, goal.to_bytes(2, "little"))
    servo.write(sts3215.TORQUE_ENABLE, b"\x01")
    step, fastest, quickest = 0.004, 0.0, 0.0
    for _ in range(4000):
        before, speed_before = servo.encoder, servo.speed
        servo.step(step)
        fastest = max(fastest, abs(servo.encoder - before) / step)
        quickest = max(quickest, abs(servo.speed - speed_before) / step)
    assert servo.position == goal
    assert servo.speed == 0
    assert servo.registers[sts3215.MOVING] == 0
    assert fastest <= (speed or sts3215.FASTEST) * 1.001
    # Less than a tick's worth of speed is dropped at once on arrival.
    assert quickest <= (acceleration * 100 or sts3215.QUICKEST) * 1.01 + 1 / step


def test_a_joint_without_torque_falls_to_its_stop_and_one_with_torque_does_not() -> None:
    loose, held = ServoEmulator(1, stops=(300, 3800)), ServoEmulator(2, stops=(300, 3800))
    held.write(sts3215.TORQUE_ENABLE, b"\x01")
    for servo in (loose, held):
        servo.step(0.1)
    assert 300 < loose.position < 2047
    for servo in (loose, held):
        servo.step(1e9)  # rest is found, not simulated
    assert loose.position == 300
    assert held.position == 2047


def test_the_command_line_offers_a_port_and_cleans_up(tmp_path: Path) -> None:
    link = tmp_path / "arm"
    process = subprocess.Popen(
        [sys.executable, "-m", "robots.emulators.servo_bus", "--link", str(link)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert str(link) in process.stdout.readline()
        raw = Raw(str(link))
        assert raw.ask("FF FF 01 02 01 FB", 6) == "FF FF 01 02 00 FC"
        os.close(raw.file)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert not link.is_symlink()
    finally:
        process.kill()
        process.communicate()
