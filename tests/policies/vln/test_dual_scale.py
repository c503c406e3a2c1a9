from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_toy import TEXTS, VOCABULARY, WIDTH, GraphToy, tiny

from embodied.errors import ConfigError
from embodied.perception.vocabulary import SPECIAL, Vocabulary
from embodied.policies.vln.dual_scale import (
    Decision,
    DualScaleConfig,
    DualScaleInputs,
    DualScaleNetwork,
    DualScaleState,
)
from embodied.policies.vln.dual_scale.network import DualScaleScores, MapTokens, fuse_scores

TABLES = ("fused", "explore", "global_logits", "local_logits")


def follow(
    network: DualScaleNetwork,
    world: GraphToy,
    walks: list[list[int]],
    texts: list[str],
    order: np.ndarray | None = None,
) -> Decision:
    """Walk several paths of possibly different lengths; decide at every step; the last decision.

    Shorter walks wait at their end while the others go on: only episodes under way are observed.
    """
    state = DualScaleState(network, len(walks))
    state.begin_episodes(range(len(walks)), texts)
    decision = None
    for step in range(max(map(len, walks))):
        rows = [b for b, walk in enumerate(walks) if step < len(walk)]
        places, starts = [walks[b][step] for b in rows], [walks[b][0] for b in rows]
        headings = [0.2 * walks[b][step] for b in rows]
        observed = world.observe(places, starts, headings=headings, order=order)
        state.observe(observed, rows)
        decision = state.score_choices()
    assert decision is not None
    return decision


def scored(decision: Decision, b: int, table: str) -> dict[int, float]:
    """Place -> logit of one row of a table; -1 is STOP."""
    row = getattr(decision, table)[b].tolist()
    return {-1: row[0], **dict(zip(decision.places[b], row[1:], strict=False))}


def five_places(visited: list[bool], slots: list[int]) -> MapTokens:
    nothing = torch.zeros(0)
    return MapTokens(
        nodes=nothing, steps=nothing, places=nothing, distances=nothing,
        present=torch.tensor([[True] * 5 + [False]]), visited=torch.tensor([[*visited, False]]),
        slots=torch.tensor([[*slots, -1]]), start=nothing, toward=nothing,
    )  # fmt: skip


def test_fusion_by_hand() -> None:
    """Places A (start, visited), B (here), C (next to B), D, E (seen from A only), and padding.

    Candidates of B: C, A. Gate 0.6. Map scores: STOP 1, A 5, B 7, C 2, D -1, E 0.5; panorama
    scores: STOP 0.5, C 3, A 1.
    STOP 0.6 * 1 + 0.4 * 0.5 = 0.8; C 0.6 * 2 + 0.4 * 3 = 2.4; D and E lie behind A:
    0.6 * -1 + 0.4 * 1 = -0.2 and 0.6 * 0.5 + 0.4 * 1 = 0.7. One step: A 0.6 * 5 + 0.4 * 1 = 3.4.
    """
    tokens = five_places([True, True, False, False, False], [1, -1, 0, -1, -1])
    on_map = torch.tensor([[1.0, 5.0, 7.0, 2.0, -1.0, 0.5, 9.0]])
    nearby = torch.tensor([[0.5, 3.0, 1.0]])
    out = -float("inf")
    gate = torch.tensor([0.6])
    made = fuse_scores(on_map, nearby, gate, tokens)
    expected = {
        "fused": [0.8, out, out, 2.4, -0.2, 0.7, out],
        "explore": [0.8, 3.4, out, 2.4, out, out, out],
        "global_logits": [0.6, out, out, 1.2, -0.6, 0.3, out],
        "local_logits": [0.2, 0.4, out, 1.2, out, out, out],
    }
    for name, row in expected.items():
        torch.testing.assert_close(made[name], torch.tensor([row]))
    half = fuse_scores(on_map, nearby, gate, tokens, "average")
    torch.testing.assert_close(half["fused"][0, [0, 3, 4, 5]], torch.tensor([0.75, 2.5, 0.0, 0.75]))
    coarse = fuse_scores(on_map, nearby, gate, tokens, "global")
    torch.testing.assert_close(coarse["fused"][0, [0, 3, 4, 5]], torch.tensor([1, 2, -1, 0.5]))
    fine = fuse_scores(on_map, nearby, gate, tokens, "local")
    torch.testing.assert_close(fine["fused"], torch.tensor([[0.5, 1.0, out, 3.0, out, out, out]]))


