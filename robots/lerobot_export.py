"""Write recordings as a LeRobot data set, format v3.0, for training with LeRobot.

The layout is that of lerobot 0.4.4 (`lerobot.datasets.lerobot_dataset.CODEBASE_VERSION` "v3.0"):
one Parquet file of all frames, one of all episodes, and a video per camera and episode. LeRobot
puts many episodes into one video file, which its format does not demand: it compares times in
float32, whose steps reach the reader's tolerance of 0.1 ms after half an hour of video.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import MissingExtraError
from embodied.files import atomic_directory
from robots.episode import CAMERA, Channel, Episode, EpisodeError
from robots.lerobot_stats import ImageStats, vector_stats
from robots.video import VideoWriter

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
# LeRobot's readers seek to any frame: every second image is one that needs no other.
CODEC = {"preset": "medium", "crf": "20", "g": "2", "bf": "0"}
# Statistics of images do not need every image.
SAMPLES = 100
COUNTERS = ("frame_index", "episode_index", "index", "task_index")

Array = NDArray[Any]


@dataclass(frozen=True)
class Frames:
    """An episode on its grid.

    Attributes:
        times: (T,) of the grid, monotonic clock of the recording [s].
        state: (T, D) float32 measured joint angles [rad], then the gripper's opening.
        action: (T, D) float32 setpoints, likewise.
    """

    times: NDArray[np.float64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]


def export(
    episodes: Sequence[Episode], folder: str | Path, fps: int, task: str, max_gap: float = 0.25
) -> Path:
    """Write a data set; it appears as a whole or not at all.

    Joint angles are in radians and named `<joint>.pos`, the gripper's opening, 0 to 1, comes last
    as `gripper.pos`. Measured angles are interpolated, the action is the setpoint in force, an
    image the newest there was.

    Args:
        episodes: recordings of one kind of arm with the same cameras.
        folder: must not exist, or be empty.
        fps: frames per second.
        task: what was done, in words: the instruction that a policy is trained with.
        max_gap: longest time without measurement, or image, that is bridged [s].

    Raises:
        EpisodeError: the recordings lack something, have gaps or do not fit together.
        UnwritableError: the folder cannot be written to.
        MissingExtraError: the package pyarrow is absent.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError(
            "pyarrow", "lerobot-export", "writing a LeRobot data set"
        ) from error
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise EpisodeError(f"{target} exists and is not empty; give another folder")
    if not episodes or fps != int(fps) or fps < 1 or not task:
        raise EpisodeError(
            f"{len(episodes)} recordings, fps {fps}, task '{task}': at least one recording, whole "
            "frames per second of 1 or more, and a task in words are needed"
        )
    cameras, gripper = _common(episodes), all(_has_gripper(episode) for episode in episodes)
    images = {camera: ImageStats() for camera in cameras}
    shapes: dict[str, tuple[int, ...]] = {}
    rows: list[dict[str, Any]] = []
    tables: list[dict[str, Array]] = []
    with atomic_directory(target) as root:
        for number, episode in enumerate(episodes):
            frames = resample(episode, fps, gripper, max_gap)
            start = rows[-1]["dataset_to_index"] if rows else 0
            columns = _columns(frames, number, start, fps)
            stats = {name: vector_stats(values) for name, values in columns.items()}
            row = _row(number, start, len(frames.times), task)
            for camera in cameras:
                key = _key(camera)
                file = root / VIDEO.format(video_key=key, **_place(number))
                file.parent.mkdir(parents=True, exist_ok=True)
                sample, shape = _film(episode, camera, frames.times, file, fps, max_gap)
                if shapes.setdefault(key, shape) != shape:
                    raise EpisodeError(f"camera '{camera}' has images of {shape} and {shapes[key]}")
                images[camera].merge(sample)
                stats[key] = sample.result()
                row |= {f"videos/{key}/{name}": value for name, value in _place(number).items()}
                row[f"videos/{key}/from_timestamp"] = 0.0
                row[f"videos/{key}/to_timestamp"] = len(frames.times) / fps
            rows.append(row | {f"stats/{k}/{n}": v for k, s in stats.items() for n, v in s.items()})
            tables.append(columns)
        names = [f"{joint}.pos" for joint in episodes[0].origin.joints]
        features = _features([*names, "gripper.pos"] if gripper else names, shapes, fps)
        whole = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
        overall = {name: vector_stats(values) for name, values in whole.items()}
        overall |= {_key(camera): sample.result() for camera, sample in images.items()}
        files = {DATA.format(**_place(0)): _arrow(whole), EPISODES: _arrow_rows(rows)}
        for name, table in {**files, "meta/tasks.parquet": _arrow_tasks(task)}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, root / name, compression="snappy")
        info = _info(episodes, len(whole["index"]), fps, features)
        for name, tree in {"stats": overall, "info": info}.items():
            text = json.dumps(tree, indent=4)
            (root / "meta" / f"{name}.json").write_text(text, encoding="utf-8")
    return target


