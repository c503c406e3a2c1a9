"""Cost and exactness of navigation on one core: `embodied bench nav`.

CPU time. Furnished 10-room houses of 20k, 200k and 1M triangles at 5 cm cells; the error is against
an exact visibility graph over the same cells, on ways of 1 m and more. scipy's eight-neighbour
Dijkstra over the same cells, measured in the same run, is the yardstick for the fields.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from embodied.simulators.houses import generate_house
from embodied.simulators.pathfinder import PathFinder
from maps.paths.cells import extend_neighbours
from maps.paths.visibility import compute_exact_distances

HOUSES = {"20k": 20_000, "200k": 200_000, "1M": 1_000_000}
TARGETS = {
    "bench.nav.field.ms": 15.0,
    "bench.nav.lookup.us": 10.0,
    "bench.nav.error.median_percent": 1.0,
    "bench.nav.error.worst_percent": 3.0,
}


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of `work` [s] after one unmeasured call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return float(np.median(times)) / 1e9


def exactness(seeds: list[int], sources: int, targets: int) -> np.ndarray:
    """Compare fields with the exact reference on houses: relative errors of ways >= 1 m."""
    errors = []
    for seed in seeds:
        scene = generate_house(seed, rooms=(3, 12), textures=False)
        finder = PathFinder(scene.vertices, scene.faces)
        surface = finder.surface
        cells = np.flatnonzero(surface.island == finder.largest_island)
        free = np.zeros((surface.depth, surface.width), bool)
        free[surface.row[cells], surface.column[cells]] = True
        rng = np.random.default_rng(seed)
        ends = rng.choice(cells, targets)
        place = np.stack([surface.row, surface.column], axis=1) + 0.5
        for start in rng.choice(cells, sources):
            exact = compute_exact_distances(free, place[start], place[ends], surface.cell)
            ours = finder.compute_distance_field(surface.centers[start]).get_distances(
                surface.centers[ends]
            )
            far = np.isfinite(exact) & (exact >= 1.0)
            errors.append(ours[far] / exact[far] - 1)
    return np.concatenate(errors)


def build_times(quick: bool) -> dict[str, float]:
    """Measure voxels to queries [ms] per house size."""
    found = {}
    for label, triangles in HOUSES.items():
        if quick and label == "1M":
            continue
        scene = generate_house(7, rooms=10, triangles=triangles, textures=False)
        found[f"bench.nav.build.{label}.ms"] = 1e3 * seconds(
            lambda scene=scene: PathFinder(scene.vertices, scene.faces), 2 if quick else 5
        )
    return found


def query_times(repeats: int) -> dict[str, float]:
    """Measure fields, look-ups, samples and steps in one 10-room house."""
    scene = generate_house(7, rooms=10, textures=False)
    finder = PathFinder(scene.vertices, scene.faces)
    surface, rng = finder.surface, np.random.default_rng(0)
    island = finder.largest_island
    goals = iter(finder.sample_points(rng, 4 * repeats + 8, island))
    field = finder.compute_distance_field(next(goals))
    points = finder.sample_points(rng, 1024, island)
    table = extend_neighbours(surface.links)
    tail, side = np.nonzero(table >= 0)
    weights = np.where(side < 4, 1.0, np.sqrt(2.0))
    graph = csr_matrix((weights, (tail, table[tail, side])), shape=(len(surface),) * 2)
    ahead = points + rng.normal(0, 0.18, points.shape) * [1, 0, 1]
    one = points[:1]
    source = int(np.flatnonzero(surface.island == island)[0])
    ms = 1e3 * seconds(lambda: finder.compute_distance_field(next(goals)), repeats)
    reference = 1e3 * seconds(lambda: dijkstra(graph, indices=source), repeats)
    pair = seconds(lambda: finder.geodesic_distance(next(goals), one), repeats)

    def lookups() -> None:
        for _ in range(200):
            field.get_distances(one)

    def single_steps() -> None:
        for _ in range(200):
            finder.step(one, ahead[:1])

    return {
        "bench.nav.cells": float(len(surface)),
        "bench.nav.field.ms": ms,
        "bench.nav.field.ratio_to_scipy_dijkstra": ms / reference,
        "bench.nav.lookup.us": 1e6 * seconds(lookups, repeats) / 200,
        "bench.nav.lookup_batched.us": 1e6
        * seconds(lambda: field.get_distances(points), repeats)
        / 1024,
        "bench.nav.lookups_per_s": 1024 / seconds(lambda: field.get_distances(points), repeats),
        "bench.nav.uncached_pair.ms": 1e3 * pair,
        "bench.nav.path.us": 1e6 * seconds(lambda: field.find_path(one[0]), repeats),
        "bench.nav.samples_per_s": 1024 / seconds(lambda: finder.sample_points(rng, 1024), repeats),
        "bench.nav.steps_per_s.1_agent": 200 / seconds(single_steps, repeats),
        "bench.nav.steps_per_s.1024_agents": 1024
        / seconds(lambda: finder.step(points, ahead), repeats),
    }


def run(quick: bool = False) -> dict[str, float]:
    """Measure, print a table and return figures by key."""
    found = build_times(quick) | query_times(10 if quick else 40)
    errors = np.abs(exactness([1, 2] if quick else list(range(10)), 2 if quick else 4, 300))
    found["bench.nav.error.median_percent"] = 100 * float(np.median(errors))
    found["bench.nav.error.p99_percent"] = 100 * float(np.quantile(errors, 0.99))
    found["bench.nav.error.worst_percent"] = 100 * float(errors.max())
    found["bench.nav.error.pairs"] = float(len(errors))
    print(f"{'navigation, one core':44s} {'value':>14s} {'target':>8s} {'ratio':>7s}")
    for key, value in found.items():
        target = TARGETS.get(key)
        tail = f" {target:8.1f} {value / target:7.2f}" if target else ""
        print(f"{key:44s} {value:14,.4f}{tail}")
    return found


if __name__ == "__main__":
    run()
