"""Floor plans: rectangles on wall centre lines, room types, and the doors and windows between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

WALL = 0.12  # wall thickness [m]
HEIGHT = 2.7  # floor to ceiling [m]
CORRIDOR = 1.5  # hallway width between wall centre lines [m]

Rect = tuple[float, float, float, float]  # x0, z0, x1, z1 [m]

AREAS: dict[str, tuple[float, float]] = {
    "living room": (20, 28), "kitchen": (11, 16), "bedroom": (11, 17), "bathroom": (6.5, 8.5),
    "dining room": (12, 17), "office": (9.5, 13), "laundry room": (6.5, 8), "gym": (12, 17),
    "closet": (6, 8), "hallway": (8, 10),
}  # fmt: skip
"""Believable floor areas [m2] by room type."""

_PASS = {"hallway": 0.0, "living room": 1.0, "dining room": 1.5, "kitchen": 2.0}


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: `axis` 0 means the wall runs along x (at z = `line`), 1 along z (at x = `line`).

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
class RoomPlan:
    """One room: rectangle between wall centre lines, type and storey."""

    rect: Rect
    category: str
    storey: int = 0

    @property
    def inner(self) -> Rect:
        """The rectangle between the wall faces [m]."""
        x0, z0, x1, z1 = self.rect
        h = WALL / 2
        return (x0 + h, z0 + h, x1 - h, z1 - h)


@dataclass
class Plan:
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


def program(count: int, rng: np.random.Generator) -> list[str]:
    """Choose the room types of a storey with `count` rooms."""
    if count == 1:
        return [["living room", "bedroom", "kitchen", "office"][int(rng.integers(4))]]
    rooms = ["living room", "bedroom", "kitchen", "bathroom"][:count]
    if count == 3 and rng.random() < 0.5:
        rooms[1] = "bathroom"
    if count >= 5:
        rooms.append("hallway")
    extra = ["bedroom", "dining room", "office", "bathroom", "bedroom", "laundry room", "gym"]
    order = [extra[0], *(extra[1 + i] for i in rng.permutation(len(extra) - 1)), "closet"]
    return rooms + order[: count - len(rooms)]


def subdivide(rect: Rect, areas: list[float], rng: np.random.Generator) -> list[Rect]:
    """Cut a rectangle into one piece per area, in proportion, with the squarest of a few random cuts."""
    best, best_score = [rect] * len(areas), -1.0
    for _ in range(1 if len(areas) < 2 else 14):
        order = rng.permutation(len(areas)).tolist()
        pieces: dict[int, Rect] = {}
        _cut(rect, order, areas, pieces)
        score = min(
            min(x1 - x0, z1 - z0) / max(x1 - x0, z1 - z0) * min(1.0, min(x1 - x0, z1 - z0) / 2.2)
            for x0, z0, x1, z1 in pieces.values()
        )
        if score > best_score:
            best, best_score = [pieces[i] for i in range(len(areas))], score
    return best


def _cut(rect: Rect, order: list[int], areas: list[float], out: dict[int, Rect]) -> None:
    if len(order) == 1:
        out[order[0]] = rect
        return
    total = sum(areas[i] for i in order)
    split, part = 1, areas[order[0]]
    while split < len(order) - 1 and part + areas[order[split]] / 2 < total / 2:
        part += areas[order[split]]
        split += 1
    x0, z0, x1, z1 = rect
    share = part / total
    if x1 - x0 >= z1 - z0:
        cut = x0 + (x1 - x0) * share
        first, second = (x0, z0, cut, z1), (cut, z0, x1, z1)
    else:
        cut = z0 + (z1 - z0) * share
        first, second = (x0, z0, x1, cut), (x0, cut, x1, z1)
    _cut(first, order[:split], areas, out)
    _cut(second, order[split:], areas, out)


def arrange(types: list[str], rng: np.random.Generator) -> list[RoomPlan]:
    """Place rooms: cuts of one rectangle when few, two rows along a hallway plus a living block when many."""
    areas = [float(rng.uniform(*AREAS[t])) for t in types]
    if "hallway" not in types:
        total = sum(areas)
        width = np.sqrt(total * rng.uniform(1.0, 1.6))
        rects = subdivide((0.0, 0.0, float(width), float(total / width)), areas, rng)
        return [RoomPlan(r, t) for r, t in zip(rects, types, strict=True)]
    social = [i for i, t in enumerate(types) if t in ("living room", "kitchen")]
    if len(types) >= 8:
        social += [i for i, t in enumerate(types) if t == "dining room"]
    hall = types.index("hallway")
    private = [i for i in range(len(types)) if i != hall and i not in social]
    private = [private[i] for i in rng.permutation(len(private))]
    rows: tuple[list[int], list[int]] = ([], [])
    for i in sorted(private, key=lambda i: -areas[i]):
        rows[int(sum(areas[j] for j in rows[0]) > sum(areas[j] for j in rows[1]))].append(i)
    length = max(sum(areas[i] for i in private) / (2 * rng.uniform(3.5, 4.1)), 3.4)
    length = max(length, 2.0 * max(len(r) for r in rows))
    rects_by_room: dict[int, Rect] = {}
    depths = [max(3.0, sum(areas[i] for i in row) / length) for row in rows]
    z_hall = depths[0]
    total_depth = depths[0] + CORRIDOR + depths[1]
    for side, row in enumerate(rows):
        shares = np.array([max(areas[i], 2.0 * depths[side]) for i in row])
        edges = np.concatenate([[0.0], np.cumsum(shares / shares.sum() * length)])
        z0, z1 = (0.0, z_hall) if side == 0 else (z_hall + CORRIDOR, total_depth)
        place = rng.permutation(len(row))
        widths = np.diff(edges)[place]
        starts = np.concatenate([[0.0], np.cumsum(widths)])
        starts[-1] = length
        for k, slot in enumerate(place):
            rects_by_room[row[slot]] = (float(starts[k]), z0, float(starts[k + 1]), z1)
    rects_by_room[hall] = (0.0, z_hall, float(length), z_hall + CORRIDOR)
    width = sum(areas[i] for i in social) / total_depth
    block = (float(length), 0.0, float(length + max(width, 3.4)), total_depth)
    for i, rect in zip(social, subdivide(block, [areas[i] for i in social], rng), strict=True):
        rects_by_room[i] = rect
    return [RoomPlan(rects_by_room[i], t) for i, t in enumerate(types)]


def orient(rooms: list[RoomPlan], rng: np.random.Generator) -> None:
    """Mirror and transpose the plan at random, keeping it in the positive quadrant."""
    width, depth = max(r.rect[2] for r in rooms), max(r.rect[3] for r in rooms)
    flip_x, flip_z, swap = rng.random(3) < 0.5
    for room in rooms:
        x0, z0, x1, z1 = room.rect
        if flip_x:
            x0, x1 = width - x1, width - x0
        if flip_z:
            z0, z1 = depth - z1, depth - z0
        if swap:
            x0, z0, x1, z1 = z0, x0, z1, x1
        # Millimetres: shared edges compare equal whatever path computed them.
        room.rect = (round(x0, 3), round(z0, 3), round(x1, 3), round(z1, 3))


def walls(rooms: list[RoomPlan], members: list[int]) -> list[Wall]:
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


def connect(rooms: list[RoomPlan], members: list[int], rng: np.random.Generator) -> list[Opening]:
    """Cut doors that join all rooms of a storey (a cheapest tree plus a few loops), then windows and the entrance."""
    stretches = walls(rooms, members)
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
        a, b = wall.rooms
        assert a is not None and b is not None  # noqa: S101  (inner walls only)
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
    return openings + _outer_openings(rooms, outer, rng)


def _area(rect: Rect) -> float:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


def _door(wall: Wall, kind: str, swing: int, rng: np.random.Generator) -> Opening:
    lo, hi = wall.lo + WALL / 2 + 0.05, wall.hi - WALL / 2 - 0.05
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
        lo, hi = wall.lo + WALL, wall.hi - WALL
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