def resample(episode: Episode, fps: int, gripper: bool, max_gap: float) -> Frames:
    """Put a recording on a grid that begins when everything has been seen once.

    Raises:
        EpisodeError: no states or setpoints, too short, or a gap in the states.
    """
    states, setpoints = episode["state"], episode["setpoint"]
    if not len(states) or not len(setpoints):
        raise EpisodeError(
            f"{episode.folder}: {len(states)} states and {len(setpoints)} setpoints; both are "
            "needed. Was the arm moved by the bridge while it was recorded?"
        )
    cameras = [episode[CAMERA + camera].stamps[0] for camera in episode.cameras]
    begin = max(states.stamps[0], setpoints.stamps[0], *cameras)
    count = int(np.floor((states.stamps[-1] - begin) * fps)) + 1
    if count < 2:
        raise EpisodeError(f"{episode.folder}: shorter than two frames at {fps} frames per second")
    times = begin + np.arange(count) / fps
    joints = len(episode.origin.joints)
    stamps, order = np.unique(states.stamps, return_index=True)
    angles = _joints(episode, states)[order]
    gaps = np.diff(stamps)
    wide = np.flatnonzero((gaps > max_gap) & (stamps[1:] > begin))
    if len(wide):
        raise EpisodeError(
            f"{episode.folder}: no measurement for {gaps[wide[0]]:.2f} s, "
            f"{stamps[wide[0]] - begin:.2f} s after its beginning; {max_gap} s are bridged. Leave "
            "this recording out, or raise max_gap"
        )
    state = np.stack([np.interp(times, stamps, angles[:, j]) for j in range(joints)], axis=1)
    action = _held(setpoints.stamps, _joints(episode, setpoints), times)
    if gripper:
        opening = np.interp(times, stamps, states.array("gripper")[order])
        told = np.isfinite(setpoints.array("gripper"))
        goals = setpoints.array("gripper")[told, None]
        goal = _held(setpoints.stamps[told], goals, times)[:, 0] if told.any() else opening
        # Until the gripper is told something for the first time it stays as it is.
        before = times < (setpoints.stamps[told][0] if told.any() else np.inf)
        state = np.column_stack([state, opening])
        action = np.column_stack([action, np.where(before, opening, goal)])
    if not (np.isfinite(state).all() and np.isfinite(action).all()):
        raise EpisodeError(f"{episode.folder}: states or setpoints that are not numbers")
    return Frames(times, state.astype(np.float32), action.astype(np.float32))


