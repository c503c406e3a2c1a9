"""Read a LeRobot data set: all rows at once, images episode by episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.tasks.datasets.lerobot.index import (
    EpisodeIndex,
    VideoSpan,
    read_columns,
    read_index,
    read_info,
    read_json,
    read_tasks,
)
from robots.errors import RobotError
from robots.lerobot_layout import STATS, LayoutError
from robots.video import read_images

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class LeRobotSet:
    """A data set.

    Attributes:
        folder: of it.
        version: of its format.
        fps: frames per second.
        robot: what made it.
        features: description of each column and camera, as in info.json.
        columns: name -> (N, ...) values of all N frames, episode after episode.
        episodes: where each lies.
        offsets: (E + 1,) first row of each episode, then N.
        tasks: number -> words.
        statistics: of each column as written beside the data; {} where there are none.
    """

    folder: Path
    version: str
    fps: int
    robot: str
    features: Mapping[str, Any]
    columns: Mapping[str, Any]
    episodes: Sequence[EpisodeIndex]
    offsets: NDArray[np.int64]
    tasks: Mapping[int, str]
    statistics: Mapping[str, Any]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the cameras that have images ("observation.images.front", ...).

        A camera that the description names without a single file is left out.
        """
        found = []
        for key, feature in self.features.items():
            kind = feature.get("dtype")
            filmed = any(e.videos[key].file.exists() for e in self.episodes if key in e.videos)
            if kind == "image" or (kind == "video" and filmed):
                found.append(key)
        return tuple(found)

    def require_columns(self, *names: str) -> None:
        """Check that there are columns or cameras of these names.

        Raises:
            LayoutError: one is missing; says what there is.
        """
        there = (*self.columns, *self.cameras)
        missing = [name for name in names if name not in there]
        if missing:
            raise LayoutError(
                f"{self.folder} has no {', '.join(missing)}; it has {', '.join(sorted(there))}"
            )

    def get_rows(self, episode: int) -> slice:
        """Return where an episode's rows lie in `columns`."""
        return slice(int(self.offsets[episode]), int(self.offsets[episode + 1]))

    def get_instruction(self, episode: int) -> str:
        """Return what was to be done in an episode: the words of its first row's task."""
        number = int(self.columns["task_index"][self.offsets[episode]])
        if number not in self.tasks:
            raise LayoutError(f"{self.folder}: task {number} of episode {episode} has no words")
        return self.tasks[number]

    def _on_time(self, episode: int) -> bool:
        """Tell whether an episode's rows lie at the times of its first images."""
        times = np.asarray(self.columns.get("timestamp", []))[self.get_rows(episode)]
        images = np.arange(self.episodes[episode].length) / self.fps
        return len(times) == len(images) and bool((np.abs(times - images) * self.fps < 0.5).all())

    def read_frames(self, camera: str, episode: int) -> Image:
        """Return an episode's images (T, H, W, 3).

        Raises:
            LayoutError: no such camera, or a video that is absent, damaged or too short.
        """
        return next(self.iter_videos(camera, [episode]))

    def iter_videos(self, camera: str, episodes: Sequence[int] | None = None) -> Iterator[Image]:
        """Yield the images (T, H, W, 3) of episodes, by default of all; each file is read once."""
        self.require_columns(camera)
        reel = _Reel()
        for number in range(len(self.episodes)) if episodes is None else episodes:
            length = self.episodes[number].length
            if camera in self.columns:
                yield _stills(self.columns[camera][self.get_rows(number)], self.folder, number)
                continue
            film = self.episodes[number].videos[camera]
            images = reel.take(film, length, number)
            if film.exclusive and reel.goes_on() and not self._on_time(number):
                raise LayoutError(
                    f"{film.file} has more than {length} images, and its episode {number} has "
                    f"{length} rows, whose times do not tell which: leave it out, or copy the set "
                    "again"
                )
            yield images


