from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from graph_toy import TEXTS, VOCABULARY, WIDTH, GraphToy, tiny

from embodied.policies.base import Policy
from embodied.policies.vln.dual_scale import (
    Decision,
    DualScaleConfig,
    DualScaleInputs,
    DualScaleNetwork,
    DualScalePolicy,
)


class Play:
    """Agents in a toy world; an episode that ends begins again at the same place."""

    def __init__(self, world: GraphToy, starts: list[int], texts: list[str]) -> None:
        self.world, self.starts, self.texts = world, starts, texts
        self.places = list(starts)
        self.first = np.ones(len(starts), bool)
        self.walks = [[start] for start in starts]
        self.answers: list[list[int]] = [[] for _ in starts]

    def step(self, policy: DualScalePolicy) -> np.ndarray:
        observed = self.world.observe(self.places, self.starts, self.texts)
        actions = policy.act(observed, self.first)
        assert actions.shape == (len(self.places), 2)
        for b, (move, named) in enumerate(actions.tolist()):
            self.first[b] = move == 0
            if move == 0:
                ids = self.world.objects[self.places[b]]
                self.answers[b].append(int(ids[named - 1]) if named else -1)
                self.places[b] = self.starts[b]
                self.walks[b].append(-1)
            else:
                assert named == 0
                self.places[b] = int(observed["candidates"][b, move - 1])
                assert self.places[b] >= 0
            self.walks[b].append(self.places[b])
        return actions


class Scripted(DualScalePolicy):
    """Goes where it is told; counts decisions."""

    script: list[int]
    asked: int = 0

    def choose_places(self, decision: Decision) -> list[int]:
        self.asked += 1
        return [self.script.pop(0)]


def scripted(script: list[int], **options: Any) -> Scripted:
    network = tiny(**options)
    policy = Scripted(network.inputs, VOCABULARY, network=network)
    policy.script = script
    return policy


def line(count: int = 6) -> GraphToy:
    """Places 0 - 1 - 2 - ... in a row, 2 m apart, one object each (id = 10 + place)."""
    world = GraphToy(count)
    world.positions = np.arange(count)[:, None] * np.array([2.0, 0.0, 0.0])
    world.joined = np.abs(np.arange(count)[:, None] - np.arange(count)) == 1
    world.objects = [np.array([10 + place]) for place in range(count)]
    return world


def test_a_jump_is_walked_hop_by_hop_without_asking_the_network() -> None:
    world = line()
    policy = scripted([3, 4, 1, 5, -1], return_to_best=False)
    play = Play(world, [2], [TEXTS[0]])
    while not play.answers[0]:
        play.step(policy)
    # From 4 the frontier 1 lies three hops back, then 5 four hops ahead again.
    assert play.walks[0] == [2, 3, 4, 3, 2, 1, 2, 3, 4, 5, -1, 2]
    assert policy.asked == 5
    assert play.answers[0] == [15]
    assert isinstance(policy, Policy)


def test_at_the_end_it_goes_to_the_place_where_stopping_looked_best() -> None:
    world = line()
    policy = scripted([3, 4, -1])
    play = Play(world, [2], [TEXTS[0]])
    play.step(policy)
    play.step(policy)
    assert set(policy.stop_memory[0]) == {2, 3}
    assert all(0 < chance < 1 for chance, _ in policy.stop_memory[0].values())
    policy.stop_memory[0][2] = 2.0, policy.stop_memory[0][2][1]
    while not play.answers[0]:
        play.step(policy)
    assert play.walks[0] == [2, 3, 4, 3, 2, -1, 2]
    assert play.answers[0] == [12]  # what was best there, not where STOP was chosen
    assert policy.asked == 3


def test_it_remembers_the_probability_of_stopping_and_the_best_object() -> None:
    network, world = tiny(), GraphToy()
    policy = DualScalePolicy(network.inputs, VOCABULARY, network=network)
    rich = int(np.argmax([len(ids) for ids in world.objects]))
    policy.act(world.observe([rich], [rich]), np.ones(1, bool))
    state = policy.state.__class__(network, 1)
    state.begin_episodes([0], [TEXTS[0]])
    state.observe(world.observe([rich], [rich]))
    decision = state.score_choices()
    chance, best = policy.stop_memory[0][rich]
    assert chance == pytest.approx(torch.softmax(decision.fused, -1)[0, 0].item())
    assert best == world.objects[rich][decision.objects[0].argmax().item()]