def test_without_a_visited_neighbour_nothing_is_added_for_going_back() -> None:
    tokens = five_places([True, False, False, False, False], [-1, 0, 1, -1, -1])
    on_map, nearby = torch.arange(7.0)[None], torch.tensor([[0.0, 4.0, 6.0]])
    fused = fuse_scores(on_map, nearby, torch.tensor([0.5]), tokens)["fused"]
    torch.testing.assert_close(fused[0, 1:6], torch.tensor([-torch.inf, 3.0, 4.5, 2.0, 2.5]))


@pytest.mark.parametrize("options", [{}, {"views": 36}, {"blind": True}])
def test_a_batch_of_mixed_episodes_is_each_alone(options: dict) -> None:
    network, world = tiny(**options), GraphToy()
    walks = [world.walk(0, 5, 1), world.walk(3, 5, 2), world.walk(6, 5, 3), world.walk(9, 5, 4)]
    walks[1] = walks[1][:2]  # over early, so that it is taken out of the batch
    together = follow(network, world, walks, list(TEXTS))
    assert together.rows.tolist() == [0, 2, 3]
    for b, row in enumerate(together.rows):
        alone = follow(network, world, [walks[row]], [TEXTS[row]])
        assert together.places[b] == alone.places[0]
        for table in TABLES:
            ours, theirs = scored(together, b, table), scored(alone, 0, table)
            assert ours == pytest.approx(theirs, abs=2e-5)
        count = alone.objects.shape[1]
        torch.testing.assert_close(
            together.objects[b, :count], alone.objects[0], atol=2e-5, rtol=1e-4
        )
        assert not together.objects[b, count:].isfinite().any()
        for name in ("gate", "stop_states"):
            torch.testing.assert_close(
                getattr(together, name)[b], getattr(alone, name)[0], atol=2e-5, rtol=1e-4
            )


def test_episodes_may_begin_at_any_time() -> None:
    network, world = tiny(), GraphToy()
    state = DualScaleState(network, 2)
    state.begin_episodes([0, 1], [TEXTS[0], TEXTS[2]])
    for place in world.walk(5, 6):
        state.observe(world.observe([place, place], [5, 5]))
    state.begin_episodes([1], [TEXTS[1]])  # longer than both texts before
    way = world.walk(2, 4)
    for step, place in enumerate(way):
        state.observe(world.observe([place], [2], headings=[0.2 * place]), [1])
        decision = state.score_choices()
        assert decision.rows.tolist() == [1]
        assert state.decisions.tolist() == [0, step + 1]
    alone = follow(network, world, [way], [TEXTS[1]])
    for table in TABLES:
        assert scored(decision, 0, table) == pytest.approx(scored(alone, 0, table), abs=2e-5)
    # The first episode still knows its map and its text.
    assert len(state.graphs[0]) > 4
    end = world.walk(5, 6)[-1]
    state.observe(world.observe([end], [5]), [0])
    again = state.score_choices()
    other = DualScaleState(network, 1)
    other.begin_episodes([0], [TEXTS[0]])
    for place in [*world.walk(5, 6), end]:
        other.observe(world.observe([place], [5]))
    assert scored(again, 0, "fused") == pytest.approx(
        scored(other.score_choices(), 0, "fused"), abs=2e-5
    )


def test_tokens_that_no_map_needs_are_dropped() -> None:
    network, world = tiny(), GraphToy()
    state = DualScaleState(network, 1)
    sizes = []
    with torch.no_grad():
        for _ in range(5):
            state.begin_episodes([0], [TEXTS[0]])
            for place in world.walk(5, 6):
                state.observe(world.observe([place], [5]))
            sizes.append(len(state._pool))
    assert len(set(sizes)) == 1


def test_the_order_of_the_candidates_does_not_matter() -> None:
    network, world = tiny(), GraphToy()
    walk = world.walk(4, 4)
    straight = follow(network, world, [walk], [TEXTS[1]])
    permuted = follow(network, world, [walk], [TEXTS[1]], order=np.array([4, 2, 7, 0, 6, 1, 5, 3]))
    assert straight.places != permuted.places
    for table in TABLES:
        ours, theirs = scored(permuted, 0, table), scored(straight, 0, table)
        assert ours == pytest.approx(theirs, abs=2e-5)


