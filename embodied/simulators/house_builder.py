"""Build graph worlds of any scene: sample waypoints, render, describe."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_INDEX, STRUCTURE
from embodied.errors import SceneError
from embodied.simulators.base import AgentSpec, CameraSpec, Scene
from embodied.simulators.embedded import World
from embodied.simulators.house_graph import CATEGORY_COUNT, HouseItem, HouseWorld, pack_observation
from embodied.simulators.raycast import compute_camera_poses
from embodied.simulators.scenes.labels import split_words
from embodied.simulators.segments import Segment, perceive_predicted
from embodied.simulators.waypoints import WaypointSpec, locate_rooms, sample_waypoints
from maps.panorama.from_images import MIN_AREA, REACH, build_panorama_from_images
from maps.panorama.observation import PanoramaObservation
from maps.panorama.views import WIDTH

UNLISTED_CATEGORIES = STRUCTURE - {"objects"}
"""Classes nobody would point at. Small things of no class of their own ("objects") are listed."""


@dataclass(frozen=True)
class PanoramaSpec:
    """How a scene becomes a graph world.

    Attributes:
        waypoints: where places are.
        agent: body that must fit through the ways.
        height: of the camera above the floor [m].
        width: columns of the panorama; half as many rows.
        reach: objects farther away than this are not listed [m] (REVERIE: 3).
        min_area: objects that show less than this solid angle are not listed [sr].
    """

    waypoints: WaypointSpec = field(default_factory=WaypointSpec)
    agent: AgentSpec = field(default_factory=AgentSpec)
    height: float = 1.4
    width: int = 192
    reach: float = REACH
    min_area: float = MIN_AREA

    def __post_init__(self) -> None:
        for name in ("height", "reach"):
            if not 0 < getattr(self, name) < np.inf:
                raise SceneError(f"{name} = {getattr(self, name)} m must be positive")
        if self.width < WIDTH or self.width % 2:
            raise SceneError(
                f"panorama width {self.width}: give an even number of at least {WIDTH}"
            )

    @property
    def camera(self) -> CameraSpec:
        """The panorama camera."""
        outputs = ("rgb", "depth", "semantic", "instance")
        offset = (0.0, self.height, 0.0)
        return CameraSpec(
            outputs, self.width, self.width // 2, position=offset, projection="equirectangular"
        )


def build_house(
    scene: Scene, spec: PanoramaSpec | None = None, segment: Segment | None = None
) -> HouseWorld:
    """Sample the waypoints of a scene and render what is seen from them.

    Args:
        scene: any scene.
        spec: density, camera, reach.
        segment: predicts the semantics from colour and depth; None takes the truth. Only what
            agents see changes: `items` and their visibility stay true.

    Raises:
        NavigationError: nothing to walk on, or places that cannot be joined.
        SceneError: no labelled object in the scene.
    """
    spec = spec or PanoramaSpec()
    if not any(is_listable(o.category) for o in scene.objects[1:]):
        raise SceneError(
            f"scene '{scene.name}' has no labelled objects, so there is nothing to talk about. "
            "Give labels (load_scene's `labels`), or a scene with semantics beside its mesh."
        )
    world = World(scene, spec.agent)
    rng = np.random.default_rng(zlib.crc32(scene.name.encode()))
    floors, edges = sample_waypoints(world, spec.waypoints, rng)
    images = world.caster.render(
        spec.camera, compute_camera_poses(floors, np.zeros(len(floors)), spec.camera)
    )
    truth = _truth(scene, spec, images)
    seen, true = truth, [p.objects for p in truth]
    if segment is not None:
        seen, true = perceive_predicted(images, segment, truth, spec.reach, spec.min_area)
    return HouseWorld(
        scene.name,
        {
            "floors": floors,
            "edges": edges,
            "height": np.array(spec.height),
            "place_rooms": locate_rooms(scene.rooms, floors),
            **_pack(scene, truth, seen, true),
        },
    )


def format_object_name(name: str, category: str) -> str:
    """Return a source's name of an object as lower-case words ("CoffeeTable_2" -> "coffee
    table").
    """
    parts = split_words(name.partition("|")[0])
    while len(parts) > 1 and len(parts[-1]) == 1:
        parts.pop()
    return " ".join(parts or split_words(category))


def is_listable(category: str) -> bool:
    """Tell whether things of a class are objects, not parts of the building."""
    return category not in UNLISTED_CATEGORIES


def _pack(
    scene: Scene,
    truth: Sequence[PanoramaObservation],
    seen: Sequence[PanoramaObservation],
    true: Sequence[NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `HouseWorld` that describe objects and percepts."""
    blobs = [pack_observation(p) for p in seen]
    names = sorted({n for p in seen for n in p.names})
    number = {name: i for i, name in enumerate(names)}
    facts = {
        "rooms": [room.category for room in scene.rooms],
        "names": names,
        "items": [asdict(item) for item in _items(scene, truth)],
    }
    return {
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        "starts": np.cumsum([0, *(len(p.objects) for p in seen)]),
        "objects": np.concatenate([p.objects for p in seen]).astype(np.int32),
        "true": np.concatenate(list(true)).astype(np.int32),
        "kinds": np.concatenate([p.categories for p in seen]).astype(np.int8),
        "boxes": np.concatenate([p.boxes for p in seen]),
        "features": np.concatenate([p.features for p in seen]),
        "name": np.array([number[n] for p in seen for n in p.names], np.int32),
        "blobs": np.frombuffer(b"".join(blobs), np.uint8),
        "blob_starts": np.cumsum([0, *map(len, blobs)]),
    }


