"""A small known flat: two rooms of 4 x 4 m joined by a 1.2 m door, with a chair and a bed."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from embodied.simulators.base import Scene, SceneObject
from embodied.simulators.embedded import World

BOXES = {
    # name: (category, centre, size)
    "floor": ("floor", (0.0, -0.05, 0.0), (8.2, 0.1, 4.2)),
    "north": ("wall", (0.0, 1.25, -2.05), (8.2, 2.5, 0.1)),
    "south": ("wall", (0.0, 1.25, 2.05), (8.2, 2.5, 0.1)),
    "west": ("wall", (-4.05, 1.25, 0.0), (0.1, 2.5, 4.2)),
    "east": ("wall", (4.05, 1.25, 0.0), (0.1, 2.5, 4.2)),
    "middle": ("wall", (0.0, 1.25, -0.6), (0.1, 2.5, 2.8)),
    "chair": ("chair", (-3.6, 0.4, -1.6), (0.5, 0.8, 0.5)),
    "bed": ("bed", (3.2, 0.25, -1.4), (1.4, 0.5, 1.0)),
}


def build_flat() -> Scene:
    """The door is at x = 0, 0.8 < z < 2."""
    parts, owner, objects = [], [], [SceneObject("unlabeled", "scene")]
    for name, (category, center, size) in BOXES.items():
        box = trimesh.creation.box(size)
        box.apply_translation(center)
        parts.append(box)
        owner.append(np.full(len(box.faces), len(objects), np.int32))
        objects.append(SceneObject(category, name, center, size))
    mesh = trimesh.util.concatenate(parts)
    return Scene(
        "flat",
        np.asarray(mesh.vertices, np.float32),
        np.asarray(mesh.faces, np.int32),
        np.concatenate(owner),
        np.zeros(len(mesh.faces), np.int32),
        objects=objects,
    )


@pytest.fixture(scope="session")
def flat() -> World:
    return World(build_flat())


@pytest.fixture(scope="session")
def flat_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    scene = build_flat()
    path = tmp_path_factory.mktemp("scenes") / "flat.ply"
    trimesh.Trimesh(scene.vertices, scene.faces, process=False).export(path)
    return str(path)
