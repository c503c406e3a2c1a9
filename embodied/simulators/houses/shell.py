"""Walls, floors, ceilings, doors and windows of a floor plan."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.simulators.houses.layout import CEILING_HEIGHT, WALL_THICKNESS, Rect
from embodied.simulators.houses.mesh_builder import MeshBuilder, Point
from embodied.simulators.houses.openings import (
    CASING_WIDTH,
    HousePlan,
    Opening,
    compute_leaf_rect,
    find_walls,
)
from embodied.simulators.houses.stairs import subtract_rect


@dataclass(frozen=True)
class RoomStyle:
    """Material ids of one room's surfaces."""

    wall: int
    floor: int
    ceiling: int
    trim: int


@dataclass(frozen=True)
class ShellStyle:
    """Material ids shared by the whole shell."""

    outside: int
    frame: int
    leaf: int
    handle: int
    entrance: int
    view: int
    cap: int


def compute_wall_point(axis: int, along: float, y: float, across: float) -> Point:
    """Return the world point `along` a wall of this axis and `across` it [m]."""
    return (along, y, across) if axis == 0 else (across, y, along)


def add_wall_box(
    builder: MeshBuilder,
    axis: int,
    along: tuple[float, float],
    height: tuple[float, float],
    across: tuple[float, float],
    material: int,
) -> None:
    """Add a box given by its extent along a wall, in height and across the wall [m]."""
    builder.add_box(
        compute_wall_point(axis, along[0], height[0], across[0]),
        compute_wall_point(axis, along[1], height[1], across[1]),
        material,
    )


def add_wall_face(
    builder: MeshBuilder,
    axis: int,
    line: float,
    facing: int,
    span: tuple[float, float],
    height: tuple[float, float],
    material: int,
) -> None:
    """Add an upright rectangle on a wall line, seen from its `facing` (+1/-1) side."""
    lo, hi = span
    forward = (facing > 0) == (axis == 0)
    start, length = (lo, hi - lo) if forward else (hi, lo - hi)
    builder.add_panel(
        compute_wall_point(axis, start, height[0], line),
        compute_wall_point(axis, length, 0.0, 0.0),
        (0.0, height[1] - height[0], 0.0),
        material,
    )


def add_level_face(builder: MeshBuilder, rect: Rect, y: float, up: bool, material: int) -> None:
    """Add a horizontal rectangle seen from above (`up`) or below."""
    x0, z0, x1, z1 = rect
    if up:
        builder.add_panel((x0, y, z1), (x1 - x0, 0.0, 0.0), (0.0, 0.0, z0 - z1), material)
    else:
        builder.add_panel((x0, y, z0), (x1 - x0, 0.0, 0.0), (0.0, 0.0, z1 - z0), material)


def split_wall_face(
    span: tuple[float, float], openings: list[Opening], base: float, top: float
) -> list[tuple[float, float, float, float]]:
    """Cut openings out of a wall face: return (lo, hi, bottom, top) rectangles [m]."""
    out, start = [], span[0]
    for hole in sorted(openings, key=lambda o: o.lo):
        lo, hi = max(hole.lo, span[0]), min(hole.hi, span[1])
        if lo > start:
            out.append((start, lo, base, top))
        if hole.bottom > 0:
            out.append((lo, hi, base, base + hole.bottom))
        if base + hole.top < top:
            out.append((lo, hi, base + hole.top, top))
        start = hi
    if start < span[1]:
        out.append((start, span[1], base, top))
    return out


