"""Every metric against a second, independent computation, on random walks through real graphs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import published
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import five, outline

from embodied.simulators.annotations import read_json
from embodied.tasks.datasets import soon
from embodied.tasks.vln import metrics
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.source import VLNSource, load_source

EPISODES = 300


def drawn(source: VLNSource, count: int = EPISODES) -> list[VLNEpisode]:
    """Episodes spread over the whole split."""
    rows = np.linspace(0, len(source.episodes) - 1, count).astype(int)
    return [source.episodes[i] for i in rows]


def wander(graph, start: str, rng: np.random.Generator, towards: list[str]) -> list[str]:
    """A random walk; most first follow the annotated path, to its end or for a while."""
    kept = rng.choice([1, len(towards), rng.integers(1, len(towards) + 1)])
    walk = [start, *towards[1:kept]]
    for _ in range(rng.choice([0, rng.integers(0, 8)])):
        walk.append(sorted(graph[walk[-1]])[rng.integers(len(graph[walk[-1]]))])
    return walk


def archive(shared_data: Callable[[str], Path]) -> Path:
    return shared_data("mp3d_connectivity") / "connectivity.tar.xz"


def check(source: VLNSource, episode: VLNEpisode, walk: list[str], named: bool, want: dict) -> None:
    world = source.worlds[episode.world]
    got = metrics.score_episode(
        world.distances, episode, [world.get_place_index(p) for p in walk], named
    )
    want = want | {"sdtw": want["success"] * want["ndtw"]}
    # The compact graph file rounds positions to micrometres, the archive does not.
    assert got == pytest.approx(want, rel=1e-6, abs=1e-5), (episode.id, walk)


def test_r2r_agrees_with_an_independent_computation(shared_data) -> None:
    raw = {
        str(item["path_id"]): item
        for item in read_json(shared_data("r2r") / "R2R_val_unseen.json.gz")
    }
    source = load_source(VLNConfig(dataset="r2r", data=str(shared_data("r2r").parent)))
    rng, results = np.random.default_rng(0), []
    for episode in drawn(source):
        item = raw[episode.id.split("_")[0]]
        d = published.all_distances(archive(shared_data), item["scan"])
        graph = published.raw_graph(archive(shared_data), item["scan"])
        start, goal = item["path"][0], item["path"][-1]
        walk = wander(graph, start, rng, item["path"])
        want = published.outcome(d, walk, published.near(d, goal), {goal}, d[start][goal])
        want |= published.fidelity(d, walk, item["path"])
        check(source, episode, walk, False, want)
        results.append(want["success"])
    assert 0.1 < np.mean(results) < 0.9


def test_reverie_agrees_with_an_independent_computation(shared_data) -> None:
    folder = shared_data("reverie")
    raw = {item["id"]: item for item in read_json(folder / "v2" / "REVERIE_val_unseen.json.gz")}
    seen: dict[tuple[str, int], set[str]] = {}
    for key, entries in read_json(folder / "bboxes_v1.json.gz").items():
        scan, viewpoint = key.split("_")
        for number, entry in entries.items():
            if entry["visible_pos"]:
                seen.setdefault((scan, int(number)), set()).add(viewpoint)
    source = load_source(VLNConfig(dataset="reverie", data=str(folder.parent)))
    rng, results = np.random.default_rng(1), []
    for episode in drawn(source):
        item = raw[episode.id.rpartition("_")[0]]
        d = published.all_distances(archive(shared_data), item["scan"])
        graph = published.raw_graph(archive(shared_data), item["scan"])
        goals = seen[item["scan"], item["objId"]] & set(d) | {item["path"][-1]}
        walk = wander(graph, item["path"][0], rng, item["path"])
        optimal = published.path_length(d, item["path"])
        named = int(rng.choice([-1, 10_000, item["objId"]]))
        want = published.outcome(d, walk, goals, goals, optimal)
        want |= published.fidelity(d, walk, item["path"])
        right = named == item["objId"]
        want |= published.grounding(right, want["success"], want["path_length"], optimal)
        check(source, episode, walk, metrics.is_right_object(episode, 0, named), want)
        results.append(want["success"])
    assert 0.1 < np.mean(results) < 0.9


def test_soon_agrees_with_an_independent_computation(shared_data, tmp_path: Path) -> None:
    polygons = pytest.importorskip("shapely").Polygon
    from shapely import Point

    rng = np.random.default_rng(2)
    file = generate_soon(tmp_path, archive(shared_data), rng)
    raw = json.loads(file.read_text())
    worlds = load_source(VLNConfig(dataset="r2r", data=str(shared_data("r2r").parent))).worlds
    source = VLNSource(worlds, soon.load_soon(file, worlds))
    assert len(source.episodes) >= 200
    outcomes, crossing = [], 0
    for episode in source.episodes:
        number, which, _ = (int(v) for v in episode.id.split("_"))
        item = raw[number]
        path = item["path"][which]
        d = published.all_distances(archive(shared_data), item["scan"])
        graph = published.raw_graph(archive(shared_data), item["scan"])
        targets = {box["image_id"]: box["target"] for box in item["bboxes"]}
        walk = wander(graph, path[0], rng, path)
        good = published.near(d, path[-1]) | set(targets)
        reached = walk[-1] if walk[-1] in targets else path[-1]
        optimal = d[path[0]][reached]
        right, centre = False, None
        if walk[-1] in targets:
            target = targets[walk[-1]]
            centre = (
                float(target["center"]["heading"] + rng.normal(0, 0.15)) % (2 * np.pi),
                float(target["center"]["elevation"] + rng.normal(0, 0.15)),
            )
            # Turn the world so that the target's centre has heading pi: nothing wraps around.
            turn = np.pi - target["center"]["heading"]
            shape = polygons(
                [((target[c]["heading"] + turn) % (2 * np.pi), target[c]["elevation"])
                 for c in soon.CORNERS]
            )  # fmt: skip
            right = bool(shape.covers(Point((centre[0] + turn) % (2 * np.pi), centre[1])))
            crossing += target["left_top"]["heading"] > target["right_top"]["heading"]
            outcomes.append(right)
        want = published.outcome(d, walk, good, {path[-1], *targets}, optimal)
        want |= published.fidelity(d, walk, path)
        want |= published.grounding(right, want["success"], want["path_length"], optimal)
        world = source.worlds[episode.world]
        named = metrics.is_right_object(episode, world.get_place_index(walk[-1]), 5, centre)
        assert named == right
        check(source, episode, walk, named, want)
    assert crossing >= 10
    assert 0.2 < np.mean(outcomes) < 0.9


def generate_soon(folder: Path, graphs: Path, rng: np.random.Generator) -> Path:
    """SOON's released schema over real scans: outlines, some of them across north."""
    items = []
    for scan in ("zsNo4HB9uLZ", "QUCTc6BB5sX", "oLBMNvg9in8"):
        d = published.all_distances(graphs, scan)
        for k in range(40):
            names = sorted(d)
            goal = names[rng.integers(len(names))]
            goals = [v for v in sorted(d[goal]) if d[goal][v] < 4][: rng.integers(1, 5)]
            paths = []
            for end in sorted({goal, goals[0]}):
                start = names[rng.integers(len(names))]
                if math.isfinite(d[end].get(start, math.inf)) and d[end][start] > 0:
                    paths.append(shortest(graphs, scan, start, end))
            if not paths:
                continue
            boxes = []
            for viewpoint in sorted({*goals, *(p[-1] for p in paths)}):
                heading = rng.normal(0, 0.1) if k % 2 else rng.uniform(0, 2 * np.pi)
                boxes.append(
                    {"scan": scan, "image_id": viewpoint, "obj_name": "chair",
                     "target": outline(heading, rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.4))}
                )  # fmt: skip
            items.append(
                {"path": paths, "scan": scan, "bboxes": boxes,
                 "instructions": [five("the chair in the study"), five("a chair by a desk")]}
            )  # fmt: skip
    file = folder / "SOON" / "train.json"
    file.parent.mkdir()
    file.write_text(json.dumps(items))
    return file