def read_dataset(folder: str | Path) -> LeRobotSet:
    """Read description, index and all rows.

    Raises:
        LayoutError: absent, damaged, of another format, or rows that disagree with the index.
        MissingExtraError: the package pyarrow is absent.
    """
    root = Path(folder)
    info = read_info(root)
    episodes = read_index(root, info)
    if not episodes:
        raise LayoutError(f"{root} holds no episode")
    files = list(dict.fromkeys(episode.data for episode in episodes))
    columns = _joined([read_columns(file) for file in files], files)
    lengths = np.array([episode.length for episode in episodes])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    _check(root, info, columns, episodes, offsets)
    if "frame_index" not in columns:  # GR00T's sets of format v2.0 have none
        columns["frame_index"] = np.concatenate([np.arange(n) for n in lengths])
    statistics = root / STATS
    return LeRobotSet(
        folder=root,
        version=str(info["codebase_version"]),
        fps=int(info["fps"]),
        robot=str(info.get("robot_type") or ""),
        features=info["features"],
        columns=columns,
        episodes=episodes,
        offsets=offsets,
        tasks=read_tasks(root),
        statistics=read_json(statistics) if statistics.is_file() else {},
    )


def _joined(tables: Sequence[dict[str, Any]], files: Sequence[Path]) -> dict[str, Any]:
    for table, file in zip(tables, files, strict=True):
        if table.keys() != tables[0].keys():
            odd = sorted(table.keys() ^ tables[0].keys())
            raise LayoutError(f"{files[0]} and {file} differ in the columns {', '.join(odd)}")
    return {
        name: sum((table[name] for table in tables), [])
        if isinstance(tables[0][name], list)
        else np.concatenate([table[name] for table in tables])
        for name in tables[0]
    }


def _check(
    root: Path, info: Mapping[str, Any], columns: Mapping[str, Any],
    episodes: Sequence[EpisodeIndex], offsets: NDArray[np.int64],
) -> None:  # fmt: skip
    for name in ("episode_index", "task_index"):
        if name not in columns:
            raise LayoutError(f"{root}: the data have no column '{name}'; copy the set again")
    missing = [
        name for name, feature in info["features"].items()
        if feature.get("dtype") != "video" and name not in columns and name != "frame_index"
    ]  # fmt: skip
    if missing and str(info["codebase_version"]).startswith("v3."):
        raise LayoutError(f"{root}: the data lack the columns {', '.join(missing)} of info.json")
    owner = np.asarray(columns["episode_index"])
    expected = np.repeat([e.number for e in episodes], np.diff(offsets))
    if len(owner) != len(expected) or not np.array_equal(owner, expected):
        counts = {e.number: int((owner == e.number).sum()) for e in episodes}
        wrong = next((e for e in episodes if counts[e.number] != e.length), episodes[0])
        raise LayoutError(
            f"{root}: episode {wrong.number} has {counts[wrong.number]} rows in the data and "
            f"{wrong.length} in the index; copy the set again"
        )


def _stills(cells: Sequence[Mapping[str, Any]], folder: Path, episode: int) -> Image:
    """Decode images kept in the table itself."""
    images = []
    for cell in cells:
        data = np.frombuffer(cell["bytes"] or b"", np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if image is None:
            raise LayoutError(f"{folder}: an image of episode {episode} cannot be decoded")
        images.append(image)
    return np.asarray(np.stack(images), np.uint8)


class _Reel:
    """Reads consecutive episodes of one video without beginning anew."""

    def __init__(self) -> None:
        self._file, self._at = Path(), 0
        self._images: Iterator[tuple[float, Image]] = iter(())

    def take(self, film: VideoSpan, length: int, episode: int) -> Image:
        if film.file != self._file or film.start < self._at:
            self._file, self._at, self._images = film.file, 0, read_images(film.file)
        try:
            images = [image for _, image in islice(self._images, film.start - self._at + length)]
        except RobotError as error:
            raise LayoutError(f"episode {episode}: {error}") from error
        self._at += len(images)
        if self._at != film.start + length:
            raise LayoutError(
                f"{film.file} ends after {self._at} images; episode {episode} needs {length} from "
                f"number {film.start} on. The file was cut short: copy it again"
            )
        return np.stack(images[-length:])

    def goes_on(self) -> bool:
        """Tell whether the video has images beyond what was taken; nothing can be taken then."""
        self._file = Path()
        return next(self._images, None) is not None
