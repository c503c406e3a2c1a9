"""Online refinement end to end: refined, resumed, exported, judged beside its base."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="data sets need pyarrow")
pytest.importorskip("pybullet", reason="the tasks need pybullet")

from embodied import config as configuration  # noqa: E402
from embodied.cli.main import main  # noqa: E402
from embodied.errors import CheckpointError, ConfigError  # noqa: E402
from embodied.policies.chunk.residual import ResidualConfig, ResidualPolicy  # noqa: E402
from embodied.serving.checkpoint import ServedCheckpoint  # noqa: E402
from embodied.tasks.tabletop import TabletopVectorEnv  # noqa: E402
from embodied.training.checkpoint import load_policy, open_checkpoint  # noqa: E402
from embodied.training.log import read_metrics  # noqa: E402
from embodied.training.manipulation import trainer  # noqa: E402
from embodied.training.manipulation.refinement import complete_config, summarise_episodes, train  # noqa: E402
from embodied.training.manipulation.refinement_config import (  # noqa: E402
    RefinementLoop,
    RefinementTraining,
)
from embodied.training.sac import SacConfig  # noqa: E402
from tests.training.manipulation.miniature import LOOP, POLICY, TASK, miniature  # noqa: E402

CLOCKS = ("cpu_seconds", "seconds", "learn_seconds", "validate_seconds")
REFINEMENT = {
    "refinement": {"steps": 144, "envs": 2, "warmup": 24, "ramp": 40, "log_every": 12,
                   "validate_every": 48, "validate_episodes": 2, "validate_envs": 2, "keep": 9},
    "sac": {"batch": 16, "width": 16, "capacity": 100, "actor_rate": 0.01},
    "residual": {"width": 16, "position": 0.5},
    "evaluation": {"episodes": 3, "envs": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "base"
    loop = replace(LOOP, validate_every=12, keep=1)
    trainer.train(miniature(train=loop), folder, quiet=True)
    return folder


def settings(base: Path, **changes) -> RefinementTraining:
    tree = configuration.merge(REFINEMENT, changes)
    return configuration.build(RefinementTraining, complete_config({"base": str(base), **tree}))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined") / "reach"
    train(settings(base), folder, quiet=True)
    return folder


def curve(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(folder)]


def test_a_run_leaves_everything_needed_to_repeat_and_judge_it(run: Path, base: Path) -> None:
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == list(range(12, 145, 12))
    assert [row["phase"] for row in rows] == ["base"] * 2 + ["refinement"] * 10
    assert [row["step"] for row in rows if "val_success" in row] == [48, 96, 144]
    assert {"base_success", "base_throughput"} <= set(rows[0])
    assert {"critic_loss", "entropy", "temperature", "val_throughput", "val_steps_to_success",
            "val_violations_force"} <= set(rows[-1])  # fmt: skip
    explored = [row for row in rows if "success" in row]  # in which an episode ended
    assert explored
    assert {"throughput", "steps_to_success", "violations_workspace", "violations_velocity",
            "violations_force"} <= set(explored[0])  # fmt: skip
    assert rows[-1]["amplitude"] == 1.0
    stored = configuration.load(RefinementTraining, run / "config.yaml")
    assert stored == settings(base)
    assert (stored.task, stored.policy, stored.tasks) == (TASK, POLICY, ("reach",))


def test_a_run_resumed_anywhere_repeats_the_curve(run: Path, base: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(run, tmp_path / "again"))
    (again / "checkpoints" / "latest").write_text("00000004\n")  # a third of the way
    for name in ("00000008", "00000012"):
        shutil.rmtree(again / "checkpoints" / name)
    train(settings(base), again, resume=True, quiet=True)
    assert curve(again) == curve(run)
    first, second = (open_checkpoint(folder).meta["files"] for folder in (run, again))
    assert first == second  # the weights, the critics, the replay


def play_along(policy, steps: int = 30) -> np.ndarray:
    """Return states, and actions as the environment takes them, of two environments."""
    torch.set_num_threads(1)
    env = TabletopVectorEnv(2, TASK)
    observation, _ = env.reset(seed=4)
    policy.seed(4)
    track, first = [], np.ones(2, bool)
    for _ in range(steps):
        action = policy.act(observation, first)
        track.append(np.concatenate([observation["state"], np.clip(action, -1, 1)], axis=1))
        observation, _, ended, cut, _ = env.step(action)
        first = ended | cut
    env.close()
    return np.array(track)


@pytest.mark.parametrize("amplitude", [0.0, 1.0])
def test_a_new_residual_plays_what_the_base_plays(base: Path, amplitude: float) -> None:
    alone = play_along(load_policy(base))
    policy = ResidualPolicy(load_policy(base), ResidualConfig())
    policy.amplitude = amplitude
    assert np.array_equal(play_along(policy), alone)
    policy.actor.output.bias.data.fill_(1.0)
    assert np.array_equal(play_along(policy), alone) == (amplitude == 0)


def test_one_checkpoint_holds_base_and_actor(run: Path, base: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run, tmp_path / "elsewhere"))
    policy = load_policy(moved)
    assert isinstance(policy, ResidualPolicy)
    assert policy.amplitude == 1.0
    assert policy.normalization == load_policy(base).normalization
    assert np.array_equal(play_along(policy), play_along(load_policy(run)))
    assert not np.array_equal(play_along(policy), play_along(load_policy(base)))
    own, of_base = policy.network.state_dict(), load_policy(base).network.state_dict()
    for name, values in of_base.items():
        assert torch.equal(own[name], values)


def test_it_answers_the_same_in_every_way_it_may_be_asked(run: Path) -> None:
    env = TabletopVectorEnv(1, TASK)
    seen, _ = env.reset(seed=0)
    answers = []
    for ask in ("act", "select_action", "predict_action_chunk", "served"):
        policy = load_policy(run)
        policy.seed(0)
        batch = policy.inputs.build_batch(seen, policy.device)
        if ask == "act":
            answers.append(policy.act(seen, np.ones(1, bool)))
        elif ask == "served":
            served = ServedCheckpoint(policy, {})
            answers.append(served.infer({n: v[0] for n, v in seen.items()})["actions"])
        else:
            answers.append(getattr(policy, ask)(batch).numpy().reshape(-1, 7))
    for answer in answers[1:]:
        assert np.array_equal(answer[:1], answers[0])
    # A whole chunk, for who cannot ask before every step: corrected first, and then the base's.
    policy.seed(0)
    chunk, of_base = answers[2], policy.base.predict_action_chunk(batch)[0].numpy()
    differs = np.abs(chunk - of_base).max(axis=1) > 0
    assert list(np.flatnonzero(differs)) == list(range(policy.n_action_steps))
    env.close()


def test_eval_judges_it_beside_its_base(run: Path, base: Path, tmp_path: Path, capsys) -> None:
    files = [tmp_path / name for name in ("figures.json", "episodes.jsonl", "film.mp4")]
    command = ["eval", str(run), "--json", files[0], "--episodes", files[1], "--video", files[2]]
    assert main([str(word) for word in command]) == 0
    figures = json.loads(files[0].read_text())["metrics"]
    value = {name: figure["value"] for name, figure in figures.items()}
    assert value["reach.gain.steps"] == pytest.approx(
        value["reach.steps"] - value["reach.base.steps"]
    )
    assert "reach.gain.success" in figures
    assert files[2].stat().st_size > 1000
    of_base = tmp_path / "base.jsonl"
    assert main(["eval", str(base), "--episodes", str(of_base)]) == 0
    steps = [json.loads(line)["steps"] for line in of_base.read_text().splitlines()]
    assert np.mean(steps) == value["reach.base.steps"]
    assert "base.success" in capsys.readouterr().out
    assert main(["compare", str(files[1]), "--against", str(of_base)]) == 0


@pytest.mark.parametrize("guidance", ["none", "no_decay", "oracle"])
def test_every_guidance_runs(base: Path, tmp_path: Path, guidance: str) -> None:
    short = {"steps": 48, "guidance": guidance}
    result = train(settings(base, refinement=short), tmp_path / "run", quiet=True)
    assert np.isfinite(result["critic_loss"])
    assert (result["guidance"] == 0) == (guidance == "none")
    assert abs(result["guidance"]) <= 1


def test_a_base_without_imagination_is_refined_without_guidance(base: Path, tmp_path: Path) -> None:
    plain = miniature(
        policy=replace(POLICY, method="act"), train=replace(LOOP, steps=2, validate_every=2),
        demonstrations=replace(miniature().demonstrations, folder=str(base / "demonstrations")),
    )  # fmt: skip
    trainer.train(plain, tmp_path / "act", quiet=True)
    with pytest.raises(ConfigError, match="needs a base that imagines"):
        settings(tmp_path / "act")
    made = settings(tmp_path / "act", refinement={"steps": 48, "guidance": "none"})
    assert train(made, tmp_path / "run", quiet=True)["step"] == 48
    assert load_policy(tmp_path / "run").imagines is False


def test_the_recipe_takes_over_task_and_policy(base: Path, tmp_path: Path) -> None:
    words = [f"{part}.{name}={value}" for part, values in REFINEMENT.items()
             for name, value in values.items()]  # fmt: skip
    words += ["refinement.steps=48", "tasks=[reach]", "which=latest", f"base={base}"]
    run = tmp_path / "run"
    assert main(["train", "manip/refine_pick", *words, "--run", str(run)]) == 0
    made = configuration.load(RefinementTraining, run / "config.yaml")
    assert (made.task.width, made.policy.chunk_size) == (32, 8)
    assert main(["train", "manip/refine_pick", *words, "--run", str(run)]) == 2  # there already


def test_what_cannot_be_refined_is_refused(base: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs the run of a trained policy"):
        complete_config({})
    with pytest.raises(ConfigError, match="run of trainer 'refinement'"):
        complete_config({"base": str(run)})
    with pytest.raises(CheckpointError, match="no checkpoint"):
        complete_config({"base": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"the base plays \['pick', 'stack'\]"):
        settings(base, tasks=["pick", "stack"])
    with pytest.raises(ConfigError, match="did you mean 'imagined'"):
        settings(base, refinement={"guidance": "imagine"})
    with pytest.raises(CheckpointError, match="another configuration"):
        train(settings(base, seed=1), run, resume=True, quiet=True)
    with pytest.raises(ConfigError, match="multiple of refinement.envs"):
        RefinementLoop(envs=3)
    with pytest.raises(ConfigError, match="not all be 0"):
        ResidualConfig(position_scale=0, rotation_scale=0)
    with pytest.raises(ConfigError, match="at least 1"):
        SacConfig(num_critics=0)


def test_figures_of_episodes_by_hand() -> None:
    episodes = [
        {"success": 1.0, "steps": 20.0, "violations_force": 3.0},
        {"success": 0.0, "steps": 60.0, "violations_force": 1.0},
        {"success": 1.0, "steps": 20.0, "violations_force": 0.0},
    ]
    found = summarise_episodes(episodes)
    assert found == pytest.approx({
        "success": 2 / 3, "steps": 100 / 3, "throughput": 20.0, "steps_to_success": 20.0,
        "violations_force": 40.0,
    })  # fmt: skip
    assert np.isnan(summarise_episodes(episodes[1:2])["steps_to_success"])
    assert summarise_episodes([]) == {}


def test_the_actor_is_let_in_little_by_little() -> None:
    loop = RefinementLoop(learning_starts=1000, ramp_steps=4000)
    assert [loop.get_amplitude(step) for step in (0, 1000, 3000, 5000, 9000)] == [0, 0, 0.5, 1, 1]


def test_the_guidance_fades_in_the_course_of_the_training() -> None:
    loop = RefinementLoop(learning_starts=1000, guidance_decay_steps=4000, guidance_weight=0.6)
    found = [loop.get_guidance_weight(step) for step in (0, 1000, 3000, 5000, 9000)]
    assert found == pytest.approx([0.6, 0.6, 0.3, 0, 0])
    assert replace(loop, guidance_decay_steps=0).get_guidance_weight(9000) == 0.6
    assert replace(loop, guidance="none").get_guidance_weight(0) == 0.0
