import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maps.graph.topology import FRONTIER, VISITED, TopologicalGraph
from maps.grid.frontiers import Frontier


def frontier(x, z, identity):
    return Frontier(np.zeros((1, 2), np.int32), (x, z), (x, z), 0.5, 1.0, identity)


def walk(graph, corners, step=0.25):
    for a, b in zip(np.array(corners[:-1], float), np.array(corners[1:], float), strict=True):
        count = int(np.linalg.norm(b - a) / step)
        for k in range(count + 1):
            p = a + (b - a) * k / max(count, 1)
            graph.visit_position([p[0], 0.0, p[1]])


def test_a_straight_walk_is_a_chain_of_its_length():
    graph = TopologicalGraph(merge_radius=1.0)
    walk(graph, [(0, 0), (10, 0)])
    first, last = graph.find_nearest([0, 0, 0]), graph.find_nearest([10, 0, 0])
    path, length = graph.find_shortest_path(first, last)
    assert path[0] == first
    assert path[-1] == last == graph.current
    assert length == pytest.approx(
        graph.nodes[last].position[0] - graph.nodes[first].position[0], abs=0.01
    )
    assert all(n.kind == VISITED for n in graph.nodes.values())
    assert 7 <= len(graph.nodes) <= 11


def test_returning_reuses_nodes_and_closes_loops():
    graph = TopologicalGraph(merge_radius=0.6)
    walk(graph, [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0.2)])
    count = len(graph.nodes)
    walk(graph, [(0, 0), (4, 0)])
    assert len(graph.nodes) == count
    far = graph.find_nearest([0, 0, 4])
    assert graph.find_shortest_path(0, far)[1] < 6  # the loop is closed: not 12 m back round


def test_floors_are_kept_apart():
    graph = TopologicalGraph(merge_radius=1.0)
    a, b = graph.visit_position([0, 0, 0]), graph.visit_position([0, 3, 0])
    assert a != b


def test_frontiers_hang_on_the_nearest_way_and_keep_their_number():
    graph = TopologicalGraph()
    walk(graph, [(0, 0), (6, 0)])
    graph.set_frontiers([frontier(6, 2, 5), frontier(0, -3, 6)])
    number = graph.find_nearest([6, 0, 2], FRONTIER)
    assert graph.nodes[number].frontier == 5
    ((anchor, length),) = graph.get_neighbours(number).items()
    assert graph.nodes[anchor].kind == VISITED
    assert length == pytest.approx(2.0, abs=0.6)
    graph.set_frontiers([frontier(6, 2.5, 5)])
    assert graph.find_nearest([0, 0, 0], FRONTIER) == number
    assert graph.nodes[number].position[2] == 2.5
    assert sum(n.kind == FRONTIER for n in graph.nodes.values()) == 1
    graph.set_frontiers([])
    assert all(n.kind == VISITED for n in graph.nodes.values())
    graph.set_frontiers([frontier(1, 1, 9)])
    assert max(graph.nodes) > number + 1  # numbers are not used twice


def test_a_measure_that_finds_no_way_leaves_a_frontier_alone():
    graph = TopologicalGraph(measure=lambda a, b: np.inf)
    graph.visit_position([0, 0, 0])
    graph.set_frontiers([frontier(1, 0, 1)])
    assert graph.get_neighbours(graph.find_nearest([1, 0, 0], FRONTIER)) == {}
    assert graph.find_shortest_path(0, 1) == ([], np.inf)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.floats(0, 10)), max_size=40))
@settings(max_examples=50, deadline=None)
def test_shortest_paths_equal_networkx(edges):
    graph, peer = TopologicalGraph(merge_radius=0.5), networkx.Graph()
    for k in range(12):
        graph.visit_position([3.0 * k, 0, 0])
    for a, b, length in graph.edges:
        peer.add_edge(a, b, weight=length)
    for a, b, length in edges:
        if a != b:
            graph.add_edge(a, b, length)
            if not peer.has_edge(a, b) or peer[a][b]["weight"] > length:
                peer.add_edge(a, b, weight=length)
    assert graph.compute_distances(3) == pytest.approx(
        networkx.single_source_dijkstra_path_length(peer, 3)
    )
    path, length = graph.find_shortest_path(3, 9)
    assert sum(
        graph.get_neighbours(a)[b] for a, b in zip(path, path[1:], strict=False)
    ) == pytest.approx(length)


def test_bad_input_is_refused():
    graph = TopologicalGraph()
    assert graph.find_nearest([0, 0, 0]) == -1
    with pytest.raises(ValueError, match="3 finite"):
        graph.visit_position([0, np.nan, 0])
    graph.visit_position([0, 0, 0])
    with pytest.raises(ValueError, match="no node 7"):
        graph.find_shortest_path(0, 7)
    with pytest.raises(ValueError, match="length"):
        graph.add_edge(0, 0, 1.0)