def build_shell(
    builder: MeshBuilder,
    plan: HousePlan,
    members: list[int],
    base: float,
    rooms: list[RoomStyle],
    style: ShellStyle,
    hole: Rect | None = None,
) -> None:
    """Add the shell of one storey whose floor lies at `base` [m].

    A stair's `hole` is cut from the ceiling of a ground floor and from the floor above it.
    """
    top = base + CEILING_HEIGHT
    holes = [o for o in plan.openings if o.kind != "entrance"]
    for i in members:
        _room(builder, plan, i, base, rooms[i], holes, hole)
    outer = [w for w in find_walls(plan.rooms, members)]
    for wall in outer:
        owner = next(r for r in wall.rooms if r is not None)
        cut = [o for o in holes if o.rooms == wall.rooms and o.axis == wall.axis
               and o.line == wall.line and wall.lo <= o.lo <= wall.hi]  # fmt: skip
        builder.start_object("wall", "wall", owner)
        span = (wall.lo - WALL_THICKNESS / 2, wall.hi + WALL_THICKNESS / 2)
        if None in wall.rooms:
            facing = -1 if wall.rooms[0] is None else 1
            line = wall.line + facing * WALL_THICKNESS / 2
            for lo, hi, y0, y1 in split_wall_face(span, cut, base, top):
                add_wall_face(builder, wall.axis, line, facing, (lo, hi), (y0, y1), style.outside)
        half = WALL_THICKNESS / 2
        rect = (
            (span[0], wall.line - half, span[1], wall.line + half)
            if wall.axis == 0
            else (wall.line - half, span[0], wall.line + half, span[1])
        )
        add_level_face(builder, rect, top, True, style.cap)
    for opening in plan.openings:
        owner = next(r for r in opening.rooms if r is not None)
        if owner not in members:
            continue
        if opening.kind == "window":
            _window(builder, opening, base, owner, style)
        elif opening.kind == "entrance":
            _entrance(builder, opening, base, owner, style)
        else:
            _doorway(builder, opening, base, owner, style)


def _room(
    builder: MeshBuilder,
    plan: HousePlan,
    i: int,
    base: float,
    style: RoomStyle,
    holes: list[Opening],
    stair: Rect | None,
) -> None:
    room = plan.rooms[i]
    x0, z0, x1, z1 = room.inner
    inside = stair is not None and x0 - 1e-6 <= stair[0] < x1 and z0 - 1e-6 <= stair[1] < z1
    cut_open = subtract_rect(room.inner, stair) if inside and stair else [room.inner]
    builder.start_object("floor", "floor", i)
    for part in cut_open if base > 0 else [room.inner]:
        add_level_face(builder, part, base, True, style.floor)
    for o in holes:
        if o.rooms[0] == i and o.rooms[1] is not None:
            half = WALL_THICKNESS / 2
            rect = (
                (o.lo, o.line - half, o.hi, o.line + half)
                if o.axis == 0
                else (o.line - half, o.lo, o.line + half, o.hi)
            )
            add_level_face(builder, rect, base, True, style.floor)
    builder.start_object("ceiling", "ceiling", i)
    for part in cut_open if base == 0 else [room.inner]:
        add_level_face(builder, part, base + CEILING_HEIGHT, False, style.ceiling)
    builder.start_object("wall", "wall", i)
    for axis, line, facing in ((0, z0, 1), (0, z1, -1), (1, x0, 1), (1, x1, -1)):
        span = (x0, x1) if axis == 0 else (z0, z1)
        centre = line - facing * WALL_THICKNESS / 2
        cut = [o for o in holes if o.axis == axis and i in o.rooms and abs(o.line - centre) < 1e-6]
        for lo, hi, y0, y1 in split_wall_face(span, cut, base, base + CEILING_HEIGHT):
            add_wall_face(builder, axis, line, facing, (lo, hi), (y0, y1), style.wall)
            if y0 == base:
                # Skirting board: tells wall from floor in any light.
                edge = (line, line + facing * 0.012)
                add_wall_box(builder, axis, (lo, hi), (base, base + 0.08),
                         (min(edge), max(edge)), style.trim)  # fmt: skip


def _frame(
    builder: MeshBuilder, o: Opening, base: float, material: int, width: float, lip: float
) -> None:
    """Add the lining of a hole, `width` wide and `lip` proud of both wall faces."""
    across = (o.line - WALL_THICKNESS / 2 - lip, o.line + WALL_THICKNESS / 2 + lip)
    y0, y1 = base + o.bottom, base + o.top
    add_wall_box(builder, o.axis, (o.lo - 0.02, o.lo + width), (y0, y1), across, material)
    add_wall_box(builder, o.axis, (o.hi - width, o.hi + 0.02), (y0, y1), across, material)
    add_wall_box(
        builder, o.axis, (o.lo - 0.02, o.hi + 0.02), (y1 - width, y1 + 0.02), across, material
    )
    if o.bottom > 0:
        sill = (across[0] - 0.03, across[1] + 0.03)
        add_wall_box(
            builder, o.axis, (o.lo - 0.04, o.hi + 0.04), (y0 - 0.02, y0 + 0.03), sill, material
        )


