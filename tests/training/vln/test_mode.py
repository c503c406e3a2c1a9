"""The mode selector, the ranker and the ablation on a miniature data set."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied import config as configuration
from embodied.cli.main import main
from embodied.errors import ConfigError
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.policies.vln.local_goals import FEATURES
from embodied.policies.vln.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.policies.vln.meta_explore.decision_summary import summarize_decision
from embodied.policies.vln.mode_selector import MODE_FEATURES
from embodied.rollout import evaluate_policy
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import load_source
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.vln.ablation import (
    BASE,
    compute_figures,
    list_variants,
    run_ablation,
    select_variants,
)
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.data import TrainingData
from embodied.training.vln.mode import (
    CollectedDecisions,
    DecisionRecorder,
    ModePhase,
    ModeTrainer,
    calibrate_threshold,
    collect_decisions,
)
from embodied.training.vln.mode_config import ModeConfig
from embodied.training.vln.trainer import train

SMALL = ("mode.episodes=24", "mode.epochs=2", "mode.envs=8", "mode.thresholds=[0.3, 0.6]")


def config(root: Path, *overrides: str) -> VLNTrainConfig:
    made = VLNTrainConfig(
        task=VLNConfig(dataset="reverie", data=str(root), max_objects=4, max_candidates=4),
        policy=DualScaleConfig(dropout=0.0),
        meta=MetaExploreConfig(local_goal="nearest", max_decisions=8),
    )
    return configuration.override(made, ["validation.worlds=1", *SMALL, *overrides])


@pytest.fixture(scope="module")
def data(miniature: Path) -> TrainingData:
    return TrainingData(config(miniature))


def fresh(data: TrainingData) -> DualScalePolicy:
    """An untrained agent that walks on instead of stopping at once."""
    inputs = DualScaleInputs.from_spaces(data.observation_space)
    policy = DualScalePolicy(inputs, data.vocabulary, data.config.policy, 3)
    with torch.no_grad():
        for head in (policy.network.map_head, policy.network.local_head):
            head[-1].weight.mul_(-5.0)
    return policy


def test_the_phase_trains_both_heads_and_nothing_else(data: TrainingData) -> None:
    runs = []
    for _ in range(2):
        policy = fresh(data)
        before = copy.deepcopy(policy.network.state_dict())
        phase = ModePhase(data.config, policy, data)
        optimizer = phase.build_optimizer()
        assert phase.steps == 2
        rows = [phase.run_update(optimizer, done, 11 + done) for done in range(2)]
        after = policy.network.state_dict()
        changed = {name.split(".")[0] for name in after if not after[name].equal(before[name])}
        assert changed == {"mode_head", "ranker"}
        assert 0 <= rows[0]["mode_auc"] <= 1
        assert rows[1]["threshold"] in (0.3, 0.6)
        assert "threshold" not in rows[0]
        runs.append(rows)
    assert runs[0] == runs[1]  # a resumed run goes on as the interrupted one would have


def test_rollouts_note_what_is_right(data: TrainingData) -> None:
    settings = data.config.mode
    found = collect_decisions(
        fresh(data).network, settings, data.config.meta, data.task, data.source
    )
    states, gains = found.stack_tensors()
    width = data.config.policy.sizes.width
    assert states.shape == (len(gains), 2 * width + len(MODE_FEATURES))
    assert 0 < (gains > settings.margin).float().mean() < 1  # both kinds are met
    assert found.choices
    for features, best in found.choices:
        assert features.shape[1] == len(FEATURES)
        assert 0 <= best < len(features)
    # Against stops that cost nothing, corrections look worse.
    cheap = replace(settings, wrong_stop=1e-6)
    less = collect_decisions(fresh(data).network, cheap, data.config.meta, data.task, data.source)
    assert max(less.gains) < max(found.gains)


def test_gains_are_metres_of_the_true_graph(data: TrainingData) -> None:
    """The way over the rule's place against the way over the explorer's, by hand."""
    seen: list[tuple[float, float]] = []

    class Checked(DecisionRecorder):
        def choose_record(self, index, decision, graph, episode, explore, fused):  # type: ignore[no-untyped-def]
            before = len(self.collected.gains)
            record = super().choose_record(index, decision, graph, episode, explore, fused)
            if len(self.collected.gains) > before:
                outlook = summarize_decision(
                    index, decision, graph, episode, explore, fused, self.config
                )
                scored = self.judged_goals.score_places(
                    graph, episode, outlook.distant_frontiers, decision, index
                )
                target = outlook.distant_frontiers[scored.best]
                own = decision.find_place(index, int(np.argmax(outlook.logits)))
                here, truth = graph.get_row(episode.place), episode.goal_distances
                ways = {
                    p: graph.distances[here, graph.get_row(p)] + truth[p]
                    for p in (target, own)
                    if p >= 0
                }
                stopped = 0.0 if truth[episode.place] <= 0 else truth[episode.place] + 10.0
                expected = (ways[own] if own >= 0 else stopped) - ways[target]
                seen.append((self.collected.gains[-1], expected))
            return record

    recorder = Checked(fresh(data).network, data.config.mode, data.config.meta)
    task = replace(data.task, privileged=True, canvas=True)
    env = VLNVectorEnv(4, task, source=data.source)
    evaluate_policy(recorder, env, 12, progress=False)
    assert len(seen) > 10
    for given, expected in seen:
        assert given == pytest.approx(expected)


def test_the_heads_learn_what_can_be_learnt(data: TrainingData) -> None:
    network = fresh(data).network
    width = 2 * data.config.policy.sizes.width + len(MODE_FEATURES)
    torch.manual_seed(0)

    def sample(count: int) -> CollectedDecisions:
        states = torch.randn(count, width)
        states[:, 3] *= 5
        gains = torch.where(states[:, 3] > 4.0, 3.0, -2.0).tolist()  # rare, and plain to see
        choices = []
        for _ in range(count):
            features = torch.randn(5, len(FEATURES))
            choices.append((features, int(features[:, 8].argmin())))
        return CollectedDecisions(list(states), gains, choices)

    settings = ModeConfig(batch_size=64, learning_rate=3e-3)
    trainer = ModeTrainer(network, sample(3000), sample(300), settings)
    heads = [*network.mode_head.parameters(), *network.ranker.parameters()]
    optimizer = torch.optim.AdamW(heads, lr=settings.learning_rate)
    before = trainer.measure_held_out()
    rows = [trainer.run_epoch(optimizer, seed) for seed in range(15)]
    assert before["mode_auc"] < 0.8 < 0.9 < rows[-1]["mode_auc"]
    assert before["rank_top1"] < 0.6 < 0.85 < rows[-1]["rank_top1"]
    assert rows[-1]["mode_loss"] < rows[0]["mode_loss"]
    assert abs(rows[-1]["mode_share"] - rows[-1]["mode_label_share"]) < 0.15


def test_the_shifted_bias_acts_like_the_winning_threshold(data: TrainingData) -> None:
    network, meta = fresh(data).network, data.config.meta
    states = torch.randn(400, 2 * data.config.policy.sizes.width + len(MODE_FEATURES)) * 3

    @torch.no_grad()
    def exploring() -> torch.Tensor:
        return torch.sigmoid(-network.mode_head.eval()(states))

    before = exploring()
    assert ((before > 0.5) & (before < 0.6)).any()
    settings = replace(data.config.mode, thresholds=(0.6,))
    found = calibrate_threshold(network, settings, meta, data.task, data.validation_source)
    assert found["threshold"] == 0.6
    assert ((exploring() < meta.threshold) == (before < 0.6)).all()
    policy = MetaExplorePolicy(network, meta)
    env = VLNVectorEnv(4, data.task, source=data.validation_source)
    played = evaluate_policy(policy, env, len(data.validation_source.episodes), progress=False)
    assert found["held_out_spl"] == pytest.approx(np.mean([e["spl"] for e in played]))


def test_all_variants_play_the_same_episodes(miniature: Path, data: TrainingData) -> None:
    task = replace(data.task, split="val_unseen")
    # Correcting wherever it is possible: an untrained explorer rarely errs in the label's sense.
    known = list_variants(replace(data.config.meta, threshold=1.0))
    chosen = select_variants("A3, A5, A7, global, anti_loop, sos_oracle_view", known)
    assert list(chosen)[0] == BASE
    assert {"nearest.learned", "sos.oracle", "oracle.oracle", "global"} <= set(chosen)
    outcomes = list(run_ablation(fresh(data).network, task, load_source(task), chosen, envs=5))
    assert [o.name for o in outcomes] == list(chosen)
    count = len(load_source(task).episodes)
    assert all(len(o.episodes) == count for o in outcomes)
    found = compute_figures(outcomes)
    by_name = {o.name: o for o in outcomes}
    gain = found["nearest.learned.gain.spl"]
    pair = by_name["nearest.learned"].get_values("spl") - by_name[BASE].get_values("spl")
    assert gain.value == pytest.approx(pair.mean())
    assert gain.ci95[0] <= gain.value <= gain.ci95[1]
    assert f"{BASE}.gain.spl" not in found
    assert found[f"{BASE}.exploit_share"].value == 0
    assert found["nearest.learned.exploit_share"].value > 0
    assert "mode_auc" not in by_name[BASE].costs
    again = list(
        run_ablation(fresh(data).network, task, load_source(task), {BASE: known[BASE]}, envs=3)
    )
    drop = ("return", "episode")  # the order of the batch changes neither result nor order
    for a, b in zip(by_name[BASE].episodes, again[0].episodes, strict=True):
        assert {k: v for k, v in a.items() if k not in drop} == {
            k: v for k, v in b.items() if k not in drop
        }


def test_every_ablation_of_the_paper_has_a_name() -> None:
    known = list_variants(MetaExploreConfig())
    for code in ("A0", "A1", "A2", "A3", "A4", "A5", "A6", "A7"):
        assert len(select_variants(code, known)) == (1 if code == "A0" else 3)
    with pytest.raises(ConfigError, match="nearest"):
        select_variants("neerest", known)
    readers = {
        name for name, c in known.items() if c.oracle_sos or "oracle" in (c.mode, c.local_goal)
    }
    assert readers == {name for name in known if "oracle" in name}


def test_the_command(miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = config(
        miniature, "finetune.steps=1", "finetune.batch_size=2", "train.phases=[finetune, mode]",
        "validation.episodes=4",
    )  # fmt: skip
    run, file = tmp_path / "run", tmp_path / "figures.json"
    row = train(made, run, quiet=True)
    assert row["phase"] == "mode"
    words = ["ablate", str(run), "--variants", "A3,global", "--json", str(file)]
    assert main([*words, "meta.max_decisions=5"]) == 0
    shown = capsys.readouterr().out
    assert "nearest.learned" in shown
    assert "gain in SPL" in shown
    found = json.loads(file.read_text())["metrics"]
    key = "ablation.reverie.val_unseen.nearest.learned.gain.success"
    assert found[key]["n"] == 12
    assert "--variants A3,global" in found[key]["command"]
    assert main(["ablate", str(run), "--variants", "A9"]) == 2
    assert main(["ablate", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "mode.epochs"),
        ({"temperature": 0.0}, "mode.temperature"),
        ({"astray": 2.0}, "mode.astray"),
        ({"wrong_stop": 0.0}, "mode.wrong_stop"),
        ({"thresholds": (0.0, 0.5)}, "mode.thresholds"),
    ],
)
def test_unusable_settings(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModeConfig(**options)
