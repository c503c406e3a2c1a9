from __future__ import annotations

import numpy as np
import pytest

from maps.graph.viewgraph import ViewGraph


def random_world(seed: int, places: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and who is joined to whom (N, N)."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-10, 10, (places, 3))
    joined = rng.random((places, places)) < 0.08
    ring = np.arange(places)
    joined[ring, np.roll(ring, 1)] = True
    joined |= joined.T
    np.fill_diagonal(joined, False)
    return positions, joined


def explore(seed: int, visits: int, jumps: bool) -> tuple[ViewGraph, np.ndarray, np.ndarray]:
    positions, joined = random_world(seed)
    rng = np.random.default_rng(seed + 100)
    graph, place = ViewGraph(), 0
    for _ in range(visits):
        near = rng.permutation(np.flatnonzero(joined[place]))
        graph.visit_place(place, positions[place], near, positions[near])
        choice = graph.list_frontiers() if jumps else near
        place = int(rng.choice(choice)) if len(choice) else place
    return graph, positions, joined


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("jumps", [True, False])
def test_distances_are_those_of_all_ways_through_visited_places(seed: int, jumps: bool) -> None:
    graph, positions, joined = explore(seed, 18, jumps)
    ids = np.array(graph.places)
    known = joined[np.ix_(ids, ids)] & (graph.visited[:, None] | graph.visited[None])
    apart = np.linalg.norm(positions[ids][:, None] - positions[ids][None], axis=-1)
    best = np.where(known, apart, np.inf)
    np.fill_diagonal(best, 0.0)
    for k in np.flatnonzero(graph.visited):  # Floyd, the slow way
        best = np.minimum(best, best[:, k, None] + best[None, k])
    assert np.isfinite(best).all()
    np.testing.assert_allclose(graph.distances, best, atol=1e-9)
    for a in range(len(ids)):
        for b in range(len(ids)):
            way = graph.find_path(ids[a], ids[b])
            rows = [graph.get_row(place) for place in way]
            steps = list(zip(rows, rows[1:], strict=False))
            assert way[0] == ids[a]
            assert way[-1] == ids[b]
            assert all(known[step] for step in steps)
            assert graph.visited[rows[1:-1]].all()
            np.testing.assert_allclose(sum(apart[step] for step in steps), best[a, b], atol=1e-9)
            assert len(steps) == graph.hops[a, b]


def test_what_is_known_of_places() -> None:
    graph = ViewGraph()
    points = {7: (0, 0, 0), 3: (2, 0, 0), 5: (0, 0, -2), 9: (4, 0, 0)}
    graph.visit_place(7, points[7], [3, 5, -1], [points[3], points[5], (0, 0, 0)])
    assert graph.places == [7, 3, 5]
    assert graph.list_frontiers() == [3, 5]
    assert graph.list_observers(3) == [7]
    assert graph.distances[1, 2] == 4  # from one frontier to the other, through the start
    graph.visit_place(3, points[3], [7, 9], [points[7], points[9]])
    assert graph.list_frontiers() == [5, 9]
    assert graph.find_path(5, 9) == [5, 7, 3, 9]
    assert graph.hops[graph.get_row(5), graph.get_row(9)] == 3
    assert graph.get_neighbours(3) == [7, 9]
    assert graph.get_neighbours(9) == [3]
    assert graph.last_visit.tolist() == [1, 2, 0, 0]
    assert 9 in graph
    assert 4 not in graph


def test_position_features_by_hand() -> None:
    graph = ViewGraph()
    # 3 m to the east and 4 m up; 5 m to the north.
    graph.visit_place(0, (1, 1, 1), [1, 2], [(4, 5, 1), (1, 1, -4)])
    features = graph.compute_position_features(0)
    np.testing.assert_allclose(features[0], [0, 1, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(
        features[1], [1, 0, 0.8, 0.6, 5 / 30, 5 / 30, 0.1], rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(features[2], [0, 1, 0, 1, 5 / 30, 5 / 30, 0.1], rtol=1e-6)
    east = graph.compute_position_features(0, heading=np.pi / 2)
    np.testing.assert_allclose(east[1, :2], [0, 1], atol=1e-7)
    np.testing.assert_allclose(east[2, :2], [-1, 0], atol=1e-7)
    between = graph.compute_position_features(1)[
        2
    ]  # no straight way is known: back through the start
    np.testing.assert_allclose(between[4:], [50**0.5 / 30, 10 / 30, 0.2], rtol=1e-6)


def test_seeing_a_known_place_again_changes_nothing_but_the_visit() -> None:
    graph, positions, joined = explore(1, 12, True)
    before, hops = graph.distances.copy(), graph.hops.copy()
    row = int(np.flatnonzero(graph.visited)[1])
    place = graph.places[row]
    near = np.flatnonzero(joined[place])
    graph.visit_place(place, positions[place], near, positions[near])
    np.testing.assert_array_equal(graph.distances, before)
    np.testing.assert_array_equal(graph.hops, hops)
    assert graph.last_visit[row] == graph.visits == 13
    assert graph.current == row


def test_unusable_places_are_refused() -> None:
    graph = ViewGraph()
    with pytest.raises(ValueError, match="not finite"):
        graph.visit_place(0, (0, np.nan, 0), [1], [(1, 0, 0)])
    with pytest.raises(ValueError, match="different other places"):
        graph.visit_place(0, (0, 0, 0), [1, 1], [(1, 0, 0), (1, 0, 0)])
    with pytest.raises(ValueError, match="different other places"):
        graph.visit_place(0, (0, 0, 0), [0], [(1, 0, 0)])
    with pytest.raises(ValueError, match="one position"):
        graph.visit_place(0, (0, 0, 0), [1, 2], [(1, 0, 0)])
    graph.visit_place(0, (0, 0, 0), [1], [(1, 0, 0)])
    with pytest.raises(ValueError, match="place 5 is not on the map"):
        graph.find_path(0, 5)
