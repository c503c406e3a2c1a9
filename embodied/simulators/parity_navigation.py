"""Hold the path finder against values recorded from real habitat-sim.

What still differs, and why: Habitat walks on polygons whose edges are simplified by up to 1.3 cells
(6.5 cm), while the path finder keeps every cell. So points and contacts within about one cell of
the boundary may differ (they are left out of the navigable and top-down figures by a one-cell
band), a slide along a simplified edge ends a few cm away, and Habitat's paths, found over polygon
centres, may be a little longer than the shortest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from embodied.errors import SceneError
from embodied.simulators.base import AgentSpec
from embodied.simulators.pathfinder import PathFinder

SCENES = ("simple_room", "house_20k", "aws_house")
CHECKS = (
    "navigable",
    "topdown",
    "geodesic",
    "reachability",
    "rollout_heading",
    "rollout_10cm",
    "rollout_3cm",
    "collided",
)
Counts = dict[str, tuple[int, int]]


def measure_navigation_parity(reference_dir: Path | str) -> dict[str, float]:
    """Compare every recorded query with the path finder's answer.

    Args:
        reference_dir: folder with `<scene>.json`, `<scene>.npz` and `scenes/<scene>.glb`.

    Returns:
        Fraction that agrees in [0, 1]: `<check>` over all scenes, `<scene>.<check>` for one, and
        `<check>.count`, the number of comparisons behind it. Checks: navigable and topdown (outside
        a one-cell band at the boundary), geodesic (within 2 % + 5 cm), reachability, and, one
        action from every recorded pose with and without sliding: rollout_heading, rollout_10cm,
        rollout_3cm, collided.

    Raises:
        SceneError: when a file is missing.
    """
    folder = Path(reference_dir)
    result: dict[str, float] = {}
    totals = dict.fromkeys(CHECKS, (0, 0))
    for scene in SCENES:
        counts = measure_scene_parity(folder, scene)
        for check, (good, count) in counts.items():
            result[f"{scene}.{check}"] = good / count
            totals[check] = (totals[check][0] + good, totals[check][1] + count)
    for check, (good, count) in totals.items():
        result[check] = good / count
        result[f"{check}.count"] = float(count)
    return result


def build_reference_pathfinder(folder: Path, scene: str) -> tuple[PathFinder, dict[str, Any]]:
    """Build the path finder of a recorded scene and return it with the scene's settings."""
    mesh_file, settings_file = folder / "scenes" / f"{scene}.glb", folder / f"{scene}.json"
    for file in (mesh_file, settings_file):
        if not file.exists():
            raise SceneError(f"{file} is missing; reference_dir must hold the recorded values")
    settings = json.loads(settings_file.read_text())
    mesh: Any = trimesh.load_scene(mesh_file, process=False).to_geometry()
    # The recording stood these files on their side: file (x, y, z) became (x, z, -y).
    x, y, z = np.asarray(mesh.vertices).T
    grid = settings["navmesh"]
    agent = AgentSpec(
        radius=settings["agent_radius"],
        height=settings["agent_height"],
        max_climb=grid["agent_max_climb"],
        max_slope=grid["agent_max_slope"],
        cell_size=grid["cell_size"],
        cell_height=grid["cell_height"],
        forward=settings["forward"],
        turn=settings["turn_deg"],
        navmesh="habitat",
    )
    return PathFinder(np.stack([x, z, -y], axis=1), mesh.faces, agent), settings


def measure_scene_parity(folder: Path, scene: str) -> Counts:
    """Count agreeing and all comparisons of one scene, per check."""
    finder, settings = build_reference_pathfinder(folder, scene)
    with np.load(folder / f"{scene}.npz", allow_pickle=False) as data:
        recorded = {key: data[key] for key in data.files if key not in ("rgb", "depth")}
    counts = _points(finder, settings, recorded) | _distances(finder, recorded)
    for name, sliding in (("rollout_sliding", True), ("rollout_no_sliding", False)):
        for check, (good, count) in _rollout(finder, recorded[name], sliding).items():
            before = counts.get(check, (0, 0))
            counts[check] = (before[0] + good, before[1] + count)
    return counts


