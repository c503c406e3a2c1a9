"""The official scores written down a second time, from the raw files and with other tools:
networkx for distances, recursion for time warping, shapely for outlines. Slow and plain on purpose.
"""

from __future__ import annotations

import json
import math
import tarfile
from functools import cache
from pathlib import Path

import networkx as nx


@cache
def raw_graph(archive: Path, scan: str) -> nx.Graph:
    """The graph as the released loaders build it."""
    with tarfile.open(archive) as tar:
        content = tar.extractfile(f"connectivity/{scan}_connectivity.json")
        assert content is not None
        listed = json.load(content)
    graph = nx.Graph()
    for i, one in enumerate(listed):
        for j, free in enumerate(one["unobstructed"]):
            other = listed[j]
            if free and one["included"] and other["included"]:
                apart = [one["pose"][k] - other["pose"][k] for k in (3, 7, 11)]
                assert other["unobstructed"][i]
                graph.add_edge(one["image_id"], other["image_id"], weight=math.hypot(*apart))
    return graph


@cache
def all_distances(archive: Path, scan: str) -> dict[str, dict[str, float]]:
    return dict(nx.all_pairs_dijkstra_path_length(raw_graph(archive, scan)))


def path_length(d: dict, walk: list[str]) -> float:
    return sum(d[a][b] for a, b in zip(walk, walk[1:], strict=False))


def dtw(d: dict, walk: list[str], reference: list[str]) -> float:
    @cache
    def best(i: int, j: int) -> float:
        if i < 0 or j < 0:
            return 0.0 if i == j == -1 else math.inf
        return d[reference[i]][walk[j]] + min(best(i - 1, j), best(i, j - 1), best(i - 1, j - 1))

    return best(len(reference) - 1, len(walk) - 1)


def fidelity(d: dict, walk: list[str], reference: list[str]) -> dict[str, float]:
    """nDTW and CLS of two walks."""
    coverage = sum(math.exp(-min(d[r][p] for p in walk) / 3.0) for r in reference) / len(reference)
    expected = coverage * path_length(d, reference)
    score = expected / (expected + abs(expected - path_length(d, walk)))
    return {
        "ndtw": math.exp(-dtw(d, walk, reference) / (3.0 * len(reference))),
        "cls": coverage * score,
    }


def outcome(d: dict, walk: list[str], good: set[str], goals: set[str], optimal: float) -> dict:
    """Success, SPL, oracle success and distance to the nearest goal."""
    travelled = path_length(d, walk)
    success = float(walk[-1] in good)
    return {
        "success": success,
        "spl": success * efficiency(travelled, optimal),
        "oracle_success": float(any(p in good for p in walk)),
        "distance_to_goal": min(d[walk[-1]][g] for g in goals),
        "path_length": travelled,
        "steps": float(len(walk) - 1),
    }


def efficiency(travelled: float, optimal: float) -> float:
    """Who starts at the goal and stays there has wasted nothing."""
    if optimal == 0:
        return float(travelled == 0)
    return optimal / max(travelled, optimal)


def grounding(right: bool, success: float, travelled: float, optimal: float) -> dict[str, float]:
    share = efficiency(travelled, optimal)
    return {
        "rgs": float(right),
        "rgspl": float(right) * share,
        "rgs_strict": float(right) * success,
        "rgspl_strict": float(right) * success * share,
    }


def near(d: dict, goal: str, radius: float = 3.0) -> set[str]:
    return {v for v, far in d[goal].items() if far < radius}
