from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_toy import NAMES, TEXTS, VOCABULARY, GraphToy, tiny

from embodied.errors import ConfigError
from embodied.perception.vocabulary import MASK, SPECIAL
from embodied.policies.vln.dual_scale import DualScaleState, ExpertLabels, ExpertMemory
from embodied.policies.vln.dual_scale.experts import IGNORED
from embodied.policies.vln.dual_scale.losses import (
    PanoramaMasking,
    compute_decision_losses,
    compute_mlm_loss,
    compute_mrc_loss,
    compute_sap_losses,
    mask_words,
    replay_paths,
)


def right_aligned(world: GraphToy, walks: list[list[int]], goals: list[int] | None = None):  # noqa: ANN201
    """Steps of several paths that all end at the last one."""
    longest = max(map(len, walks))
    steps = []
    for step in range(longest):
        rows = [b for b, walk in enumerate(walks) if step >= longest - len(walk)]
        places = [walks[b][step - longest + len(walks[b])] for b in rows]
        starts = [walks[b][0] for b in rows]
        ends = [goals[b] for b in rows] if goals else None
        steps.append((np.array(rows), world.observe(places, starts, goals=ends)))
    return steps


@pytest.mark.parametrize("seed", range(3))
def test_expert_labels_are_those_of_brute_force(seed: int) -> None:
    world, network = GraphToy(16, seed), tiny()
    goals = [11, 7, 2, 15]
    state, expert = DualScaleState(network, 4), ExpertMemory(4)
    walks = [world.walk(start, 8, seed) for start in (0, 3, 5, 15)]
    state.begin_episodes(range(4), list(TEXTS))
    expert.begin_episodes(range(4))
    answers = {"stop": 0, "far": 0, "object": 0}
    for step in range(8):
        places, starts = [walk[step] for walk in walks], [walk[0] for walk in walks]
        observed = world.observe(places, starts, goals=goals)
        state.observe(observed)
        expert.observe(observed)
        decision = state.score_choices()
        labels = expert.compute_labels(decision, state.graphs)
        for b, here in enumerate(places):
            graph = state.graphs[b]
            near = np.flatnonzero(world.joined[here]).tolist()
            there = world.distances[:, goals[b]]
            ways = {
                place: graph.distances[graph.get_row(here), graph.get_row(place)] + there[place]
                for place in graph.places
            }
            chosen = decision.find_place(b, int(labels.fused[b]))
            stepped = decision.find_place(b, int(labels.explore[b]))
            if here == goals[b]:
                assert (chosen, stepped, int(labels.mode[b])) == (-1, -1, 1)
                answers["stop"] += 1
            else:
                free = [p for p in graph.places if p not in walks[b][: step + 1]]
                assert ways[chosen] == pytest.approx(min(ways[p] for p in free), abs=1e-5)
                assert ways[stepped] == pytest.approx(min(ways[p] for p in near), abs=1e-5)
                assert labels.mode[b] == (chosen in near)
                answers["far"] += chosen not in near
            target = observed["target"][b]
            visible = world.objects[here].tolist()
            index = visible.index(target) if target in visible else IGNORED
            assert labels.objects[b] == index
            answers["object"] += index >= 0
        losses = compute_decision_losses(decision, labels) | compute_sap_losses(decision, labels)
        assert all(loss.isfinite().all() for loss in losses.values())
    assert answers["stop"]
    if seed == 0:
        assert answers["object"]


def test_losses_by_hand() -> None:
    world, network = GraphToy(), tiny()
    state = replay_paths(network, [TEXTS[0]], right_aligned(world, [world.walk(4, 3)]))
    decision = state.score_choices()
    none = torch.tensor([IGNORED])
    assert all(
        loss.item() == 0
        for loss in compute_decision_losses(decision, ExpertLabels(none, none, none, none)).values()
    )
    stop = torch.tensor([0])
    losses = compute_sap_losses(decision, ExpertLabels(stop, stop, none, stop))
    for name, table in (("fused", "fused"), ("explore", "explore"), ("global", "global_logits")):
        logits = getattr(decision, table)[0]
        chosen = logits[logits.isfinite()]
        expected = chosen.logsumexp(0) - logits[0]
        torch.testing.assert_close(losses[name][0], expected)
    local = replay_paths(tiny(scale="local"), [TEXTS[0]], right_aligned(world, [world.walk(4, 3)]))
    one = local.score_choices()
    labels = ExpertLabels(torch.tensor([10**6]), stop, none, stop)  # the map's label is not read
    torch.testing.assert_close(
        compute_decision_losses(one, labels)["fused"],
        compute_decision_losses(one, labels)["explore"],
    )


def test_replayed_paths_of_different_lengths_end_together() -> None:
    world, network = GraphToy(), tiny()
    walks = [world.walk(4, 5), world.walk(7, 2), world.walk(1, 3)]
    together = replay_paths(network, list(TEXTS[:3]), right_aligned(world, walks)).score_choices()
    assert together.current.tolist() == [walk[-1] for walk in walks]
    for b, walk in enumerate(walks):
        alone = replay_paths(network, [TEXTS[b]], right_aligned(world, [walk])).score_choices()
        count = alone.fused.shape[1]
        torch.testing.assert_close(together.fused[b, :count], alone.fused[0], atol=2e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="ends of all 3 paths"):
        replay_paths(network, list(TEXTS[:3]), right_aligned(world, walks)[:1])