def _window(builder: MeshBuilder, o: Opening, base: float, owner: int, style: ShellStyle) -> None:
    builder.start_object("window", "window", owner)
    _frame(builder, o, base, style.frame, 0.05, 0.012)
    facing = 1 if o.rooms[0] is None else -1
    lo, hi, y0, y1 = o.lo + 0.05, o.hi - 0.05, base + o.bottom + 0.03, base + o.top - 0.05
    for side in (1, -1):
        line = o.line - facing * 0.02 + side * 0.004
        forward = (side > 0) == (o.axis == 0)
        a, b = (lo, hi) if forward else (hi, lo)
        builder.add_quad(
            (compute_wall_point(o.axis, a, y0, line), compute_wall_point(o.axis, b, y0, line),
             compute_wall_point(o.axis, b, y1, line), compute_wall_point(o.axis, a, y1, line)),
            style.view, ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
        )  # fmt: skip
    across = (o.line - 0.03 - facing * 0.02, o.line + 0.03 - facing * 0.02)
    if hi - lo > 0.8:
        middle = (lo + hi) / 2
        add_wall_box(
            builder, o.axis, (middle - 0.025, middle + 0.025), (y0, y1), across, style.frame
        )


def _doorway(builder: MeshBuilder, o: Opening, base: float, owner: int, style: ShellStyle) -> None:
    builder.start_object("door", "door frame", owner)
    _frame(builder, o, base, style.frame, CASING_WIDTH, 0.015)
    leaf = compute_leaf_rect(o)
    if leaf is None:
        return
    builder.start_object("door", "door", owner)
    x0, z0, x1, z1 = leaf
    builder.add_box((x0, base + 0.01, z0), (x1, base + 2.04, z1), style.leaf)
    # Panels and handle, proud of both faces of the leaf (which is thin across the wall's axis).
    side = o.swing
    far = o.line + side * (WALL_THICKNESS / 2 + 0.02 + o.hi - o.lo - 2 * CASING_WIDTH)
    along = (x0, x1) if o.axis == 0 else (z0, z1)
    near, handle = (
        sorted((o.line + side * (WALL_THICKNESS / 2 + 0.14), far - side * 0.12)),
        far - side * 0.08,
    )
    cross = 1 - o.axis
    for bottom, top in ((0.2, 0.9), (1.1, 1.9)):
        add_wall_box(builder, cross, (near[0], near[1]), (base + bottom, base + top),
                 (along[0] - 0.008, along[1] + 0.008), style.leaf)  # fmt: skip
    add_wall_box(builder, cross, (handle - 0.05, handle + 0.05), (base + 0.99, base + 1.02),
             (along[0] - 0.05, along[1] + 0.05), style.handle)  # fmt: skip


def _entrance(builder: MeshBuilder, o: Opening, base: float, owner: int, style: ShellStyle) -> None:
    builder.start_object("door", "entrance door", owner)
    for side in (1, -1):
        face_line = o.line + side * WALL_THICKNESS / 2
        for lo, hi, y0, y1, depth, material in (
            (o.lo, o.hi, 0.0, 2.1, 0.02, style.frame),
            (o.lo + 0.06, o.hi - 0.06, 0.0, 2.04, 0.03, style.entrance),
            (o.lo + 0.2, o.hi - 0.2, 0.2, 0.85, 0.038, style.entrance),
            (o.lo + 0.2, o.hi - 0.2, 1.1, 1.9, 0.038, style.entrance),
            (o.lo + 0.1, o.lo + 0.14, 0.95, 1.1, 0.08, style.handle),
        ):
            across = sorted((face_line, face_line + side * depth))
            add_wall_box(builder, o.axis, (lo, hi), (base + y0, base + y1),
                     (across[0], across[1]), material)  # fmt: skip
