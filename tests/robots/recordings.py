"""Recordings with known content, for the tests of what reads and exports them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robots.episode import RecordedEpisode, RecordingOrigin, read_episode
from robots.recorder import Recorder, RecorderOptions

JOINTS = ("pan", "lift", "elbow")
ORIGIN = RecordingOrigin("left", "so101", JOINTS, "abc123", {"place": "table"})
START = 1000.0
RATE, CAMERA_RATE = 100, 30
HEIGHT, WIDTH = 64, 96
LEAD = 0.05


def path(times: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """(..., J) joint angles [rad] at times [s] since the beginning."""
    return 0.8 * np.sin(2 * np.pi * 0.4 * np.asarray(times)[..., None] + np.arange(len(JOINTS)))


def opening(time: float) -> float:
    return 0.5 + 0.4 * np.sin(time)


def picture(number: int) -> NDArray[np.uint8]:
    """An image that says its number: eight stripes, white for 1 and black for 0."""
    bits = [255 * (number >> bit & 1) for bit in range(8)]
    row = np.repeat(np.array(bits, np.uint8), WIDTH // 8)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def number_of(image: NDArray[np.uint8]) -> int:
    stripes = image.reshape(HEIGHT, 8, WIDTH // 8, 3).mean(axis=(0, 2, 3))
    return sum(1 << bit for bit in range(8) if stripes[bit] > 127)


def record(
    folder: Path, seconds: float, *, gripper: bool = True, cameras: tuple[str, ...] = ("wrist",)
) -> RecordedEpisode:
    """Record an arm on `path`; its setpoints lead by LEAD [s]."""
    options = RecorderOptions(max_frames=10_000)
    with Recorder(folder, ORIGIN, options) as recorder:
        for step in range(round(seconds * RATE) + 1):
            time = step / RATE
            state = {"positions": path(time), "velocities": np.zeros(3), "efforts": None}
            state |= {"gripper": opening(time) if gripper else None, "fault": ""}
            recorder.record_message("state", START + time, state)
            told = {"positions": path(time + LEAD), "velocities": np.zeros(3)}
            told |= {"gripper": opening(time + LEAD) if gripper and step % 5 == 0 else None}
            recorder.record_message("setpoint", START + time, told)
        for number in range(round(seconds * CAMERA_RATE) + 1):
            for camera in cameras:
                recorder.record_frame(camera, START + number / CAMERA_RATE, picture(number % 256))
    assert not recorder.problem, recorder.problem
    assert recorder.dropped_records == recorder.dropped_frames == 0
    return read_episode(folder)
