"""Simple solids and flat polygons as mesh parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import Material
from embodied.simulators.scenes.builder import MeshPart

_CORNERS = np.array(
    [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float64
)
_BOX_FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ],
    np.int32,
)  # fmt: skip


def make_box(
    size: Sequence[float],
    center: Sequence[float] = (0.0, 0.0, 0.0),
    material: Material | None = None,
) -> MeshPart:
    """Make an axis-aligned box of a size (3) around a centre (3) [m], faces outwards."""
    vertices = _CORNERS * np.asarray(size, np.float64) + np.asarray(center, np.float64)
    return MeshPart(vertices, _BOX_FACES, material=material or Material())


def make_flat_polygon(
    polygon: NDArray[np.float64], height: float, facing: int, material: Material
) -> MeshPart:
    """Make a horizontal surface.

    Args:
        polygon: (K, 2) x, z corners [m] of a simple polygon, either way round.
        height: y [m].
        facing: 1 = seen from above, -1 = from below.
        material: its colour.
    """
    triangles = triangulate_polygon(polygon)
    vertices = np.stack([polygon[:, 0], np.full(len(polygon), height), polygon[:, 1]], axis=1)
    # counter-clockwise in (x, z) is clockwise seen from +y, because z points towards the viewer
    return MeshPart(vertices, triangles[:, ::-1] if facing > 0 else triangles, material=material)


def triangulate_polygon(polygon: NDArray[np.float64]) -> NDArray[np.int32]:
    """Cut a simple polygon (K, 2) into at most K - 2 counter-clockwise triangles (ear clipping)."""
    points = np.asarray(polygon, np.float64)
    order = list(range(len(points)))
    if _signed_area(points) < 0:
        order.reverse()
    triangles: list[tuple[int, int, int]] = []
    while len(order) > 3:
        best = -1
        for i in range(len(order)):
            a, b, c = order[i - 1], order[i], order[(i + 1) % len(order)]
            turn = _cross(points[a], points[b], points[c])
            if abs(turn) < 1e-9:  # a corner on a straight side: drop it, its ear is empty
                best = i
                break
            others = points[[k for k in order if k not in (a, b, c)]]
            if turn > 0 and not _inside_triangle(points[a], points[b], points[c], others).any():
                triangles.append((a, b, c))
                best = i
                break
        if best < 0:  # self-crossing input: nothing sensible is left to cut
            return np.array(triangles, np.int32).reshape(-1, 3)
        del order[best]
    if len(order) == 3 and abs(_cross(*points[order])) > 1e-9:
        triangles.append((order[0], order[1], order[2]))
    return np.array(triangles, np.int32).reshape(-1, 3)


def contains_points(polygon: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points (N, 2) lie inside a simple polygon (K, 2)."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    x, y = points[:, None, 0], points[:, None, 1]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    at = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    return (crosses & (x < at)).sum(axis=1) % 2 == 1


def _signed_area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _inside_triangle(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.bool_]:
    inside = np.ones(len(points), bool)
    for start, end in ((a, b), (b, c), (c, a)):
        side = end - start
        inside &= side[0] * (points[:, 1] - start[1]) - side[1] * (points[:, 0] - start[0]) > -1e-12
    return inside
