"""A scene's objects, rooms and floors in the shape of habitat-sim's semantic scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import Scene

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """Axis-aligned box."""

    low: Array
    high: Array

    def center(self) -> Array:
        """(3,) [m]."""
        return (self.low + self.high) / 2

    @property
    def sizes(self) -> Array:
        """(3,) edge lengths [m]."""
        return self.high - self.low


@dataclass(frozen=True)
class Category:
    """A class; `mapping` is habitat-sim's and has no effect."""

    label: str
    number: int

    def name(self, mapping: str = "") -> str:
        """Return the class's name."""
        return self.label

    def index(self, mapping: str = "") -> int:
        """Return the class's id."""
        return self.number


@dataclass(frozen=True, eq=False)
class SemanticObject:
    """An instance; `id` ends in its number, the value semantic images show."""

    id: str
    semantic_id: int
    category: Category
    aabb: Box
    region: SemanticRegion | None = None


@dataclass(frozen=True, eq=False)
class SemanticRegion:
    """A room and what is in it."""

    id: str
    category: Category
    aabb: Box
    objects: list[SemanticObject] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class SemanticLevel:
    """A storey with its rooms and objects."""

    id: str
    aabb: Box
    regions: list[SemanticRegion]
    objects: list[SemanticObject]


class SemanticScene:
    """Annotations of a scene: `objects`, `regions`, `levels`, `categories`, `aabb`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.aabb = Box(*scene.bounds)
        self.categories = [Category(label, i) for i, label in enumerate(scene.categories)]

    @cached_property
    def regions(self) -> list[SemanticRegion]:
        """Rooms, in the scene's order; a room type has no class id (-1)."""
        top = self.aabb.high[1]
        regions = []
        for i, room in enumerate(self._scene.rooms):
            (x0, z0), (x1, z1) = room.polygon.min(axis=0), room.polygon.max(axis=0)
            box = Box(np.array([x0, room.floor, z0]), np.array([x1, top, z1]))
            regions.append(SemanticRegion(f"{room.category}_{i}", Category(room.category, -1), box))
        return regions

    @cached_property
    def objects(self) -> list[SemanticObject]:
        """Instances; the index is the id in semantic images."""
        by_name = {category.label: category for category in self.categories}
        objects = []
        for i, entry in enumerate(self._scene.objects):
            center, half = np.array(entry.center), np.array(entry.size) / 2
            region = None if entry.room is None else self.regions[entry.room]
            item = SemanticObject(
                f"{entry.name}_{i}",
                i,
                by_name[entry.category],
                Box(center - half, center + half),
                region,
            )
            objects.append(item)
            if region is not None:
                region.objects.append(item)
        return objects

    @property
    def levels(self) -> list[SemanticLevel]:
        """Storeys, from bottom to top: rooms whose floors lie at one height."""
        items = self.objects
        floors = sorted({round(room.floor, 1) for room in self._scene.rooms})
        levels = []
        for i, height in enumerate(floors):
            here = [
                region
                for region, room in zip(self.regions, self._scene.rooms, strict=True)
                if round(room.floor, 1) == height
            ]
            inside = [item for item in items if item.region in here]
            low = np.min([region.aabb.low for region in here], axis=0)
            high = np.max([region.aabb.high for region in here], axis=0)
            levels.append(SemanticLevel(str(i), Box(low, high), here, inside))
        return levels
