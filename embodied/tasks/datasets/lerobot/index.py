"""Where the episodes of a LeRobot data set lie: the tables of v3.0 and the lines of v2.x alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robots.lerobot_layout import INFO, TASK_TEXTS, TASKS, LayoutError, import_parquet


@dataclass(frozen=True)
class VideoSpan:
    """Where an episode's images of one camera are.

    Attributes:
        file: the video.
        start: number of the episode's first image in it.
        exclusive: no other episode is in it.
    """

    file: Path
    start: int
    exclusive: bool = False


@dataclass(frozen=True)
class EpisodeIndex:
    """One episode.

    Attributes:
        number: its index.
        length: its frames.
        data: Parquet file that holds its rows.
        videos: by camera.
    """

    number: int
    length: int
    data: Path
    videos: Mapping[str, VideoSpan]


def read_info(folder: Path) -> dict[str, Any]:
    """Return meta/info.json.

    Raises:
        LayoutError: absent, damaged or of a version that is not read.
    """
    file = folder / INFO
    info = read_json(file)
    version = str(info.get("codebase_version", ""))
    if not version.startswith(("v3.", "v2.")):
        raise LayoutError(
            f"{file}: format '{version}' is not read; v2.0, v2.1 and v3.0 are. Convert the set "
            "with LeRobot's own scripts"
        )
    with _complete(file):
        for name in ("fps", "data_path", *(["video_path"] if _filmed(info) else [])):
            if info.get(name) in (None, ""):
                raise KeyError(name)
    return info


def read_tasks(folder: Path) -> dict[int, str]:
    """Return the words of each task by its number."""
    table, lines = folder / TASKS, folder / "meta/tasks.jsonl"
    if table.is_file():
        columns = read_columns(table)
        texts = columns.get(TASK_TEXTS, columns.get("task"))
        if texts is None:
            raise LayoutError(f"{table} lacks the column of words: copy the data set again")
        with _complete(table):
            numbers = columns["task_index"]
            return {int(n): str(text) for n, text in zip(numbers, texts, strict=True)}
    with _complete(lines):
        return {int(row["task_index"]): str(row["task"]) for row in _lines(lines)}


def read_index(folder: Path, info: Mapping[str, Any]) -> list[EpisodeIndex]:
    """Return the episodes in their order.

    Raises:
        LayoutError: a file is absent or damaged.
    """
    keys = _filmed(info)
    if str(info["codebase_version"]).startswith("v3."):
        return _tables(folder, info, keys)
    return _files(folder, info, keys)


def read_columns(file: Path) -> dict[str, Any]:
    """Return the columns of a Parquet file as arrays; rows of unequal length stay lists.

    Raises:
        LayoutError: absent or damaged.
        MissingExtraError: the package pyarrow is absent.
    """
    parquet = import_parquet("reading a LeRobot data set")
    import pyarrow

    try:
        table = parquet.read_table(file)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise LayoutError(f"cannot read {file}: {error}. Copy the data set again") from error
    return {name: _array(table[name]) for name in table.column_names}


def _array(column: Any) -> Any:
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_list(kind) or kinds.is_fixed_size_list(kind) or kinds.is_large_list(kind):
        rows = column.combine_chunks()
        lengths = rows.value_lengths().to_numpy(zero_copy_only=False)
        nested = not (kinds.is_floating(kind.value_type) or kinds.is_integer(kind.value_type))
        if nested or not len(rows) or not (lengths == lengths[0]).all():
            return column.to_pylist()
        return rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    if kinds.is_struct(kind):
        return column.to_pylist()
    return column.to_numpy()


def _tables(folder: Path, info: Mapping[str, Any], keys: list[str]) -> list[EpisodeIndex]:
    files = sorted(folder.glob("meta/episodes/*/*.parquet"))
    if not files:
        raise LayoutError(f"{folder}/meta/episodes holds no table: copy the data set again")
    episodes = []
    for file in files:
        columns = read_columns(file)
        with _complete(file):
            for row in range(len(columns["episode_index"])):
                data = {name: int(columns[f"data/{name}"][row])
                        for name in ("chunk_index", "file_index")}  # fmt: skip
                number, length = (int(columns[n][row]) for n in ("episode_index", "length"))
                films = {key: _film(folder, info, columns, key, row) for key in keys}
                path = _file(folder, info, "data_path", **data)
                episodes.append(EpisodeIndex(number, length, path, films))
    return sorted(episodes, key=lambda episode: episode.number)


def _film(
    folder: Path, info: Mapping[str, Any], columns: Mapping[str, Any], key: str, row: int
) -> VideoSpan:
    names = ("chunk_index", "file_index")
    place = {name: int(columns[f"videos/{key}/{name}"][row]) for name in names}
    begin = float(columns[f"videos/{key}/from_timestamp"][row]) * float(info["fps"])
    ends, length = columns.get(f"videos/{key}/to_timestamp"), int(columns["length"][row])
    if ends is not None:
        images = np.rint(float(ends[row]) * float(info["fps"]) - begin)
        if images < length:  # what converted films have too much is never looked at
            raise LayoutError(
                f"{folder}: episode {int(columns['episode_index'][row])} has {length} rows, and "
                f"the index gives it {images:.0f} images of '{key}': leave it out, or copy the "
                "set again"
            )
    return VideoSpan(_file(folder, info, "video_path", video_key=key, **place), int(np.rint(begin)))


def _files(folder: Path, info: Mapping[str, Any], keys: list[str]) -> list[EpisodeIndex]:
    file = folder / "meta/episodes.jsonl"
    episodes = []
    with _complete(file):
        for row in _lines(file):
            number = int(row["episode_index"])
            data = _locate(folder, info, "data_path", number)
            films = {
                key: VideoSpan(_locate(folder, info, "video_path", number, key), 0, exclusive=True)
                for key in keys
            }
            episodes.append(EpisodeIndex(number, int(row["length"]), data, films))
    return sorted(episodes, key=lambda episode: episode.number)


def _locate(folder: Path, info: Mapping[str, Any], kind: str, number: int, key: str = "") -> Path:
    """Return the file of an episode; where the stated folder is wrong, the one of that name."""
    chunk = number // int(info.get("chunks_size", 1000))
    stated = _file(folder, info, kind, episode_chunk=chunk, episode_index=number, video_key=key)
    if not stated.exists():
        parts = stated.relative_to(folder).parts
        pattern = "/".join(part if "chunk" not in part else "*" for part in parts)
        return next(iter(sorted(folder.glob(pattern))), stated)
    return stated


def _file(folder: Path, info: Mapping[str, Any], kind: str, **names: Any) -> Path:
    """Return what a path of info.json stands for."""
    with _complete(folder / INFO):
        return folder / str(info[kind]).format(**names)


def _filmed(info: Mapping[str, Any]) -> list[str]:
    return [key for key, feature in info["features"].items() if feature.get("dtype") == "video"]


@contextmanager
def _complete(file: Path) -> Iterator[None]:
    """Say of what is absent, or of another kind, in which file."""
    try:
        yield
    except KeyError as error:
        raise LayoutError(f"{file} lacks {error}: copy the data set again") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise LayoutError(
            f"{file} holds something else than it should ({error}): copy the data set again"
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the object of a JSON file; absent or damaged ones are a LayoutError."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"cannot read {file}: {error}. Give the folder that holds a LeRobot data set's "
            "meta/info.json, or copy the set again"
        ) from error
    if not isinstance(tree, dict):
        raise LayoutError(f"{file} must hold a JSON object: copy the data set again")
    return tree


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise LayoutError(f"cannot read {file}: {error}. Copy the data set again") from error