def _count(mask: NDArray[np.bool_]) -> tuple[int, int]:
    return int(mask.sum()), mask.size


def _near_boundary(
    finder: PathFinder, points: NDArray[np.float64], band: float
) -> NDArray[np.bool_]:
    """Tell which points have both navigable and other places within `band` [m]."""
    around = np.array([(i, 0, k) for i in (-1, 0, 1) for k in (-1, 0, 1)]) * band
    near = finder.is_navigable((points[:, None] + around).reshape(-1, 3)).reshape(len(points), 9)
    return np.logical_and(near.any(axis=1), ~near.all(axis=1))


def _points(finder: PathFinder, settings: dict[str, Any], recorded: dict[str, Any]) -> Counts:
    cell = finder.surface.cell
    query = recorded["query"].astype(np.float64)
    same = finder.is_navigable(query) == recorded["query_navigable"].astype(bool)
    clear = ~_near_boundary(finder, query, cell)
    rows, columns = settings["topdown_shape"]
    bits = np.unpackbits(recorded["topdown_5cm"])[: rows * columns]
    expected = bits.reshape(rows, columns).astype(bool)
    height = settings["topdown_height"]
    mine = finder.get_topdown_view(height)
    x = finder.bounds[0, 0] + np.arange(columns) * 0.05
    z = finder.bounds[0, 2] + np.arange(rows) * 0.05
    grid = np.stack(np.broadcast_arrays(x[None], height, z[:, None]), axis=-1).reshape(-1, 3)
    inside = ~_near_boundary(finder, grid, cell)
    return {
        "navigable": _count(same[clear]),
        "topdown": _count((mine == expected).ravel()[inside]),
    }


def _distances(finder: PathFinder, recorded: dict[str, Any]) -> Counts:
    points = recorded["points"].astype(np.float64)
    expected = recorded["geodesic"].astype(np.float64)
    pairs = recorded["pairs"].astype(int)
    mine = np.array([finder.geodesic_distance(points[a], points[b])[0] for a, b in pairs])
    both = np.isfinite(mine) & np.isfinite(expected)
    close = np.abs(mine[both] - expected[both]) <= 0.02 * expected[both] + 0.05
    return {
        "geodesic": _count(close),
        "reachability": _count(np.isfinite(mine) == np.isfinite(expected)),
    }


def _rollout(finder: PathFinder, rows: NDArray[np.floating], sliding: bool) -> Counts:
    """Repeat each recorded action from its recorded pose. Actions: 0 forward, 1 left, 2 right."""
    before, after = rows[:-1].astype(np.float64), rows[1:].astype(np.float64)
    steps = (before[:, 0] == after[:, 0]) & (after[:, 2] >= 0)
    before, after = before[steps], after[steps]
    action = after[:, 2].astype(int)
    yaw = 2 * np.arctan2(before[:, 8], before[:, 6])
    forward = action == 0
    turn = np.radians(finder.agent.turn) * np.array([0.0, 1.0, -1.0])[action]
    heading = np.stack([-np.sin(yaw), np.zeros_like(yaw), -np.cos(yaw)], axis=1)
    position = before[:, 3:6].copy()
    collided = np.zeros(len(action), bool)
    target = position[forward] + finder.agent.forward * heading[forward]
    position[forward], collided[forward] = finder.step(position[forward], target, sliding)
    gap = np.linalg.norm(position - after[:, 3:6], axis=1)
    new_yaw = 2 * np.arctan2(after[:, 8], after[:, 6])
    wrong = np.abs(np.angle(np.exp(1j * (yaw + turn - new_yaw))))
    # Turning is exact; only forward steps can differ, so only they are counted.
    return {
        "rollout_heading": _count(wrong < 1e-3),
        "rollout_10cm": _count(gap[forward] <= 0.1),
        "rollout_3cm": _count(gap[forward] <= 0.03),
        "collided": _count(collided[forward] == (after[forward, 10] > 0)),
    }
