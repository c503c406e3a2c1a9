"""Where things lie in a LeRobot data set, format v3.0, and a writer of whole sets.

The layout is that of lerobot 0.4.4 (`lerobot.datasets.lerobot_dataset.CODEBASE_VERSION` "v3.0"):
one Parquet file of all frames, one of all episodes, and a video per camera and episode. LeRobot
puts many episodes into one video file, which its format does not demand: it compares times in
float32, whose steps reach the reader's tolerance of 0.1 ms after half an hour of video.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import EmbodiedError
from embodied.extras import require_extra
from robots.lerobot_stats import ImageStats, compute_vector_stats
from robots.video import CameraVideoWriter

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
INFO, STATS = "meta/info.json", "meta/stats.json"
# LeRobot's readers seek to any frame: every second image is one that needs no other.
CODEC = {"preset": "medium", "crf": "20", "g": "2", "bf": "0"}
# Statistics of images do not need every image.
SAMPLES = 100
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
TASK_TEXTS = "__index_level_0__"
"""Column of the tasks' table that holds their words."""

Array = NDArray[Any]
Image = NDArray[np.uint8]


class LayoutError(EmbodiedError):
    """A data set that cannot be written or is not of this format."""


def import_parquet(purpose: str) -> Any:
    """Return the module `pyarrow.parquet`.

    Raises:
        MissingExtraError: pyarrow is absent.
    """
    with require_extra(purpose):
        import pyarrow.parquet as parquet
    return parquet