def test_it_stops_when_nothing_is_left_or_after_all_decisions() -> None:
    world = line(2)
    never = tiny(return_to_best=False)
    policy = DualScalePolicy(never.inputs, VOCABULARY, network=never)
    with torch.no_grad():  # never choose STOP as long as there is anything else
        policy.network.map_head[-1].weight.zero_()
        policy.network.local_head[-1].weight.zero_()
    original = policy.choose_places
    policy.choose_places = (
        lambda d: [  # type: ignore[method-assign]
            d.find_place(b, int(d.fused[b, 1:].argmax()) + 1)
            if d.fused[b, 1:].isfinite().any()
            else p
            for b, p in enumerate(original(d))
        ]
    )
    play = Play(world, [0], [TEXTS[0]])
    while not play.answers[0]:
        play.step(policy)
    assert play.walks[0] == [0, 1, -1, 0]

    limited = scripted([1, 2, 3, 4], max_decisions=3, return_to_best=False)
    play = Play(line(), [0], [TEXTS[0]])
    while not play.answers[0]:
        play.step(limited)
    assert play.walks[0] == [0, 1, 2, -1, 0]  # the third decision ends it, whatever it says
    assert limited.asked == 3


def test_a_batch_acts_as_each_alone() -> None:
    world = GraphToy(20, seed=3)
    starts, texts = [0, 5, 9], [TEXTS[0], TEXTS[1], TEXTS[3]]
    network = tiny(seed=4, max_decisions=4)
    together = Play(world, starts, texts)
    policy = DualScalePolicy(network.inputs, VOCABULARY, network=network)
    for _ in range(30):  # several episodes each, ending at different times
        together.step(policy)
    assert len({len(answers) for answers in together.answers}) >= 1
    assert all(together.answers)
    for b in range(3):
        alone = Play(world, starts[b : b + 1], texts[b : b + 1])
        single = DualScalePolicy(network.inputs, VOCABULARY, network=network)
        for _ in range(30):
            alone.step(single)
        assert alone.walks[0] == together.walks[b]
        assert alone.answers[0] == together.answers[b]


def test_sampled_actions_follow_the_seed() -> None:
    world, config = GraphToy(20, seed=3), DualScaleConfig(temperature=1.0)
    walks = []
    for seed in (1, 1, 2):
        play = Play(world, [0, 1, 2, 3], list(TEXTS))
        policy = DualScalePolicy(DualScaleInputs(WIDTH), VOCABULARY, config, seed=7)
        policy.generator.manual_seed(seed)
        for _ in range(12):
            play.step(policy)
        walks.append(play.walks)
    assert walks[0] == walks[1]
    assert walks[0] != walks[2]


def test_a_way_that_is_gone_is_decided_anew() -> None:
    world = line()
    policy = scripted([3, 1, -1], return_to_best=False)
    play = Play(world, [2], [TEXTS[0]])
    play.step(policy)
    play.step(policy)  # on the way from 3 over 2 to 1
    assert play.places == [2]
    assert policy.remaining_path[0] == [1]
    play.places = [4]  # slipped
    play.step(policy)
    assert policy.asked == 3
    assert play.answers[0] == [14]


def test_acting_does_not_drop_out_and_leaves_the_network_as_it_was() -> None:
    world = GraphToy()
    network = tiny(dropout=0.5).train()
    policy = DualScalePolicy(network.inputs, VOCABULARY, network=network)
    chances = []
    for _ in range(2):
        policy.act(world.observe([3], [3]), np.ones(1, bool))
        chances.append(policy.stop_memory[0][3][0])
    assert chances[0] == chances[1]
    assert network.training
    assert isinstance(policy.network, DualScaleNetwork)
