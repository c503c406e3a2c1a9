"""The empty floor of a room: what its doors, their leaves and a stair leave free."""

from __future__ import annotations

from dataclasses import replace

from embodied.simulators.houses.layout import Rect
from embodied.simulators.houses.openings import HousePlan, compute_leaf_rect, compute_passage_rect
from embodied.simulators.houses.placement import RoomSpace
from embodied.simulators.houses.stairs import Stair


def build_room_space(plan: HousePlan, index: int, stair: Stair | None = None) -> RoomSpace:
    """Return the floor of a room before furniture; `stair` if its foot or head lies here."""
    anchors: list[tuple[float, float]] = []
    keep: list[Rect] = []
    windows: list[Rect] = []
    solid: list[Rect] = []
    for o in plan.openings:
        if index not in o.rooms:
            continue
        side = 1 if o.rooms[1] == index else -1
        if o.kind == "window":
            windows.append(compute_passage_rect(o, side, 0.35, 0.0))
            continue
        keep.append(compute_passage_rect(o, side))
        if o.kind != "entrance":
            middle, step = (o.lo + o.hi) / 2, o.line + side * 0.4
            anchors.append((middle, step) if o.axis == 0 else (step, middle))
        leaf = compute_leaf_rect(o)
        if leaf and side == o.swing:
            solid.append(leaf)
    if stair:
        upper = plan.rooms[index].storey > 0
        anchors.append(stair.get_landing_point(upper))
        keep.append(stair.get_landing_rect(upper))
        solid.append(stair.rect)
    space = RoomSpace(plan.rooms[index].inner, anchors, keep, windows)
    for rect in solid:
        space.occupy_rect(rect)
    return space


def unblock_doors(plan: HousePlan, stair: Stair | None) -> None:
    """Turn doors into archways in rooms whose open leaves cut the floor apart."""
    for index, room in enumerate(plan.rooms):
        here = stair if room.category == "hallway" else None
        for number, o in enumerate(plan.openings):
            side = 1 if o.rooms[1] == index else -1
            if o.kind != "door" or index not in o.rooms or side != o.swing:
                continue
            if build_room_space(plan, index, here).is_connected():
                break
            plan.openings[number] = replace(o, kind="arch")
