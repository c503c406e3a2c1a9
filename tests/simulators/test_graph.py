"""Graph worlds: walks, percepts, and the three forms Matterport3D's graphs come in."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from embodied.categories import SOS_CATEGORIES
from embodied.errors import NavigationError, SceneError
from embodied.simulators.annotations import read_json
from embodied.simulators.connectivity import ConnectivityFiles, ConnectivityGraph, ConnectivityWorld
from embodied.simulators.graph import GraphWorld
from embodied.simulators.panoramas import ObjectBoxes
from maps.panorama.from_boxes import build_panorama_from_boxes
from maps.panorama.observation import PanoramaObservation

ROOT = Path(__file__).resolve().parents[2]
SCAN = "oLBMNvg9in8"


class Bare(GraphWorld):
    """Counts how often it is asked what is seen."""

    asked = 0

    def _perceive(self, place: int) -> PanoramaObservation:
        self.asked += 1
        return build_panorama_from_boxes(
            [place], ["chair"], [0], [[place * 0.5, 0, 0.3, 0.3]], len(SOS_CATEGORIES)
        )


def line(count: int = 4) -> Bare:
    """Places in a row, 2 m apart."""
    positions = [(2.0 * i, 0, 0) for i in range(count)]
    edges = [(i, i + 1) for i in range(count - 1)]
    return Bare("line", [f"p{i}" for i in range(count)], positions, edges)


def random_world(seed: int, count: int = 40) -> tuple[Bare, nx.Graph]:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 10, (count, 3))
    edges = rng.integers(0, count, (45, 2))  # sparse: some places cannot be reached, some loops
    world = Bare("random", [str(i) for i in range(count)], positions, edges)
    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    for a, b in edges.tolist():
        if a != b:
            graph.add_edge(a, b, weight=float(np.linalg.norm(positions[a] - positions[b])))
    return world, graph


@pytest.mark.parametrize("seed", range(5))
def test_shortest_walks_are_those_of_networkx(seed: int) -> None:
    world, graph = random_world(seed)
    lengths = dict(nx.all_pairs_dijkstra_path_length(graph))
    unreachable = 0
    for a in range(len(world)):
        assert world.neighbours[a].tolist() == sorted(graph[a])
        for b in range(len(world)):
            if b not in lengths[a]:
                unreachable += 1
                assert world.distances[a, b] == np.inf
                assert world.next_hop[a, b] == -1
                with pytest.raises(NavigationError, match="no way from"):
                    world.find_path(a, b)
                continue
            walk = world.find_path(a, b)
            assert (walk[0], walk[-1]) == (a, b)
            assert nx.is_path(graph, walk)
            assert world.distances[a, b] == pytest.approx(lengths[a][b])
            assert world.compute_walk_length(walk) == pytest.approx(lengths[a][b])
    assert unreachable > 0


def test_two_places_at_one_point_stay_connected() -> None:
    world = Bare("stack", ["a", "b"], [(0, 0, 0), (0, 0, 0)], [(0, 1)])
    assert world.find_path(0, 1) == [0, 1]
    assert world.distances[0, 1] == pytest.approx(0, abs=1e-6)


def test_names_and_numbers() -> None:
    world = line()
    assert world.get_place_index("p2") == 2
    assert "p2" in world
    assert len(world) == 4
    with pytest.raises(NavigationError, match="unknown viewpoint 'x' in 'line', which has 4"):
        world.get_place_index("x")


def test_what_is_seen_is_computed_once_and_cannot_be_changed() -> None:
    world = line()
    first, second = world.observe_place(1), world.observe_place(1)
    assert world.asked == 1
    assert (first.canvas == second.canvas).all()
    assert first.canvas.any()
    for array in (first.views, first.objects, first.boxes, first.features, first.canvas):
        with pytest.raises(ValueError, match="read-only"):
            array.reshape(-1)[0] = 1
    world.clear_cache()
    assert (world.observe_place(1).canvas == first.canvas).all()
    assert world.asked == 2


@pytest.mark.parametrize(("places", "positions", "edges", "match"), [
    ([], [], [], "no places"),
    (["a", "a"], [(0, 0, 0)] * 2, [], "names the place 'a' twice"),
    (["a"], [(0, 0, np.nan)], [], "finite positions"),
    (["a", "b"], [(0, 0, 0)], [], "finite positions"),
    (["a"], [(0, 0, 0)], [(0, 1)], "an edge joins place 1"),
])  # fmt: skip
def test_a_world_that_cannot_be(places, positions, edges, match: str) -> None:
    with pytest.raises(SceneError, match=match):
        Bare("bad", places, positions, edges)


def test_the_three_forms_of_the_released_graphs_agree(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    source = shared_data("mp3d_connectivity")
    for form in ("plain", "archive", "compact"):
        (tmp_path / form / "connectivity").mkdir(parents=True)
    with tarfile.open(source / "connectivity.tar.xz") as archive:
        archive.extractall(tmp_path / "plain", filter="data")
    for form, name in (("archive", "connectivity.tar.xz"), ("compact", "navgraph_compact.json.gz")):
        (tmp_path / form / "connectivity" / name).write_bytes((source / name).read_bytes())
    files = [ConnectivityFiles(tmp_path / form) for form in ("plain", "archive", "compact")]
    assert len({f.scans for f in files}) == 1
    assert len(files[0].scans) == 90
    for scan in (SCAN, "B6ByNegPMKs"):
        worlds = [ConnectivityWorld(scan, f.read_graph(scan)) for f in files]
        for other in worlds[1:]:
            assert other.places == worlds[0].places
            assert other.positions == pytest.approx(worlds[0].positions, abs=1e-5)
            assert all((a == b).all() for a, b in zip(
                other.neighbours, worlds[0].neighbours, strict=True
            ))  # fmt: skip


def test_published_counts_of_the_graphs(shared_data: Callable[[str], Path]) -> None:
    files = ConnectivityFiles(shared_data("mp3d_connectivity").parent)
    graphs = [files.read_graph(scan) for scan in files.scans]
    assert sum(len(g.places) for g in graphs) == 10_567
    assert sum(len({tuple(sorted(e)) for e in g.edges.tolist()}) for g in graphs) == 21_468


def test_an_unknown_scan_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "connectivity"
    folder.mkdir()
    (folder / "a_connectivity.json").write_text("[{]")
    with pytest.raises(SceneError, match="a_connectivity.json is damaged"):
        ConnectivityFiles(tmp_path).read_graph("a")
    with pytest.raises(SceneError, match="no graph of scan 'b' .*did you mean|Allowed: a"):
        ConnectivityFiles(tmp_path).read_graph("b")
    (folder / "a_connectivity.json").unlink()
    (folder / "connectivity.tar.xz").write_bytes(b"nonsense")
    with pytest.raises(SceneError, match="connectivity.tar.xz is damaged"):
        _ = ConnectivityFiles(tmp_path).scans
    (folder / "connectivity.tar.xz").unlink()
    (folder / "navgraph_compact.json.gz").write_bytes(
        gzip.compress(json.dumps({"a": {"id": ["p"], "pose": []}}).encode())
    )
    with pytest.raises(SceneError, match="compact.json.gz, scan 'a': a field"):
        ConnectivityFiles(tmp_path).read_graph("a")


@pytest.fixture(scope="module")
def released() -> tuple[Path, ObjectBoxes]:
    """The data folder and the object boxes in it."""
    root = ROOT.parent / "shared" / "data"
    if not (root / "reverie").exists():
        pytest.skip(f"reference data {root} is not on this machine")
    return root, ObjectBoxes.from_data_folder(root)


def test_boxes_point_at_the_objects_in_space(released: tuple[Path, ObjectBoxes]) -> None:
    """Objects triangulated from the same boxes elsewhere lie where positions and headings say: the
    frames of graph, boxes and views fit together.
    """
    root, boxes = released
    files = ConnectivityFiles(root)
    space = read_json(root / "reverie" / "derived_objects3d.json.gz")
    apart = []
    for scan in (SCAN, "zsNo4HB9uLZ", "8194nk5LbLH", "QUCTc6BB5sX", "X7HyMhZNoso"):
        graph = files.read_graph(scan)
        points = {o["id"]: o["xyz"] for o in space[scan] if o.get("xyz")}
        for place, position in zip(graph.places, graph.positions, strict=True):
            seen = boxes.get_visible_objects(scan, place)
            for number, box in zip(seen.objects, seen.boxes, strict=True):
                if int(number) in points and max(box[2:]) < 0.6:
                    x, y, z = points[int(number)]
                    east, up, south = np.array([x, z, -y]) - position
                    heading = np.arctan2(east, -south)
                    elevation = np.arctan2(up, np.hypot(east, south))
                    turn = (heading - box[0] + np.pi) % (2 * np.pi) - np.pi
                    apart.append((abs(turn) * np.cos(elevation), abs(elevation - box[1])))
    assert len(apart) > 200
    assert np.degrees(np.median(apart, axis=0)).max() < 1.0
    assert np.degrees(np.quantile(apart, 0.9, axis=0)).max() < 5.0


def test_joined_boxes_agree_with_another_joining(released: tuple[Path, ObjectBoxes]) -> None:
    """The same boxes joined by other code, for objects that some view shows whole."""
    root, boxes = released
    other = read_json(root / "reverie" / "derived_panorama_objects.json.gz")[SCAN]
    apart = []
    for viewpoint, rows in other.items():
        seen = boxes.get_visible_objects(SCAN, viewpoint)
        assert seen.objects.tolist() == sorted(row[0] for row in rows)
        for number, name, heading, elevation, _, _, quality in rows:
            i = int(np.flatnonzero(seen.objects == number)[0])
            assert seen.names[i] == name
            if quality == 2:
                turn = (seen.boxes[i, 0] - heading + np.pi) % (2 * np.pi) - np.pi
                apart.append((abs(turn), abs(seen.boxes[i, 1] - elevation)))
    assert len(apart) > 50
    assert np.degrees(np.median(apart, axis=0)).max() < 1.0
    assert np.degrees(np.quantile(apart, 0.9, axis=0)).max() < 4.0


def test_where_an_object_is_seen_from(released: tuple[Path, ObjectBoxes]) -> None:
    root, boxes = released
    raw = read_json(root / "reverie/bboxes_v1.json.gz")
    shown = {
        key.split("_")[1] for key, entries in raw.items()
        if key.startswith("zsNo4HB9uLZ") and entries.get("215", {}).get("visible_pos")
    }  # fmt: skip
    assert set(boxes.find_viewpoints("zsNo4HB9uLZ", 215)) == shown != set()
    assert boxes.is_annotated("zsNo4HB9uLZ", 215)
    assert boxes.find_viewpoints("zsNo4HB9uLZ", 10**6) == ()
    assert not boxes.is_annotated("zsNo4HB9uLZ", 10**6)


def test_a_world_without_boxes_sees_nothing() -> None:
    graph = ConnectivityGraph(("a", "b"), np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0, 1]]))
    seen = ConnectivityWorld("x", graph).observe_place(0)
    assert seen.objects.shape == (0,)
    assert seen.boxes.shape == (0, 4)
    assert not seen.views.any()
    assert not seen.canvas.any()
