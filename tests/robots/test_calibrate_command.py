"""`embodied calibrate` against emulated servos, typed at as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from embodied.cli.main import main
from robots.emulators.servo_bus import ServoBus

pytest.importorskip("scservo_sdk", reason="the vendor's SDK: pip install feetech-servo-sdk")


def recipe(folder: Path, port: str) -> str:
    file = folder / "cell.yaml"
    box = {"floor": -0.5, "lower": [-0.6, -0.6], "upper": [0.6, 0.6], "ceiling": 0.8}
    cell = {
        "driver": "feetech",
        "model": "so101",
        "options": {"port": port, "calibration": str(folder / "arm.json")},
        "safety": {"workspace": box},
    }
    file.write_text(yaml.safe_dump(cell))
    return str(file)


def test_a_person_calibrates_by_moving_the_arm(tmp_path: Path) -> None:
    out = tmp_path / "arm.json"
    with ServoBus(falls=False) as bus:
        command = [sys.executable, "-u", "-m", "embodied", "calibrate",
                   recipe(tmp_path, bus.port), "--out", str(out)]  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            for asked in (b"torque goes off", b"middle of its range", b"from stop to stop"):
                said = b""
                while b"[Enter]" not in said:
                    byte = process.stdout.read(1)
                    assert byte, said
                    said += byte
                assert asked in said
                _enter(process)
            for _ in range(6):
                for encoder in (1300.0, 2800.0):
                    for number in range(1, 7):
                        with bus.edit_servo(number) as servo:
                            servo.encoder = encoder
                    time.sleep(0.1)  # a hand moves slower than the program looks
            _enter(process)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said
        finally:
            process.kill()
            process.communicate()
    found = json.loads(out.read_text())
    assert set(found) == {
        "shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper",
    }  # fmt: skip
    for name, servo in found.items():
        if name != "wrist_roll":
            assert servo["range_max"] - servo["range_min"] == pytest.approx(1500, abs=20), name


def _enter(process: subprocess.Popen) -> None:
    process.stdin.write(b"\n")
    process.stdin.flush()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fr3_twin", "--out", "x.json"], "needs no calibration"),
        (["so101", "--rest"], "options.rest is empty"),
        (["so101", "--install", "none.json"], "no calibration at"),
        (["so101", "--out", "x.json", "options.port=/dev/none"], "/dev/none"),
    ],
)
def test_what_cannot_be_done_says_why(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "fr3_twin":
        pytest.importorskip("pybullet", reason="the twin needs pybullet (extra 'bullet')")
    assert main(["calibrate", *words]) == 2
    assert message in capsys.readouterr().err
