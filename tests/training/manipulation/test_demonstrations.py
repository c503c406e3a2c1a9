"""Demonstrations in memory: chunks, padding, labels, and what they say about the robot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.policies.chunk.sc_vla.labels import compute_state_delta
from embodied.tasks.datasets.lerobot import LayoutError, write_dataset
from embodied.training.manipulation.augmentation import augment_batch, relight_images, shift_images
from embodied.training.manipulation.demonstrations import Demonstrations, load_demonstrations
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

pytest.importorskip("pyarrow", reason="data sets need pyarrow")
CONFIG = VisuomotorConfig(chunk_size=4, n_action_steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="module")
def data(folder: Path) -> Demonstrations:
    return load_demonstrations([folder])


def test_frames_of_all_episodes_lie_in_a_row(data: Demonstrations) -> None:
    assert data.images["front"].shape == (sum(LENGTHS), SIDE, SIDE, 3)
    assert data.images["front"].dtype == np.uint8
    assert np.bincount(data.episode_index).tolist() == list(LENGTHS)
    assert data.instructions == TASKS
    wanted = [number_of(image) for e in episodes() for image in e.videos[CAMERAS[0]]]
    assert [number_of(image) for image in data.images["front"]] == wanted


def test_chunks_end_with_their_episode(data: Demonstrations) -> None:
    rows = np.array([0, 5, 6, 7])  # the first, the last two of episode 0, the first of episode 1
    batch = data.make_batch(rows, CONFIG, None)
    actions = [e.columns["action"] for e in episodes()]
    assert np.array_equal(batch["action"][0], actions[0][:4])
    assert batch["action_is_pad"].tolist() == [
        [False] * 4, [False, False, True, True], [False, True, True, True], [False] * 4,
    ]  # fmt: skip
    assert np.array_equal(batch["action"][2], np.repeat(actions[0][6:7], 4, axis=0))
    assert np.array_equal(batch["action"][3], actions[1][:4])
    assert batch["task"] == [TASKS[0]] * 3 + [TASKS[1]]
    assert batch["observation.images.front"].shape == (4, SIDE, SIDE, 3)


def test_labels_look_ahead_within_the_episode(data: Demonstrations) -> None:
    rows = np.array([0, 4, 6])
    batch = data.make_batch(rows, CONFIG, None)
    state = next(episodes()).columns["observation.state"]
    later = np.minimum(rows + 5, 6)
    assert np.allclose(batch["delta_state"], compute_state_delta(state[rows], state[later]))
    assert batch["progress"].tolist() == pytest.approx([0, 4 / 7, 6 / 7])


def test_jitter_changes_how_far_the_label_looks(data: Demonstrations) -> None:
    rows = np.full(200, 7 + 5)  # the first frame of the last episode
    found = data.make_batch(rows, CONFIG, np.random.default_rng(0))["delta_state"].numpy()
    state = list(episodes())[2].columns["observation.state"]
    choices = [compute_state_delta(state[0], state[ahead]) for ahead in (4, 5, 6)]
    used = [any(np.allclose(one, choice) for one in found) for choice in choices]
    assert used == [True] * 3
    assert len(np.unique(found.round(4), axis=0)) == 3


def test_policies_that_do_not_imagine_get_no_labels(data: Demonstrations) -> None:
    batch = data.make_batch(np.arange(2), replace(CONFIG, method="act"), None)
    assert not {"progress", "delta_state"} & set(batch)


def test_what_the_data_say_about_the_robot(data: Demonstrations) -> None:
    inputs = data.describe_inputs("ee_delta")
    assert inputs.cameras == ("front", "wrist")
    assert (inputs.image, inputs.state, inputs.action) == ((SIDE, SIDE), 8, 7)
    assert (inputs.orientation, inputs.fps, inputs.control) == (3, FPS, "ee_delta")
    assert {"pick", "red", "cube", "push", "blue", "block"} <= set(inputs.words)
    assert RobotInputs.from_json(json.loads(json.dumps(inputs.to_json()))) == inputs
    statistics = data.compute_statistics()
    assert statistics["action"]["min"] == data.action.min(0).tolist()
    assert statistics["action"]["count"] == [sum(LENGTHS)]


def test_whole_episodes_are_held_out(data: Demonstrations) -> None:
    rows, held = data.split_rows(0.34)
    assert sorted([*rows, *held]) == list(range(sum(LENGTHS)))
    assert set(data.episode_index[held]) == {1}
    assert len(data.split_rows(0.0)[1]) == 0


def test_sets_that_do_not_fit_together_are_refused(folder: Path, tmp_path: Path) -> None:
    both = load_demonstrations([folder, folder])
    assert len(both.state) == 2 * sum(LENGTHS)
    assert both.instructions == TASKS * 2
    other = write_dataset(tmp_path / "other", episodes(), FPS + 5, "panda", NAMES, CAMERAS)
    with pytest.raises(ConfigError, match="do not fit together"):
        load_demonstrations([folder, other])


def test_sets_without_states_or_cameras_are_refused(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    shutil.rmtree(copy / "videos")
    with pytest.raises(ConfigError, match="has no camera"):
        load_demonstrations([copy])
    file = copy / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(file).drop_columns(["observation.state"]), file)
    with pytest.raises(LayoutError, match=r"lack the columns observation\.state"):
        load_demonstrations([copy])


def with_actions(folder: Path, target: Path, values: list[object]) -> Path:
    """Copy a set and put others in place of its actions."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    copy = Path(shutil.copytree(folder, target))
    file = copy / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file)
    place = table.column_names.index("action")
    parquet.write_table(table.set_column(place, "action", arrow.array(values)), file)
    return copy


