"""The exported data set: layout, types, values and statistics, read with pyarrow and PyAV alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from robots.episode import EpisodeError, RecordedChannel, RecordedEpisode
from robots.lerobot_export import export_dataset
from robots.lerobot_stats import ImageStats
from robots.video import read_images
from tests.robots.recordings import (
    CAMERA_RATE,
    JOINTS,
    LEAD,
    RATE,
    number_of,
    opening,
    path,
    picture,
    record,
)

parquet = pytest.importorskip("pyarrow.parquet", reason="exporting needs pyarrow")
pytest.importorskip("mcap", reason="recording needs mcap")

FPS = 20


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[RecordedEpisode]:
    folder = tmp_path_factory.mktemp("recordings")
    return [record(folder / "first", 3.0), record(folder / "second", 2.0)]


@pytest.fixture(scope="module")
def made(episodes: list[RecordedEpisode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dataset(episodes, tmp_path_factory.mktemp("sets") / "set", FPS, "stack the cubes")


def table(made: Path, name: str) -> dict[str, list[Any]]:
    return dict(parquet.read_table(made / name).to_pydict())


def test_files_are_where_lerobot_looks_for_them(made: Path) -> None:
    files = {str(file.relative_to(made)) for file in made.rglob("*") if file.is_file()}
    assert files == {
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "videos/observation.images.wrist/chunk-000/file-000.mp4",
        "videos/observation.images.wrist/chunk-000/file-001.mp4",
    }
    assert not [file for file in made.parent.iterdir() if file != made]


def test_info_describes_the_set(made: Path) -> None:
    info = json.loads((made / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["total_episodes"], info["total_frames"]) == (FPS, 2, 61 + 41)
    assert info["splits"] == {"train": "0:2"}
    names = ["pan.pos", "lift.pos", "elbow.pos", "gripper.pos"]
    for key in ("action", "observation.state"):
        assert info["features"][key] == {"dtype": "float32", "shape": [4], "names": names}
    image = info["features"]["observation.images.wrist"]
    assert (image["dtype"], image["shape"]) == ("video", [64, 96, 3])


def test_frames_lie_on_the_grid_and_follow_the_recording(made: Path) -> None:
    frames = table(made, "data/chunk-000/file-000.parquet")
    assert frames["index"] == list(range(102))
    assert frames["episode_index"] == [0] * 61 + [1] * 41
    assert frames["frame_index"] == [*range(61), *range(41)]
    times = np.array(frames["frame_index"]) / FPS
    assert np.allclose(frames["timestamp"], times, atol=1e-6)
    state, action = np.array(frames["observation.state"]), np.array(frames["action"])
    assert np.abs(state[:, :3] - path(times)).max() < 1e-3
    assert np.abs(action[:, :3] - path(times + LEAD)).max() < 1e-3
    assert np.abs(state[:, 3] - opening(times)).max() < 1e-3
    assert np.abs(action[:, 3] - opening(times + LEAD)).max() < 1e-3
    schema = parquet.read_schema(made / "data/chunk-000/file-000.parquet")
    assert str(schema.field("action").type).startswith("fixed_size_list<")
    assert str(schema.field("timestamp").type) == "float"


def test_setpoints_are_held_and_states_interpolated(
    episodes: list[RecordedEpisode], tmp_path: Path
) -> None:
    # At 200 frames per second every second frame lies between two records of 100 Hz.
    frames = table(
        export_dataset(episodes[1:], tmp_path / "set", 200, "x"), "data/chunk-000/file-000.parquet"
    )
    action, state = np.array(frames["action"])[:, :3], np.array(frames["observation.state"])[:, :3]
    assert np.array_equal(action[1::2], action[:-1:2])
    assert np.allclose(state[1::2], (state[:-1:2] + state[2::2]) / 2, atol=1e-6)


def test_episodes_and_task_are_indexed(made: Path) -> None:
    rows = table(made, "meta/episodes/chunk-000/file-000.parquet")
    assert rows["length"] == [61, 41]
    assert rows["dataset_from_index"] == [0, 61]
    assert rows["dataset_to_index"] == [61, 102]
    assert rows["tasks"] == [["stack the cubes"]] * 2
    assert rows["videos/observation.images.wrist/file_index"] == [0, 1]
    assert rows["videos/observation.images.wrist/to_timestamp"] == [61 / FPS, 41 / FPS]
    tasks = parquet.read_table(made / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0], "__index_level_0__": ["stack the cubes"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


@pytest.mark.parametrize(("file", "count"), [("file-000.mp4", 61), ("file-001.mp4", 41)])
def test_the_video_shows_the_newest_image_at_every_frame(made: Path, file: str, count: int) -> None:
    images = list(read_images(made / "videos/observation.images.wrist/chunk-000" / file))
    assert np.allclose([time for time, _ in images], np.arange(count) / FPS, atol=1e-4)
    expected = [int(number / FPS * CAMERA_RATE + 1e-6) for number in range(count)]
    assert [number_of(image) for _, image in images] == expected


@pytest.mark.parametrize("fps", [FPS, 50])
def test_players_that_count_images_find_the_same_ones(
    episodes: list[RecordedEpisode], tmp_path: Path, fps: int
) -> None:
    # LeRobot with torchcodec takes image round(time * average rate).
    made = export_dataset(episodes[1:], tmp_path / "set", fps, "x")
    file = made / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    with av.open(str(file)) as container:
        assert container.streams.video[0].average_rate == fps


def test_statistics_are_those_of_the_data(made: Path) -> None:
    stats = json.loads((made / "meta/stats.json").read_text())
    frames = table(made, "data/chunk-000/file-000.parquet")
    for key in ("action", "observation.state"):
        values = np.array(frames[key])
        assert stats[key]["count"] == [102]
        assert np.allclose(stats[key]["mean"], values.mean(axis=0))
        assert np.allclose(stats[key]["std"], values.std(axis=0))
        assert np.allclose(stats[key]["q10"], np.quantile(values, 0.1, axis=0))
    seen = stats["observation.images.wrist"]
    assert np.shape(seen["mean"]) == (3, 1, 1)
    assert np.ravel(seen["max"]) == pytest.approx([1.0] * 3, abs=0.05)
    assert stats.keys() == json.loads((made / "meta/info.json").read_text())["features"].keys()
    rows = table(made, "meta/episodes/chunk-000/file-000.parquet")
    assert np.allclose(rows["stats/action/mean"][0], np.array(frames["action"])[:61].mean(axis=0))


def test_image_statistics_equal_those_of_the_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5, 20, 30, 3), dtype=np.uint8)
    stats = ImageStats()
    for image in images:
        stats.add_image(image)
    pixels = images.reshape(-1, 3) / 255
    found = {name: np.ravel(value) for name, value in stats.compute_stats().items()}
    assert np.allclose(found["mean"], pixels.mean(axis=0))
    assert np.allclose(found["std"], pixels.std(axis=0))
    assert np.allclose(found["max"], pixels.max(axis=0))
    assert np.allclose(found["q90"], np.quantile(pixels, 0.9, axis=0), atol=1 / 255)


def test_an_arm_without_gripper_or_camera(tmp_path: Path) -> None:
    episode = record(tmp_path / "bare", 1.0, gripper=False, cameras=())
    made = export_dataset([episode], tmp_path / "set", 10, "wave")
    info = json.loads((made / "meta/info.json").read_text())
    assert info["features"]["action"]["names"] == [f"{joint}.pos" for joint in JOINTS]
    assert info["video_path"] is None
    assert not (made / "videos").exists()


def without(episode: RecordedEpisode, kind: str, begin: float, end: float) -> RecordedEpisode:
    """The recording without the messages of a kind from one time to another [s]."""
    channel = episode[kind]
    since = channel.stamps - channel.stamps[0]
    kept = (since < begin) | (since > end)
    columns = {n: v[kept] for n, v in channel.columns.items() if isinstance(v, np.ndarray)}
    cut = RecordedChannel(channel.stamps[kept], columns)
    return dataclasses.replace(episode, channels={**episode.channels, kind: cut})


def test_data_is_not_invented_over_a_gap(episodes: list[RecordedEpisode], tmp_path: Path) -> None:
    holed = without(episodes[0], "state", 1.0, 1.5)
    with pytest.raises(EpisodeError, match=r"no measurement for 0\.5.* s, 0\.99 s after"):
        export_dataset([holed], tmp_path / "set", FPS, "x")
    assert not list(tmp_path.iterdir())
    export_dataset([holed], tmp_path / "set", FPS, "x", max_gap=1.0)


def test_a_camera_that_stopped_is_an_error(tmp_path: Path) -> None:
    episode = record(tmp_path / "short", 1.0)
    later = {"positions": path(9.0), "velocities": path(9.0), "gripper": 0.5, "fault": ""}
    state = episode["state"]
    stamps = np.append(state.stamps, state.stamps[-1] + np.arange(1, 100) / RATE)
    columns = {
        name: np.concatenate([np.asarray(state.columns[name]), [value] * 99])
        for name, value in later.items()
    }
    longer = {**episode.channels, "state": RecordedChannel(stamps, columns)}
    with pytest.raises(EpisodeError, match="no image of camera 'wrist'"):
        export_dataset([dataclasses.replace(episode, channels=longer)], tmp_path / "set", FPS, "x")


def test_recordings_of_different_arms_do_not_mix(
    episodes: list[RecordedEpisode], tmp_path: Path
) -> None:
    blind = dataclasses.replace(episodes[0], cameras=())
    with pytest.raises(EpisodeError, match="do not fit together"):
        export_dataset([episodes[0], blind], tmp_path / "set", FPS, "x")


@pytest.mark.parametrize(("fps", "task"), [(0, "x"), (12.5, "x"), (10, "")])
def test_unusable_requests_are_refused(
    episodes: list[RecordedEpisode], tmp_path: Path, fps: Any, task: str
) -> None:
    with pytest.raises(EpisodeError, match="task in words"):
        export_dataset(episodes, tmp_path / "set", fps, task)


def test_nothing_is_overwritten(episodes: list[RecordedEpisode], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EpisodeError, match="not empty"):
        export_dataset(episodes, tmp_path, FPS, "x")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_numbers_survive_compression() -> None:
    assert [number_of(picture(number)) for number in (0, 1, 77, 255)] == [0, 1, 77, 255]
