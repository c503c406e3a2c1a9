"""Behaviour cloning end to end: recorded, trained, resumed, judged, filmed."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied import config as configuration
from embodied.cli.main import main
from embodied.errors import CheckpointError, ConfigError
from embodied.perception.pretrained import WeightsError
from embodied.policies.chunk.backbones import BackboneConfig
from embodied.policies.chunk.base import ChunkPolicy
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.log import read_metrics
from embodied.training.manipulation.config import (
    DemonstrationConfig,
    ManipulationEvaluation,
    ManipulationLoop,
    ManipulationTraining,
)
from embodied.training.manipulation.trainer import train
from embodied.training.manipulation.validation import play_episodes
from tests.tasks.datasets.lerobot_sets import make_set
from tests.training.manipulation.miniature import DEMONSTRATIONS, LOOP, POLICY, TASK, miniature

pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pytest.importorskip("pybullet", reason="the tasks need pybullet")
CLOCKS = ("cpu_seconds", "seconds", "learn_seconds", "validate_seconds")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reach"
    train(miniature(), folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def recorded(run: Path) -> DemonstrationConfig:
    return replace(DEMONSTRATIONS, folder=str(run / "demonstrations"))


def curve(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(folder)]


def test_a_run_leaves_everything_needed_to_repeat_and_judge_it(run: Path) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    validated = [row["step"] for row in rows if "success" in row]
    assert validated == [4, 8, 12]
    assert {"progress_error", "delta_cosine", "action_error", "steps"} <= set(rows[-1])
    assert configuration.load(ManipulationTraining, run / "config.yaml") == miniature()
    statistics = json.loads((open_checkpoint(run).path / "normalization.json").read_text())
    assert len(statistics["action"]["min"]) == 7
    assert (run / "demonstrations/panda_reach/meta/info.json").is_file()
    policy = load_policy(run)
    assert isinstance(policy, ChunkPolicy)
    assert (policy.name, policy.inputs.image) == ("sc_vla", (32, 32))


def test_a_run_resumed_anywhere_repeats_the_curve(run: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run, tmp_path / "again"))
    (again / "checkpoints" / "latest").write_text("00000002\n")  # after four of the twelve steps
    shutil.rmtree(again / "checkpoints" / "00000006")
    train(miniature(), again, resume=True, quiet=True)
    assert curve(again) == curve(run)
    first, second = (open_checkpoint(folder).meta["files"] for folder in (run, again))
    assert first["model.safetensors"] == second["model.safetensors"]


def test_the_acting_weights_are_an_average_of_the_learning_ones(run: Path) -> None:
    from safetensors.torch import load_file

    folder = open_checkpoint(run).path
    acting = load_policy(run).parameters()
    states = load_file(folder / "optimizer.safetensors")
    learning = [states[f"{index}.learning"] for index in range(len(acting))]
    differing = [not torch.equal(a, b) for a, b in zip(acting, learning, strict=True)]
    assert np.mean(differing) > 0.8
    near = [(a - b).abs().max() for a, b in zip(acting, learning, strict=True)]
    assert max(near) < 0.1


@pytest.mark.parametrize("method", ["act", "diffusion"])
def test_the_baselines_share_data_and_loop(
    tmp_path: Path, recorded: DemonstrationConfig, method: str
) -> None:
    loop = replace(LOOP, steps=2, validate_every=2)
    settings = miniature(policy=replace(POLICY, method=method), train=loop,
                         demonstrations=recorded)  # fmt: skip
    result = train(settings, tmp_path / "run", quiet=True)
    assert result["success"] >= 0
    assert "action_error" in result
    assert "progress_error" not in result
    assert load_policy(tmp_path / "run").name == method


def test_a_validation_is_repeated_exactly(run: Path) -> None:
    policy = load_policy(run)
    first, second = (play_episodes(policy, TASK, 3, envs, 7, progress=False) for envs in (3, 3))
    assert first == second
    assert len(first) == 3
    assert set(first[0]) == {"success", "steps", "return", "violations_force",
                             "violations_workspace", "violations_velocity"}  # fmt: skip


def test_eval_writes_figures_episodes_and_a_film(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import av

    files = [tmp_path / name for name in ("figures.json", "episodes.jsonl", "film.mp4")]
    command = ["eval", str(run), "--json", files[0], "--episodes", files[1], "--video", files[2]]
    assert main([str(word) for word in command]) == 0
    figures = json.loads(files[0].read_text())["metrics"]
    assert {"reach.success", "reach.steps"} <= set(figures)
    assert figures["reach.success"]["n"] == 3
    lines = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"panda-reach-0-{number}" for number in range(3)]
    with av.open(str(files[2])) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == 20
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) > 20
    assert frames[0].std() > 10
    assert "film of" in capsys.readouterr().out
    assert main(["compare", str(files[1]), "--against", str(files[1])]) == 0


def test_eval_at_another_level_and_with_other_replanning(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "episodes.jsonl"
    words = ["evaluation.level=1", "policy.n_action_steps=2", "evaluation.episodes=2"]
    assert main(["eval", str(run), *words, "--episodes", str(file)]) == 0
    names = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert names == ["panda-reach-1-0", "panda-reach-1-1"]


def test_eval_explains_on_a_page_with_a_film_and_every_level(run: Path, tmp_path: Path) -> None:
    figures, folder = tmp_path / "figures.json", tmp_path / "page"
    command = ["eval", str(run), "evaluation.episodes=2", "evaluation.level=2"]
    assert main([*command, "--json", str(figures), "--explain", str(folder)]) == 0
    found = json.loads(figures.read_text())["metrics"]
    levels = [found[f"reach.level_{level}.return"] for level in range(4)]
    assert [level["n"] for level in levels] == [2] * 4
    assert levels[2]["value"] == found["reach.return"]["value"]
    assert len({level["value"] for level in levels}) == 4
    assert "--explain" in levels[0]["command"]
    assert "--explain" not in found["reach.return"]["command"]
    page = (folder / "report.html").read_text()
    assert "data:video/mp4" in page
    assert all(f"level {level}" in page for level in range(4))
    for name in ("film.mp4", "config.yaml"):
        assert (folder / name).is_file()


def test_eval_takes_over_how_a_policy_samples_and_refuses_what_its_weights_depend_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    returns = []
    for number, change in enumerate(("temperature=0.0", "temperature=1.0", "steps=9")):
        file = tmp_path / f"{number}.jsonl"
        words = ["evaluation.episodes=2", f"policy.sc_vla.{change}", "--episodes", str(file)]
        assert main(["eval", str(run), *words]) == 0
        returns.append(json.loads(file.read_text().splitlines()[0])["return"])
    assert len(set(returns)) == 3
    assert main(["eval", str(run), "policy.sc_vla.width=64"]) == 2
    assert "policy.sc_vla.temperature" in capsys.readouterr().err


def test_eval_of_disturbances_and_of_another_arm(run: Path, tmp_path: Path) -> None:
    file, few = tmp_path / "figures.json", "evaluation.episodes=2"
    names = []
    for number, change in enumerate(("disturbance=moved", "disturbance=delay", "robot=xarm6",
                                     "robot=kuka", "robot=so101")):  # fmt: skip
        episodes = tmp_path / f"{number}.jsonl"
        words = [few, f"task.{change}", "--json", str(file), "--episodes", str(episodes)]
        words += ["--key", "reach.other"] if "robot" in change else []
        assert main(["eval", str(run), *words]) == 0
        names.append(json.loads(episodes.read_text().splitlines()[0])["id"])
    assert names == ["panda-reach-0-0"] * 2 + [f"{r}-reach-0-0" for r in ("xarm6", "kuka", "so101")]
    figures = set(json.loads(file.read_text())["metrics"])
    assert {"reach.moved.success", "reach.delay.success", "reach.other.success"} <= figures
    assert "reach.success" not in figures


def test_a_policy_learns_from_a_humanoid_of_another_laboratory(shared_data, tmp_path: Path) -> None:
    archive = shared_data("arm") / "gr1_picknplace_lerobot_v2.tar.xz"
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    sets = DemonstrationConfig(sets=(str(tmp_path / "robot_sim.PickNPlace"),))
    policy = replace(POLICY, sc_vla=replace(POLICY.sc_vla, imagination=False))
    settings = miniature(tasks=(), demonstrations=sets, policy=policy,
                         train=replace(LOOP, steps=4, batch_size=2))  # fmt: skip
    result = train(settings, tmp_path / "run", quiet=True)
    assert 0 < result["action_error"] < 2
    inputs = load_policy(tmp_path / "run").inputs
    assert (inputs.cameras, inputs.image, inputs.state) == (("ego_view",), (256, 256), 44)
    with pytest.raises(ConfigError, match="imagination needs states of 8 numbers"):
        train(replace(settings, policy=POLICY), tmp_path / "other", quiet=True)


def test_a_policy_learns_from_a_robot_that_is_not_simulated(tmp_path: Path, capsys) -> None:
    made = make_set(tmp_path / "set")
    settings = miniature(
        tasks=(), demonstrations=DemonstrationConfig(sets=(str(made),)),
        train=replace(LOOP, steps=4, validate_every=2),
    )  # fmt: skip
    result = train(settings, tmp_path / "run", quiet=True)
    assert "success" not in result
    assert open_checkpoint(tmp_path / "run").meta["score"] == -result["action_error"]
    assert load_policy(tmp_path / "run").inputs.image == (64, 64)
    assert "not simulated here" in refused(capsys, str(tmp_path / "run"))
    with pytest.raises(CheckpointError, match=r"was made for .*\(64, 64\).*the task has"):
        train(replace(settings, tasks=("reach",), demonstrations=DemonstrationConfig(
            folder=str(folder_of(made, tmp_path)))), tmp_path / "other", quiet=True)  # fmt: skip


def test_a_policy_that_learned_from_sets_alone_is_judged_at_a_task_of_its_kind(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = DemonstrationConfig(sets=(str(run / "demonstrations" / "panda_reach"),))
    settings = miniature(tasks=(), demonstrations=recorded,
                         train=replace(LOOP, steps=2, validate_every=2))  # fmt: skip
    train(settings, tmp_path / "run", quiet=True)
    assert "tasks=[pick]" in refused(capsys, str(tmp_path / "run"))
    assert main(["eval", str(tmp_path / "run"), "tasks=[reach]", "evaluation.episodes=2"]) == 0
    assert "success" in capsys.readouterr().out


def folder_of(made: Path, root: Path) -> Path:
    """A folder of demonstrations that holds a set as that of the task."""
    shutil.copytree(made, root / "demonstrations" / "panda_reach")
    return root / "demonstrations"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["eval", *words]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_judged_is_refused(run: Path, tmp_path: Path, capsys) -> None:
    said = refused(capsys, str(run), "task.control=joint_position")
    assert "leave task.observation=rgb and task.control=ee_delta" in said
    assert "policy was made for" in refused(capsys, str(run), "task.width=48")
    assert "nothing to evaluate yet" in refused(capsys, "manip/sc_vla_pick")
    assert "only policies of arms" in refused(capsys, "nav/explore", "--video", "x.mp4")
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_is_absent_is_said_before_anything_is_recorded(tmp_path: Path) -> None:
    policy = replace(POLICY, backbone=BackboneConfig(name=str(tmp_path / "absent")))
    with pytest.raises(WeightsError, match="absent"):
        train(miniature(policy=policy), tmp_path / "run", quiet=True)
    assert not list(tmp_path.rglob("demonstrations"))


def test_a_used_folder_and_another_configuration_are_refused(run: Path) -> None:
    with pytest.raises(CheckpointError, match="already holds a training run"):
        train(miniature(), run, quiet=True)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(miniature(seed=1), run, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: miniature(tasks=("reach", "reach")), "name each task once"),
        (lambda: miniature(tasks=()), "needs data sets to learn from"),
        (lambda: miniature(tasks=("reech",)), "did you mean 'reach'"),
        (lambda: miniature(task=replace(TASK, observation="state")), "observation=rgb"),
        (lambda: ManipulationLoop(steps=120), "multiple of train.log_every"),
        (lambda: ManipulationLoop(precision="float16"), "did you mean 'bfloat16'"),
        (lambda: ManipulationEvaluation(seed=499_950), "must not exceed"),
        (lambda: DemonstrationConfig(episodes=0), "at least 1"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(made, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made()


@pytest.mark.parametrize(
    ("recipe", "method", "tasks"),
    [("sc_vla_pick", "sc_vla", 1), ("act_pick", "act", 1), ("diffusion_pick", "diffusion", 1),
     ("sc_vla_multi", "sc_vla", 5)],
)  # fmt: skip
def test_recipes_take_overrides_of_their_task(recipe: str, method: str, tasks: int) -> None:
    words = ["task.level=2", "task.width=64"]
    settings = configuration.load(ManipulationTraining, f"manip/{recipe}", words)
    assert (settings.policy.method, len(settings.tasks)) == (method, tasks)
    assert (settings.task.level, settings.task.observation) == (2, "rgb")


def test_the_learning_rate_rises_and_falls() -> None:
    loop = ManipulationLoop(steps=1000, warmup_steps=100, learning_rate=1.0, final_lr_ratio=0.1)
    rates = [loop.get_learning_rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 101)
    assert max(rates) == rates[100] == pytest.approx(1.0)
    assert rates[550] == pytest.approx(0.55, abs=0.01)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)
