"""Small data sets with known content, for the tests of what reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.datasets.lerobot import LeRobotEpisode, write_dataset

FPS, SIDE = 20, 64
LENGTHS = (7, 5, 9)
TASKS = ("pick the red cube", "push the blue block", "pick the red cube")
NAMES = {
    "observation.state": ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"),
    "action": ("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    "next.reward": None,
    "next.done": None,
    "next.success": None,
}
CAMERAS = ("observation.images.front", "observation.images.wrist")


def picture(number: int, mirrored: bool = False) -> NDArray[np.uint8]:
    """An image that says its number: eight stripes, white for 1 and black for 0."""
    bits = [255 * (number >> bit & 1) for bit in range(8)]
    row = np.repeat(np.array(bits[::-1] if mirrored else bits, np.uint8), SIDE // 8)
    return np.broadcast_to(row[None, :, None], (SIDE, SIDE, 3)).copy()


def number_of(image: NDArray[np.uint8]) -> int:
    stripes = image.reshape(SIDE, 8, SIDE // 8, 3).mean(axis=(0, 2, 3))
    return sum(1 << bit for bit in range(8) if stripes[bit] > 127)


def recorded(episode: int, length: int, task: str) -> LeRobotEpisode:
    rng = np.random.default_rng(episode)
    state = rng.standard_normal((length, 8)).astype(np.float32)
    state[:, 3:7] /= np.linalg.norm(state[:, 3:7], axis=1, keepdims=True)
    last = np.arange(length) == length - 1
    columns = {
        "observation.state": state,
        "action": rng.uniform(-1, 1, (length, 7)).astype(np.float32),
        "next.reward": rng.uniform(0, 1, length).astype(np.float32),
        "next.done": last,
        "next.success": last & (episode != 1),
    }
    numbers = range(100 * episode // 2, 100 * episode // 2 + length)
    films = {
        CAMERAS[0]: np.stack([picture(number) for number in numbers]),
        CAMERAS[1]: np.stack([picture(number, mirrored=True) for number in numbers]),
    }
    return LeRobotEpisode(columns, films, task)


def episodes(
    lengths: Sequence[int] = LENGTHS, tasks: Sequence[str] = TASKS
) -> Iterator[LeRobotEpisode]:
    for number, (length, task) in enumerate(zip(lengths, tasks, strict=True)):
        yield recorded(number, length, task)


def make_set(folder: Path) -> Path:
    return write_dataset(folder, episodes(), FPS, "panda", NAMES, CAMERAS)
