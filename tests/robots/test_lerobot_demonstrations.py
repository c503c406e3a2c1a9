"""LeRobot's own reader on demonstrations written by `embodied.tasks.datasets.lerobot`.

LeRobot 0.4.4 lives in an environment of its own: pytest -m slow tests/robots/test_lerobot_reader.py
makes one and runs this file in it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.datasets.lerobot_sets import (
    CAMERAS,
    FPS,
    LENGTHS,
    TASKS,
    episodes,
    make_set,
    number_of,
)

pytestmark = pytest.mark.skipif(
    find_spec("lerobot") is None,
    reason="lerobot is not installed here: pytest -m slow tests/robots/test_lerobot_reader.py",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "set")


def load(folder: Path, **options: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/set", root=folder, video_backend="pyav", **options)


def test_lerobot_finds_every_value_and_image(folder: Path) -> None:
    dataset = load(folder)
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (3, sum(LENGTHS), FPS)
    at = 0
    for episode in episodes():
        for step in range(len(episode.columns["action"])):
            item = dataset[at]
            for name, values in episode.columns.items():
                assert np.array_equal(np.ravel(item[name].numpy()), np.ravel(values[step])), name
            for camera in CAMERAS:
                image = (255 * item[camera].permute(1, 2, 0)).byte().numpy()
                assert number_of(image) == number_of(episode.videos[camera][step])
            assert item["task"] == episode.task
            at += 1


def test_lerobot_takes_chunks_and_says_what_is_padding(folder: Path) -> None:
    dataset = load(folder, delta_timestamps={"action": [k / FPS for k in range(4)]})
    item = dataset[LENGTHS[0] - 2]  # the last but one frame of the first episode
    assert item["action"].shape == (4, 7)
    assert item["action_is_pad"].tolist() == [False, False, True, True]


def test_lerobot_reads_our_statistics(folder: Path) -> None:
    stats = load(folder).meta.stats
    actions = np.concatenate([episode.columns["action"] for episode in episodes()])
    assert np.allclose(stats["action"]["mean"], actions.mean(0), atol=1e-6)
    assert np.allclose(stats["action"]["max"], actions.max(0))
    assert set(load(folder).meta.tasks.index) == set(TASKS)
