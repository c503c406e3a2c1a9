"""Floor plans: rectangles on wall centre lines, and room types."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WALL_THICKNESS = 0.12  # wall thickness [m]
CEILING_HEIGHT = 2.7  # floor to ceiling [m]
CORRIDOR_WIDTH = 1.5  # hallway width between wall centre lines [m]

Rect = tuple[float, float, float, float]  # x0, z0, x1, z1 [m]

ROOM_AREAS: dict[str, tuple[float, float]] = {
    "living room": (20, 28), "kitchen": (11, 16), "bedroom": (11, 17), "bathroom": (6.5, 8.5),
    "dining room": (12, 17), "office": (9.5, 13), "laundry room": (6.5, 8), "gym": (12, 17),
    "closet": (6, 8), "hallway": (8, 10),
}  # fmt: skip
"""Believable floor areas [m2] by room type."""


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
        h = WALL_THICKNESS / 2
        return (x0 + h, z0 + h, x1 - h, z1 - h)


def choose_room_types(count: int, rng: np.random.Generator) -> list[str]:
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


def subdivide_rect(rect: Rect, areas: list[float], rng: np.random.Generator) -> list[Rect]:
    """Cut a rectangle into one piece per area, in proportion: the squarest of some random cuts."""
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


def arrange_rooms(types: list[str], rng: np.random.Generator) -> list[RoomPlan]:
    """Place rooms: cuts of one rectangle, or two rows along a hallway plus a living block."""
    areas = [float(rng.uniform(*ROOM_AREAS[t])) for t in types]
    if "hallway" not in types:
        total = sum(areas)
        width = np.sqrt(total * rng.uniform(1.0, 1.6))
        rects = subdivide_rect((0.0, 0.0, float(width), float(total / width)), areas, rng)
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
    total_depth = depths[0] + CORRIDOR_WIDTH + depths[1]
    for side, row in enumerate(rows):
        shares = np.array([max(areas[i], 2.0 * depths[side]) for i in row])
        edges = np.concatenate([[0.0], np.cumsum(shares / shares.sum() * length)])
        z0, z1 = (0.0, z_hall) if side == 0 else (z_hall + CORRIDOR_WIDTH, total_depth)
        place = rng.permutation(len(row))
        widths = np.diff(edges)[place]
        starts = np.concatenate([[0.0], np.cumsum(widths)])
        starts[-1] = length
        for k, slot in enumerate(place):
            rects_by_room[row[slot]] = (float(starts[k]), z0, float(starts[k + 1]), z1)
    rects_by_room[hall] = (0.0, z_hall, float(length), z_hall + CORRIDOR_WIDTH)
    width = sum(areas[i] for i in social) / total_depth
    block = (float(length), 0.0, float(length + max(width, 3.4)), total_depth)
    for i, rect in zip(social, subdivide_rect(block, [areas[i] for i in social], rng), strict=True):
        rects_by_room[i] = rect
    return [RoomPlan(rects_by_room[i], t) for i, t in enumerate(types)]


def orient_rooms(rooms: list[RoomPlan], rng: np.random.Generator) -> None:
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
