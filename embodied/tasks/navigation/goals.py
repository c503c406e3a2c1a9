"""Where an agent must stand to have found an object.

A view point of an object is a navigable point within 1 m (on the floor plane) of the object's box
from which a part of the object is visible at eye height. An ObjectNav episode succeeds when STOP is
called within `success_distance` of the nearest view point of any object of the class, as in
Habitat's ObjectNav.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import SceneObject
from embodied.simulators.embedded import World

Array = NDArray[np.float64]

REACH = 1.0
SPACING = 0.1
EYE = 1.25


class GoalIndex:
    """View points of every class in every live scene, computed once per scene."""

    def __init__(self) -> None:
        self._points: WeakKeyDictionary[World, dict[int, Array]] = WeakKeyDictionary()

    def find_view_points(self, world: World, category: int) -> Array:
        """Return the (K, 3) view points of a class id; (0, 3) when none can be reached."""
        known = self._points.setdefault(world, {})
        if category not in known:
            known[category] = self._compute(world, category)
        return known[category]

    def find_classes(self, world: World, names: Sequence[str]) -> list[int]:
        """Return the class ids among `names` that have at least one view point in the scene."""
        present = {o.category for o in world.scene.objects[1:]}
        ids = [world.scene.categories.index(n) for n in names if n in present]
        return [i for i in ids if len(self.find_view_points(world, i))]

    @staticmethod
    def _compute(world: World, category: int) -> Array:
        name = world.scene.categories[category]
        found = [
            find_object_view_points(world, i)
            for i, o in enumerate(world.scene.objects)
            if i > 0 and o.category == name
        ]
        return np.concatenate([*found, np.zeros((0, 3))])


def find_object_view_points(world: World, index: int) -> Array:
    """Return the (K, 3) points on the largest island that see object `index` within 1 m."""
    item = world.scene.objects[index]
    paths = world.pathfinder
    center, half = np.array(item.center), np.array(item.size) / 2
    heights = np.array([f.height for f in paths.floors])
    below = heights[heights <= center[1] + 0.1]
    if not len(below):
        return np.zeros((0, 3))
    low, high = center - half - REACH, center + half + REACH
    xs, zs = (np.arange(low[a], high[a] + SPACING / 2, SPACING) for a in (0, 2))
    grid_x, grid_z = np.meshgrid(xs, zs)
    points = np.stack([grid_x, np.full_like(grid_x, below.max()), grid_z], axis=-1).reshape(-1, 3)
    gap = np.maximum(np.abs(points - center) - half, 0)[:, [0, 2]]
    points = points[np.hypot(gap[:, 0], gap[:, 1]) <= REACH]
    points = points[paths.is_navigable(points, 0.3)]
    if not len(points):
        return points
    points = paths.snap_points(points)
    points = points[paths.get_island(points) == paths.largest_island]
    if not len(points):
        return points
    return points[_sees(world, points, index, item)]


def _sees(world: World, points: Array, index: int, item: SceneObject) -> NDArray[np.bool_]:
    """(K,) whether a ray from eye height meets the object before anything else."""
    center, half = np.array(item.center), np.array(item.size) / 2
    corners = np.stack(np.meshgrid(*[[-0.7, 0.7]] * 3), axis=-1).reshape(-1, 3)
    targets = center + np.concatenate([np.zeros((1, 3)), corners]) * half
    eyes = points + (0.0, min(EYE, world.agent.height), 0.0)
    rays = targets[None] - eyes[:, None]
    rays /= np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-9)
    origins = np.broadcast_to(eyes[:, None], rays.shape)
    face = world.caster.cast_rays(origins.reshape(-1, 3), rays.reshape(-1, 3)).face
    hit = (face >= 0) & (world.scene.face_object[np.maximum(face, 0)] == index)
    return hit.reshape(len(points), -1).any(axis=1)
