from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from resumable import CONFIG
from toy import planes

from embodied import config as configuration
from embodied.errors import CheckpointError
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.log import read_metrics
from embodied.training.loop import derive_seed
from embodied.training.navigation.config import TrainConfig
from embodied.training.navigation.trainer import train

SCRIPT = Path(__file__).parents[1] / "resumable.py"
CLOCKS = ("cpu_seconds", "seconds", "play_seconds", "learn_seconds")
EVERY = CONFIG.train.checkpoint_every


def curve(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(run)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted")
    train(CONFIG, run, make_env=planes, quiet=True)
    return run


def start(run: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, SCRIPT, run], stdout=subprocess.PIPE, text=True)


def wait_for_update(run: Path, update: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while len(read_metrics(run)) < update:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.01)


def test_a_run_leaves_everything_needed_to_repeat_and_judge_it(uninterrupted: Path) -> None:
    rows = read_metrics(uninterrupted)
    assert [row["update"] for row in rows] == list(range(1, 61))
    assert [row["step"] for row in rows] == [64 * k for k in range(1, 61)]
    assert {row["phase"] for row in rows[:30]} == {"imitation"}
    assert {row["phase"] for row in rows[30:]} == {"ppo"}
    times = [row["cpu_seconds"] for row in rows]
    assert times == sorted(times)
    assert configuration.load(TrainConfig, uninterrupted / "config.yaml") == CONFIG
    assert list((uninterrupted / "tensorboard").glob("events*"))
    load_policy(uninterrupted)


def test_kill_nine_three_times_and_resume_gives_the_same_curve(
    uninterrupted: Path, tmp_path: Path
) -> None:
    chance = random.Random(11)  # noqa: S311 - when to kill, not a secret
    for low, high in ((6, 18), (19, 34), (35, 55)):
        process = start(tmp_path)
        wait_for_update(tmp_path, chance.randint(low, high), process)
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.wait()
        reached = len(read_metrics(tmp_path))
        saved = open_checkpoint(tmp_path)  # verifies every file
        assert reached - saved.meta["update"] <= EVERY
    process = start(tmp_path)
    assert process.wait(240) == 0
    assert curve(tmp_path) == curve(uninterrupted)
    finished = open_checkpoint(tmp_path)
    same = open_checkpoint(uninterrupted)
    assert finished.meta["files"]["model.safetensors"] == same.meta["files"]["model.safetensors"]
    strays = [p.name for p in (tmp_path / "checkpoints").iterdir() if p.suffix == ".old"]
    assert not strays


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_what_was_reached(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    wait_for_update(tmp_path, 7, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    reached = read_metrics(tmp_path)[-1]["update"]
    assert open_checkpoint(tmp_path).meta["update"] == reached
    assert f"stopped by {number.name}" in said


def test_rows_after_the_checkpoint_and_half_written_ones_are_dropped(
    uninterrupted: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    (run / "checkpoints" / "latest").write_text("00000055\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 61, "st')
    train(CONFIG, run, resume=True, make_env=planes, quiet=True)
    assert curve(run) == curve(uninterrupted)


def test_a_used_folder_is_not_overwritten(uninterrupted: Path) -> None:
    with pytest.raises(CheckpointError, match="Resume"):
        train(CONFIG, uninterrupted, make_env=planes, quiet=True)


def test_resuming_with_another_configuration_is_refused(uninterrupted: Path) -> None:
    other = configuration.override(CONFIG, ["ppo.clip_range=0.3"])
    with pytest.raises(CheckpointError, match="another configuration"):
        train(other, uninterrupted, resume=True, make_env=planes, quiet=True)


def test_a_finished_run_resumed_does_nothing(uninterrupted: Path) -> None:
    before = (uninterrupted / "metrics.jsonl").read_text()
    result = train(CONFIG, uninterrupted, resume=True, make_env=planes, quiet=True)
    assert result["update"] == 60
    assert (uninterrupted / "metrics.jsonl").read_text() == before
    assert json.loads(before.splitlines()[-1])["update"] == 60


def test_seeds_differ_between_updates_and_runs() -> None:
    seeds = {derive_seed(seed, update) for seed in range(5) for update in range(50)}
    assert len(seeds) == 250
    assert derive_seed(3, 4) == derive_seed(3, 4)


def test_resuming_in_houses_repeats_the_curve(tmp_path: Path) -> None:
    settings = configuration.load(
        TrainConfig,
        "nav/pointnav_ppo",
        [
            "train={steps: 512, imitation_steps: 256, envs: 4, rollout: 16, ppo_rollout: 16, "
            "checkpoint_every: 2, keep: 9}",
            "task.scene.rooms=[1, 2]",
            "task.scene.count=4",
            "task.max_steps=12",
            "policy={width: 16, hidden_size: 16}",
        ],
    )
    whole, again = tmp_path / "whole", tmp_path / "again"
    train(settings, whole, quiet=True)
    shutil.copytree(whole, again)
    for update in (2, 6):  # in the imitation phase and in PPO's
        (again / "checkpoints" / "latest").write_text(f"{update:08d}\n")
        train(settings, again, resume=True, quiet=True)
        assert len(curve(whole)) == 8
        assert curve(again) == curve(whole)