def _film(
    episode: Episode, camera: str, times: Array, file: Path, fps: int, max_gap: float
) -> tuple[ImageStats, tuple[int, ...]]:
    """Write the newest image at every time; return statistics of a sample, and the shape."""
    images = episode.frames(camera)
    first = next(images, None)
    if first is None:
        raise EpisodeError(f"{episode.folder}: no image of camera '{camera}' can be decoded")
    (stamp, image), ahead = first, next(images, None)
    height, width = image.shape[:2]
    film = VideoWriter(file, height, width, Fraction(1, fps), fps, CODEC, {})
    sample = ImageStats()
    for number, now in enumerate(times):
        while ahead is not None and ahead[0] <= now + 1e-4:
            (stamp, image), ahead = ahead, next(images, None)
        if now - stamp > max_gap:
            raise EpisodeError(
                f"{episode.folder}: no image of camera '{camera}' for {now - stamp:.2f} s, "
                f"{now - times[0]:.2f} s after its beginning; {max_gap} s are bridged"
            )
        film.add(image, number)
        if number % max(1, len(times) // SAMPLES) == 0:
            sample.add(image)
    film.close()
    return sample, image.shape


def _joints(episode: Episode, channel: Channel) -> Array:
    positions, joints = channel.array("positions"), len(episode.origin.joints)
    if positions.shape[1:] != (joints,):
        raise EpisodeError(f"{episode.folder}: {positions.shape[1:]} angles for {joints} joints")
    return positions


def _held(stamps: Array, values: Array, times: Array) -> Array:
    """Return the newest value at every time (zero-order hold); the first one before it."""
    return np.asarray(values[np.maximum(np.searchsorted(stamps, times, side="right") - 1, 0)])


def _has_gripper(episode: Episode) -> bool:
    columns = (episode[kind].columns.get("gripper") for kind in ("state", "setpoint"))
    measured, told = (isinstance(c, np.ndarray) and c.dtype.kind == "f" for c in columns)
    return measured and told and bool(np.isfinite(episode["state"].array("gripper")).all())


def _common(episodes: Sequence[Episode]) -> tuple[str, ...]:
    """Return the cameras; raises EpisodeError if the recordings do not fit together."""
    first = episodes[0]
    for other in episodes:
        mine, theirs = (first.origin.joints, first.cameras), (other.origin.joints, other.cameras)
        if mine != theirs:
            raise EpisodeError(
                f"{first.folder} and {other.folder} do not fit together: joints and cameras are "
                f"{mine} and {theirs}. Export them apart"
            )
    return first.cameras


def _key(camera: str) -> str:
    return f"observation.images.{camera}"


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def _columns(frames: Frames, number: int, start: int, fps: int) -> dict[str, Array]:
    count = len(frames.times)
    steps = np.arange(count, dtype=np.int64)
    return {
        "observation.state": frames.state,
        "action": frames.action,
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(count, number, np.int64),
        "index": start + steps,
        "task_index": np.zeros(count, np.int64),
    }


def _row(number: int, start: int, count: int, task: str) -> dict[str, Any]:
    row: dict[str, Any] = {"episode_index": number, "tasks": [task], "length": count}
    row |= {f"data/{name}": value for name, value in _place(0).items()}
    row |= {f"meta/episodes/{name}": value for name, value in _place(0).items()}
    return row | {"dataset_from_index": start, "dataset_to_index": start + count}


def _features(names: list[str], shapes: Mapping[str, tuple[int, ...]], fps: int) -> dict[str, Any]:
    vector = {"dtype": "float32", "shape": [len(names)], "names": names}
    features: dict[str, Any] = {"observation.state": vector, "action": vector}
    for key, (height, width, channels) in shapes.items():
        info = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv420p"}
        info |= {"is_depth_map": False, "fps": fps, "channels": channels}
        features[key] = {
            "dtype": "video",
            "shape": [height, width, channels],
            "names": ["height", "width", "channels"],
            "info": {**{f"video.{name}": v for name, v in info.items()}, "has_audio": False},
        }
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    return features | {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}


def _info(
    episodes: Sequence[Episode], frames: int, fps: int, features: dict[str, Any]
) -> dict[str, Any]:
    return {
        "codebase_version": VERSION,
        "robot_type": episodes[0].origin.model,
        "total_episodes": len(episodes),
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": DATA,
        "video_path": VIDEO if episodes[0].cameras else None,
        "features": features,
    }


def _arrow(columns: Mapping[str, Array]) -> Any:
    import pyarrow as arrow

    def column(values: Array) -> Any:
        if values.ndim == 1 or values.shape[1] == 1:  # LeRobot reads a vector of one as a number
            return arrow.array(values.ravel())
        return arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), values.shape[1])

    return arrow.table({name: column(values) for name, values in columns.items()})


def _arrow_rows(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as arrow

    return arrow.Table.from_pylist(rows)


def _arrow_tasks(task: str) -> Any:
    """Return the tasks as pandas would: LeRobot looks a task up by the frame's index column."""
    import pyarrow as arrow

    index = "__index_level_0__"
    described = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
             "numpy_type": "int64", "metadata": None},
            {"name": None, "field_name": index, "pandas_type": "unicode",
             "numpy_type": "object", "metadata": None},
        ],
        "pandas_version": "2.2.0",
    }  # fmt: skip
    table = arrow.table({"task_index": arrow.array([0], arrow.int64()), index: [task]})
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
