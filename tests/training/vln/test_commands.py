"""`embodied train` and `embodied eval` on language-guided tasks, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from short_run import settings

from embodied import config as configuration
from embodied.cli.main import main
from embodied.errors import ConfigError
from embodied.evaluation.base import read_episodes
from embodied.registry import list_names, resolve
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.trainer import train

EPISODES = 12


@pytest.fixture(scope="module")
def run(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    given = configuration.override(settings(str(miniature)), ["pretrain.steps=0"])
    train(given, folder, quiet=True)
    return folder


def test_a_trained_agent_is_evaluated_and_its_figures_and_episodes_kept(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, lines = tmp_path / "figures.json", tmp_path / "episodes.jsonl"
    words = ["eval", str(run), "evaluation.envs=5", "--json", str(figures)]
    assert main([*words, "--episodes", str(lines)]) == 0
    shown = capsys.readouterr().out
    assert "oracle_success" in shown
    stored = json.loads(figures.read_text())["metrics"]
    wanted = {f"reverie.val_unseen.{name}" for name in ("sr", "spl", "rgs_strict", "rgspl_strict")}
    assert wanted <= set(stored)
    assert stored["reverie.val_unseen.sr"]["n"] == EPISODES
    assert "--json" not in stored["reverie.val_unseen.sr"]["command"]
    played = read_episodes(lines)
    assert len(played) == EPISODES
    mean = sum(e["success"] for e in played.values()) / EPISODES
    assert stored["reverie.val_unseen.sr"]["value"] == pytest.approx(mean)


def test_the_number_of_environments_changes_no_episode(run: Path, tmp_path: Path) -> None:
    found = []
    for envs in (1, 7):
        file = tmp_path / f"{envs}.jsonl"
        words = ["eval", str(run), f"evaluation.envs={envs}", "--episodes", str(file)]
        assert main(words) == 0
        found.append({k: (v["path_length"], v["success"]) for k, v in read_episodes(file).items()})
    assert found[0] == found[1]


def test_meta_explore_explains_itself(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "why"
    words = ["eval", str(run), "policy=meta_explore", "meta.mode=never", "evaluation.episodes=3"]
    assert main([*words, "--explain", str(folder)]) == 0
    files = sorted(folder.glob("*.json"))
    assert len(files) == 3
    trace = json.loads(files[0].read_text())
    assert trace["decisions"]
    assert trace["world"] == "gamma"
    assert set(trace["metrics"]) >= {"success", "spl"}
    assert [place for place, _ in trace["path"]][0] == int(next(iter(trace["places"])))
    assert len(trace["start"]) == 3
    page = (folder / "index.html").read_text()
    assert page.count(f"Episode {trace['episode']}.") == 1
    assert page.count("data:image/png") >= 3
    assert "--explain" in page  # the command that makes it again


def test_a_policy_without_explanations_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(run), "--explain", str(tmp_path / "why")]) == 2
    assert "records no decisions" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [
    ["meta.mode=oracle"], ["meta.local_goal=oracle"],
    ["meta.local_goal=sos", "meta.oracle_sos=true"],
])  # fmt: skip
def test_a_body_cannot_follow_an_oracle(
    run: Path, capsys: pytest.CaptureFixture[str], settings: list[str]
) -> None:
    assert main(["eval", "vln/continuous_houses", f"checkpoint={run}", *settings]) == 2
    assert "which a body cannot sense" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["random", "shortest", "detector"])
def test_baselines_are_recipes_and_keep_their_own_names(
    miniature: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "figures.json"
    words = ["eval", f"vln/reverie_{name}", f"task.data={miniature}", "--json", str(file)]
    assert main(words) == 0
    policy = "blind" if name == "shortest" else name
    assert f"reverie.{policy}.val_unseen.sr" in json.loads(file.read_text())["metrics"]


def test_a_recipe_that_is_not_trained_yet_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "vln/reverie"]) == 2
    assert "embodied train vln/reverie" in capsys.readouterr().err


def test_a_trained_policy_without_a_run_is_refused(
    miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "vln/reverie_random", "policy=dual_scale", f"task.data={miniature}"]
    assert main(words) == 2
    assert "checkpoint=" in capsys.readouterr().err


def test_a_recipe_trains_from_the_command_line(miniature: Path, tmp_path: Path) -> None:
    words = [
        "train", "vln/reverie_local", f"task.data={miniature}", "train.phases=[finetune]",
        "finetune.steps=2", "finetune.batch_size=2", "validation.worlds=0", "--run",
        str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(words) == 0
    assert "local" in (tmp_path / "run" / "config.yaml").read_text()


RECIPES = [
    name
    for name in configuration.list_recipes()
    if name.startswith("vln/") and configuration.read_recipe(name).get("trainer") == "vln"
]


@pytest.mark.parametrize("name", RECIPES)
def test_every_training_recipe_is_valid(name: str) -> None:
    tree = configuration.read_recipe(name)
    made = configuration.build(VLNTrainConfig, tree, source=name)
    assert all(resolve("vln_phase", phase) for phase in made.train.phases)


def test_there_are_recipes_and_an_unknown_policy_is_named(
    miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"vln/reverie", "vln/r2r", "vln/soon", "vln/meta_explore_houses"} <= set(RECIPES)
    words = ["eval", "vln/reverie_random", "policy=randon", f"task.data={miniature}"]
    assert main(words) == 2
    assert "did you mean 'random'" in capsys.readouterr().err
    assert "meta_explore" in list_names("vln_policy")


def test_a_file_of_other_lines_is_no_file_of_episodes(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"success": 1}\n')
    with pytest.raises(ConfigError, match="--episodes"):
        read_episodes(file)
    file.write_text('{"id": "a", "x": 1}\n{"id": "a", "x": 2}\n')
    with pytest.raises(ConfigError, match="occurs twice"):
        read_episodes(file)