def shortest(graphs: Path, scan: str, start: str, end: str) -> list[str]:
    import networkx as nx

    return nx.dijkstra_path(published.raw_graph(graphs, scan), start, end)


@pytest.mark.parametrize("split", ["val_seen", "val_unseen"])
@pytest.mark.parametrize("dataset", ["r2r", "reverie"])
def test_the_annotated_path_scores_one(shared_data, dataset: str, split: str) -> None:
    """On every episode. R2R's val_unseen has 8 paths (24 instructions) longer than the shortest
    walk on the released graph, which is what R2R's SPL compares with: there the shortest walk
    scores 1 and the annotated path less.
    """
    source = load_source(
        VLNConfig(dataset=dataset, split=split, data=str(shared_data("r2r").parent))
    )
    longer = 0
    for episode in source.episodes:
        world = source.worlds[episode.world]
        for here, after in zip(episode.path, episode.path[1:], strict=False):
            assert after in world.neighbours[here]
        got = metrics.score_episode(world.distances, episode, episode.path, named=True)
        assert (got["success"], got["ndtw"], got["sdtw"]) == (1, 1, 1)
        assert got["distance_to_goal"] == 0
        assert got["cls"] == pytest.approx(1, abs=1e-12)
        if got["path_length"] > episode.length + 1e-9:
            longer += 1
            walk = world.find_path(episode.start, episode.path[-1])
            got = metrics.score_episode(world.distances, episode, walk)
        assert got["spl"] == pytest.approx(1, abs=1e-12)
        if dataset == "reverie":
            assert got["rgs"] == got["rgs_strict"] == 1
            assert got["rgspl"] == got["rgspl_strict"] == pytest.approx(1, abs=1e-12)
    assert longer == (24 if (dataset, split) == ("r2r", "val_unseen") else 0)