def locate_video(number: int) -> dict[str, int]:
    """Return chunk and file of an episode's video."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


class LeRobotDatasetWriter:
    """Writes a data set into an empty folder, episode by episode, and its tables at the end.

    Args:
        root: the folder.
        fps: frames per second.
        robot: what made it, e.g. "panda".
        names: vector columns ("observation.state", "action", ...) -> names of their numbers, None
            for a column of single values.
        cameras: keys of the videos ("observation.images.front", ...).
        codec: options of the video encoder.

    Raises:
        MissingExtraError: the package pyarrow is absent.
    """

    def __init__(
        self,
        root: Path,
        fps: int,
        robot: str,
        names: Mapping[str, Sequence[str] | None],
        cameras: Sequence[str],
        codec: Mapping[str, str] = CODEC,
    ) -> None:
        self._parquet = import_parquet("writing a LeRobot data set")
        self._root, self._fps, self._robot, self._codec = root, fps, robot, codec
        self._names = dict(names)
        self._images = {key: ImageStats() for key in cameras}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._rows: list[dict[str, Any]] = []
        self._tables: list[dict[str, Array]] = []
        self._tasks: dict[str, int] = {}

    def add_episode(
        self, columns: Mapping[str, Array], task: str, films: Mapping[str, Iterable[Image]]
    ) -> None:
        """Write an episode.

        Args:
            columns: every vector column, (T, D) or (T,); stored with their types.
            task: what was done, in words.
            films: T images (H, W, 3) uint8, H and W even, of every camera.

        Raises:
            LayoutError: columns or films of different lengths, or images of another size.
        """
        number, count = len(self._rows), len(next(iter(columns.values())))
        if set(columns) != set(self._names) or any(len(c) != count for c in columns.values()):
            lengths = {name: len(column) for name, column in columns.items()}
            raise LayoutError(
                f"episode {number} has the columns {lengths}: give {', '.join(self._names)}, all "
                "of one length"
            )
        start = self._rows[-1]["dataset_to_index"] if self._rows else 0
        index = self._tasks.setdefault(task, len(self._tasks))
        table = dict(columns) | _counters(count, number, start, index, self._fps)
        stats = {name: compute_vector_stats(values) for name, values in table.items()}
        row = _row(number, start, count, task)
        for key, overall in self._images.items():
            sample = self._film(key, number, films[key], count)
            overall.merge_stats(sample)
            stats[key] = sample.compute_stats()
            row |= {f"videos/{key}/{name}": value for name, value in locate_video(number).items()}
            row |= {f"videos/{key}/from_timestamp": 0.0}
            row |= {f"videos/{key}/to_timestamp": count / self._fps}
        self._rows.append(
            row | {f"stats/{k}/{n}": v for k, s in stats.items() for n, v in s.items()}
        )
        self._tables.append(table)

    def finalize(self) -> None:
        """Write tables, statistics and description.

        Raises:
            LayoutError: no episode was added.
        """
        if not self._rows:
            raise LayoutError("a data set needs at least one episode")
        whole = {
            name: np.concatenate([table[name] for table in self._tables])
            for name in self._tables[0]
        }
        overall = {name: compute_vector_stats(values) for name, values in whole.items()}
        overall |= {key: sample.compute_stats() for key, sample in self._images.items()}
        tables = {
            DATA.format(**locate_video(0)): build_arrow_table(whole),
            EPISODES: _arrow_rows(self._rows),
            TASKS: _arrow_tasks(list(self._tasks)),
        }
        for name, table in tables.items():
            (self._root / name).parent.mkdir(parents=True, exist_ok=True)
            self._parquet.write_table(table, self._root / name, compression="snappy")
        for name, tree in {STATS: overall, INFO: self._info(whole)}.items():
            (self._root / name).write_text(json.dumps(tree, indent=4), encoding="utf-8")

    def _film(self, key: str, number: int, images: Iterable[Image], count: int) -> ImageStats:
        """Write a video; return statistics of a sample of its images."""
        file = self._root / VIDEO.format(video_key=key, **locate_video(number))
        file.parent.mkdir(parents=True, exist_ok=True)
        sample, film, written = ImageStats(), None, 0
        for written, image in enumerate(images, 1):
            if self._shapes.setdefault(key, image.shape) != image.shape:
                raise LayoutError(f"'{key}' has images of {image.shape} and {self._shapes[key]}")
            if film is None:
                height, width = image.shape[:2]
                if height % 2 or width % 2:
                    raise LayoutError(
                        f"'{key}' has images of {width} x {height}: films need even numbers"
                    )
                tick = Fraction(1, self._fps)
                film = CameraVideoWriter(file, height, width, tick, self._fps, self._codec, {})
            film.add_image(image, written - 1)
            if (written - 1) % max(1, count // SAMPLES) == 0:
                sample.add_image(image)
        if film is not None:
            film.close()
        if written != count:
            raise LayoutError(f"episode {number} has {count} frames but {written} of '{key}'")
        return sample

    def _info(self, whole: Mapping[str, Array]) -> dict[str, Any]:
        features: dict[str, Any] = {
            name: {
                "dtype": str(whole[name].dtype),
                "shape": [1 if names is None else len(names)],
                "names": None if names is None else list(names),
            }
            for name, names in self._names.items()
        }
        for key, (height, width, channels) in self._shapes.items():
            info = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv420p"}
            info |= {"is_depth_map": False, "fps": self._fps, "channels": channels}
            features[key] = {
                "dtype": "video",
                "shape": [height, width, channels],
                "names": ["height", "width", "channels"],
                "info": {**{f"video.{name}": v for name, v in info.items()}, "has_audio": False},
            }
        features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}
        return {
            "codebase_version": VERSION,
            "robot_type": self._robot,
            "total_episodes": len(self._rows),
            "total_frames": len(whole["index"]),
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA,
            "video_path": VIDEO if self._images else None,
            "features": features,
        }


def build_arrow_table(columns: Mapping[str, Array]) -> Any:
    """Return columns (T,) or (T, D) as an Arrow table; vectors have a fixed length."""
    import pyarrow as arrow

    def column(values: Array) -> Any:
        if values.ndim == 1 or values.shape[1] == 1:  # LeRobot reads a vector of one as a number
            return arrow.array(values.ravel())
        return arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])

    return arrow.table({name: column(values) for name, values in columns.items()})


def _counters(count: int, number: int, start: int, task: int, fps: int) -> dict[str, Array]:
    steps = np.arange(count, dtype=np.int64)
    return {
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(count, number, np.int64),
        "index": start + steps,
        "task_index": np.full(count, task, np.int64),
    }


def _row(number: int, start: int, count: int, task: str) -> dict[str, Any]:
    row: dict[str, Any] = {"episode_index": number, "tasks": [task], "length": count}
    row |= {f"data/{name}": value for name, value in locate_video(0).items()}
    row |= {f"meta/episodes/{name}": value for name, value in locate_video(0).items()}
    return row | {"dataset_from_index": start, "dataset_to_index": start + count}


def _arrow_rows(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as arrow

    return arrow.Table.from_pylist(rows)


def _arrow_tasks(tasks: Sequence[str]) -> Any:
    """Return the tasks as pandas would: LeRobot looks a task up by the frame's index column."""
    import pyarrow as arrow

    described = {
        "index_columns": [TASK_TEXTS],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
             "numpy_type": "int64", "metadata": None},
            {"name": None, "field_name": TASK_TEXTS, "pandas_type": "unicode",
             "numpy_type": "object", "metadata": None},
        ],
        "pandas_version": "2.2.0",
    }  # fmt: skip
    numbers = arrow.array(range(len(tasks)), arrow.int64())
    table = arrow.table({"task_index": numbers, TASK_TEXTS: list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
