"""Collect parametric parts (boxes, lathes, quads) and turn them into the arrays of one scene.

Parts are written in the frame of the object being built: x to its right, y up, z to its front.
Every object has one frame (a heading and an origin), applied to all of its parts at the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import Material, SceneObject

Color = tuple[float, float, float]
Point = tuple[float, float, float]

# Corner i of a box has the high bound on axis a when bit a of i is set.
# Quads are counter-clockwise from outside.
_CORNER = np.array([[(i >> a) & 1 for a in range(3)] for i in range(8)])
_BOX_QUADS = np.array(
    [[0, 4, 6, 2], [5, 1, 3, 7], [0, 1, 5, 4], [6, 7, 3, 2], [1, 0, 2, 3], [4, 5, 7, 6]]
)
_QUAD_AXES = np.array([[2, 1], [2, 1], [0, 2], [0, 2], [0, 1], [0, 1]])


SHADED = {"wall": 0.84, "floor": 1.0, "ceiling": 1.0, "door": 0.85, "window": 1.0, "stairs": 0.9,
          "lighting": 0.9, "picture": 1.0, "mirror": 1.0}  # fmt: skip
"""Brightness at floor level by category (0.7 elsewhere); full from 0.9 m (walls: 2.7 m) up."""


class MeshBuilder:
    """Accumulates parts; `build_arrays` builds the mesh.

    Args:
        textured: keep textures and texture coordinates.
        segments: sides of a full-detail lathe.
        soft: chamfer the edges of cushions and the like (44 triangles instead of 12).
        storey: height of the upper floor [m], where shading starts anew.
    """

    def __init__(
        self, textured: bool = True, segments: int = 12, soft: bool = True, storey: float = np.inf
    ) -> None:
        self.storey = storey
        self.textured = textured
        self.segments = segments
        self.soft_edges = soft
        self.materials: list[Material] = []
        self.objects: list[tuple[str, str, int | None]] = [("unlabeled", "scene", None)]
        self._scales: list[float] = []
        self._material_ids: dict[tuple, int] = {}
        self._frames: list[tuple[float, float, float, float, float]] = [(1.0, 0.0, 0.0, 0.0, 0.0)]
        self._boxes: list[tuple[float, ...]] = []
        self._box_ids: list[tuple[int, int]] = []
        self._soft: list[tuple[float, ...]] = []
        self._soft_ids: list[tuple[int, int]] = []
        self._lathes: dict[tuple, list[tuple[float, ...]]] = defaultdict(list)
        self._lathe_ids: dict[tuple, list[tuple[int, int]]] = defaultdict(list)
        self._quads: list[tuple[Point, ...]] = []
        self._quad_uv: list[tuple[tuple[float, float], ...]] = []
        self._quad_ids: list[tuple[int, int]] = []
        self._extents: list[tuple[NDArray, int, int, int]] = []
        self._world: NDArray[np.float32] = np.empty((0, 3), np.float32)

    def add_material(
        self, color: Color, texture: NDArray[np.uint8] | None = None, scale: float = 1.0
    ) -> int:
        """Return the id of a material; `scale` is the width of one texture repeat [m]."""
        key = (color, id(texture), scale)
        found = self._material_ids.get(key)
        if found is None:
            found = self._material_ids[key] = len(self.materials)
            self.materials.append(Material(color, texture if self.textured else None))
            self._scales.append(scale)
        return found

    def start_object(
        self,
        category: str,
        name: str,
        room: int | None = None,
        origin: Point = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
    ) -> int:
        """Begin an object; later parts belong to it. `yaw` [rad] turns its front (+z) about +y."""
        self.objects.append((category, name, room))
        # Quarter turns come out exact, so that walls and furniture stay axis-aligned to the bit.
        cos, sin = round(math.cos(yaw), 12), round(math.sin(yaw), 12)
        self._frames.append((cos, sin, *origin))
        return len(self.objects) - 1

    def replace_frame(self, origin: Point, yaw: float) -> None:
        """Give the current object another frame."""
        cos, sin = round(math.cos(yaw), 12), round(math.sin(yaw), 12)
        self._frames[-1] = (cos, sin, *origin)

    def add_box(self, lo: Point, hi: Point, material: int) -> None:
        """Add an axis-aligned box between two corners [m] of the object's frame."""
        self._boxes.append((*lo, *hi))
        self._box_ids.append((len(self.objects) - 1, material))

    def add_beveled_box(self, lo: Point, hi: Point, material: int, bevel: float = 0.04) -> None:
        """Add a box with chamfered edges of `bevel` [m], for upholstery."""
        if not self.soft_edges:
            self.add_box(lo, hi, material)
            return
        limit = 0.45 * min(hi[0] - lo[0], hi[1] - lo[1], hi[2] - lo[2])
        self._soft.append((*lo, *hi, min(bevel, limit)))
        self._soft_ids.append((len(self.objects) - 1, material))

    def add_lathe(
        self,
        center: Point,
        profile: Sequence[tuple[float, float]],
        material: int,
        stretch: tuple[float, float] = (1.0, 1.0),
        segments: int = 0,
    ) -> None:
        """Add a solid of revolution about the vertical through `center`.

        Args:
            center: foot of the axis [m].
            profile: (radius, height) pairs from bottom to top [m]; end with radius 0 to close it.
            material: material id.
            stretch: factors on x and z (an ellipse instead of a circle).
            segments: sides; 0 takes the builder's.
        """
        key = (tuple(profile), min(segments, self.segments) or self.segments)
        self._lathes[key].append((*center, *stretch))
        self._lathe_ids[key].append((len(self.objects) - 1, material))

    def add_cylinder(
        self, center: Point, radius: float, height: float, material: int, segments: int = 0
    ) -> None:
        """Add a closed upright cylinder standing on `center` [m]."""
        profile = ((0.0, 0.0), (radius, 0.0), (radius, height), (0.0, height))
        self.add_lathe(center, profile, material, segments=segments)

    def add_quad(
        self,
        corners: tuple[Point, Point, Point, Point],
        material: int,
        uv: tuple[tuple[float, float], ...],
    ) -> None:
        """Add a face, counter-clockwise seen from its front; `uv` 1 = one texture repeat."""
        self._quads.append(corners)
        self._quad_uv.append(uv)
        self._quad_ids.append((len(self.objects) - 1, material))

    def add_panel(self, origin: Point, across: Point, up: Point, material: int) -> None:
        """Add a parallelogram from a corner and two edges [m], textured in metres."""
        scale = self._scales[material]
        u = math.dist((0, 0, 0), across) / scale
        v = math.dist((0, 0, 0), up) / scale
        # Start the texture at the world position, so that neighbouring panels continue each other.
        horizontal = origin[0] if abs(across[0]) > abs(across[2]) else origin[2]
        u0 = horizontal / scale * (1 if across[0] + across[2] > 0 else -1)
        v0 = (origin[1] if up[1] else origin[2] if up[2] else origin[0]) / scale
        v0 *= 1 if sum(up) > 0 else -1
        b = tuple(o + a for o, a in zip(origin, across, strict=True))
        c = tuple(o + a for o, a in zip(b, up, strict=True))
        d = tuple(o + a for o, a in zip(origin, up, strict=True))
        uv = ((u0, v0), (u0 + u, v0), (u0 + u, v0 + v), (u0, v0 + v))
        self.add_quad((origin, b, c, d), material, uv)  # type: ignore[arg-type]

    def count_triangles(self) -> int:
        """Return how many triangles `arrays` will make."""
        total = 12 * len(self._boxes) + 44 * len(self._soft) + 2 * len(self._quads)
        for (profile, segments), rows in self._lathes.items():
            total += len(rows) * len(_lathe_template(profile, segments)[1])
        return total

    def build_arrays(self) -> dict[str, Any]:
        """Return the `Scene` arrays: vertices, faces, face_object, face_material, uv and colors."""
        parts = [p for p in (self._build_boxes(), self._build_soft(), self._build_quads()) if p]
        parts += [self._build_lathe(key) for key in self._lathes]
        frames = np.array(self._frames)
        scales = np.array(self._scales)
        self._extents = []
        offset = 0
        points, faces, frame, owners, materials, uvs = [], [], [], [], [], []
        for local, triangles, ids, uv, metric in parts:
            # local (P, K, 3), triangles (T, 3) of one part, ids (P, 2), uv (P, T, 3, 2)
            count, size = local.shape[:2]
            points.append(local.reshape(-1, 3))
            frame.append(np.repeat(ids[:, 0], size))
            index = triangles[None] + (offset + size * np.arange(count))[:, None, None]
            faces.append(index.reshape(-1, 3))
            owners.append(np.repeat(ids[:, 0], len(triangles)))
            materials.append(np.repeat(ids[:, 1], len(triangles)))
            self._extents.append((ids[:, 0], offset, count, size))
            if self.textured:
                if metric:
                    uv = uv / scales[ids[:, 1]][:, None, None, None]
                uvs.append(uv.reshape(-1, 3, 2))
            offset += count * size
        flat = np.concatenate(points)
        cos, sin, x, y, z = frames[np.concatenate(frame)].T
        world = np.empty(flat.shape, np.float32)
        world[:, 0] = cos * flat[:, 0] + sin * flat[:, 2] + x
        world[:, 1] = flat[:, 1] + y
        world[:, 2] = cos * flat[:, 2] - sin * flat[:, 0] + z
        self._world = world
        return {
            "vertices": world,
            "faces": np.concatenate(faces).astype(np.int32),
            "face_object": np.concatenate(owners).astype(np.int32),
            "face_material": np.concatenate(materials).astype(np.int32),
            "uv": np.concatenate(uvs).astype(np.float32) if self.textured else None,
            "colors": self._shades(world, np.concatenate(frame)),
        }

    def _shades(self, world: NDArray[np.float32], owner: NDArray) -> NDArray[np.uint8]:
        """Return (V, 3) vertex colours: darker near the floor, as if light came from above."""
        kinds = np.array([SHADED.get(category, 0.7) for category, _, _ in self.objects])
        height = np.where(world[:, 1] >= self.storey - 1e-3, world[:, 1] - self.storey, world[:, 1])
        depth = kinds[owner]
        # Walls brighten linearly over their whole height: then pieces around a window match.
        reach = np.where([c in ("wall", "door") for c, _, _ in self.objects], 2.7, 0.9)[owner]
        shade = depth + (1 - depth) * np.clip(height / reach, 0.0, 1.0)
        return np.repeat((255 * shade + 0.5).astype(np.uint8)[:, None], 3, axis=1)

    def build_scene_objects(self) -> list[SceneObject]:
        """Return the instances with their world boxes; call `arrays` first."""
        low = np.full((len(self.objects), 3), np.inf)
        high = np.full((len(self.objects), 3), -np.inf)
        for owner, first, count, size in self._extents:
            points = self._world[first : first + count * size].reshape(count, size, 3)
            np.minimum.at(low, owner, points.min(axis=1))
            np.maximum.at(high, owner, points.max(axis=1))
        empty = ~np.isfinite(low[:, 0])
        low[empty] = high[empty] = 0.0
        centers, sizes = ((low + high) / 2).tolist(), (high - low).tolist()
        return [
            SceneObject(category, name, tuple(c), tuple(s), room)
            for (category, name, room), c, s in zip(self.objects, centers, sizes, strict=True)
        ]

    def _build_boxes(self) -> tuple | None:
        if not self._boxes:
            return None
        bounds = np.array(self._boxes).reshape(-1, 2, 3)
        points = np.stack([bounds[:, _CORNER[:, a], a] for a in range(3)], axis=-1)
        triangles = _BOX_QUADS[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
        uv = None
        if self.textured:
            extent = bounds[:, 1] - bounds[:, 0]
            axes = np.broadcast_to(_QUAD_AXES, (len(bounds), 6, 2))
            # Wood grain (wide textures) runs along the longer edge of each face.
            grain = np.array(
                [
                    t is not None and t.shape[1] > t.shape[0]
                    for t in (m.texture for m in self.materials)
                ]
            )
            long = np.take_along_axis(extent[:, None], axes, axis=2)
            turn = (long[..., 1] > long[..., 0]) & grain[[m for _, m in self._box_ids], None]
            axes = np.where(turn[..., None], axes[..., ::-1], axes)
            corners = points[:, _BOX_QUADS]
            uv = np.take_along_axis(corners, axes[:, :, None, :], axis=3)
            uv = uv[:, :, [[0, 1, 2], [0, 2, 3]]].reshape(len(bounds), 12, 3, 2)
        return points, triangles, np.array(self._box_ids), uv, True

    def _build_soft(self) -> tuple | None:
        if not self._soft:
            return None
        rows = np.array(self._soft)
        inset, triangles, normals = _soft_template()
        low, high, bevel = rows[:, None, 0:3], rows[:, None, 3:6], rows[:, None, 6:7]
        corner = _CORNER[np.arange(24) // 3]
        points = np.where(corner, high, low) + np.where(corner, -bevel, bevel) * inset
        uv = None
        if self.textured:
            axes = np.array([[2, 1], [0, 2], [0, 1]])[normals]
            uv = np.take_along_axis(points[:, triangles], axes[None, :, None, :], axis=3)
        return points, triangles, np.array(self._soft_ids), uv, True

    def _build_quads(self) -> tuple | None:
        if not self._quads:
            return None
        points = np.array(self._quads, np.float64)
        triangles = np.array([[0, 1, 2], [0, 2, 3]])
        uv = np.array(self._quad_uv, np.float64)[:, triangles] if self.textured else None
        return points, triangles, np.array(self._quad_ids), uv, False

    def _build_lathe(self, key: tuple) -> tuple:
        template, triangles, uv = _lathe_template(*key)
        rows = np.array(self._lathes[key])
        scale = np.stack([rows[:, 3], np.ones(len(rows)), rows[:, 4]], axis=-1)
        points = template[None] * scale[:, None] + rows[:, None, :3]
        uvs = np.broadcast_to(uv, (len(rows), *uv.shape)) if self.textured else None
        return points, triangles, np.array(self._lathe_ids[key]), uvs, True


@lru_cache(maxsize=512)
def _lathe_template(profile: tuple, segments: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return vertices (K, 3), triangles (T, 3) and metric uv (T, 3, 2) of a solid of revolution."""
    angle = np.arange(segments) * (2 * np.pi / segments)
    rings = np.array(profile, np.float64)
    radius, height = rings[:, 0, None], rings[:, 1, None]
    points = np.stack(
        [radius * np.cos(angle), height + 0 * angle, -radius * np.sin(angle)], axis=-1
    ).reshape(-1, 3)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(rings, axis=0).T))])
    triangles, uv = [], []
    for ring in range(len(rings) - 1):
        for side in range(segments):
            a, b = ring * segments + side, ring * segments + (side + 1) % segments
            c, d = b + segments, a + segments
            u0, u1 = (np.array([side, side + 1]) * 2 * np.pi / segments) * rings[:, 0].max()
            v0, v1 = along[ring], along[ring + 1]
            if rings[ring, 0] > 0:
                triangles.append((a, b, c))
                uv.append(((u0, v0), (u1, v0), (u1, v1)))
            if rings[ring + 1, 0] > 0:
                triangles.append((a, c, d))
                uv.append(((u0, v0), (u1, v1), (u0, v1)))
    return points, np.array(triangles), np.array(uv)


@lru_cache(maxsize=1)
def _soft_template() -> tuple[NDArray, NDArray, NDArray]:
    """Return inset mask (24, 3), triangles (44, 3) and dominant axis (44,) of a chamfered box.

    Vertex 3 c + a lies at corner c, on the face normal to axis a: inset along the two other axes.
    """
    inset = np.array([[0.0 if axis == a else 1.0 for axis in range(3)] for a in range(3)] * 8)
    low, high = np.zeros(3), np.full(3, 4.0)
    corner = _CORNER[np.arange(24) // 3]
    points = np.where(corner, high, low) + np.where(corner, -1.0, 1.0) * inset
    quads, axes = [], []
    for number, quad in enumerate(_BOX_QUADS):
        quads.append([3 * c + number // 2 for c in quad])
        axes.append(number // 2)
    for axis in range(3):
        first, second = (a for a in range(3) if a != axis)
        for c in range(8):
            if not (c >> axis) & 1:
                other = c | (1 << axis)
                quads.append([3 * c + first, 3 * other + first, 3 * other + second, 3 * c + second])
                axes.append(first)
    triangles = [t for q in quads for t in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
    normals = [a for a in axes for _ in range(2)]
    triangles += [(3 * c, 3 * c + 1, 3 * c + 2) for c in range(8)]
    normals += [1] * 8
    array = np.array(triangles)
    a, b, c = (points[array[:, k]] for k in range(3))
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - 2.0)
    array[outward < 0] = array[outward < 0][:, ::-1]
    return inset, array, np.array(normals)
