"""Meta-Explore on a random graph world: modes, local goals, walks, stops, traces."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from graph_toy import TEXTS, GraphToy, tiny

from embodied.errors import ConfigError
from embodied.policies.base import Policy
from embodied.policies.vln.dual_scale import DualScaleNetwork
from embodied.policies.vln.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.policies.vln.meta_explore.config import MODES, NETWORK
from embodied.policies.vln.meta_explore.counters import roc_auc_score
from embodied.policies.vln.meta_explore.episode import find_expert_frontier, should_exploit
from embodied.policies.vln.trace import (
    END,
    EXPLOIT,
    EXPLORE,
    JUMP,
    RETURN,
    START,
    ExplainablePolicy,
)
from maps.graph.viewgraph import ViewGraph

ALWAYS = MetaExploreConfig(mode="learned", threshold=1.0, local_goal="nearest", max_decisions=6)


class Run:
    """Plays one policy in a toy world, one episode per row, until all have stopped."""

    def __init__(
        self, policy: MetaExplorePolicy, toy: GraphToy, goals: list[int], moves: int = 80
    ) -> None:
        self.starts = [3, 0, 7][: len(goals)]
        places, over = list(self.starts), np.zeros(len(goals), bool)
        first = np.ones(len(goals), bool)
        self.walks = [[p] for p in places]
        self.answers = [0] * len(goals)
        rng = np.random.default_rng(9)
        canvas = rng.random((14, 33, 32, 96)) < 0.02
        for _ in range(moves):
            seen = toy.observe(places, self.starts, list(TEXTS[: len(goals)]), goals)
            seen["canvas"] = canvas[places]
            actions = policy.act(seen, first)
            first = np.zeros(len(goals), bool)
            for row, (move, answer) in enumerate(actions.tolist()):
                if over[row]:
                    continue
                over[row] = move == 0
                if move == 0:
                    self.answers[row] = answer
                    continue
                places[row] = int(seen["candidates"][row, move - 1])
                assert places[row] >= 0
                self.walks[row].append(places[row])
            if over.all():
                break
        self.over = over
        # Rows that stopped went on being asked; their first stop ends the trace that counts.
        self.traces = policy.get_traces()


@pytest.fixture(scope="module")
def toy() -> GraphToy:
    return GraphToy()


@cache
def roaming(**options: Any) -> DualScaleNetwork:
    """The first random weights with which no episode stops before two corrections were made."""
    for seed in range(200):
        network = tiny(seed, **options)
        run = Run(MetaExplorePolicy(network, ALWAYS), GraphToy(), [5, 9, 11])
        exploits = [sum(r.mode == EXPLOIT for r in trace.decisions) for trace in run.traces]
        if min(exploits) >= 2:
            return network
    raise AssertionError("every explorer stops at once")


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_ends_every_episode(mode: str, toy: GraphToy) -> None:
    policy = MetaExplorePolicy(tiny(), MetaExploreConfig(mode=mode, local_goal="nearest"))
    assert isinstance(policy, Policy)
    assert isinstance(policy, ExplainablePolicy)
    run = Run(policy, toy, [5, 9, 11])
    assert run.over.all()
    for walk, trace in zip(run.walks, run.traces, strict=True):
        assert [place for place, _ in trace.path[: len(walk)]] == walk
        assert trace.path[0] == (walk[0], START)
        assert all(toy.joined[a, b] for a, b in zip(walk, walk[1:], strict=False))
        assert sum(r.mode in (END, RETURN) for r in trace.decisions) == 1


def test_a_correction_walks_over_visited_places_to_a_place_beyond_the_neighbours(
    toy: GraphToy,
) -> None:
    policy = MetaExplorePolicy(roaming(), replace(ALWAYS, max_decisions=10))
    run = Run(policy, toy, [5])
    trace, found = run.traces[0], 0
    for record in trace.decisions:
        at = record.moves
        before = {place for place, _ in trace.path[: at + 1]}
        near = set(np.flatnonzero(toy.joined[record.place]).tolist())
        if record.mode != EXPLOIT:
            continue
        found += 1
        assert record.chosen not in before | near
        assert set(record.candidates).isdisjoint(before | near)
        end = at + [place for place, _ in trace.path[at:]].index(record.chosen)
        walked = trace.path[at + 1 : end + 1]
        assert all(cause == EXPLOIT for _, cause in walked)
        assert {place for place, _ in walked[:-1]} <= before
    assert found >= 2
    chosen = [r.chosen for r in trace.decisions if r.mode == EXPLOIT]
    assert len(set(chosen)) == len(chosen)  # the loop guard
    assert policy.counters.exploits == found


def test_the_nearest_rule_takes_the_nearest_place(toy: GraphToy) -> None:
    trace = Run(MetaExplorePolicy(roaming(), ALWAYS), toy, [5]).traces[0]
    record = next(r for r in trace.decisions if r.mode == EXPLOIT)
    assert record.chosen == record.candidates[int(np.argmax(record.scores))]
    assert max(record.scores) < 0  # minus metres


@pytest.mark.parametrize("rule", [NETWORK, "backtrack", "random", "bag", "sos", "learned"])
def test_every_rule_decides(rule: str, toy: GraphToy) -> None:
    policy = MetaExplorePolicy(roaming(), replace(ALWAYS, local_goal=rule))
    run = Run(policy, toy, [5, 9])
    records = [r for t in run.traces for r in t.decisions if r.mode == EXPLOIT]
    assert records
    assert all(r.rule == rule for r in records)
    looked = rule in ("bag", "sos", "learned")
    assert ("canvas" in policy.observation_keys) == looked
    assert all((r.spectrum is not None) == looked for r in records)
    if looked:
        assert {"bed"} <= {word for r in records for word in r.landmarks}
        shares = records[0].find_top_categories(40)
        assert 0 < sum(share for _, share in shares) <= 1 + 1e-6
        assert shares == sorted(shares, key=lambda pair: -pair[1])


@pytest.mark.parametrize("rule", ["backtrack", "learned", NETWORK])
def test_a_one_step_network_has_no_say_about_places_beyond_its_neighbours(
    rule: str, toy: GraphToy
) -> None:
    """Its logits there are minus infinity, which no rule may turn into NaN."""
    policy = MetaExplorePolicy(roaming(scale="local"), replace(ALWAYS, local_goal=rule))
    records = [r for r in Run(policy, toy, [5]).traces[0].decisions if r.mode == EXPLOIT]
    assert records
    assert all(np.isfinite(r.scores).all() for r in records)


def test_the_oracle_corrects_exactly_when_the_label_says_so(toy: GraphToy) -> None:
    config = MetaExploreConfig(mode="oracle", local_goal="oracle", measure=True, max_decisions=14)
    policy = MetaExplorePolicy(roaming(), config)
    trace = Run(policy, toy, [5]).traces[0]
    assert len(policy.counters.labels) == policy.counters.decisions
    corrected = [r.mode == EXPLOIT for r in trace.decisions[:-1]]
    assert corrected == policy.counters.labels[: len(corrected)]
    for record in (r for r in trace.decisions if r.mode == EXPLOIT):
        lengths = -np.array(record.scores)
        assert record.chosen == record.candidates[int(lengths.argmin())]
        # With perfect knowledge the rest of the way cannot be shorter than the true distance.
        assert lengths.min() >= toy.distances[record.place, 5] - 1e-4


def test_the_label_against_a_map_made_by_hand() -> None:
    """0 - 1 - 2 in a row, 3 hangs on 0: from 2 the goal behind 3 asks for a correction."""
    graph = ViewGraph()
    points = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 1], [3, 0, 0]], float)
    for place, near in ((0, [1, 3]), (1, [0, 2]), (2, [1, 4])):
        graph.visit_place(place, points[place], near, points[near])
    truth = {0: 6.0, 1: 7.0, 2: 8.0, 3: 5.0, 4: 9.0}
    assert find_expert_frontier(graph, 2, truth) == 3  # 3 m back and 5 m on against 1 m and 9 m
    assert should_exploit(graph, 2, truth)
    assert should_exploit(graph, 2, truth, margin=1.9)
    assert not should_exploit(graph, 2, truth, 2.1)
    assert not should_exploit(graph, 0, truth)  # 3 is next to it
    assert not should_exploit(graph, 2, {**truth, 2: 0.0})  # at the goal one stops
    assert find_expert_frontier(graph, 2, {**truth, 4: 6.0}) == 4
    graph.visit_place(3, points[3], [0], points[[0]])
    graph.visit_place(4, points[4], [2], points[[2]])
    assert find_expert_frontier(graph, 4, truth) == -1
    assert not should_exploit(graph, 4, truth)


def test_explore_only_never_corrects_and_the_global_planner_jumps(toy: GraphToy) -> None:
    run = Run(MetaExplorePolicy(roaming(), MetaExploreConfig(mode="never")), toy, [5, 9])
    modes = {r.mode for t in run.traces for r in t.decisions}
    assert modes <= {EXPLORE, END, RETURN}
    run = Run(MetaExplorePolicy(roaming(), MetaExploreConfig(mode="global")), toy, [5, 9])
    assert {r.mode for t in run.traces for r in t.decisions} <= {JUMP, END, RETURN}


def test_it_ends_where_stopping_looked_best(toy: GraphToy) -> None:
    for stop in ("best", "here"):
        run = Run(MetaExplorePolicy(roaming(), replace(ALWAYS, stop=stop)), toy, [5, 9, 11])
        for walk, trace in zip(run.walks, run.traces, strict=True):
            stops: dict[int, float] = {}
            for record in trace.decisions:
                stops[record.place] = record.p_stop
            last = trace.decisions[-1].place
            assert walk[-1] == (max(stops, key=lambda p: stops[p]) if stop == "best" else last)


def test_the_penalty_keeps_an_explorer_from_going_to_and_fro(toy: GraphToy) -> None:
    def visits(penalty: float) -> int:
        config = MetaExploreConfig(
            mode="never", steps_back=True, anti_loop=penalty, max_decisions=12, stop="here"
        )
        network = copy.deepcopy(roaming())
        with torch.no_grad():  # never stop, so that all walks are equally long
            for head in (network.map_head, network.local_head):
                head[-1].weight.mul_(3.0)
        run = Run(MetaExplorePolicy(network, config), toy, [5, 9, 11])
        return sum(len(set(walk)) for walk in run.walks)

    assert visits(30.0) > visits(0.0)


def test_decisions_and_moves_are_limited(toy: GraphToy) -> None:
    trace = Run(MetaExplorePolicy(roaming(), replace(ALWAYS, max_decisions=3)), toy, [5]).traces[0]
    assert len(trace.decisions) == 3
    limited = replace(ALWAYS, max_decisions=15, max_moves=4, stop="here")
    trace = Run(MetaExplorePolicy(roaming(), limited), toy, [5]).traces[0]
    assert trace.decisions[-1].moves >= 4 > trace.decisions[-2].moves


def test_rows_do_not_disturb_each_other(toy: GraphToy) -> None:
    together = Run(MetaExplorePolicy(roaming(), ALWAYS), toy, [5, 9, 11]).walks
    assert Run(MetaExplorePolicy(roaming(), ALWAYS), toy, [5]).walks == together[:1]


def test_an_agent_moved_by_something_else_decides_anew(toy: GraphToy) -> None:
    policy = MetaExplorePolicy(roaming(), ALWAYS)
    first, place = np.ones(1, bool), 3
    for step in range(40):
        seen = toy.observe([place], [3], goals=[5])
        action = int(policy.act(seen, first)[0, 0])
        first = np.zeros(1, bool)
        if action == 0:
            break
        if step == 2:  # another neighbour than the one chosen
            action = action % int((seen["candidates"][0] >= 0).sum()) + 1
        place = int(seen["candidates"][0, action - 1])
    else:
        pytest.fail("the episode never ended")


def test_a_trace_as_plain_values(toy: GraphToy) -> None:
    policy = MetaExplorePolicy(roaming(), replace(ALWAYS, local_goal="sos"))
    trace = Run(policy, toy, [5]).traces[0]
    data = trace.to_json(goals=[5])
    assert data["goals"] == [5]
    assert data["instruction"] == TEXTS[0]
    joined: list[int] = [data["path"][0][0]]
    for _, places in data["segments"]:
        assert places[0] == joined[-1]
        joined += places[1:]
    assert joined == [place for place, _ in data["path"]]
    assert {place for place, _ in data["path"]} == set(data["visited"])
    assert {str(p) for pair in data["edges"] for p in pair} <= set(data["places"])
    record = next(r for r in data["decisions"] if r["mode"] == EXPLOIT)
    assert np.shape(record["spectrum"]) == (33, 49)
    assert "spectrum" not in trace.to_json(spectra=False)["decisions"][0]


def test_auc() -> None:
    assert roc_auc_score([True, True, False], [0.9, 0.8, 0.1]) == 1.0
    assert roc_auc_score([False, True], [0.5, 0.5]) == 0.5
    rng = np.random.default_rng(0)
    labels, scores = rng.random(60) < 0.4, rng.random(60).round(1)
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[labels] for b in scores[~labels]
    ]
    assert roc_auc_score(labels, scores) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_auc_score([True], [0.3]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "learnt"}, "learned"),
        ({"local_goal": "sos_"}, "sos"),
        ({"threshold": 1.5}, "probability"),
        ({"max_decisions": 0}, "max_decisions"),
        ({"memory_decay": 2.0}, "memory_decay"),
        ({"stop": "there"}, "here"),
    ],
)
def test_unusable_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MetaExploreConfig(**options)


def test_missing_observations_are_named(toy: GraphToy) -> None:
    seen = toy.observe([3], [3])
    with pytest.raises(ConfigError, match="canvas"):
        MetaExplorePolicy(roaming(), replace(ALWAYS, local_goal="sos")).act(seen, np.ones(1, bool))
    with pytest.raises(ConfigError, match="goal_distance"):
        MetaExplorePolicy(roaming(), replace(ALWAYS, mode="oracle")).act(seen, np.ones(1, bool))
    policy = MetaExplorePolicy(roaming(), ALWAYS)
    policy.act(seen, np.ones(1, bool))
    with pytest.raises(ConfigError, match="number may only change"):
        policy.act(toy.observe([3, 0], [3, 0]), np.array([True, False]))


def test_an_explorer_steps_back_only_if_told_to(toy: GraphToy) -> None:
    again = {}
    for back in (True, False):
        config = MetaExploreConfig(mode="never", steps_back=back, max_decisions=12, stop="here")
        walks = Run(MetaExplorePolicy(roaming(), config), toy, [5, 9, 11]).walks
        again[back] = sum(len(walk) - len(set(walk)) for walk in walks)
    assert again[False] == 0
