"""Scenes of axis-aligned boxes for tests of graph worlds."""

from __future__ import annotations

import numpy as np
import trimesh

from embodied.simulators.base import Material, Room, Scene, SceneObject

FLAT = {
    # name: (category, centre, size, colour); two rooms of 5 x 4 m, the door at x = 0, z near 1.3
    "floor": ("floor", (0, -0.05, 0), (10.2, 0.1, 4.2), (0.6, 0.6, 0.6)),
    "ceiling": ("ceiling", (0, 2.55, 0), (10.2, 0.1, 4.2), (0.9, 0.9, 0.9)),
    "north": ("wall", (0, 1.25, -2.05), (10.2, 2.5, 0.1), (0.9, 0.9, 0.9)),
    "south": ("wall", (0, 1.25, 2.05), (10.2, 2.5, 0.1), (0.9, 0.9, 0.9)),
    "west": ("wall", (-5.05, 1.25, 0), (0.1, 2.5, 4.2), (0.9, 0.9, 0.9)),
    "east": ("wall", (5.05, 1.25, 0), (0.1, 2.5, 4.2), (0.9, 0.9, 0.9)),
    "middle": ("wall", (0, 1.25, -0.6), (0.1, 2.5, 2.8), (0.9, 0.9, 0.9)),
    "dining chair": ("chair", (-4.5, 0.4, -1.5), (0.5, 0.8, 0.5), (0.8, 0.1, 0.1)),
    "office chair": ("chair", (1.0, 0.4, -1.6), (0.5, 0.8, 0.5), (0.1, 0.2, 0.7)),
    "bed": ("bed", (3.9, 0.25, -1.2), (1.6, 0.5, 1.4), (0.95, 0.95, 0.95)),
    "picture": ("picture", (3.9, 1.2, -1.98), (0.8, 0.6, 0.04), (0.1, 0.5, 0.1)),
}  # fmt: skip


def box_scene(boxes: dict, rooms: tuple[Room, ...] = (), name: str = "flat") -> Scene:
    """Return a scene of coloured boxes, one object each."""
    parts, owner, objects, materials = [], [], [SceneObject("unlabeled", "scene")], []
    for label, (category, center, size, color) in boxes.items():
        box = trimesh.creation.box(size)
        box.apply_translation(center)
        parts.append(box)
        owner.append(np.full(len(box.faces), len(objects), np.int32))
        materials.append(Material(color))
        center, size = (tuple(float(v) for v in triple) for triple in (center, size))
        objects.append(SceneObject(category, label, center, size))
    mesh = trimesh.util.concatenate(parts)
    owner = np.concatenate(owner)
    return Scene(
        name,
        np.asarray(mesh.vertices, np.float32),
        np.asarray(mesh.faces, np.int32),
        owner,
        owner - 1,
        tuple(materials),
        objects=tuple(objects),
        rooms=rooms,
    )


def flat(rooms: bool = True) -> Scene:
    """Return the flat of `FLAT`: an office in the west, a bedroom in the east."""
    corners = np.array([[-5.0, -2.0], [0.0, -2.0], [0.0, 2.0], [-5.0, 2.0]])
    two = Room("office", corners), Room("bedroom", corners + (5.0, 0.0))
    return box_scene(FLAT, two if rooms else ())
