"""Recorded demonstrations: what is in them, and that nothing but their number decides it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.tasks.datasets.lerobot import read_dataset
from embodied.training.manipulation import recording
from embodied.training.manipulation.config import DemonstrationConfig
from embodied.training.manipulation.recording import (
    SETTINGS_FILE,
    ActionNoise,
    RecordingError,
    Spool,
    record_demonstrations,
)
from tests.training.manipulation.miniature import DEMONSTRATIONS, TASK

pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pytest.importorskip("pybullet", reason="the tasks need pybullet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_demonstrations(
        TASK, DEMONSTRATIONS, tmp_path_factory.mktemp("demonstrations") / "panda_reach"
    )


def test_only_successes_are_kept_whole(made: Path) -> None:
    found = read_dataset(made)
    assert (found.version, found.fps, found.robot) == ("v3.0", 20, "panda")
    assert found.cameras == ("observation.images.front", "observation.images.wrist")
    assert len(found.episodes) == DEMONSTRATIONS.episodes
    for number in range(len(found.episodes)):
        rows = found.get_rows(number)
        success, done = (found.columns[f"next.{name}"][rows] for name in ("success", "done"))
        assert success.tolist() == done.tolist() == [False] * (len(done) - 1) + [True]
        assert found.read_frames(found.cameras[0], number).shape == (len(done), 32, 32, 3)
        assert "ball" in found.get_instruction(number)
    assert np.abs(found.columns["action"]).max() <= 1
    assert found.features["observation.state"]["names"][3:7] == ["qx", "qy", "qz", "qw"]
    assert not [path for path in made.parent.iterdir() if path != made]


def same(first: Path, second: Path) -> bool:
    a, b = read_dataset(first), read_dataset(second)
    return all(np.array_equal(a.columns[name], b.columns[name]) for name in a.columns)


def test_batches_of_any_size_record_the_same(made: Path, tmp_path: Path) -> None:
    again = record_demonstrations(TASK, replace(DEMONSTRATIONS, envs=3), tmp_path / "set")
    assert same(made, again)


def test_a_recording_that_was_stopped_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, kept = Spool.keep_episode, []

    def stop_after_two(self: Spool, number: int, *rest) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        keep(self, number, *rest)
        kept.append(number)

    monkeypatch.setattr(Spool, "keep_episode", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        record_demonstrations(TASK, DEMONSTRATIONS, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    finished = list((tmp_path / ".set.episodes").glob("0*"))
    assert len(finished) == 2
    monkeypatch.setattr(Spool, "keep_episode", keep)
    record_demonstrations(TASK, DEMONSTRATIONS, tmp_path / "set")
    assert same(made, tmp_path / "set")


def test_what_is_there_is_left_alone(made: Path) -> None:
    before = (made / "meta/info.json").stat().st_mtime_ns
    other = replace(TASK, privileged=True, safety=replace(TASK.safety, force=99.0))
    assert record_demonstrations(other, replace(DEMONSTRATIONS, envs=5, attempts=9), made) == made
    assert (made / "meta/info.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        ({}, {"episodes": 99}, r"demonstrations\.episodes = \d+, and wanted are 99"),
        ({"level": 2, "position_step": 0.01}, {}, r"task\.level = 0, task\.position_step = 0\.02"),
        ({}, {"noise": 0.0}, r"demonstrations\.noise = "),
    ],
)
def test_demonstrations_of_other_settings_are_refused(
    made: Path, task: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        record_demonstrations(replace(TASK, **task), replace(DEMONSTRATIONS, **config), made)


def test_sets_that_do_not_say_how_they_were_made_are_taken(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    (copy / "meta" / SETTINGS_FILE).unlink()
    assert record_demonstrations(TASK, replace(DEMONSTRATIONS, episodes=99), copy) == copy
    (copy / "meta" / SETTINGS_FILE).write_text("{")
    with pytest.raises(RecordingError, match=r"cannot read .*recording\.json"):
        record_demonstrations(TASK, DEMONSTRATIONS, copy)


def test_what_was_begun_with_other_settings_is_not_mixed(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "write_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_demonstrations(TASK, replace(DEMONSTRATIONS, episodes=1), tmp_path / "set")
    monkeypatch.undo()
    with pytest.raises(RecordingError, match=r"\.set\.episodes holds .*demonstrations\.noise"):
        record_demonstrations(TASK, replace(DEMONSTRATIONS, noise=0.0), tmp_path / "set")
    record_demonstrations(TASK, DEMONSTRATIONS, tmp_path / "set")  # more of the same
    assert same(made, tmp_path / "set")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_images_that_no_film_can_hold_are_refused_before_anything_is_played(
    tmp_path: Path,
) -> None:
    with pytest.raises(RecordingError, match=r"task\.width = 33 .*must be even"):
        record_demonstrations(replace(TASK, width=33), DEMONSTRATIONS, tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_an_expert_that_fails_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    hard = replace(TASK, level=1, max_steps=1)
    few = replace(DEMONSTRATIONS, episodes=2, attempts=1.5)
    with pytest.raises(RecordingError, match=r"'reach' succeeded in 0 of 3 episodes, 2 are wanted"):
        record_demonstrations(hard, few, tmp_path / "set")
    assert len(list((tmp_path / ".set.episodes").glob("*.failed"))) >= 3


def drifts(config: DemonstrationConfig, seed: int, steps: int = 400) -> np.ndarray:
    disturbance, rest = ActionNoise(config, seed), np.zeros(7, np.float32)
    return np.stack([disturbance.perturb_action(rest) for _ in range(steps)])


def test_noise_belongs_to_the_episode_comes_slowly_and_pauses() -> None:
    config = DemonstrationConfig(noise=0.3, push=0.0)
    first, again, other = drifts(config, 1), drifts(config, 1), drifts(config, 2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first[:, 6] == 0).all()
    loud = np.abs(first[:, :3]).max(axis=1) > 0.02
    assert 0.2 < loud.mean() < 0.95
    many = np.concatenate([drifts(config, seed)[:, :3] for seed in range(20)])
    near = (many[1:] * many[:-1]).mean() / many.var()
    assert 0.6 < near < 0.95  # 0.8 but for the pauses and the beginnings of episodes


def test_pushes_last_some_steps_and_lead_away() -> None:
    pushed = drifts(DemonstrationConfig(noise=0.0, push=0.02, push_steps=4), 3)
    moved = np.abs(pushed[:, :3]).max(axis=1) > 0
    assert 0.02 < moved.mean() < 0.3
    assert np.allclose(np.linalg.norm(pushed[moved, :3], axis=1), 1.0, atol=1e-6)
    starts = np.flatnonzero(np.diff(moved.astype(int)) == 1)
    assert len(starts)
    assert all(moved[start + 1 : start + 5].all() for start in starts if start + 5 < len(moved))
