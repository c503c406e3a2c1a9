"""Choose and place the furniture of a room."""

from __future__ import annotations

import numpy as np

from embodied.simulators.houses.layout import WALL, Plan, Rect
from embodied.simulators.houses.mesh_builder import MeshBuilder
from embodied.simulators.houses.placement import Space
from embodied.simulators.houses.shell import leaf_rect


def room_space(plan: Plan, i: int) -> Space:
    """Return the empty floor of room `i` with its doors and windows."""
    anchors, keep, windows = [], [], []
    x0, z0, x1, z1 = plan.rooms[i].inner
    for o in plan.openings:
        if i not in o.rooms:
            continue
        side = 1 if o.rooms[1] == i else -1
        wall_face = o.line + side * WALL / 2
        depth = 0.35 if o.kind == "window" else 0.95
        near, far = sorted((wall_face, wall_face + side * depth))
        pad = 0.0 if o.kind == "window" else 0.1
        rect: Rect = (
            (o.lo - pad, near, o.hi + pad, far)
            if o.axis == 0
            else (near, o.lo - pad, far, o.hi + pad)
        )
        if o.kind == "window":
            windows.append(rect)
            continue
        keep.append(rect)
        if o.kind != "entrance":
            middle, step = (o.lo + o.hi) / 2, wall_face + side * 0.34
            anchors.append((middle, step) if o.axis == 0 else (step, middle))
        leaf = leaf_rect(o)
        if leaf and side == 1:
            keep.append(leaf)
    return Space((x0, z0, x1, z1), anchors, keep, windows)


SIMPLE: dict[str, list[tuple[str, str, float, float, float, bool]]] = {
    "living room": [("sofa", "sofa", 2.0, 0.9, 0.8, False), ("chest_of_drawers", "tv stand", 1.4, 0.4, 0.5, False),
                    ("shelving", "bookshelf", 0.9, 0.3, 1.9, True), ("plant", "plant", 0.4, 0.4, 1.0, False)],
    "kitchen": [("counter", "kitchen counter", 2.0, 0.6, 0.9, False), ("appliances", "refrigerator", 0.6, 0.6, 1.8, True),
                ("table", "table", 1.2, 0.8, 0.75, False), ("chair", "chair", 0.45, 0.45, 0.9, False)],
    "bedroom": [("bed", "bed", 1.6, 2.0, 0.55, False), ("cabinet", "wardrobe", 1.2, 0.6, 2.0, True),
                ("chest_of_drawers", "dresser", 0.9, 0.45, 0.9, False)],
    "bathroom": [("toilet", "toilet", 0.4, 0.65, 0.8, False), ("sink", "sink", 0.6, 0.45, 0.85, False),
                 ("bathtub", "bathtub", 1.6, 0.7, 0.55, False)],
    "dining room": [("cabinet", "sideboard", 1.4, 0.4, 0.85, False), ("plant", "plant", 0.4, 0.4, 1.0, False)],
    "office": [("table", "desk", 1.3, 0.7, 0.75, False), ("shelving", "bookshelf", 0.9, 0.3, 1.9, True),
               ("chair", "chair", 0.5, 0.5, 0.9, False)],
    "laundry room": [("appliances", "washing machine", 0.6, 0.6, 0.85, False)],
    "gym": [("gym_equipment", "treadmill", 0.8, 1.7, 1.3, False)],
    "closet": [("shelving", "shelf", 1.0, 0.4, 1.9, True)],
    "hallway": [("plant", "plant", 0.3, 0.3, 0.9, False)],
}  # fmt: skip


def furnish(
    builder: MeshBuilder, plan: Plan, i: int, base: float, rng: np.random.Generator
) -> Space:
    """Furnish room `i`."""
    space = room_space(plan, i)
    for category, name, w, d, h, tall in SIMPLE[plan.rooms[i].category]:
        spot = space.against_wall(rng, w, d, tall=tall)
        if spot:
            builder.start(category, name, i, (spot.x, base, spot.z), spot.yaw)
            color = tuple(float(c) for c in rng.uniform(0.3, 0.9, 3))
            builder.box((-w / 2, 0.0, 0.0), (w / 2, h, d), builder.material(color))
    return space
