"""A scene with things put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from embodied.simulators.base import Scene, SceneObject
from embodied.simulators.scenes.builder import MeshPart


def extend_scene(scene: Scene, objects: Sequence[tuple[SceneObject, MeshPart]]) -> Scene:
    """Return a scene with further objects; those that it had keep their numbers.

    Args:
        scene: any.
        objects: the objects, of categories that the scene knows, each with its mesh in the world
            frame and one plain material.
    """
    if not objects:
        return scene
    parts = [part for _, part in objects]
    firsts = np.cumsum([len(scene.vertices), *(len(part.vertices) for part in parts)])
    counts = [len(part.faces) for part in parts]
    faces = [part.faces + first for part, first in zip(parts, firsts, strict=False)]

    def numbers(first: int) -> np.ndarray:
        return np.repeat(np.arange(first, first + len(parts)), counts).astype(np.int32)

    made = sum(len(part.vertices) for part in parts)
    blank = np.zeros((sum(counts), 3, 2), np.float32)
    white = np.full((made, 3), 255, np.uint8)
    return replace(
        scene,
        vertices=np.concatenate([scene.vertices, *(p.vertices for p in parts)]).astype(np.float32),
        faces=np.concatenate([scene.faces, *faces]).astype(np.int32),
        face_object=np.concatenate([scene.face_object, numbers(len(scene.objects))]),
        face_material=np.concatenate([scene.face_material, numbers(len(scene.materials))]),
        materials=(*scene.materials, *(part.material for part in parts)),
        uv=None if scene.uv is None else np.concatenate([scene.uv, blank]),
        colors=None if scene.colors is None else np.concatenate([scene.colors, white]),
        objects=(*scene.objects, *(thing for thing, _ in objects)),
    )
