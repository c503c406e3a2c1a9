"""Collects mesh parts, objects and materials and turns them into one `Scene`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import SceneError
from embodied.simulators.base import Material, Room, Scene, SceneObject

Z_UP_TO_Y_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], np.float64)
"""(x, y, z) -> (x, z, -y): a file whose z axis points up, into our y-up frame."""

UP_ROTATIONS: dict[str, NDArray[np.float64]] = {
    "x": np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64),
    "y": np.eye(4),
    "z": Z_UP_TO_Y_UP,
}
"""A file's up axis -> the (4, 4) rotation into our y-up frame."""


@dataclass
class MeshPart:
    """One piece of geometry with one material, in its own frame.

    Attributes:
        vertices: (V, 3) float [m].
        faces: (F, 3) integer.
        uv: (V, 2) texture coordinates, v = 1 at the top of the image, or None.
        colors: (V, 3) uint8 vertex colours, or None.
        name: what the file calls it.
    """

    vertices: NDArray[np.floating]
    faces: NDArray[np.integer]
    uv: NDArray[np.floating] | None = None
    colors: NDArray[np.uint8] | None = None
    material: Material = field(default_factory=Material)
    name: str = ""

    def get_transformed(self, transform: NDArray[np.float64]) -> MeshPart:
        """Return the part under a (4, 4) transform; a mirroring one also turns the faces round."""
        if np.allclose(transform, np.eye(4)):
            return self
        rotation = transform[:3, :3].astype(self.vertices.dtype)
        vertices = self.vertices @ rotation.T
        vertices += transform[:3, 3].astype(vertices.dtype)
        mirrored = np.linalg.det(transform[:3, :3]) < 0
        faces = self.faces[:, ::-1] if mirrored else self.faces
        return MeshPart(vertices, faces, self.uv, self.colors, self.material, self.name)


class SceneBuilder:
    """Grows a scene part by part; object 0 is the unlabelled rest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: list[SceneObject] = [SceneObject("unlabeled", name)]
        self.rooms: list[Room] = []
        self._materials: dict[tuple[object, ...], int] = {}
        self._material_list: list[Material] = []
        self._parts: list[MeshPart] = []
        self._object_ids: list[int | NDArray[np.int32]] = []
        self._material_ids: list[int] = []

    def add_object(self, category: str | None, name: str, room: int | None = None) -> int:
        """Register an instance and return its id; new categories are appended to mpcat40."""
        self.objects.append(SceneObject(category or "unlabeled", name, room=room))
        return len(self.objects) - 1

    def add_part(
        self,
        part: MeshPart,
        object_id: int | NDArray[np.integer] = 0,
        transform: NDArray[np.float64] | None = None,
    ) -> None:
        """Add geometry.

        Args:
            part: the mesh.
            object_id: its instance, or (F,) one per face.
            transform: (4, 4) part-to-world, identity when None.
        """
        if len(part.faces) == 0:
            return
        if transform is not None:
            part = part.get_transformed(transform)
        material = part.material
        key = (tuple(np.round(material.color, 4)), id(material.texture))
        if key not in self._materials:
            self._materials[key] = len(self._material_list)
            self._material_list.append(material)  # also keeps the texture's id() from being reused
        self._parts.append(part)
        self._object_ids.append(
            object_id if isinstance(object_id, int) else np.asarray(object_id, np.int32)
        )
        self._material_ids.append(self._materials[key])

    def build_scene(self) -> Scene:
        """Concatenate everything into a `Scene`.

        Raises:
            SceneError: no triangles, NaN vertices or damaged indices.
        """
        parts = self._parts
        if not parts:
            raise SceneError(
                f"scene '{self.name}' has no triangles: nothing to see or walk on. "
                "Export it with its mesh, not only with points, lines or lights."
            )
        counts = [len(p.faces) for p in parts]
        vertices = _concatenate([p.vertices for p in parts], np.float32)
        faces = np.empty((sum(counts), 3), np.int32)
        face_object = np.empty(len(faces), np.int32)
        face_material = np.repeat(np.asarray(self._material_ids, np.int32), counts)
        start = first_vertex = 0
        for part, count, owner in zip(parts, counts, self._object_ids, strict=True):
            block = slice(start, start + count)
            if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
                raise SceneError(
                    f"scene '{self.name}', part '{part.name}': a face names a vertex that does not "
                    "exist; the file is damaged, export it again"
                )
            np.add(part.faces, first_vertex, out=faces[block], casting="unsafe")
            face_object[block] = owner
            start += count
            first_vertex += len(part.vertices)
        return Scene(
            name=self.name,
            vertices=vertices,
            faces=faces,
            face_object=face_object,
            face_material=face_material,
            materials=tuple(self._material_list),
            uv=self._corner_uv(counts),
            colors=self._vertex_colors(),
            objects=_with_boxes(self.objects, vertices, faces, face_object),
            categories=collect_categories(self.objects),
            rooms=tuple(self.rooms),
        )

    def _corner_uv(self, counts: Sequence[int]) -> NDArray[np.float32] | None:
        if not any(m.texture is not None for m in self._material_list):
            return None
        uv = np.zeros((sum(counts), 3, 2), np.float32)
        start = 0
        for part, count in zip(self._parts, counts, strict=True):
            if part.uv is not None and part.material.texture is not None:
                uv[start : start + count] = part.uv[part.faces]
            start += count
        return uv

    def _vertex_colors(self) -> NDArray[np.uint8] | None:
        if all(p.colors is None for p in self._parts):
            return None
        white = [
            np.full((len(p.vertices), 3), 255, np.uint8) if p.colors is None else p.colors
            for p in self._parts
        ]
        return _concatenate(white, np.uint8)


def collect_categories(objects: Sequence[SceneObject]) -> tuple[str, ...]:
    """Return mpcat40 followed by the other categories used, in order of appearance."""
    extra = dict.fromkeys(o.category for o in objects if o.category not in MPCAT40)
    return (*MPCAT40, *extra)


def _concatenate(arrays: Sequence[NDArray], dtype: type) -> NDArray:
    if len(arrays) == 1:
        return np.array(arrays[0], dtype=dtype, order="C")
    return np.concatenate(arrays, dtype=dtype, casting="unsafe")


def _with_boxes(
    objects: Sequence[SceneObject],
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
    face_object: NDArray[np.int32],
) -> tuple[SceneObject, ...]:
    """Fill in each object's axis-aligned box from its faces."""
    if len(objects) == 1:
        order, starts, ids = None, np.zeros(1, np.int64), np.zeros(1, np.int32)
    else:
        order = np.argsort(face_object, kind="stable")
        ids, starts = np.unique(face_object[order], return_index=True)
    low, high = [], []
    for axis in range(3):
        corner = vertices[:, axis][faces if order is None else faces[order]]
        low.append(np.minimum.reduceat(corner.min(axis=1), starts))
        high.append(np.maximum.reduceat(corner.max(axis=1), starts))
    lows, highs = np.stack(low, 1).astype(np.float64), np.stack(high, 1).astype(np.float64)
    filled = list(objects)
    for i, lowest, highest in zip(ids.tolist(), lows, highs, strict=True):
        thing = objects[i]
        center, size = (lowest + highest) / 2, highest - lowest
        filled[i] = SceneObject(
            thing.category, thing.name, _triple(center), _triple(size), thing.room
        )
    return tuple(filled)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
