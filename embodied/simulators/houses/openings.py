"""Walls between the rooms of a plan, and the doors and windows in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from embodied.simulators.houses.layout import WALL_THICKNESS, Rect, RoomPlan

CASING_WIDTH = 0.05  # door frame width inside the hole [m]
LEAF_THICKNESS = 0.04  # door leaf thickness [m]
PASSAGE_DEPTH = 0.95  # floor kept free on both sides of a door [m]
_PASS = {"hallway": 0.0, "living room": 1.0, "dining room": 1.5, "kitchen": 2.0}
"""How readily a room type serves as a way through."""


@dataclass(frozen=True)
class Opening:
    """A hole in a wall that runs along x at z = `line` (`axis` 0) or along z at x = `line` (1).

    Attributes:
        kind: "door" (with a leaf), "arch" (without), "window" or "entrance" (closed front door).
        rooms: the room on the low side and on the high side of the wall; None is outdoors.
        lo, hi: extent along the wall [m]; bottom, top: height above the floor [m].
        swing: side (+1 high, -1 low) of the room the leaf opens into.
        hinge_low: the leaf hangs at the `lo` jamb.
    """

    kind: str
    axis: int
    line: float
    lo: float
    hi: float
    rooms: tuple[int | None, int | None]
    bottom: float = 0.0
    top: float = 2.1
    swing: int = 1
    hinge_low: bool = True


@dataclass
class HousePlan:
    """All rooms and openings of a house."""

    rooms: list[RoomPlan]
    openings: list[Opening] = field(default_factory=list)


@dataclass(frozen=True)
class Wall:
    """A stretch of wall between two rooms, or a room and outdoors (None), on one line."""

    axis: int
    line: float
    lo: float
    hi: float
    rooms: tuple[int | None, int | None]


def find_walls(rooms: list[RoomPlan], members: list[int]) -> list[Wall]:
    """Return every stretch of wall of one storey, outer ones with None on the outdoor side."""
    found: list[Wall] = []
    for axis in (0, 1):
        lines: dict[float, tuple[list[int], list[int]]] = {}
        for i in members:
            rect = rooms[i].rect
            low, high = (rect[1], rect[3]) if axis == 0 else (rect[0], rect[2])
            lines.setdefault(high, ([], []))[0].append(i)
            lines.setdefault(low, ([], []))[1].append(i)
        for line, (below, above) in sorted(lines.items()):
            spans = {i: (rooms[i].rect[axis], rooms[i].rect[axis + 2]) for i in (*below, *above)}
            cuts = sorted({c for span in spans.values() for c in span})
            pieces: list[Wall] = []
            for lo, hi in zip(cuts, cuts[1:], strict=False):
                middle = (lo + hi) / 2
                pair: list[int | None] = []
                for side in (below, above):
                    pair.append(next((i for i in side if spans[i][0] < middle < spans[i][1]), None))
                if pair == [None, None]:
                    continue
                last = pieces[-1] if pieces else None
                if last and last.rooms == tuple(pair) and last.hi == lo:
                    pieces[-1] = Wall(axis, line, last.lo, hi, last.rooms)
                else:
                    pieces.append(Wall(axis, line, lo, hi, (pair[0], pair[1])))
            found += pieces
    return found


def cut_openings(
    rooms: list[RoomPlan], members: list[int], rng: np.random.Generator
) -> list[Opening]:
    """Cut doors that join all rooms of a storey (a tree, a few loops), windows, the entrance."""
    stretches = find_walls(rooms, members)
    inner = [w for w in stretches if None not in w.rooms and w.hi - w.lo >= 1.3]
    costs = []
    for wall in inner:
        kinds = [rooms[i].category for i in wall.rooms if i is not None]
        cost = sum(_PASS.get(k, 4.0) for k in kinds) + float(rng.random())
        costs.append(cost + (6.0 if kinds.count("bathroom") == 2 else 0.0))
    leader = {i: i for i in members}

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    openings, joined = [], set()
    for k in np.argsort(costs, kind="stable").tolist():
        wall = inner[k]
        a, b = (r for r in wall.rooms if r is not None)
        kinds_pair = {rooms[a].category, rooms[b].category}
        social = kinds_pair <= {"living room", "dining room", "kitchen", "hallway"}
        if find(a) == find(b):
            loop = social or kinds_pair == {"bedroom", "bathroom"}
            if (a, b) in joined or not loop or rng.random() > 0.4:
                continue
        leader[find(a)] = find(b)
        joined.add((a, b))
        # A leaf would block a hallway; elsewhere it opens into the larger room.
        space = [0.0 if rooms[i].category == "hallway" else _area(rooms[i].rect) for i in (a, b)]
        swing = 1 if space[1] > space[0] else -1
        kind = "arch" if social and rng.random() < 0.7 else "door"
        openings.append(_door(wall, kind, swing, rng))
    outer = [w for w in stretches if None in w.rooms]
    openings += _outer_openings(rooms, outer, rng)
    return [_hang(o, openings, rooms) for o in openings]


def compute_leaf_rect(o: Opening) -> Rect | None:
    """Return where the open leaf of a door stands: square to the wall, beside the passage."""
    if o.kind != "door":
        return None
    near = o.line + o.swing * (WALL_THICKNESS / 2 + 0.02)
    start, end = sorted((near, near + o.swing * (o.hi - o.lo - 2 * CASING_WIDTH)))
    # Behind the jamb, never inside the clear width.
    lo = o.lo + CASING_WIDTH - LEAF_THICKNESS if o.hinge_low else o.hi - CASING_WIDTH
    return (
        (lo, start, lo + LEAF_THICKNESS, end)
        if o.axis == 0
        else (start, lo, end, lo + LEAF_THICKNESS)
    )


def compute_passage_rect(
    o: Opening, side: int, depth: float = PASSAGE_DEPTH, pad: float = 0.1
) -> Rect:
    """Return the floor in front of an opening on one side (+1 high, -1 low)."""
    face = o.line + side * WALL_THICKNESS / 2
    near, far = sorted((face, face + side * depth))
    lo, hi = o.lo - pad, o.hi + pad
    return (lo, near, hi, far) if o.axis == 0 else (near, lo, far, hi)


def _hang(door: Opening, openings: list[Opening], rooms: list[RoomPlan]) -> Opening:
    """Turn a door's leaf so that it blocks no other door; else make it an archway."""
    if door.kind != "door":
        return door
    for swing in (door.swing, -door.swing):
        room = door.rooms[1 if swing > 0 else 0]
        if room is None:
            continue
        x0, z0, x1, z1 = rooms[room].inner
        if rooms[room].category == "hallway" or min(x1 - x0, z1 - z0) < 1.6:
            continue
        for hinge_low in (door.hinge_low, not door.hinge_low):
            turned = replace(door, swing=swing, hinge_low=hinge_low)
            leaf = compute_leaf_rect(turned)
            if leaf is None:
                continue
            a, b, c, d = leaf[0] - 0.3, leaf[1] - 0.3, leaf[2] + 0.3, leaf[3] + 0.3
            if (c > x1 + 0.2 and door.axis == 1) or (d > z1 + 0.2 and door.axis == 0):
                continue
            others = [o for o in openings if o.kind != "window" and room in o.rooms
                      and (o.axis, o.line, o.lo) != (door.axis, door.line, door.lo)]  # fmt: skip
            zones = [
                compute_passage_rect(o, 1 if o.rooms[1] == room else -1, 0.8, 0.0) for o in others
            ]
            if not any(a < z[2] and c > z[0] and b < z[3] and d > z[1] for z in zones):
                return turned
    return replace(door, kind="arch")