def test_an_unvisited_place_is_known_only_from_where_it_was_seen() -> None:
    network, world = tiny(), GraphToy()
    walk = world.walk(4, 4)
    before = follow(network, world, [walk], [TEXTS[1]])
    unvisited = [p for p in range(len(world.positions)) if p not in walk]
    rng = np.random.default_rng(5)
    world.views[unvisited] = rng.random((len(unvisited), 36, WIDTH))
    world.features[unvisited] = rng.random((len(unvisited), 6, 6))
    for place in unvisited:
        world.objects[place] = np.arange(3)
    after = follow(network, world, [walk], [TEXTS[1]])
    for field in (*TABLES, "objects", "map_states"):
        assert torch.equal(getattr(before, field), getattr(after, field))
    world.views[walk[0]] += 0.5  # what a visited place shows does matter
    assert not torch.equal(follow(network, world, [walk], [TEXTS[1]]).fused, before.fused)


def test_the_embedding_of_an_unvisited_place_is_the_mean_over_the_places_that_saw_it() -> None:
    network, world = tiny(), GraphToy()
    state = DualScaleState(network, 1)
    state.begin_episodes([0], [TEXTS[0]])
    tokens = {}
    walk = world.walk(4, 6, seed=2)
    for place in walk:
        observed = world.observe([place], [4])
        state.observe(observed)
        seen = state._seen
        assert seen is not None
        mean = seen.tokens[0][seen.panorama.present[0]].mean(0)
        near = {int(c): seen.tokens[0, i] for i, c in enumerate(seen.candidates[0]) if c >= 0}
        tokens[place] = mean, near
    graph = state.graphs[0]
    nodes = state._now()[1].nodes[0]
    assert max(len(graph.list_observers(place)) for place in graph.list_frontiers()) > 1
    for row, place in enumerate(graph.places):
        if graph.visited[row]:
            expected = tokens[place][0]
        else:
            expected = torch.stack([tokens[p][1][place] for p in graph.list_observers(place)]).mean(
                0
            )
        torch.testing.assert_close(nodes[row], expected)


def test_gradients_reach_the_first_panorama_and_the_text() -> None:
    network, world = tiny(dropout=0.0), GraphToy()
    state = DualScaleState(network, 1)
    state.begin_episodes([0], [TEXTS[1]])
    kept = []

    def keep(panorama):  # noqa: ANN001, ANN202
        panorama.views.requires_grad_()
        kept.append(panorama.views)
        return panorama

    world.objects = [np.arange(3)] * len(world.objects)
    for place in world.walk(4, 4):
        state.observe(world.observe([place], [4]), hide=keep)
    decision = state.score_choices()
    finite = decision.fused[decision.fused.isfinite()]
    (finite.logsumexp(0) + decision.stop_states.sum() + decision.objects.exp().sum()).backward()
    assert all(views.grad is not None and views.grad.abs().sum() > 0 for views in kept)
    unused = {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if not (parameter.grad is not None and parameter.grad.abs().sum() > 0)
        and "words" not in name.split(".")
    }
    # Only what other losses train; an equal shift of all scores of a query changes nothing.
    assert unused <= {"content_head", "word_head", "word_bias", "mode_head", "ranker", "distance"}
    assert network.distance.weight.grad is not None


def test_blind_sees_neither_views_nor_objects() -> None:
    network, world = tiny(blind=True), GraphToy()
    walk = world.walk(4, 4)
    before = follow(network, world, [walk], [TEXTS[1]])
    world.views[:] = 0.7
    world.objects = [np.arange(4)] * len(world.objects)
    after = follow(network, world, [walk], [TEXTS[1]])
    assert torch.equal(before.fused, after.fused)
    assert after.objects.shape == (1, 0)
    moved = GraphToy()
    moved.positions = moved.positions * 1.5
    assert not torch.equal(before.fused, follow(network, moved, [walk], [TEXTS[1]]).fused)


