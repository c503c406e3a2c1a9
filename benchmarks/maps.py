"""Cost of the live map on one core: `embodied bench maps`.

Process CPU time, medians. The depth frame is a furnished room, the floor plans are offices of rooms
with doors, partly explored, with the ragged borders a real sensor leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from maps.grid.frontiers import FrontierTracker, extract_frontiers
from maps.grid.occupancy import OccupancyMap
from maps.paths.planning import compute_cost_field, compute_cost_weights

TARGETS = {
    "bench.occupancy_256.ms": 2.0,
    "bench.frontiers_480.ms": 3.0,
    "bench.frontiers_2000.ms": 30.0,
}


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of `work` [ms] after one unmeasured call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return float(np.median(times)) / 1e6


def furnished_room(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a 9 x 7 m room with 12 boxes: depth (side, side) at 90 degrees and the pose (4, 4)."""
    rng = np.random.default_rng(3)
    pose = np.eye(4)
    pose[:3, 3] = (0.5, 1.25, 3.0)
    pixel = (np.arange(side) + 0.5) * 2 / side - 1
    rays = np.stack(np.broadcast_arrays(pixel[None], -pixel[:, None], -1.0), axis=-1)
    room = np.array([[-4.52, 0.0, -3.53], [4.52, 2.6, 3.53]])
    depth = _slabs(pose[:3, 3], rays, *room)[1]
    for _ in range(12):
        corner = np.array([rng.uniform(-4.3, 3.3), rng.uniform(0, 0.6), rng.uniform(-3.4, 1.0)])
        enter, leave = _slabs(pose[:3, 3], rays, corner, corner + rng.uniform(0.2, 1.2, 3))
        depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
    return depth.astype(np.float32), pose


def _slabs(eye: np.ndarray, rays: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple:
    with np.errstate(divide="ignore"):
        a, b = (low - eye) / rays, (high - eye) / rays
    return np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)


def floor_plan(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return free and unknown masks (side, side) of partly explored rooms of 4 x 4 m at 5 cm."""
    rng = np.random.default_rng(side)
    room, door = 80, 18
    wall = np.zeros((side, side), bool)
    wall[::room], wall[1::room] = True, True
    wall[:, ::room], wall[:, 1::room] = True, True
    for row in range(0, side, room):
        for column in range(0, side, room):
            shift = rng.integers(10, room - door - 10)
            wall[row : row + 2, column + shift : column + shift + door] = False
            wall[row + shift : row + shift + door, column : column + 2] = False
            if rng.random() < 0.7:
                r, c = rng.integers(10, 50, 2)
                wall[row + r : row + r + 20, column + c : column + c + 16] = True
    seen = np.zeros((side, side), bool)
    y, x = np.indices((room, room))
    for row in range(0, side - room + 1, room):
        for column in range(0, side - room + 1, room):
            kind = rng.random()
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-15, 15)
            half = (x - 40) * np.cos(angle) + (y - 40) * np.sin(angle) + rng.normal(0, 1, y.shape)
            part = half < offset if kind < 0.5 else np.full(y.shape, kind < 0.8)
            seen[row : row + room, column : column + room] = part
    return seen & ~wall, ~seen


def run(quick: bool = False) -> dict[str, float]:
    """Measure, print a table and return milliseconds by key."""
    repeats = 20 if quick else 100
    results: dict[str, float] = {}
    depth, pose = furnished_room(256)
    grid = OccupancyMap()
    results["bench.occupancy_256.ms"] = milliseconds(
        lambda: grid.integrate_depth(depth, pose, 90.0), repeats
    )
    for side in (480, 2000):
        free, unknown = floor_plan(side)
        count = max(5, repeats // (1 if side < 1000 else 4))
        results[f"bench.frontiers_{side}.ms"] = milliseconds(
            lambda free=free, unknown=unknown: extract_frontiers(free, unknown, 0.05), count
        )
        found = extract_frontiers(free, unknown, 0.05)
        tracker = FrontierTracker()
        results[f"bench.frontier_tracking_{side}.ms"] = milliseconds(
            lambda found=found, tracker=tracker: tracker.update(found), count
        )
    free, _ = floor_plan(480)
    weight = compute_cost_weights(free, np.where(free, 1.0, 0.0), 0.2, 0.4)
    start = tuple(np.argwhere(weight > 0)[0])
    results["bench.cost_field_480.ms"] = milliseconds(
        lambda: compute_cost_field(weight, start, 0.05), repeats
    )
    print(f"{'maps, one core':36s} {'ms':>8s} {'target':>8s} {'ratio':>7s}")
    for key, value in results.items():
        target = TARGETS.get(key)
        tail = f" {target:8.1f} {value / target:7.2f}" if target else ""
        print(f"{key:36s} {value:8.3f}{tail}")
    return results


if __name__ == "__main__":
    run()