def _area(rect: Rect) -> float:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


def _door(wall: Wall, kind: str, swing: int, rng: np.random.Generator) -> Opening:
    lo, hi = wall.lo + WALL_THICKNESS / 2 + 0.05, wall.hi - WALL_THICKNESS / 2 - 0.05
    width = 1.0 if kind == "door" else float(np.clip((hi - lo) * 0.5, 1.0, 1.9))
    # Near a corner more often than not: it leaves longer walls for furniture.
    free = hi - lo - width
    share = float(rng.choice([0.05, 0.95, 0.5], p=[0.4, 0.4, 0.2]))
    start = lo + min(max(free * share, min(0.15, free / 2)), max(free - 0.15, free / 2))
    return Opening(
        kind, wall.axis, wall.line, start, start + width, wall.rooms, swing=swing,
        hinge_low=start - lo < free / 2,
    )  # fmt: skip


def _outer_openings(
    rooms: list[RoomPlan], outer: list[Wall], rng: np.random.Generator
) -> list[Opening]:
    found: list[Opening] = []

    def room_of(wall: Wall) -> RoomPlan:
        return rooms[next(i for i in wall.rooms if i is not None)]

    front = [w for w in outer if w.hi - w.lo > 1.25 and room_of(w).storey == 0]
    rank = {"hallway": 0, "living room": 1, "dining room": 2, "kitchen": 3}
    front.sort(key=lambda w: rank.get(room_of(w).category, 9))
    entrance = front[0] if front else None
    for wall in outer:
        kind = room_of(wall).category
        lo, hi = wall.lo + WALL_THICKNESS, wall.hi - WALL_THICKNESS
        if wall is entrance:
            start = lo + (hi - lo - 1.0) * float(rng.choice([0.1, 0.5, 0.9]))
            found.append(
                Opening("entrance", wall.axis, wall.line, start, start + 1.0, wall.rooms, 0.0, 2.1)
            )
            if start - lo > hi - start - 1.0:
                hi = start - 0.2
            else:
                lo = start + 1.2
        length = hi - lo
        if length < 1.2 or kind in ("hallway", "closet") and length < 1.2:
            continue
        small = kind in ("bathroom", "laundry room")
        if rng.random() < (0.35 if small else 0.12):
            continue
        count = 2 if length > 4.6 and not small else 1
        width = 0.7 if small else float(min(rng.uniform(1.1, 1.8), length / count - 0.5))
        bottom, top = (1.35, 2.05) if small else (0.9, 2.15)
        for k in range(count):
            middle = lo + length * (k + 0.5) / count
            found.append(
                Opening("window", wall.axis, wall.line, middle - width / 2, middle + width / 2,
                        wall.rooms, bottom, top)
            )  # fmt: skip
    return found
