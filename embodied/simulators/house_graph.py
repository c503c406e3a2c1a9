"""Graph worlds of any scene: waypoints on its floor and what was rendered from them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.simulators.graph import GraphWorld
from maps.panorama.observation import VIEW_EXTRAS, PanoramaObservation
from maps.panorama.views import HEIGHT, WIDTH

Array = NDArray[np.float64]

CATEGORY_COUNT = len(SOS_CATEGORIES)
CANVAS_SHAPE = (CATEGORY_COUNT, HEIGHT, WIDTH)
VIEWS_SHAPE = (36, 2 * CATEGORY_COUNT + len(VIEW_EXTRAS))


@dataclass(frozen=True)
class HouseItem:
    """An object of a house, for language and for scoring; agents see percepts, never this.

    Attributes:
        id: its index in `Scene.objects`.
        name, category: plain words, class name.
        center, size: axis-aligned box [m].
        room: index into the world's `rooms`, -1 unknown.
        color: mean RGB in [0, 1] over the places that see it, None if it is never seen.
        seen_from: places that list it.
    """

    id: int
    name: str
    category: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    room: int
    color: tuple[float, float, float] | None
    seen_from: tuple[int, ...]


class HouseWorld(GraphWorld):
    """Places of a scene with rendered percepts. Made by `build_house` or read from its file.

    Args:
        name: of the world.
        arrays: what `build_house` made.

    Attributes:
        rooms: type of each room ("kitchen"), () when the scene has none.
        place_rooms: (N,) room of each place, -1 outside all.
        floor_positions: (N, 3) the places on the floor [m]; `positions` are those of the camera.
    """

    def __init__(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        positions = arrays["floors"] + (0.0, float(arrays["height"]), 0.0)
        names = [f"{name}/{i}" for i in range(len(positions))]
        super().__init__(name, names, positions, arrays["edges"])
        self.arrays = arrays
        self.floor_positions: Array = arrays["floors"]
        self.place_rooms: NDArray[np.int64] = arrays["place_rooms"]
        facts = json.loads(arrays["facts"].tobytes())
        self.rooms: tuple[str, ...] = tuple(facts["rooms"])
        self._facts: list[dict[str, Any]] = facts["items"]
        self._names: list[str] = facts["names"]

    @cached_property
    def items(self) -> tuple[HouseItem, ...]:
        """All objects of the scene but walls, floors and ceilings."""
        made = []
        for facts in self._facts:
            plain: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()
            }
            made.append(HouseItem(**plain))
        return tuple(made)

    @cached_property
    def item_by_id(self) -> dict[int, HouseItem]:
        """The same by their index in the scene."""
        return {item.id: item for item in self.items}

    def get_true_object_ids(self, place: int) -> NDArray[np.int64]:
        """Return the true object (index in the scene) behind each object of a place's percept.

        With ground-truth semantics these are the percept's own ids. Predicted objects belong to
        the true one they overlap most, -1 if that is none. For scoring only.
        """
        a = self.arrays
        return a["true"][slice(*a["starts"][place : place + 2])].astype(np.int64)

    def _perceive(self, place: int) -> PanoramaObservation:
        a = self.arrays
        rows = slice(*a["starts"][place : place + 2])
        blob = a["blobs"][slice(*a["blob_starts"][place : place + 2])]
        data = np.frombuffer(zlib.decompress(blob.tobytes()), np.uint8)
        split = 2 * VIEWS_SHAPE[0] * VIEWS_SHAPE[1]
        views = data[:split].view(np.float16).reshape(VIEWS_SHAPE).astype(np.float32)
        canvas = (
            np.unpackbits(data[split:], count=int(np.prod(CANVAS_SHAPE)))
            .view(bool)
            .reshape(CANVAS_SHAPE)
        )
        names = tuple(self._names[i] for i in a["name"][rows])
        return PanoramaObservation(
            views, a["objects"][rows].astype(np.int64), names, a["kinds"][rows].astype(np.int64),
            a["boxes"][rows], a["features"][rows], canvas,
        )  # fmt: skip


def pack_observation(percept: PanoramaObservation) -> bytes:
    """Return the views (as halves) and the canvas (as bits) of a percept, compressed."""
    data = percept.views.astype(np.float16).tobytes() + np.packbits(percept.canvas).tobytes()
    return zlib.compress(data, 6)
