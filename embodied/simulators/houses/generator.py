"""Generate furnished houses from a seed."""

from __future__ import annotations

import numpy as np

from embodied.errors import SceneError
from embodied.simulators.base import Room, Scene
from embodied.simulators.houses import rooms as dry
from embodied.simulators.houses import siderooms as side
from embodied.simulators.houses import wetrooms as wet
from embodied.simulators.houses.detail import tessellate_faces
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.living_room import furnish_living_room
from embodied.simulators.houses.mesh_builder import MeshBuilder
from embodied.simulators.houses.openings import HousePlan
from embodied.simulators.houses.plan import plan_house
from embodied.simulators.houses.shell import build_shell
from embodied.simulators.houses.stairs import STOREY_HEIGHT, Stair, build_stair
from embodied.simulators.houses.style import HouseStyle

ROOM_FURNISHERS = {
    "living room": furnish_living_room,
    "kitchen": wet.furnish_kitchen,
    "bedroom": dry.furnish_bedroom,
    "bathroom": wet.furnish_bathroom,
    "dining room": dry.furnish_dining_room,
    "office": dry.furnish_office,
    "laundry room": wet.furnish_laundry_room,
    "gym": side.furnish_gym,
    "closet": side.furnish_closet,
    "hallway": side.furnish_hallway,
}
"""Furnishing function of every room type."""

MAX_ROOMS = 12
SPLITS = ("train", "val", "test")


def split_seeds(split: str, count: int, offset: int = 0) -> list[int]:
    """Return `count` house seeds of a split; seeds of different splits never meet.

    Args:
        split: "train", "val" or "test".
        count: how many.
        offset: skip this many first.

    Raises:
        SceneError: unknown split, or a negative count or offset.
    """
    if split not in SPLITS:
        raise SceneError(f"unknown house split '{split}': allowed are {', '.join(SPLITS)}")
    if count < 0 or offset < 0:
        raise SceneError(f"count {count} and offset {offset} must not be negative")
    first = SPLITS.index(split)
    return [first + len(SPLITS) * k for k in range(offset, offset + count)]


def generate_house(
    seed: int,
    *,
    rooms: int | tuple[int, int] = (1, 12),
    triangles: int | None = None,
    textures: bool = True,
    floors: int = 1,
) -> Scene:
    """Generate a furnished house; the same arguments give the same arrays.

    Args:
        seed: any non-negative integer; see `split_seeds` for disjoint sets.
        rooms: number of rooms in all, or an inclusive range to draw from, within 1 to 12. A house
            of two floors has at least 4 (a stair hall and a room on each).
        triangles: about how many triangles to use: surfaces are tessellated up to it. None keeps
            the light house (2k to 30k).
        textures: give surfaces their patterns; False leaves plain colours.
        floors: 1 or 2.

    Returns:
        A scene in one connected piece: every room is reached by an agent of radius 0.2 m.

    Raises:
        SceneError: an argument out of range, or fewer triangles asked than the house needs.
    """
    low, high = (rooms, rooms) if isinstance(rooms, int) else rooms
    if floors not in (1, 2):
        raise SceneError(f"floors={floors}: a house has 1 or 2 floors")
    if not 1 <= low <= high <= MAX_ROOMS:
        raise SceneError(f"rooms={rooms}: give a number or a rising range within 1 to {MAX_ROOMS}")
    if seed < 0:
        raise SceneError(f"house seed {seed} must not be negative")
    if high < 2 * floors and floors > 1:
        raise SceneError(f"rooms={rooms} are too few for two floors: allow at least 4")
    rng = np.random.Generator(np.random.PCG64(seed))
    count = int(rng.integers(max(low, 4 if floors == 2 else 1), high + 1))
    plan, stair = plan_house(count, floors, rng)
    draw = int(rng.integers(2**62))
    builder = _build(plan, stair, draw, MeshBuilder(textures, storey=STOREY_HEIGHT))
    if triangles is not None and builder.count_triangles() > triangles:
        builder = _build(plan, stair, draw, MeshBuilder(textures, 6, False, STOREY_HEIGHT))
    arrays = builder.build_arrays()
    objects = builder.build_scene_objects()
    if triangles is not None:
        made = builder.count_triangles()
        if made > 1.1 * triangles:
            raise SceneError(
                f"house {seed} with {count} rooms needs {made} triangles, more than the "
                f"{triangles} asked for: ask for more triangles or fewer rooms"
            )
        if made < 0.95 * triangles:
            arrays = tessellate_faces(arrays, triangles)
    rooms_out = []
    for room in plan.rooms:
        x0, z0, x1, z1 = room.inner
        polygon = np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])
        rooms_out.append(Room(room.category, polygon, room.storey * STOREY_HEIGHT))
    return Scene(
        f"house-{seed}", materials=tuple(builder.materials), objects=tuple(objects),
        rooms=tuple(rooms_out), **arrays,
    )  # fmt: skip


def _build(plan: HousePlan, stair: Stair | None, seed: int, builder: MeshBuilder) -> MeshBuilder:
    """Fill a builder; the same seed makes the same choices at any level of detail."""
    rng = np.random.Generator(np.random.PCG64(seed))
    look = HouseStyle(builder, rng)
    styles = [look.make_room_style(r.category) for r in plan.rooms]
    shell = look.make_shell_style()
    for storey in sorted({r.storey for r in plan.rooms}):
        members = [i for i, r in enumerate(plan.rooms) if r.storey == storey]
        base = storey * STOREY_HEIGHT
        build_shell(builder, plan, members, base, styles, shell, stair.rect if stair else None)
        for i in members:
            category = plan.rooms[i].category
            here = stair if category == "hallway" else None
            ROOM_FURNISHERS[category](Furnisher(look, plan, i, base, rng, here))
    if stair:
        halls = [i for i, r in enumerate(plan.rooms) if r.category == "hallway"]
        build_stair(
            builder,
            stair,
            (halls[0], halls[1]),
            look.wood,
            look.trim,
            look.dark,
            styles[halls[1]].wall,
        )
    return builder
