"""Write recorded episodes as a LeRobot data set, format v3.0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.files import atomic_directory, write_text
from robots.lerobot_layout import CODEC, LayoutError, LeRobotDatasetWriter

FINE = {**CODEC, "crf": "10"}
"""Small simulated images: what LeRobot's usual quality blurs is a good part of them."""


@dataclass(frozen=True)
class LeRobotEpisode:
    """One episode.

    Attributes:
        columns: name -> (T, ...) values.
        videos: camera key ("observation.images.front") -> (T, H, W, 3) uint8.
        task: what was to be done, in words.
    """

    columns: Mapping[str, NDArray[Any]]
    videos: Mapping[str, NDArray[np.uint8]]
    task: str


def write_dataset(
    folder: str | Path,
    episodes: Iterable[LeRobotEpisode],
    fps: int,
    robot: str,
    names: Mapping[str, Sequence[str] | None],
    cameras: Sequence[str],
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write a data set; it appears as a whole or not at all.

    Args:
        folder: must not exist, or be empty.
        episodes: one at a time, so that they need not all be in memory.
        fps: frames per second.
        robot: what made them, e.g. "panda".
        names: of the numbers of each column; None for columns of single values.
        cameras: keys of the films.
        notes: further text files, by their place in the set ("meta/notes.txt").

    Raises:
        LayoutError: the folder is not empty, there is no episode, or one does not fit the others.
        UnwritableError: the folder cannot be written to.
        MissingExtraError: the package pyarrow is absent.
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise LayoutError(f"{target} exists and is not empty; give another folder")
    with atomic_directory(target) as root:
        writer = LeRobotDatasetWriter(root, fps, robot, names, cameras, FINE)
        for episode in episodes:
            writer.add_episode(episode.columns, episode.task, episode.videos)
        writer.finalize()
        for name, text in (notes or {}).items():
            write_text(root / name, text)
    return target