def test_hidden_words() -> None:
    network = tiny()
    texts = [TEXTS[1]] * 400 + ["table"]
    generator = torch.Generator().manual_seed(0)
    ids, present = network.text.tokenize_texts(texts)
    hidden = mask_words(network, texts, generator=generator)
    chosen = hidden.targets != IGNORED
    assert torch.equal(hidden.targets[chosen], ids[chosen])
    assert chosen.any(1).all()
    assert not (chosen & ~present).any()
    assert (ids[chosen] >= len(SPECIAL)).all()
    shown = hidden.text.ids
    assert torch.equal(shown[~chosen], ids[~chosen])
    words = int((ids >= len(SPECIAL)).sum())
    assert chosen.sum().item() / words == pytest.approx(0.15, abs=0.03)
    assert (shown[chosen] == MASK).float().mean().item() == pytest.approx(0.8, abs=0.05)
    assert (shown[chosen] == ids[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.05)


def test_hidden_contents() -> None:
    world, network = GraphToy(), tiny(views=36)
    assert network.histograms
    rich = [p for p, ids in enumerate(world.objects) if len(ids) > 1][:2]
    hiding = PanoramaMasking(network, share=0.5, generator=torch.Generator().manual_seed(1))
    seen = []

    def hide(panorama):  # noqa: ANN001, ANN202
        seen.extend([panorama, hiding(panorama)])
        return seen[1]

    state = DualScaleState(network, 2)
    state.begin_episodes([0, 1], list(TEXTS[:2]))
    state.observe(world.observe(rich, rich), hide=hide)
    before, after = seen
    views = before.views.shape[1]
    assert hiding.chosen.any(1).all()
    assert not (hiding.chosen & ~before.present).any()
    assert not after.views[hiding.chosen[:, :views]].any()
    assert torch.equal(
        after.views[~hiding.chosen[:, :views]], before.views[~hiding.chosen[:, :views]]
    )
    objects = hiding.chosen[:, views:]
    assert objects.any()
    assert not after.features[objects].any()
    assert not after.categories[objects].any()
    assert {after.words[i] for i in after.names[objects].tolist()} == {""}
    torch.testing.assert_close(
        hiding.targets[hiding.chosen].sum(-1), torch.ones(int(hiding.chosen.sum()))
    )
    assert torch.equal(
        hiding.targets[:, views:].argmax(-1)[before.present[:, views:]],
        before.categories[before.present[:, views:]],
    )
    loss = compute_mrc_loss(network, state.score_choices(), hiding)
    assert loss.item() > 0
    loss.backward()
    assert network.content_head[0].weight.grad.abs().sum() > 0


def test_pre_training_losses_can_be_learnt() -> None:
    """Each task alone, on three short paths: its loss falls well below that of the first step."""
    world = GraphToy()
    walks = [world.walk(4, 3), world.walk(7, 2), world.walk(1, 4)]
    goals = [walk[-1] for walk in walks]
    rich = next(p for p, ids in enumerate(world.objects) if len(ids) > 1)
    walks[1], goals[1] = [rich], rich
    steps, texts = right_aligned(world, walks, goals), list(TEXTS[:3])

    def words(network, generator):  # noqa: ANN001, ANN202
        hidden = mask_words(network, texts, generator=generator)
        return compute_mlm_loss(replay_paths(network, texts, steps, hidden.text), hidden.targets)

    def contents(network, generator):  # noqa: ANN001, ANN202
        hiding = PanoramaMasking(network, 0.15, generator)
        return compute_mrc_loss(
            network, replay_paths(network, texts, steps, hide=hiding).score_choices(), hiding
        )

    def decisions(network, generator):  # noqa: ANN001, ANN202
        expert = ExpertMemory(3)
        for rows, observed in steps:
            expert.observe(observed, rows)
        state = replay_paths(network, texts, steps)
        decision = state.score_choices()
        losses = compute_sap_losses(decision, expert.compute_labels(decision, state.graphs))
        losses |= compute_decision_losses(decision, expert.compute_labels(decision, state.graphs))
        return sum(loss.mean() for loss in losses.values())

    for task in (words, contents, decisions):
        network = tiny(dropout=0.0)
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
        generator = torch.Generator().manual_seed(0)
        history = []
        for _ in range(20):
            loss = task(network, generator.manual_seed(0))  # always the same is hidden
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        assert np.mean(history[-3:]) < 0.6 * np.mean(history[:2]), (task.__name__, history)


def test_word_heads_can_be_left_out() -> None:
    world, network = GraphToy(), tiny(word_heads=False)
    state = replay_paths(network, [TEXTS[0]], right_aligned(world, [world.walk(4, 2)]))
    with pytest.raises(ConfigError, match="word_heads"):
        state.predict_words()
    assert len(VOCABULARY.encode_words(NAMES[1])) == 2