def _items(scene: Scene, percepts: Sequence[PanoramaObservation]) -> list[HouseItem]:
    """Describe every object of a scene that can be listed."""
    places = np.repeat(np.arange(len(percepts)), [len(p.objects) for p in percepts])
    ids = np.concatenate([p.objects for p in percepts])
    features = np.concatenate([p.features for p in percepts]).astype(np.float64)
    weight = np.exp(features[:, 1])  # the solid angle shown
    count = len(scene.objects)
    total = np.bincount(ids, weight, count)
    color: NDArray[np.float64] = np.stack(
        [np.bincount(ids, weight * features[:, 3 + c], count) for c in range(3)], axis=1
    )
    color /= np.maximum(total, 1e-12)[:, None]
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(count + 1))
    inside = locate_rooms(scene.rooms, np.array([o.center for o in scene.objects]))
    items = []
    for i, thing in enumerate(scene.objects):
        if i == 0 or not is_listable(thing.category):
            continue
        seen_from = places[order[starts[i] : starts[i + 1]]]
        room = int(inside[i]) if thing.room is None else thing.room
        r, g, b = (round(float(v), 4) for v in color[i])
        items.append(
            HouseItem(
                i, format_object_name(thing.name, thing.category), thing.category, thing.center,
                thing.size, room, (r, g, b) if len(seen_from) else None,
                tuple(int(p) for p in seen_from),
            )
        )  # fmt: skip
    return items


def _truth(
    scene: Scene, spec: PanoramaSpec, images: dict[str, NDArray[Any]]
) -> list[PanoramaObservation]:
    """Describe every place with the scene's own semantics."""
    table = np.array([SOS_INDEX.get(name, -1) for name in scene.categories])
    listed = np.array([is_listable(o.category) for o in scene.objects])
    listed[0] = False
    names = [format_object_name(o.name, o.category) for o in scene.objects]
    return [
        build_panorama_from_images(
            rgb, depth, table[semantic], instance, names, CATEGORY_COUNT,
            reach=spec.reach, min_area=spec.min_area, listed=listed,
        )
        for rgb, depth, semantic, instance in zip(
            *(images[k] for k in ("rgb", "depth", "semantic", "instance")), strict=True
        )
    ]  # fmt: skip
