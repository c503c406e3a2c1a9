"""Generate furnished houses from a seed."""

from __future__ import annotations

import numpy as np

from embodied.errors import SceneError
from embodied.simulators.base import Room, Scene
from embodied.simulators.houses import rooms as dry
from embodied.simulators.houses import wetrooms as wet
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.layout import plan_house
from embodied.simulators.houses.mesh_builder import MeshBuilder
from embodied.simulators.houses.shell import build_shell
from embodied.simulators.houses.style import Look

FURNISH = {
    "living room": dry.living_room, "kitchen": wet.kitchen, "bedroom": dry.bedroom,
    "bathroom": wet.bathroom, "dining room": dry.dining_room, "office": dry.office,
    "laundry room": wet.laundry_room, "gym": dry.gym, "closet": dry.closet, "hallway": dry.hallway,
}  # fmt: skip
"""Furnishing function of every room type."""

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
    """Generate a furnished house; the same arguments give the same arrays."""
    rng = np.random.Generator(np.random.PCG64(seed))
    low, high = (rooms, rooms) if isinstance(rooms, int) else rooms
    plan = plan_house(int(rng.integers(low, high + 1)), floors, rng)
    builder = MeshBuilder(textures)
    look = Look(builder, rng)
    styles = [look.room(r.category) for r in plan.rooms]
    shell = look.shell()
    members = list(range(len(plan.rooms)))
    build_shell(builder, plan, members, 0.0, styles, shell)
    for i in members:
        FURNISH[plan.rooms[i].category](Furnisher(look, plan, i, 0.0, rng))
    arrays = builder.arrays()
    objects = builder.scene_objects(arrays["vertices"], arrays["faces"], arrays["face_object"])
    rooms_out = []
    for room in plan.rooms:
        x0, z0, x1, z1 = room.inner
        polygon = np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])
        rooms_out.append(Room(room.category, polygon, 0.0))
    return Scene(f"house-{seed}", materials=tuple(builder.materials), objects=tuple(objects),
                 rooms=tuple(rooms_out), **arrays)  # type: ignore[arg-type]  # fmt: skip
