"""A run leaves what it should, and a killed one goes on as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from short_run import settings

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError
from embodied.training.checkpoint import find_checkpoint, load_policy, open_checkpoint
from embodied.training.log import read_metrics
from embodied.training.vln.agent import DualScaleAgent
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.trainer import train

SCRIPT = Path(__file__).with_name("short_run.py")
CLOCKS = ("cpu_seconds", "seconds", "learn_seconds", "validate_seconds")


def curve(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(run)]


@pytest.fixture(scope="module")
def whole(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole")
    train(settings(str(miniature)), run, quiet=True)
    return run


def test_a_run_leaves_everything_needed_to_repeat_and_judge_it(
    whole: Path, miniature: Path
) -> None:
    rows = read_metrics(whole)
    assert [row["update"] for row in rows] == list(range(1, 15))
    assert [row["phase"] for row in rows] == ["pretrain"] * 6 + ["finetune"] * 8
    assert [row["update"] for row in rows if "val_spl" in row] == [10, 14]
    assert configuration.load(VLNTrainConfig, whole / "config.yaml") == settings(str(miniature))
    assert list((whole / "tensorboard").glob("events*"))
    agent = load_policy(whole)
    assert isinstance(agent, DualScaleAgent)
    assert "chair" in agent.inputs.vocabulary.words


@pytest.mark.parametrize("update", [3, 6, 10, 12])
def test_going_on_from_any_checkpoint_repeats_the_curve(
    whole: Path, miniature: Path, tmp_path: Path, update: int
) -> None:
    """In pre-training, between the phases, after a validation, in fine-tuning."""
    again = tmp_path / "again"
    shutil.copytree(whole, again)
    (again / "checkpoints" / "latest").write_text(f"{update:08d}\n")
    train(settings(str(miniature)), again, resume=True, quiet=True)
    assert curve(again) == curve(whole)
    first, second = (open_checkpoint(run).meta["files"] for run in (whole, again))
    assert first["model.safetensors"] == second["model.safetensors"]


def test_kill_nine_and_resume_gives_the_same_curve(
    whole: Path, miniature: Path, tmp_path: Path
) -> None:
    words = [sys.executable, str(SCRIPT), str(miniature), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment)
    deadline = time.monotonic() + 240
    while len(read_metrics(tmp_path)) < 8:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.01)
    process.kill()
    process.wait()
    train(settings(str(miniature)), tmp_path, resume=True, quiet=True)
    assert curve(tmp_path) == curve(whole)


def test_the_newest_checkpoint_holds_the_weights_of_the_best_validation(whole: Path) -> None:
    best, newest = open_checkpoint(whole, "best"), open_checkpoint(whole)
    scores = [row["val_spl"] for row in read_metrics(whole) if "val_spl" in row]
    assert newest.meta["score"] == best.meta["score"] == max(scores)
    if scores[0] > scores[-1]:
        kept = load_policy(find_checkpoint(whole).parent / "00000010").network.state_dict()
        now = load_policy(whole).network.state_dict()
        assert all(torch.equal(kept[key], now[key]) for key in kept)


def test_best_names_the_finished_agent_with_its_mode_selector(
    miniature: Path, tmp_path: Path
) -> None:
    phases = ["train.phases=[finetune, mode]", "finetune.steps=2", "validation.every=1"]
    mode = ["mode.episodes=2", "mode.epochs=2", "mode.thresholds=[]", "mode.ranker=false"]
    train(configuration.override(settings(str(miniature)), phases + mode), tmp_path, quiet=True)
    rows = read_metrics(tmp_path)
    assert [row["phase"] for row in rows] == ["finetune"] * 2 + ["mode"] * 2
    assert find_checkpoint(tmp_path, "best") == find_checkpoint(tmp_path)
    best = max(row["val_spl"] for row in rows if "val_spl" in row)
    assert open_checkpoint(tmp_path).meta["score"] == best


def test_a_used_folder_and_another_configuration_are_refused(whole: Path, miniature: Path) -> None:
    given = settings(str(miniature))
    with pytest.raises(CheckpointError, match="Resume"):
        train(given, whole, quiet=True)
    other = configuration.override(given, ["finetune.teacher_weight=0.5"])
    with pytest.raises(CheckpointError, match="another configuration"):
        train(other, whole, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.phases=[finetune, finetune]", "name each phase once"),
        ("train.phases=[finetun]", "did you mean 'finetune'"),
        ("validation.score=sucess", "did you mean 'success'"),
        ("pretrain.tasks=[mlm, sop]", "unknown 'sop'"),
        ("pretrain.mask_ratio=0", "between 0 and 1"),
        ("finetune.optimizer.learning_rate=0", "above 0"),
    ],
)
def test_unusable_settings_are_named(
    miniature: Path, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(
            configuration.override(
                settings(str(miniature)), ["pretrain.steps=0", "finetune.steps=1", override]
            ),
            tmp_path,
            quiet=True,
        )
