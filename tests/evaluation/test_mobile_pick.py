"""`embodied eval manip/mobile_pick`: figures, traces, film, a trained arm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.cli.main import main  # noqa: E402
from embodied.errors import ConfigError  # noqa: E402
from embodied.evaluation.mobile_pick import MobilePickEvaluator  # noqa: E402

RECIPE = ["manip/mobile_pick", "task.navigation.scene.rooms=[2, 2]"]


def test_eval_writes_figures_traces_and_a_film(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name for name in ("figures.json", "episodes.jsonl", "film.mp4")}
    words = ["eval", *RECIPE, "evaluation.episodes=2", "task.navigation.max_steps=400"]
    words += ["--json", str(files["figures.json"]), "--episodes", str(files["episodes.jsonl"])]
    words += ["--video", str(files["film.mp4"]), "--explain", str(tmp_path / "why")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name in ("success", "spl", "seconds_search", "failed_in_dock", "dock_error"):
        assert name in shown
    figures = json.loads(files["figures.json"].read_text())["metrics"]
    assert {"mobile_pick.success", "mobile_pick.spl", "mobile_pick.seconds_manipulate"} <= set(
        figures
    )
    rows = [json.loads(line) for line in files["episodes.jsonl"].read_text().splitlines()]
    assert [row["id"] for row in rows] == ["test-0", "test-1"]
    for row in rows:
        phases = ("search", "approach", "dock", "manipulate")
        spent = sum(row[f"seconds_{phase}"] for phase in phases)
        assert spent == pytest.approx(row["seconds"], abs=0.5)
        assert sum(row[f"failed_in_{phase}"] for phase in phases) == 1 - row["success"]
    story = json.loads((tmp_path / "why" / "test-0.json").read_text())
    assert story["trace"][0]["before"] == "search"
    assert "search -> approach" in (tmp_path / "why" / "phases.txt").read_text()
    assert files["film.mp4"].stat().st_size > 10_000


def test_names_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for override, words in (
        ("search=frontiers", "frontier"),
        ("search=random_walk", "Allowed"),
        ("arm=nowhere", "nowhere"),
    ):
        assert main(["eval", *RECIPE, override, "evaluation.episodes=1"]) == 2, words
    with pytest.raises(ConfigError, match="searches"):
        MobilePickEvaluator("manip/mobile_pick", ["agent.searchs=3"], "latest")


def test_a_trained_arm_is_taken_from_its_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from embodied.perception.vocabulary import Vocabulary
    from embodied.policies.chunk.backbones import BackboneConfig
    from embodied.policies.chunk.backbones.base import TinyConfig
    from embodied.policies.chunk.factory import VisuomotorConfig, make_policy
    from embodied.policies.chunk.robot_inputs import RobotInputs
    from embodied.training.checkpoint import CheckpointStore
    from embodied.training.manipulation.config import ManipulationTraining

    torch.set_num_threads(1)
    words = Vocabulary.from_texts(("pick up the red cube and hold it at the green ball",)).words
    inputs = RobotInputs(("front", "wrist"), (32, 32), 8, 7, 3, 20, "ee_delta", words)
    tiny = BackboneConfig(tiny=TinyConfig(width=32, channels=(8, 16)))
    learned = VisuomotorConfig(method="act", chunk_size=8, n_action_steps=4, backbone=tiny)
    policy = make_policy(inputs, learned)
    policy.normalization = {
        "observation.state": {"min": [-1.0] * 8, "max": [1.0] * 8},
        "action": {"min": [-1.0] * 7, "max": [1.0] * 7},
    }
    run = replace(ManipulationTraining(), policy=learned)
    optimizer = torch.optim.SGD(policy.parameters(), 0.1)
    CheckpointStore(tmp_path / "run" / "checkpoints").save(1, policy, optimizer, run, {})
    words_ = [*RECIPE, f"arm={tmp_path / 'run'}", "task.colors=[red]", "evaluation.episodes=1"]
    fits = ["task.arm.width=32", "task.arm.height=32", "agent.attempts=1", "agent.attempt_steps=5"]
    assert main(["eval", *words_, *fits, "--episodes", str(tmp_path / "e.jsonl")]) == 0
    row = json.loads((tmp_path / "e.jsonl").read_text())
    assert row["success"] == 0.0
    assert row["docked"] == 1.0
    assert row["failed_in_manipulate"] == 1.0
    # Other images than it was made for are refused before anything is played.
    assert main(["eval", *words_]) == 2


def test_a_scene_of_ones_own_is_played_in(tmp_path: Path) -> None:
    evaluator = MobilePickEvaluator("manip/mobile_pick", [], "latest")
    evaluator.use_scene(tmp_path / "flat.glb", 7)
    scene = evaluator.settings.task.navigation.scene
    assert scene.files == (str(tmp_path / "flat.glb"),)
    assert evaluator.settings.evaluation.episodes == 7
    assert evaluator.list_episode_names(2) == ["test-0", "test-1"]