def test_what_each_scale_may_choose() -> None:
    world = GraphToy()
    walk = world.walk(4, 5, seed=2)
    for scale in ("dual", "average", "global", "local"):
        decision = follow(tiny(scale=scale), world, [walk], [TEXTS[1]])
        fused = {p for p, v in scored(decision, 0, "fused").items() if np.isfinite(v)}
        near = set(np.flatnonzero(world.joined[walk[-1]]).tolist())
        free = {p for p in decision.places[0] if p not in walk}
        assert fused == {-1} | (near if scale == "local" else free)
        explore = {p for p, v in scored(decision, 0, "explore").items() if np.isfinite(v)}
        assert explore == {-1} | near
        assert decision.one_step == (scale == "local")
        assert near & set(walk)  # the walk came from somewhere


def test_sizes() -> None:
    words = Vocabulary((*SPECIAL, *(f"w{i}" for i in range(2000))))
    small = DualScaleNetwork(DualScaleConfig(), words, DualScaleInputs(71))
    assert 1e6 < sum(p.numel() for p in small.parameters()) < 2.5e6
    bert = Vocabulary((*SPECIAL, *(f"w{i}" for i in range(30522 - len(SPECIAL)))))
    with torch.device("meta"):
        config = DualScaleConfig(size="base", word_heads=False)
        large = DualScaleNetwork(config, bert, DualScaleInputs(768, 768))
    ours = (large.mode_head, large.content_head, large.ranker)  # not in the paper's network
    count = sum(p.numel() for p in large.parameters())
    count -= sum(p.numel() for part in ours for p in part.parameters())
    layers = [large.text, large.panorama_layers, large.map_layers, large.local_layers]
    inside = sum(p.numel() for part in layers for p in part.parameters())
    # 177 million by a count of the published layers; 181 million with all heads, as reported for
    # the released code.
    assert inside == pytest.approx(177e6, rel=0.005)
    assert count == pytest.approx(181e6, rel=0.005)


def test_unusable_observations_are_named() -> None:
    network, world = tiny(), GraphToy()
    state = DualScaleState(network, 1)
    state.begin_episodes([0], [TEXTS[0]])
    for key in ("views", "candidate_positions", "object_boxes", "heading", "object_features"):
        observed = world.observe([3], [3])
        observed[key] = observed[key].copy()
        observed[key].reshape(-1)[-1] = np.nan
        with pytest.raises(ConfigError, match=f"'{key}' holds nan"):
            state.observe(observed)
    observed = world.observe([3], [3])
    del observed["objects"]
    with pytest.raises(ConfigError, match="objects"):
        state.observe(observed)
    with pytest.raises(ConfigError, match="'views' has shape"):
        state.observe(world.observe([3], [3]) | {"views": np.zeros((1, 36, 9), np.float32)})
    with pytest.raises(ConfigError, match="different other places"):
        state.observe(world.observe([3], [3]) | {"place": np.flatnonzero(world.joined[3])[:1]})
    with pytest.raises(ConfigError, match="never begun"):
        DualScaleState(network, 1).observe(world.observe([3], [3]))
    with pytest.raises(ConfigError, match="no word"):
        state.begin_episodes([0], ["?"[:0]])
    with pytest.raises(ConfigError, match="observe"):
        DualScaleState(network, 1).score_choices()


def test_unknown_options_are_refused() -> None:
    for options, name in (
        ({"size": "tinny"}, "tiny"),
        ({"scale": "both"}, "dual"),
        ({"views": 24}, "policy.views"),
        ({"dropout": 1.0}, "policy.dropout"),
        ({"max_decisions": 0}, "policy.max_decisions"),
        ({"temperature": -1.0}, "policy.temperature"),
    ):
        with pytest.raises(ConfigError, match=name):
            DualScaleConfig(**options)
    with pytest.raises(ConfigError, match="inputs.views"):
        DualScaleInputs(0)
    with pytest.raises(ConfigError, match="views"):
        DualScaleInputs.from_spaces(None)
    made = DualScaleInputs(71, 6)
    assert DualScaleInputs.from_json(made.to_json()) == made


def test_every_score_is_documented() -> None:
    documented = DualScaleScores.__doc__ or ""
    assert all(f"{name}:" in documented for name in DualScaleScores.__dataclass_fields__)
    assert len(VOCABULARY) > 20
