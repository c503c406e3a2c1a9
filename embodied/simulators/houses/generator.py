"""Generate furnished houses from a seed."""

from __future__ import annotations

import numpy as np

from embodied.errors import SceneError
from embodied.simulators.base import Room, Scene
from embodied.simulators.houses.furnish import furnish
from embodied.simulators.houses.layout import plan_house
from embodied.simulators.houses.mesh_builder import MeshBuilder
from embodied.simulators.houses.shell import RoomStyle, ShellStyle, build_shell

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
    white = builder.material((0.92, 0.91, 0.88))
    wood = builder.material((0.6, 0.45, 0.3))
    sky = builder.material((0.65, 0.8, 0.95))
    metal = builder.material((0.7, 0.7, 0.72))
    styles = []
    for _ in plan.rooms:
        tint = tuple(float(c) for c in rng.uniform(0.75, 0.95, 3))
        styles.append(RoomStyle(builder.material(tint), wood, white, white))
    shell = ShellStyle(white, white, wood, metal, wood, sky, metal)
    members = list(range(len(plan.rooms)))
    build_shell(builder, plan, members, 0.0, styles, shell)
    for i in members:
        furnish(builder, plan, i, 0.0, rng)
    arrays = builder.arrays()
    objects = builder.scene_objects(arrays["vertices"], arrays["faces"], arrays["face_object"])
    rooms_out = []
    for room in plan.rooms:
        x0, z0, x1, z1 = room.inner
        polygon = np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])
        rooms_out.append(Room(room.category, polygon, 0.0))
    return Scene(f"house-{seed}", materials=tuple(builder.materials), objects=tuple(objects),
                 rooms=tuple(rooms_out), **arrays)  # type: ignore[arg-type]  # fmt: skip
