"""Plan whole houses of one or two storeys."""

from __future__ import annotations

import numpy as np

from embodied.simulators.houses.floorspace import unblock_doors
from embodied.simulators.houses.layout import (
    ROOM_AREAS,
    WALL_THICKNESS,
    RoomPlan,
    arrange_rooms,
    choose_room_types,
    orient_rooms,
    subdivide_rect,
)
from embodied.simulators.houses.openings import HousePlan, cut_openings
from embodied.simulators.houses.stairs import LANDING_DEPTH, STAIR_LENGTH, STAIR_WIDTH, Stair

HALL_WIDTH = 2.5  # width of a stair hall between wall centre lines [m]
_GROUND = ("living room", "kitchen", "dining room", "bathroom", "office", "laundry room")
_UPPER = ("bedroom", "bathroom", "bedroom", "office", "bedroom", "gym")


def plan_house(count: int, floors: int, rng: np.random.Generator) -> tuple[HousePlan, Stair | None]:
    """Plan a house with `count` rooms in total; two storeys share a stair hall on one side."""
    if floors == 1:
        rooms = arrange_rooms(choose_room_types(count, rng), rng)
        orient_rooms(rooms, rng)
        plan = HousePlan(rooms, cut_openings(rooms, list(range(count)), rng))
        unblock_doors(plan, None)
        return plan, None
    upper = count // 2
    storeys = [list(_GROUND[: count - upper - 1]), list(_UPPER[: upper - 1])]
    areas = [[float(rng.uniform(*ROOM_AREAS[t])) for t in types] for types in storeys]
    half = WALL_THICKNESS / 2
    depth = STAIR_LENGTH + 2 * (LANDING_DEPTH + 0.1) + WALL_THICKNESS + float(rng.uniform(0.0, 1.5))
    width = max(sum(a) for a in areas) / depth
    depth, width = round(depth, 3), round(max(width, 2.8), 3)
    rooms = []
    for storey, types in enumerate(storeys):
        # A storey with few rooms covers only part of the other, instead of stretching its rooms.
        own = min(width, max(2.8, 1.25 * sum(areas[storey]) / depth))
        block = (HALL_WIDTH, 0.0, round(HALL_WIDTH + own, 3), depth)
        rooms.append(RoomPlan((0.0, 0.0, HALL_WIDTH, depth), "hallway", storey))
        for rect, kind in zip(subdivide_rect(block, areas[storey], rng), types, strict=True):
            x0, z0, x1, z1 = (round(v, 3) for v in rect)
            rooms.append(RoomPlan((x0, z0, x1, z1), kind, storey))
    start = half + (depth - WALL_THICKNESS - STAIR_LENGTH) / 2
    stair = Stair(
        (half, start, half + STAIR_WIDTH, start + STAIR_LENGTH), 1 if rng.random() < 0.5 else -1
    )
    plan = HousePlan(rooms)
    for storey in (0, 1):
        members = [i for i, r in enumerate(rooms) if r.storey == storey]
        for opening in cut_openings(rooms, members, rng):
            beside = opening.axis == 1 and opening.line == 0.0
            if not (beside and opening.kind in ("window", "entrance")):
                plan.openings.append(opening)
    unblock_doors(plan, stair)
    return plan, stair
