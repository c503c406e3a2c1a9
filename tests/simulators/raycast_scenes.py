"""Small scenes whose images can be worked out by hand."""

from __future__ import annotations

import numpy as np

from embodied.categories import MPCAT40
from embodied.simulators.base import Material, Scene, SceneObject

# Corner numbers have bits (x, y, z); each row is one side of a box.
SIDES = np.array(
    [[0, 2, 6, 4], [1, 3, 7, 5], [0, 1, 5, 4], [2, 3, 7, 6], [0, 1, 3, 2], [4, 5, 7, 6]]
)
"""Quads of the sides x-, x+, y-, y+, z-, z+ of a box."""


def quad_mesh(quads, corners):
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return np.asarray(corners, np.float32), faces


def box(low, high):
    """Vertices (8, 3) and faces (12, 3); face i and i + 6 belong to side i of SIDES."""
    bits = np.array([[(i >> k) & 1 for k in range(3)] for i in range(8)])
    return quad_mesh(SIDES, np.where(bits, high, low))


def box_room(low=(-2.0, 0.0, -3.0), high=(2.0, 2.5, 1.0)):
    """A closed room whose six sides are objects 1..6 (wall, wall, floor, ceiling, wall, wall)."""
    vertices, faces = box(low, high)
    kinds = ["wall", "wall", "floor", "ceiling", "wall", "wall"]
    objects = [SceneObject("unlabeled", "scene"), *(SceneObject(k, f"side {k}") for k in kinds)]
    tints = [(0.9, 0.2, 0.2), (0.2, 0.9, 0.2), (0.5, 0.5, 0.5), (0.9, 0.9, 0.9), (0.2, 0.2, 0.9)]
    return Scene(
        "box",
        vertices,
        faces,
        face_object=np.tile(np.arange(1, 7, dtype=np.int32), 2),
        face_material=np.tile(np.array([0, 1, 2, 3, 4, 4], np.int32), 2),
        materials=[Material(t) for t in tints],
        objects=objects,
    )


def sphere_scene(radius=1.0, detail=5):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=detail, radius=radius)
    faces = np.array(mesh.faces, np.int32)
    zero = np.zeros(len(faces), np.int32)
    return Scene("sphere", np.array(mesh.vertices, np.float32), faces, zero, zero)


def picture_scene(texture, repeat=1.0, color=(1.0, 1.0, 1.0)):
    """A 2 m x 2 m picture at z = -1 facing +z, its image upright; u to the right, v up."""
    corners = [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]]
    vertices, faces = quad_mesh(np.array([[0, 1, 2, 3]]), corners)
    uv = np.array([[0, 0], [repeat, 0], [repeat, repeat], [0, repeat]], np.float32)[faces]
    zero = np.zeros(2, np.int32)
    return Scene(
        "picture", vertices, faces, zero, zero, materials=[Material(color, texture)], uv=uv
    )


def clutter(seed=0, count=60):
    """Random boxes in a room, one object each, with vertex colours."""
    rng = np.random.default_rng(seed)
    vertices, faces, owner = [], [], []
    for index in range(count):
        low = rng.uniform([-4, 0, -4], [3.5, 2, 3.5])
        v, f = box(low, low + rng.uniform(0.1, 0.8, 3)) if index else box([-5, 0, -5], [5, 3, 5])
        faces.append(f + 8 * index)
        vertices.append(v)
        owner.append(np.full(12, index))
    names = rng.choice(MPCAT40[1:40], count)
    face_object = np.concatenate(owner).astype(np.int32)
    return Scene(
        "clutter",
        np.concatenate(vertices),
        np.concatenate(faces).astype(np.int32),
        face_object,
        np.zeros(len(face_object), np.int32),
        materials=[Material((1.0, 1.0, 1.0))],
        colors=rng.integers(0, 256, (8 * count, 3)).astype(np.uint8),
        objects=[SceneObject(str(name), f"thing {i}") for i, name in enumerate(names)],
    )


def look(x=0.0, y=1.25, z=0.0, yaw=0.0, pitch=0.0):
    """One camera pose (1, 4, 4) from a position [m] and angles [rad]."""
    from embodied.simulators.base import CameraSpec
    from embodied.simulators.raycast import compute_camera_poses

    eye = CameraSpec(position=(0.0, 0.0, 0.0))
    return compute_camera_poses(np.array([[x, y, z]]), np.array([yaw]), eye, pitch)