def test_the_last_viewpoint_counts_even_where_no_box_shows_the_target(shared_data) -> None:
    folder = shared_data("reverie")
    source = load_source(VLNConfig(dataset="reverie", split="val_seen", data=str(folder.parent)))
    boxes = read_json(folder / "bboxes_v1.json.gz")
    unseen = 0
    for episode in source.episodes:
        world = source.worlds[episode.world]
        here = boxes.get(f"{world.name}_{world.places[episode.path[-1]]}", {})
        unseen += not here.get(str(episode.target), {}).get("visible_pos")
        assert episode.path[-1] in episode.goals
    assert unseen == 7


LINE = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0))) * 2.0
"""Six places in a row, 2 m apart."""


def test_scores_of_a_detour_by_hand() -> None:
    episode = VLNEpisode(
        "x", "w", 0, 0.0, "go", goals=(2,), target=3, path=(0, 1, 2), length=4.0, radius=3.0
    )
    got = metrics.score_episode(LINE, episode, [0, 1, 2, 3, 4, 3], named=True)
    assert got["steps"] == 5
    assert got["path_length"] == 10
    assert got["success"] == 1  # one place beyond the goal, 2 m < 3 m
    assert got["spl"] == pytest.approx(0.4)
    assert got["distance_to_goal"] == 2
    assert got["ndtw"] == pytest.approx(math.exp(-(2 + 4 + 2) / 9))
    assert got["cls"] == pytest.approx(4 / (4 + 6))
    assert got["rgspl"] == pytest.approx(0.4)


def test_strict_grounding_needs_success_and_the_other_does_not() -> None:
    episode = VLNEpisode("x", "w", 0, 0.0, "go", goals=(5,), target=3, path=(0, 5), length=10.0)
    got = metrics.score_episode(LINE, episode, [0, 1], named=True)
    assert (got["success"], got["rgs"], got["rgs_strict"], got["rgspl_strict"]) == (0, 1, 0, 0)
    assert got["rgspl"] == 1.0


def test_exactly_three_metres_is_not_near_enough() -> None:
    row = LINE * 1.5
    episode = VLNEpisode("x", "w", 0, 0.0, "go", goals=(2,), path=(0, 2), length=6.0, radius=3.0)
    assert metrics.score_episode(row, episode, [0, 1])["success"] == 0
    assert metrics.score_episode(row, episode, [0, 1])["oracle_success"] == 0


def test_without_a_goal_only_the_walk_is_measured() -> None:
    hidden = VLNEpisode("x", "w", 0, 0.0, "go", path=(0,))
    assert metrics.score_episode(LINE, hidden, [0, 1, 2]) == {"steps": 2.0, "path_length": 4.0}


def test_an_outline_across_north_holds_what_is_in_it() -> None:
    corners = np.array([[6.1, 0.2], [0.3, 0.2], [0.3, -0.2], [6.1, -0.2]])
    assert metrics.inside_polygon(0.0, 0.0, corners)
    assert metrics.inside_polygon(6.2, 0.1, corners)
    assert metrics.inside_polygon(6.2 - 2 * np.pi, 0.1, corners)
    assert not metrics.inside_polygon(3.0, 0.0, corners)  # plain numbers would say inside
    assert not metrics.inside_polygon(0.0, 0.3, corners)


@given(
    centre=st.floats(0, 2 * math.pi), half=st.floats(0.05, 1.2), turn=st.floats(-10, 10),
    heading=st.floats(0, 2 * math.pi), elevation=st.floats(-0.5, 0.5),
)  # fmt: skip
def test_turning_everything_changes_no_answer(centre, half, turn, heading, elevation) -> None:
    offsets = np.array([[-half, 0.3], [half, 0.3], [half, -0.3], [-half, -0.3]])
    corners = offsets + [centre, 0]
    turned = np.column_stack([(corners[:, 0] + turn) % (2 * np.pi), corners[:, 1]])
    away = abs((heading - centre + np.pi) % (2 * np.pi) - np.pi)
    if min(abs(away - half), abs(abs(elevation) - 0.3)) < 1e-6:
        return  # on the rim, rounding decides
    inside = away < half and abs(elevation) < 0.3
    assert metrics.inside_polygon(heading + turn, elevation, turned) == inside
