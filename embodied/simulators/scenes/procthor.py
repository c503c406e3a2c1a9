"""ProcTHOR house JSON -> floors, walls with their openings, and every object in its right size.

Unity's frame is left-handed (y up, z away); ours is its mirror image in z. Objects are made of
boxes because their meshes are part of AI2-THOR's player, but sizes, classes, rooms and the way
through the house are the real ones.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from embodied.errors import SceneError
from embodied.simulators.base import Material, Room, Scene
from embodied.simulators.scenes.box_furniture import make_furniture_boxes
from embodied.simulators.scenes.builder import SceneBuilder
from embodied.simulators.scenes.labels import split_words, to_mpcat40
from embodied.simulators.scenes.paint import get_class_color, get_floor_material, get_wall_color
from embodied.simulators.scenes.shapes import contains_points, make_box, make_flat_polygon

HOUSE_EXTENSIONS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
WALL_THICKNESS = 0.06
_DATABASE = "asset-database.json.gz"
_FRAME = 0.05  # width of a door's jambs and lintel [m]
_MIRROR = np.diag([1.0, 1.0, -1.0])

# Typical extents x, y, z [m] for houses whose asset database is not at hand.
_SIZES = {
    "bed": (1.5, 0.9, 2.2), "sofa": (2.2, 0.9, 0.95), "armchair": (0.9, 0.9, 0.9),
    "chair": (0.5, 0.9, 0.55), "table": (1.3, 0.75, 0.8), "chest_of_drawers": (1.1, 0.95, 0.5),
    "cabinet": (1.0, 0.9, 0.5), "furniture": (1.2, 0.7, 0.5), "shelving": (0.9, 1.5, 0.35),
    "counter": (2.0, 0.95, 0.7), "appliances": (0.6, 0.8, 0.6), "toilet": (0.5, 1.0, 0.9),
    "sink": (0.65, 0.2, 0.45), "bathtub": (1.6, 0.6, 0.8), "stool": (0.5, 0.5, 0.4),
    "tv_monitor": (1.1, 0.75, 0.2), "plant": (0.35, 0.65, 0.35), "lighting": (0.4, 1.2, 0.4),
    "picture": (0.8, 0.6, 0.03), "cushion": (0.43, 0.14, 0.35), "towel": (0.4, 0.5, 0.04),
    "curtain": (0.35, 1.65, 0.35), "objects": (0.2, 0.2, 0.2), "floor": (1.8, 0.01, 1.2),
    "fridge": (0.9, 1.8, 0.75), "washing": (0.7, 1.05, 0.7), "toaster": (0.2, 0.2, 0.35),
    "microwave": (0.6, 0.35, 0.36), "coffee": (0.3, 0.4, 0.35), "kettle": (0.2, 0.2, 0.2),
}  # fmt: skip


def load_house(
    path: Path,
    index: int = 0,
    labels: Mapping[str, str] | None = None,
    assets: Path | None = None,
) -> Scene:
    """Load one ProcTHOR house.

    Args:
        path: a JSON house, or a .jsonl(.gz) file with one house a line.
        index: which house of the file.
        labels: AI2-THOR object type ("ArmChair") -> category, before the built-in mapping.
        assets: `asset-database.json.gz`; None = looked for beside the file.

    Raises:
        SceneError: unreadable file, no such index, or JSON that is not a house.
    """
    house = _read_house(path, index)
    beside = next(
        (p / _DATABASE for p in list(path.parents)[:2] if (p / _DATABASE).is_file()), None
    )
    database = assets or beside
    try:
        return _build(
            house, f"{path.name}#{index}", _assets(database) if database else {}, labels or {}
        )
    except (KeyError, TypeError, IndexError, ValueError) as cause:
        raise SceneError(
            f"{path}, house {index}: not a ProcTHOR house ({type(cause).__name__}: {cause}). "
            "It needs rooms, walls, doors, windows and objects."
        ) from cause


def _build(
    house: Mapping[str, Any], name: str, assets: Mapping[str, Any], labels: Mapping[str, str]
) -> Scene:
    builder = SceneBuilder(name)
    walls = {w["id"]: w for w in house["walls"]}
    heights = [max(p["y"] for p in w["polygon"]) for w in walls.values()]
    ceiling = float(max(heights, default=2.8))
    rooms: dict[str, int] = {}
    for number, room in enumerate(house["rooms"]):
        category = " ".join(split_words(room["roomType"]))
        polygon = _plan(room["floorPolygon"])
        height = float(np.mean([p["y"] for p in room["floorPolygon"]]))
        rooms[room["id"]] = number
        builder.rooms.append(Room(category, polygon, height))
        floor = builder.add_object("floor", f"{category} floor", number)
        material, side = get_floor_material(room.get("floorMaterial"), category)
        surface = make_flat_polygon(polygon, height, 1, material)
        surface.uv = polygon / side
        builder.add_part(surface, floor)
        above = builder.add_object("ceiling", f"{category} ceiling", number)
        builder.add_part(
            make_flat_polygon(polygon, ceiling, -1, Material(get_class_color("ceiling"))), above
        )
    _add_walls(builder, house, walls, rooms)
    for thing in _flatten(house["objects"]):
        _add_thing(builder, thing, assets, labels)
    return builder.build_scene()


def _add_walls(
    builder: SceneBuilder,
    house: Mapping[str, Any],
    walls: Mapping[str, Any],
    rooms: Mapping[str, int],
) -> None:
    """Add one slab per wall line (two rooms share it), cut open at doors and windows."""
    segments: dict[tuple[tuple[float, float], ...], dict[str, Any]] = {}
    key_of: dict[str, tuple[tuple[float, float], ...]] = {}
    for wall in walls.values():
        start, end = _plan(wall["polygon"][:2])
        key = tuple(sorted((round(float(p[0]), 2), round(float(p[1]), 2)) for p in (start, end)))
        key_of[wall["id"]] = key
        known = segments.get(key)
        if known is None or "exterior" in known["wall"]["id"]:  # prefer the side that has a room
            segments[key] = {"wall": wall, "start": start, "end": end, "holes": []}
    for kind in ("doors", "windows"):
        for opening in house[kind]:
            wall = walls.get(opening["wall0"]) or walls.get(opening.get("wall1", ""))
            if wall is None:
                continue
            first, last = (opening["holePolygon"][0], opening["holePolygon"][1])
            along = sorted((first["x"], last["x"]))
            if wall["id"] != opening["wall0"]:  # the second wall runs the other way
                start, end = _plan(wall["polygon"][:2])
                length = float(np.linalg.norm(end - start))
                along = [length - along[1], length - along[0]]
            segment = segments[key_of[wall["id"]]]
            if not np.allclose(segment["start"], _plan(wall["polygon"][:1])[0], atol=0.02):
                length = float(np.linalg.norm(segment["end"] - segment["start"]))
                along = [length - along[1], length - along[0]]
            outside = opening["room0"] == opening["room1"]
            segment["holes"].append(
                (along[0], along[1], *sorted((first["y"], last["y"])), kind, outside)
            )
    for segment in segments.values():
        if not segment["wall"].get("empty"):  # rooms that run into each other share an empty wall
            _add_wall(builder, segment, rooms)


def _add_wall(builder: SceneBuilder, segment: Mapping[str, Any], rooms: Mapping[str, int]) -> None:
    wall = segment["wall"]
    start, end = segment["start"], segment["end"]
    length = float(np.linalg.norm(end - start))
    if length < 1e-3:
        return
    ys = [p["y"] for p in wall["polygon"]]
    bottom, top = float(min(ys)), float(max(ys))
    frame = np.eye(4)  # x along the wall, y up, z across it
    frame[[0, 2], 0] = (end - start) / length
    frame[0, 2], frame[2, 2] = -frame[2, 0], frame[0, 0]
    frame[:3, 3] = start[0], 0.0, start[1]
    color = get_wall_color(wall.get("material"), wall["roomId"])
    room = rooms.get(wall["roomId"])
    owner = builder.add_object("wall", "wall", room)
    material = Material(color)

    def slab(
        x0: float, x1: float, y0: float, y1: float, depth: float, paint: Material, who: int
    ) -> None:
        if x1 - x0 > 1e-4 and y1 - y0 > 1e-4:
            part = make_box((x1 - x0, y1 - y0, depth), ((x0 + x1) / 2, (y0 + y1) / 2, 0.0), paint)
            builder.add_part(part, who, frame)

    reach = WALL_THICKNESS / 2  # walls meet at corners without a gap
    at = -reach
    for x0, x1, y0, y1, kind, outside in sorted(segment["holes"], key=lambda h: h[0]):
        x0, x1 = max(x0, 0.0), min(x1, length)
        slab(at, x0, bottom, top, WALL_THICKNESS, material, owner)
        slab(x0, x1, bottom, y0, WALL_THICKNESS, material, owner)
        slab(x0, x1, y1, top, WALL_THICKNESS, material, owner)
        at = max(at, x1)
        category = "door" if kind == "doors" else "window"
        paint = Material(get_class_color(category))
        who = builder.add_object(category, category, room)
        if kind == "windows" or outside:  # panes and the closed door to the street fill the hole
            slab(x0, x1, y0, y1, 0.03, paint, who)
        else:
            wide = WALL_THICKNESS + 0.02
            slab(x0, x0 + _FRAME, y0, y1, wide, paint, who)
            slab(x1 - _FRAME, x1, y0, y1, wide, paint, who)
            slab(x0 + _FRAME, x1 - _FRAME, y1 - _FRAME, y1, wide, paint, who)
    slab(at, length + reach, bottom, top, WALL_THICKNESS, material, owner)


def _add_thing(
    builder: SceneBuilder,
    thing: Mapping[str, Any],
    assets: Mapping[str, Any],
    labels: Mapping[str, str],
) -> None:
    asset = thing["assetId"]
    entry = assets.get(asset)
    kind = entry["objectType"] if entry else asset
    category = labels.get(kind) or to_mpcat40(kind) or "objects"
    size = _size(entry, kind, category)
    # Unity's formulas are those of a left-handed frame: mirror the whole rotation
    turn = thing["rotation"]
    rotation = Rotation.from_euler("YXZ", [turn["y"], turn["x"], turn["z"]], degrees=True)
    transform = np.eye(4)
    transform[:3, :3] = _MIRROR @ rotation.as_matrix() @ _MIRROR
    position = thing["position"]
    transform[:3, 3] = position["x"], position["y"], -position["z"]
    room = next(
        (i for i, r in enumerate(builder.rooms)
         if contains_points(r.polygon, transform[None, [0, 2], 3])[0]), None
    )  # fmt: skip
    owner = builder.add_object(category, " ".join(split_words(kind)), room)
    for piece in make_furniture_boxes(
        " ".join(split_words(kind)), category, size, get_class_color(category, asset)
    ):
        builder.add_part(piece, owner, transform)


def _size(entry: Mapping[str, Any] | None, kind: str, category: str) -> tuple[float, float, float]:
    extents = (entry or {}).get("boundingBox")
    if extents:
        return tuple(max(float(extents[axis]), 0.002) for axis in "xyz")  # type: ignore[return-value]
    for word in (*split_words(kind), category):
        if word in _SIZES:
            return _SIZES[word]
    return _SIZES["objects"]


def _flatten(things: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for thing in things:
        yield thing
        yield from _flatten(thing.get("children") or [])


def _plan(points: list[Mapping[str, float]]) -> NDArray[np.float64]:
    """Return the (K, 2) x, z of Unity points in our frame."""
    return np.array([[p["x"], -p["z"]] for p in points], np.float64)


def _read_house(path: Path, index: int) -> dict[str, Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            if ".jsonl" in path.name:
                count = -1
                for count, line in enumerate(file):  # noqa: B007 (count is reported below)
                    if count == index:
                        return _house_of(json.loads(line), path)
                raise SceneError(f"{path}: house {index} asked for, the file has 0..{count}")
            data = json.load(file)
    except (OSError, EOFError, ValueError, zlib.error) as cause:
        raise SceneError(
            f"{path}: cannot be read as JSON ({cause}). The file is damaged: download it again."
        ) from cause
    if isinstance(data, list):
        if not 0 <= index < len(data):
            raise SceneError(f"{path}: house {index} asked for, the file has 0..{len(data) - 1}")
        data = data[index]
    return _house_of(data, path)


def _house_of(data: Any, path: Path) -> dict[str, Any]:  # noqa: ANN401 (whatever the JSON holds)
    house = data.get("house", data) if isinstance(data, dict) else data
    missing = [k for k in ("rooms", "walls", "doors", "windows", "objects")
               if not isinstance(house, dict) or k not in house]  # fmt: skip
    if missing:
        raise SceneError(
            f"{path}: not a ProcTHOR house, it has no {', '.join(missing)}. For a Habitat scene "
            "give its *.scene_instance.json or *.stage_config.json."
        )
    return house


@lru_cache(maxsize=2)
def _assets(path: Path) -> dict[str, dict[str, Any]]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            by_type = json.load(file)
        return {entry["assetId"]: entry for entries in by_type.values() for entry in entries}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise SceneError(
            f"{path}: cannot be read as ProcTHOR's asset database ({cause}). Download it again."
        ) from cause
