"""LeRobot data sets: what is written is read, other versions are read, damage is named."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from embodied.errors import EmbodiedError
from embodied.tasks.datasets.lerobot import LayoutError, LeRobotEpisode, read_dataset, write_dataset
from tests.tasks.datasets.lerobot_sets import (
    CAMERAS,
    FPS,
    LENGTHS,
    NAMES,
    SIDE,
    TASKS,
    episodes,
    make_set,
    number_of,
    recorded,
)

parquet = pytest.importorskip("pyarrow.parquet", reason="data sets need pyarrow")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_columns_come_back_exactly(made: Path) -> None:
    found = read_dataset(made)
    assert (found.version, found.fps, found.robot) == ("v3.0", FPS, "panda")
    assert found.cameras == CAMERAS
    for number, episode in enumerate(episodes()):
        rows = found.get_rows(number)
        for name, values in episode.columns.items():
            assert np.array_equal(found.columns[name][rows], values), name
            assert found.columns[name].dtype == values.dtype, name
        assert found.get_instruction(number) == episode.task
        assert np.array_equal(found.columns["frame_index"][rows], np.arange(LENGTHS[number]))
    assert sorted(found.tasks.values()) == sorted(set(TASKS))


def test_every_image_comes_back_in_its_place(made: Path) -> None:
    found = read_dataset(made)
    for number, episode in enumerate(episodes()):
        for camera in CAMERAS:
            images = found.read_frames(camera, number)
            assert images.shape == (LENGTHS[number], SIDE, SIDE, 3)
            wanted = [number_of(image) for image in episode.videos[camera]]
            assert [number_of(image) for image in images] == wanted
            error = np.abs(images.astype(int) - episode.videos[camera])
            assert error.mean() < 4  # what H.264 costs
    whole = list(found.iter_videos(CAMERAS[0]))
    assert [len(images) for images in whole] == list(LENGTHS)


def test_statistics_are_those_of_the_data(made: Path) -> None:
    found = read_dataset(made)
    for name in ("observation.state", "action"):
        assert np.allclose(found.statistics[name]["mean"], found.columns[name].mean(0), atol=1e-6)
        assert np.allclose(found.statistics[name]["max"], found.columns[name].max(0))


def merge_films(folder: Path) -> None:
    """Turn a set into one with all episodes in one video file, as LeRobot itself writes them."""
    import av
    import pyarrow as arrow

    for camera in CAMERAS:
        files = sorted((folder / "videos" / camera).rglob("*.mp4"))
        images = [
            frame.to_ndarray(format="rgb24")
            for file in files
            for frame in av.open(str(file)).decode(video=0)
        ]
        for file in files:
            file.unlink()
        with av.open(str(files[0]), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": "5", "bf": "2"})
            stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    file = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = parquet.read_table(file).to_pydict()
    begins = np.concatenate([[0], np.cumsum(table["length"])])
    for camera in CAMERAS:
        table[f"videos/{camera}/file_index"] = [0] * len(LENGTHS)
        table[f"videos/{camera}/from_timestamp"] = [begin / FPS for begin in begins[:-1]]
        table[f"videos/{camera}/to_timestamp"] = [end / FPS for end in begins[1:]]
    parquet.write_table(arrow.table(table), file)


def test_many_episodes_in_one_video_with_images_out_of_order(copy: Path) -> None:
    merge_films(copy)
    found = read_dataset(copy)
    assert len({film.videos[CAMERAS[0]].file for film in found.episodes}) == 1
    for order in ([0, 1, 2], [2, 0, 1]):
        for number, images in zip(order, found.iter_videos(CAMERAS[0], order), strict=True):
            wanted = [
                number_of(i) for i in recorded(number, LENGTHS[number], "").videos[CAMERAS[0]]
            ]
            assert [number_of(image) for image in images] == wanted


def rewrite_as_v2(folder: Path) -> None:
    """Turn a set into one of format v2.1: a file per episode, lines instead of tables."""
    import pyarrow as arrow

    info = json.loads((folder / "meta/info.json").read_text())
    table = parquet.read_table(folder / "data/chunk-000/file-000.parquet")
    lines = []
    for number, length in enumerate(LENGTHS):
        rows = table.filter(arrow.compute.equal(table["episode_index"], number))
        parquet.write_table(rows, folder / f"data/chunk-000/episode_{number:06d}.parquet")
        lines.append({"episode_index": number, "tasks": [TASKS[number]], "length": length})
        for camera in CAMERAS:
            target = folder / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / f"videos/{camera}/chunk-000/file-{number:03d}.mp4").rename(target)
    (folder / "data/chunk-000/file-000.parquet").unlink()
    shutil.rmtree(folder / "meta/episodes")
    (folder / "meta/tasks.parquet").unlink()
    info |= {
        "codebase_version": "v2.1",
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    known = list(dict.fromkeys(TASKS))
    tasks = [json.dumps({"task_index": i, "task": text}) for i, text in enumerate(known)]
    (folder / "meta/tasks.jsonl").write_text("\n".join(tasks))


def test_the_older_layout_holds_the_same(made: Path, copy: Path) -> None:
    rewrite_as_v2(copy)
    old, new = read_dataset(copy), read_dataset(made)
    assert old.version == "v2.1"
    for name, values in new.columns.items():
        assert np.array_equal(old.columns[name], values), name
    for number in range(len(LENGTHS)):
        assert old.get_instruction(number) == new.get_instruction(number)
        assert np.array_equal(
            old.read_frames(CAMERAS[1], number), new.read_frames(CAMERAS[1], number)
        )


def test_images_kept_in_the_table_are_read(copy: Path) -> None:
    import cv2
    import pyarrow as arrow

    camera = CAMERAS[0]
    file = copy / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file)
    cells = []
    for episode in episodes():
        for image in episode.videos[camera]:
            done, data = cv2.imencode(".png", image[..., ::-1])
            assert done
            cells.append({"bytes": data.tobytes(), "path": None})
    parquet.write_table(table.append_column(camera, arrow.array(cells)), file)
    info = json.loads((copy / "meta/info.json").read_text())
    info["features"][camera]["dtype"] = "image"
    (copy / "meta/info.json").write_text(json.dumps(info))
    found = read_dataset(copy)
    for number, episode in enumerate(episodes()):
        assert np.array_equal(found.read_frames(camera, number), episode.videos[camera])


def test_humanoid_demonstrations_of_another_laboratory(shared_data, tmp_path: Path) -> None:
    archive = shared_data("arm") / "gr1_picknplace_lerobot_v2.tar.xz"
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    found = read_dataset(tmp_path / "robot_sim.PickNPlace")
    assert (found.version, found.fps, found.robot) == ("v2.0", 20, "GR1ArmsOnly")
    assert np.diff(found.offsets).tolist() == [416, 470, 470, 412, 328]
    assert found.columns["observation.state"].shape == (2096, 44)
    assert found.cameras == ("observation.images.ego_view",)  # a second one has no file
    assert found.get_instruction(1).startswith("pick the sweet potato")
    assert np.array_equal(found.columns["frame_index"][found.get_rows(4)], np.arange(328))
    assert found.read_frames("observation.images.ego_view", 1).shape == (470, 256, 256, 3)
    with pytest.raises(LayoutError, match=r"has no observation\.images\.egoview; it has action"):
        found.read_frames("observation.images.egoview", 0)
    mean = found.statistics["observation.state"]["mean"]
    assert len(mean) == 44


def cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def drop_columns(folder: Path, *names: str) -> None:
    file = folder / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(list(names)), file)


def test_missing_columns_are_named(copy: Path) -> None:
    drop_columns(copy, "action")
    with pytest.raises(LayoutError, match="lack the columns action"):
        read_dataset(copy)
    drop_columns(copy, "episode_index")
    with pytest.raises(LayoutError, match="no column 'episode_index'"):
        read_dataset(copy)


def test_rows_and_index_must_agree(copy: Path) -> None:
    file = copy / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 10), file)
    with pytest.raises(LayoutError, match="episode 1 has 3 rows in the data and 5 in the index"):
        read_dataset(copy)


def test_a_video_with_fewer_images_than_rows_is_refused(copy: Path) -> None:
    films = copy / "videos" / CAMERAS[0] / "chunk-000"
    shutil.copy(films / "file-001.mp4", films / "file-000.mp4")
    found = read_dataset(copy)
    with pytest.raises(LayoutError, match=r"file-000\.mp4 ends after 5 images; episode 0 needs 7"):
        found.read_frames(CAMERAS[0], 0)
    assert len(found.read_frames(CAMERAS[0], 2)) == LENGTHS[2]


def test_a_film_of_one_episode_with_more_images_than_rows_is_refused(copy: Path) -> None:
    rewrite_as_v2(copy)
    films = copy / "videos/chunk-000" / CAMERAS[0]
    shutil.copy(films / "episode_000000.mp4", films / "episode_000001.mp4")
    assert len(read_dataset(copy).read_frames(CAMERAS[0], 1)) == 5  # the rows' times say which
    rows = copy / "data/chunk-000/episode_000001.parquet"
    rewrite_table(rows, timestamp=[(2 + row) / FPS for row in range(5)])
    with pytest.raises(LayoutError, match=r"more than 5 images, and its episode 1 has 5 rows"):
        read_dataset(copy).read_frames(CAMERAS[0], 1)


def rewrite_table(file: Path, **columns: object) -> None:
    """Put other columns into a table; None takes one away."""
    import pyarrow as arrow

    table = parquet.read_table(file).to_pydict() | columns
    kept = {name: values for name, values in table.items() if values is not None}
    parquet.write_table(arrow.table(kept), file)


def test_times_of_films_and_rows_must_agree(copy: Path) -> None:
    column = f"videos/{CAMERAS[1]}/to_timestamp"
    times = [length / FPS for length in LENGTHS]
    times[1] = 1 / FPS
    rewrite_table(copy / "meta/episodes/chunk-000/file-000.parquet", **{column: times})
    with pytest.raises(LayoutError, match=r"episode 1 has 5 rows, and the index gives it 1 image"):
        read_dataset(copy)
    times[1] = 6 / FPS  # a film may be longer, as conversions from v2.1 may leave it
    rewrite_table(copy / "meta/episodes/chunk-000/file-000.parquet", **{column: times})
    assert len(read_dataset(copy).read_frames(CAMERAS[1], 1)) == 5
    rewrite_table(copy / "meta/episodes/chunk-000/file-000.parquet", **{column: None})
    assert len(read_dataset(copy).read_frames(CAMERAS[1], 1)) == 5


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_video_is_refused(copy: Path, share: float) -> None:
    cut(copy / "videos" / CAMERAS[0] / "chunk-000/file-000.mp4", share)
    with pytest.raises(LayoutError, match=r"episode 0: cannot decode .*file-000\.mp4"):
        read_dataset(copy).read_frames(CAMERAS[0], 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("meta/info.json", "the folder that holds"),
        ("meta/tasks.parquet", "tasks.jsonl"),
        ("meta/episodes/chunk-000/file-000.parquet", "holds no table"),
        ("data/chunk-000/file-000.parquet", "cannot read"),
    ],
)
def test_missing_files_are_named(copy: Path, name: str, message: str) -> None:
    (copy / name).unlink()
    with pytest.raises(LayoutError, match=message):
        read_dataset(copy)


@pytest.mark.parametrize(
    "name", ["meta/info.json", "meta/stats.json", "data/chunk-000/file-000.parquet"]
)
def test_truncated_files_are_named(copy: Path, name: str) -> None:
    cut(copy / name, 0.6)
    with pytest.raises(LayoutError, match="cannot read"):
        read_dataset(copy)


def test_tables_without_a_column_are_named(copy: Path) -> None:
    rewrite_table(copy / "meta/tasks.parquet", task_index=None)
    with pytest.raises(LayoutError, match=r"tasks\.parquet lacks 'task_index'"):
        read_dataset(copy)
    rewrite_table(copy / "meta/episodes/chunk-000/file-000.parquet", length=None)
    with pytest.raises(LayoutError, match=r"file-000\.parquet lacks 'length'"):
        read_dataset(copy)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"episode_index": 0}', r"episodes\.jsonl lacks 'length'"),
        ('{"episode_index": 0, "length": "seven"}', r"episodes\.jsonl holds something else"),
        ("[0, 7]", r"episodes\.jsonl holds something else"),
    ],
)
def test_lines_without_what_they_should_hold_are_named(copy: Path, line: str, message: str) -> None:
    rewrite_as_v2(copy)
    (copy / "meta/episodes.jsonl").write_text(line)
    with pytest.raises(LayoutError, match=message):
        read_dataset(copy)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_places_that_cannot_be_filled_in_are_named(copy: Path, version: str) -> None:
    if version == "v2.1":
        rewrite_as_v2(copy)
    info = json.loads((copy / "meta/info.json").read_text()) | {
        "data_path": "data/{number}.parquet"
    }
    (copy / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(LayoutError, match=r"info\.json lacks 'number'"):
        read_dataset(copy)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_films_need_to_be_found(copy: Path, version: str) -> None:
    if version == "v2.1":
        rewrite_as_v2(copy)
    info = json.loads((copy / "meta/info.json").read_text())
    del info["video_path"]
    (copy / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(LayoutError, match=r"info\.json lacks 'video_path'"):
        read_dataset(copy)


def test_other_versions_are_refused(copy: Path) -> None:
    info = json.loads((copy / "meta/info.json").read_text()) | {"codebase_version": "v1.6"}
    (copy / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(LayoutError, match=r"format 'v1\.6' is not read"):
        read_dataset(copy)


def spoiled(**changes) -> list[LeRobotEpisode]:
    good = recorded(0, 5, "x")
    return [good, LeRobotEpisode({**good.columns, **changes.get("columns", {})},
                           {**good.videos, **changes.get("films", {})}, "x")]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {"action": np.zeros((4, 7), np.float32)}}, "all of one length"),
        ({"columns": {"more": np.zeros(5)}}, "has the columns"),
        ({"films": {CAMERAS[0]: np.zeros((4, SIDE, SIDE, 3), np.uint8)}}, "5 frames but 4 of"),
        ({"films": {CAMERAS[0]: np.zeros((5, 32, 32, 3), np.uint8)}}, "has images of"),
    ],
)
def test_episodes_that_do_not_fit_leave_nothing_behind(
    tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        write_dataset(tmp_path / "set", spoiled(**changes), FPS, "panda", NAMES, CAMERAS)
    assert not list(tmp_path.iterdir())


def test_films_of_odd_sizes_are_refused(tmp_path: Path) -> None:
    whole = recorded(0, 5, "x")
    films = {name: film[:, :33] for name, film in whole.videos.items()}
    with pytest.raises(LayoutError, match="64 x 33: films need even numbers"):
        write_dataset(
            tmp_path / "set",
            [LeRobotEpisode(whole.columns, films, "x")],
            FPS,
            "panda",
            NAMES,
            CAMERAS,
        )
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_nothing_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="at least one episode"):
        write_dataset(tmp_path / "set", [], FPS, "panda", NAMES, CAMERAS)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EmbodiedError, match="not empty"):
        write_dataset(tmp_path, episodes(), FPS, "panda", NAMES, CAMERAS)
