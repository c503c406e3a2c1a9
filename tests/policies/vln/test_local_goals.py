"""Local goals on a small map whose answers can be read off by hand.

    2 --- 1 --- 0 --- 3 --- 4        x from -4 to 4, 2 m apart, all at z = 0 (0 is the start)
          |           |
          5           6             south of 1 and 3 (z = 2)

The agent walked 0, 1, 0, 3 and stands at 3: 2, 5, 4 and 6 are unvisited.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import ConfigError
from embodied.perception.sos import (
    ReferenceSpectra,
    compute_s_nav,
    compute_spectrum,
    cosine_similarity,
    crop_sector,
)
from embodied.policies.vln import local_goals as lg
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory
from maps.graph.viewgraph import ViewGraph
from maps.panorama.canvas import boxes_to_canvas

POINTS = np.array(
    [[0, 0, 0], [-2, 0, 0], [-4, 0, 0], [2, 0, 0], [4, 0, 0], [-2, 0, 2], [2, 0, 2]], float
)
NEAR = {0: [1, 3], 1: [0, 2, 5], 3: [0, 4, 6]}
EAST, SOUTH, WEST = np.pi / 2, np.pi, 3 * np.pi / 2
SOFA, BED, LAMP = (SOS_INDEX[name] for name in ("sofa", "bed", "lighting"))
TEXT = "Go past the sofa and stop at the bed"


def canvas(*things: tuple[int, float]) -> np.ndarray:
    """Masks of boxes of 30 deg: category and heading of each."""
    boxes = [[heading, 0.0, np.pi / 6, np.pi / 6] for _, heading in things]
    rows = [row for row, _ in things]
    return boxes_to_canvas(rows, np.array(boxes).reshape(-1, 4), len(SOS_CATEGORIES))


def walked() -> ViewGraph:
    graph = ViewGraph()
    for place in (0, 1, 0, 3):
        graph.visit_place(place, POINTS[place], NEAR[place], POINTS[NEAR[place]])
    return graph


SEEN = {
    0: canvas((SOFA, EAST)),
    1: canvas((BED, WEST), (LAMP, SOUTH)),
    3: canvas((SOFA, EAST), (LAMP, EAST + 0.8)),
}


def remember(seen: dict[int, np.ndarray] | None = None) -> SceneMemory:
    memory = SceneMemory()
    for place, masks in (SEEN if seen is None else seen).items():
        memory.add_view(place, masks)
    return memory


def context(text: str = TEXT, **more: object) -> lg.FrontierContext:
    words = InstructionWords.from_instruction(text, ReferenceSpectra())
    options = {"memory": remember(), "words": words, **more}
    return lg.build_frontier_context(walked(), 0, 3, [2, 5, 4, 6], **options)  # type: ignore[arg-type]


def test_words_are_categories_once_with_their_target() -> None:
    words = InstructionWords.from_instruction(
        "From the couch go to the sofa, then to the bed and dust the couch", ReferenceSpectra()
    )
    assert words.rows == (SOFA, BED)
    assert words.names == ("couch", "bed")
    assert words.goal == 0
    assert words.spectra.shape == (2, len(SOS_CATEGORIES), 49)
    assert words.areas[0].argmax() == SOFA
    assert InstructionWords.from_instruction("go upstairs", ReferenceSpectra()).goal == -1


def test_the_context_is_read_off_the_map() -> None:
    c = context()
    assert c.frontiers.tolist() == [2, 5, 4, 6]
    assert c.distances.tolist() == pytest.approx([6, 6, 2, 2])
    assert c.start_distances.tolist() == pytest.approx([4, 4, 4, 4])
    assert c.steps_back.tolist() == [2, 2, 0, 0]
    assert c.seen_from.tolist() == [1, 1, 1, 1]
    assert c.turn.tolist() == pytest.approx([np.pi, np.pi - np.arctan2(2, 4), 0, np.pi / 2])
    assert c.scene is not None
    graph = walked()
    paths = [{graph.places[i] for i in np.flatnonzero(row)} for row in c.scene.paths.numpy()]
    assert paths == [{0, 1, 2}, {0, 1, 5}, {0, 3, 4}, {0, 3, 6}]


def test_an_unvisited_place_is_what_its_neighbours_saw_towards_it() -> None:
    c = context()
    assert c.scene is not None
    expected = compute_spectrum(crop_sector(torch.from_numpy(SEEN[1]), WEST))
    assert torch.allclose(c.scene.spectra[c.scene.rows[0]], expected)
    assert expected[BED].any()
    assert not expected[LAMP].any()
    areas = c.scene.areas[c.scene.rows]
    assert areas[1, LAMP] == pytest.approx(areas[0, BED])
    assert areas[1, BED] == 0
    assert areas[2, LAMP] > 0  # part of it reaches into the sector to the east
    assert areas[3, LAMP] > 0
    assert areas[3, SOFA] == 0


def test_two_neighbours_are_averaged() -> None:
    graph = ViewGraph()
    points = np.array([[0, 0, 0], [2, 0, 0], [1, 0, -1.0]])
    graph.visit_place(0, points[0], [1, 2], points[[1, 2]])
    graph.visit_place(1, points[1], [0, 2], points[[0, 2]])
    memory = remember({0: canvas((SOFA, np.pi / 4)), 1: canvas((BED, 0.0))})
    spectra, areas = memory.describe_rows(graph, [graph.get_row(2)])
    alone = compute_spectrum(torch.from_numpy(np.stack([SEEN[0][SOFA]])))[0]
    assert torch.allclose(spectra[0, SOFA], alone / 2, atol=1e-4)
    assert areas[0, BED] > 0


def test_what_only_an_unvisited_place_shows_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    leaky = remember()
    for place in (2, 4, 5, 6):
        leaky.add_view(place, rng.random(SEEN[0].shape) < 0.5)
    ranker = lg.FrontierRanker()
    honest, tempted = context(), context(memory=leaky)
    for rule in lg.SCENE_RULES:
        first, second = (
            lg.score_frontiers(rule, honest, ranker),
            lg.score_frontiers(rule, tempted, ranker),
        )
        assert first.values.tolist() == second.values.tolist()
        assert first.branch == second.branch


def test_masks_seen_later_replace_earlier_ones() -> None:
    memory = remember()
    graph = walked()
    before, _ = memory.describe_rows(graph, [graph.get_row(1), graph.get_row(2)])
    memory.add_view(1, canvas((SOFA, WEST)))
    after, _ = memory.describe_rows(graph, [graph.get_row(1), graph.get_row(2)])
    assert before[:, BED].any()
    assert not after[:, BED].any()
    assert after[1, SOFA].any()


def test_own_views_are_an_upper_bound_and_say_so() -> None:
    own = {place: canvas((BED, 0.0)) if place == 6 else canvas() for place in (2, 4, 5, 6)}
    c = context(own=own)
    scores = lg.score_frontiers("goal_only", c)
    assert scores.branch == "cosine+own_view"
    assert lg.choose_frontier(scores, c) == 3
    assert scores.values.tolist() == pytest.approx([0, 0, 0, 1], abs=1e-5)


def test_the_spectrum_finds_the_bed() -> None:
    c = context()
    for rule in ("goal_only", "sos_cosine", "sos", "bag", "bag_cosine"):
        scores = lg.score_frontiers(rule, c)
        assert scores.branch == ("snav" if rule in ("sos", "bag") else "cosine")
        assert lg.choose_frontier(scores, c) == 0, rule


def test_the_scores_are_those_of_the_places_on_the_way() -> None:
    c, graph, memory, references = context(), walked(), remember(), ReferenceSpectra()
    words = references.compute_spectra([SOFA, BED])
    for index, way in enumerate([[0, 1, 2], [0, 1, 5], [0, 3, 4], [0, 3, 6]]):
        places, _ = memory.describe_rows(graph, [graph.get_row(p) for p in way])
        assert lg.score_frontiers("sos", c).values[index] == pytest.approx(
            float(compute_s_nav(words, places).values), abs=1e-6
        )
        table = cosine_similarity(words, places)
        assert lg.score_frontiers("sos_cosine", c).values[index] == pytest.approx(
            float(table[1].max())
        )
        assert lg.score_frontiers("goal_only", c).values[index] == pytest.approx(
            float(table[1, -1])
        )


def test_one_word_takes_the_fallback_and_none_the_nearest_place() -> None:
    one = context("find the bed")
    assert lg.score_frontiers("sos", one).branch == "fallback"
    assert lg.score_frontiers("bag", one).branch == "fallback"
    assert lg.score_frontiers("sos", one).values == pytest.approx(
        lg.score_frontiers("sos_cosine", one).values
    )
    none = context("go upstairs")
    for rule in ("sos", "bag", "sos_cosine", "goal_only"):
        scores = lg.score_frontiers(rule, none)
        assert scores.branch == "no_words"
        assert not scores.values.any()
        assert none.distances[lg.choose_frontier(scores, none)] == 2
    assert np.isfinite(lg.compute_ranker_features(none)).all()


def test_the_simple_rules() -> None:
    logits = {2: 0.0, 5: 3.0, 4: 9.0, 6: -1.0}
    c = context(logits=logits, goal_distances={2: 5.0, 5: 0.5, 4: 5.0, 6: 4.0})
    assert lg.choose_frontier(lg.score_frontiers("nearest", c), c) in (2, 3)
    assert (
        lg.choose_frontier(lg.score_frontiers("backtrack", c), c) == 1
    )  # of 2 and 5, the explorer prefers 5
    values = lg.score_frontiers("backtrack", c).values
    assert min(values[:2]) > max(values[2:])  # next to the present place is no way back
    oracle = lg.score_frontiers("oracle", c)
    assert oracle.values.tolist() == pytest.approx([-11, -6.5, -7, -6])
    assert lg.choose_frontier(oracle, c) == 3
    only_left = np.array([True, True, False, False])
    assert lg.choose_frontier(oracle, c, only_left) == 1
    assert lg.choose_frontier(oracle, c, np.zeros(4, bool)) == 3


def test_random_draws_every_place() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        lg.choose_frontier(lg.score_frontiers("random", c), c)
        for c in (context(rng=rng) for _ in range(60))
    ]
    assert set(drawn) == {0, 1, 2, 3}


def test_simple_rules_need_no_masks() -> None:
    c = lg.build_frontier_context(walked(), 0, 3)
    assert len(c) == 4
    for rule in ("nearest", "random", "backtrack"):
        assert np.isfinite(lg.score_frontiers(rule, c).values).all()


@pytest.mark.parametrize(
    ("rule", "message"),
    [("sso", "did you mean 'sos'"), ("sos", "canvas"), ("learned", "trained"),
     ("oracle", "privileged")],
)  # fmt: skip
def test_what_a_rule_lacks_is_said(rule: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lg.score_frontiers(rule, lg.build_frontier_context(walked(), 0, 3))


def test_masks_and_frontiers_must_be_there() -> None:
    with pytest.raises(ValueError, match="canvas"):
        context(memory=SceneMemory())
    graph = ViewGraph()
    graph.visit_place(0, POINTS[0], [], np.zeros((0, 3)))
    with pytest.raises(ValueError, match="fully explored"):
        lg.build_frontier_context(graph, 0, 0)


def test_features_have_the_columns_they_name() -> None:
    c = context(logits={2: 1.0})
    table = dict(zip(lg.FEATURES, lg.compute_ranker_features(c).T, strict=True))
    assert table["sos"] == pytest.approx(lg.score_frontiers("sos", c).values, abs=1e-6)
    assert table["bag_cosine"] == pytest.approx(
        lg.score_frontiers("bag_cosine", c).values, abs=1e-6
    )
    assert table["distance"].tolist() == pytest.approx([0.6, 0.6, 0.2, 0.2])
    assert table["adjacent"].tolist() == [0, 0, 1, 1]
    assert table["probability"].sum() == pytest.approx(1.0)
    assert table["probability"].argmax() == 0


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_ranker_learns_a_preference(hidden: int) -> None:
    torch.manual_seed(0)
    ranker = lg.FrontierRanker(hidden)
    inputs = torch.randn(200, 5, len(lg.FEATURES))
    best = inputs[..., lg.FEATURES.index("distance")].argmin(dim=1)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=0.05)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(ranker(inputs), best)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (ranker(inputs).argmax(dim=1) == best).float().mean() > 0.95
    c = context()
    scores = lg.score_frontiers("learned", c, ranker)
    assert scores.branch == "learned"
    assert lg.choose_frontier(scores, c) in (2, 3)
