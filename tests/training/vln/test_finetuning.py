"""Walking, labelling and drawing: against closed forms and brute force."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied import config as configuration
from embodied.errors import ConfigError
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs, DualScaleState
from embodied.policies.vln.dual_scale.experts import ExpertMemory
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.tasks.vln.config import VLNConfig
from embodied.training.vln.config import AdamConfig, FinetuneConfig, VLNTrainConfig
from embodied.training.vln.data import TrainingData, select_evenly
from embodied.training.vln.finetuning import Finetuning, draw_decisions
from embodied.training.vln.optimizer import make_optimizer


def config(miniature: Path, *overrides: str) -> VLNTrainConfig:
    made = VLNTrainConfig(
        task=VLNConfig(dataset="reverie", data=str(miniature), max_objects=4, max_candidates=4),
        policy=DualScaleConfig(dropout=0.0),
    )
    return configuration.override(made, ["validation.worlds=1", *overrides])


@pytest.fixture(scope="module")
def data(miniature: Path) -> TrainingData:
    return TrainingData(config(miniature))


def policy_for(data: TrainingData) -> DualScalePolicy:
    inputs = DualScaleInputs.from_spaces(data.observation_space)
    return DualScalePolicy(inputs, data.vocabulary, data.config.policy, 0)


def test_whole_worlds_are_held_out(data: TrainingData) -> None:
    assert {e.world for e in data.source.episodes} == {"alpha", "beta"}
    assert {e.world for e in data.validation_source.episodes} == {"gamma"}
    assert {"chair", "lamp", "clean"} <= set(data.vocabulary.words)


def test_holding_everything_out_is_refused(miniature: Path) -> None:
    with pytest.raises(ConfigError, match=r"validation\.worlds = 3 leaves none of the 3"):
        TrainingData(config(miniature, "validation.worlds=3"))


def test_every_episode_is_drawn_once_before_any_twice(data: TrainingData) -> None:
    total = len(data.source.episodes)
    drawn_ones = [i for update in range(2 * total // 8) for i in data.draw_episodes(update, 8)]
    assert set(Counter(drawn_ones).values()) == {2}
    assert data.draw_episodes(3, 8) == data.draw_episodes(3, 8)
    assert drawn_ones[:total] != drawn_ones[total:]


def test_evenly_takes_first_and_last() -> None:
    assert select_evenly(list("abcdefg"), 3) == ["a", "d", "g"]
    assert select_evenly(list("ab"), 0) == ["a", "b"]


def test_walkers_follow_a_path_and_look_where_they_went(data: TrainingData) -> None:
    walkers = data.get_walkers(2)
    walkers.begin_episodes([0, 1], [0, 5])
    for row, number in ((0, 0), (1, 5)):
        episode = data.get_episode(number)
        walkers.walk_path(row, episode.path[1:])
        assert walkers.walks[row] == list(episode.path)
        assert walkers.observe([row])["goal_distance"][0] == 0.0
        assert walkers.compute_metrics(row)["success"] == 1.0


def test_another_aim_moves_the_expert(data: TrainingData) -> None:
    walkers = data.get_walkers(2)
    walkers.begin_episodes([0, 1], [0, 1])
    start = data.get_episode(0).start
    walkers.set_goals(0, [start])
    assert walkers.observe([0])["goal_distance"][0] == 0.0
    walkers.begin_episodes([0], [0])
    assert walkers.observe([0])["goal_distance"][0] > 0.0


def test_drawn_places_follow_the_softmax_and_never_stop(data: TrainingData) -> None:
    walkers = data.get_walkers(2)
    walkers.begin_episodes([0, 1], [0, 1])
    policy = policy_for(data)
    state = DualScaleState(policy.network.eval(), 2)
    state.begin_episodes([0, 1], [data.get_episode(i).instruction for i in (0, 1)])
    with torch.no_grad():
        state.observe(walkers.observe([0, 1]))
        decision = state.score_choices()
    for single, logits in ((False, decision.fused), (True, decision.explore)):
        odds = logits.clone()
        odds[:, 0] = -torch.inf
        odds = torch.softmax(odds, -1)
        rng = np.random.default_rng(0)
        count = 3000
        columns = np.stack(
            [draw_decisions(decision, np.full(2, single), rng) for _ in range(count)]
        )
        assert (columns > 0).all()
        for row in range(2):
            seen = np.bincount(columns[:, row], minlength=odds.shape[1]) / count
            np.testing.assert_allclose(seen, odds[row].numpy(), atol=0.04)


def test_the_taught_walk_is_the_shortest_way_and_costs_one_decision_per_place(
    data: TrainingData,
) -> None:
    phase = Finetuning(data.config, policy_for(data), data)
    episodes = [0, 3, 7, 9]
    goals = [data.get_episode(n).goals for n in episodes]
    walk = phase._walk(episodes, goals, np.random.default_rng(0), taught=True)
    lengths = [len(data.get_episode(n).path) for n in episodes]
    assert walk.figures["arrived"] == 1.0
    assert walk.figures["decisions"] == np.mean(lengths)
    walkers = data.get_walkers(4)
    for row, number in enumerate(episodes):
        assert len(walkers.walks[row]) == len(data.get_episode(number).path)
        assert walkers.walks[row][-1] in data.get_episode(number).goals


def test_labels_are_the_expert_s_by_brute_force(data: TrainingData) -> None:
    """Random walks; the label must minimise walked plus true distance over all choices."""
    rng = np.random.default_rng(1)
    walkers, policy = data.get_walkers(4), policy_for(data)
    episodes = data.draw_episodes(0, 4)
    walkers.begin_episodes(range(4), episodes)
    state, expert = DualScaleState(policy.network.eval(), 4), ExpertMemory(4)
    state.begin_episodes(range(4), [data.get_episode(n).instruction for n in episodes])
    for _ in range(5):
        observations = walkers.observe()
        with torch.no_grad():
            state.observe(observations)
            decision = state.score_choices()
        expert.observe(observations)
        labels = expert.compute_labels(decision, state.graphs)
        for row, number in enumerate(episodes):
            world, here = walkers.get_world(row), int(walkers.places[row])
            true = world.distances[:, list(data.get_episode(number).goals)].min(axis=1)
            graph = state.graphs[row]
            label = decision.find_place(row, int(labels.fused[row]))
            if true[here] == 0:
                assert label == -1
                continue
            cost = {
                place: graph.distances[graph.current, graph.get_row(place)] + true[place]
                for place in graph.list_frontiers()
            }
            assert cost[label] == pytest.approx(min(cost.values()))
            near = world.neighbours[here]
            best = min(world.distances[here, n] + true[n] for n in near)
            chosen = decision.find_place(row, int(labels.explore[row]))
            assert world.distances[here, chosen] + true[chosen] == pytest.approx(best)
            walkers.walk_path(row, [int(rng.choice(near))])


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="both 0"):
        FinetuneConfig(teacher_weight=0.0, sample_weight=0.0)
    with pytest.raises(ConfigError, match="did you mean 'mixed'"):
        FinetuneConfig(walk="mixd")


def test_the_learning_rate_rises_and_falls_linearly() -> None:
    adam = AdamConfig(learning_rate=1.0, warmup_steps=4, final_lr_ratio=0.2)
    rates = [adam.get_learning_rate(done, 20) for done in range(20)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(rates[4:], 1 - 0.8 * np.arange(16) / 16)


def test_decay_pulls_at_matrices_only(data: TrainingData) -> None:
    network = policy_for(data).network
    optimizer = make_optimizer(network, AdamConfig(weight_decay=0.3))
    decayed, free = (group["params"] for group in optimizer.param_groups)
    assert all(p.ndim == 2 for p in decayed)
    assert any(p is network.text.words.weight for p in free)
    everything = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in [*decayed, *free]) == everything