def test_bare_numbers_are_vectors_of_one(folder: Path, tmp_path: Path) -> None:
    rows = sum(LENGTHS)
    made = load_demonstrations([with_actions(folder, tmp_path / "copy", [0.5] * rows)])
    assert made.action.shape == (rows, 1)
    assert made.describe_inputs("").action == 1


@pytest.mark.parametrize("bad", [[0.0], ["left"], [None] * 7])
def test_rows_of_other_sizes_or_kinds_are_refused(
    folder: Path, tmp_path: Path, bad: list[object]
) -> None:
    rows: list[object] = [[0.0] * 7 for _ in range(sum(LENGTHS))]
    if bad == ["left"]:
        rows = [bad] * len(rows)
    else:
        rows[3] = bad
    with pytest.raises(LayoutError, match="'action'"):
        load_demonstrations([with_actions(folder, tmp_path / "copy", rows)])


def test_joint_states_have_no_orientation(tmp_path: Path) -> None:
    names = {**NAMES, "observation.state": [f"joint_{k}" for k in range(8)]}
    made = write_dataset(tmp_path / "set", [recorded(0, 5, "x")], FPS, "arm", names, CAMERAS)
    assert load_demonstrations([made]).orientation == -1


def test_images_move_with_their_edges_repeated() -> None:
    image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
    images = np.repeat(image, 300, axis=0)
    moved = shift_images(images, 2, np.random.default_rng(0))
    assert moved.shape == images.shape
    wide = np.pad(image[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
    places = [(y, x) for y in range(5) for x in range(5)]
    wanted = {wide[y : y + 6, x : x + 6].tobytes() for y, x in places}
    assert {one.tobytes() for one in moved} == wanted
    assert shift_images(images, 0, np.random.default_rng(0)) is images


def test_light_changes_each_image_as_a_whole() -> None:
    images = torch.full((50, 2, 2, 3), 100.0)
    lit = relight_images(images, 0.2, np.random.default_rng(0))
    assert (lit == lit[:, :1, :1, :1]).all()
    assert lit.std() > 5
    assert lit.min() >= 0
    assert lit.max() <= 255
    assert relight_images(images, 0.0, np.random.default_rng(0)) is images


def test_only_images_of_a_batch_vary(data: Demonstrations) -> None:
    batch = data.make_batch(np.arange(3), CONFIG, None)
    varied = augment_batch(batch, 4, 0.2, np.random.default_rng(0))
    assert varied["observation.images.front"].dtype == torch.float32
    assert all(varied[k] is batch[k] for k in batch if not k.startswith("observation.images"))
