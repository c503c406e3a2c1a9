"""Scenes and episodes in Habitat's file formats, written from a generated house."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.embedded import World
from embodied.simulators.habitat.convert import load_habitat_scene
from embodied.simulators.houses import generate_house

BODY = AgentSpec(radius=0.18, height=0.88, forward=0.25, navmesh="habitat")


def write_house(path: Path, seed: int = 3, rooms: int = 5) -> Scene:
    """Write a generated house as a stage mesh, z up, one node per object."""
    house = generate_house(seed=seed, rooms=rooms)
    x, y, z = np.asarray(house.vertices, np.float64).T
    upright = np.stack([x, -z, y], axis=1)
    parts = trimesh.Scene()
    for number, thing in enumerate(house.objects):
        faces = house.faces[house.face_object == number]
        if len(faces):
            part = trimesh.Trimesh(upright, faces, process=False)
            part.remove_unreferenced_vertices()
            shade = np.random.default_rng(number).integers(60, 255, 3)
            part.visual.vertex_colors = np.tile([*shade, 255], (len(part.vertices), 1))
            name = f"{thing.category}.{number:03d}"
            parts.add_geometry(part, node_name=name, geom_name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parts.export(file_type="glb"))
    return house


def write_pointnav(file: Path, scene: Path, agent: AgentSpec, count: int, seed: int = 0) -> None:
    """Write PointNav episodes on the largest island, at least 2 m long."""
    finder = World(load_habitat_scene(str(scene)), agent).pathfinder
    rng = np.random.default_rng(seed)
    episodes: list[dict[str, Any]] = []
    while len(episodes) < count:
        start, goal = finder.sample_points(rng, 2, island=finder.largest_island)
        distance = float(finder.geodesic_distance(start, goal[None])[0])
        if 2.0 <= distance < np.inf:
            episode = _episode(len(episodes), scene, start, rng)
            episode["goals"] = [{"position": goal.tolist(), "radius": 0.2}]
            episode["info"] = {"geodesic_distance": distance}
            episodes.append(episode)
    _write(file, {"episodes": episodes})


def write_objectnav(file: Path, scene: Path, categories: list[str], count: int) -> int:
    """Write ObjectNav episodes with view points around every object; return the number of goals."""
    world = World(load_habitat_scene(str(scene)), BODY)
    finder, rng = world.pathfinder, np.random.default_rng(1)
    island = finder.largest_island
    # On steps of 10 cm, as in the published sets: an agent has to hit one within 10 cm.
    low, high = finder.bounds
    x, z = np.meshgrid(np.arange(low[0], high[0], 0.1), np.arange(low[2], high[2], 0.1))
    floor = finder.sample_points(rng, 1, island=island)[0, 1]
    grid = np.stack([x.ravel(), np.full(x.size, floor), z.ravel()], axis=1)
    grid = grid[finder.get_island(grid) == island]
    goals: dict[str, list[dict[str, Any]]] = {}
    turn = [0.0, 0.0, 0.0, 1.0]
    for number, thing in enumerate(world.scene.objects):
        gap = np.abs(grid - thing.center)[:, [0, 2]] - np.array(thing.size)[[0, 2]] / 2
        near = grid[np.linalg.norm(np.maximum(gap, 0), axis=1) < 1.0]
        if thing.category in categories and len(near):
            goals.setdefault(f"{scene.name}_{thing.category}", []).append(
                {
                    "position": list(thing.center),
                    "object_id": number,
                    "object_name": thing.name,
                    "object_category": thing.category,
                    "view_points": [
                        {"agent_state": {"position": p.tolist(), "rotation": turn}, "iou": 0.5}
                        for p in near
                    ],
                }
            )
    episodes: list[dict[str, Any]] = []
    keys = sorted(goals)
    while len(episodes) < count:
        key = keys[len(episodes) % len(keys)]
        start = finder.sample_points(rng, 1, island=island)[0]
        points = [v["agent_state"]["position"] for g in goals[key] for v in g["view_points"]]
        distance = float(finder.compute_distance_field(points).get_distances(start[None])[0])
        if 0.5 < distance < np.inf:
            episode = _episode(len(episodes), scene, start, rng)
            episode["object_category"] = key.removeprefix(f"{scene.name}_")
            episode["info"] = {"geodesic_distance": distance}
            episode["goals"] = []
            episodes.append(episode)
    numbers = {category: i for i, category in enumerate(categories)}
    _write(
        file,
        {
            "episodes": episodes,
            "goals_by_category": goals,
            "category_to_task_category_id": numbers,
            "category_to_scene_annotation_category_id": numbers,
        },
    )
    return sum(map(len, goals.values()))


def _episode(
    number: int, scene: Path, start: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    half = rng.uniform(-np.pi, np.pi) / 2
    return {
        "episode_id": str(number),
        "scene_id": str(scene),
        "start_position": start.tolist(),
        "start_rotation": [0.0, float(np.sin(half)), 0.0, float(np.cos(half))],
    }


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt") as stream:
        json.dump(content, stream)
