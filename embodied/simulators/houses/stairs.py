"""A straight stair between two storeys: its place, its steps, the hole above and the railings."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.simulators.houses.layout import CEILING_HEIGHT, Rect
from embodied.simulators.houses.mesh_builder import MeshBuilder

STOREY_HEIGHT = 3.0  # floor to floor [m]
RISERS = 17
RISE = STOREY_HEIGHT / RISERS  # 0.176 m
RUN = 0.27  # depth of a step [m]
STAIR_WIDTH = 1.0  # [m]
STAIR_LENGTH = RUN * (RISERS - 1)  # the last riser ends on the upper floor [m]
LANDING_DEPTH = 1.1  # free floor before and after [m]
RAIL_HEIGHT = 0.95  # railing height [m]


@dataclass(frozen=True)
class Stair:
    """A stair along z on the low-x side of its hall, the outer wall.

    Attributes:
        rect: floor area of the steps, also the hole in the slab above.
        rising: +1 when it climbs towards +z.
    """

    rect: Rect
    rising: int

    def get_landing_point(self, upper: bool) -> tuple[float, float]:
        """Return the point (x, z) where one steps on or off."""
        x0, z0, x1, z1 = self.rect
        at_high = (self.rising > 0) == upper
        return ((x0 + x1) / 2, z1 + 0.5 if at_high else z0 - 0.5)

    def get_landing_rect(self, upper: bool) -> Rect:
        """Return the floor that stays free at its foot or head."""
        x0, z0, x1, z1 = self.rect
        at_high = (self.rising > 0) == upper
        return (x0, z1, x1, z1 + LANDING_DEPTH) if at_high else (x0, z0 - LANDING_DEPTH, x1, z0)


def subtract_rect(rect: Rect, hole: Rect) -> list[Rect]:
    """Return the parts of a rectangle outside a hole that lies in it."""
    x0, z0, x1, z1 = rect
    a, b, c, d = hole
    parts = [(x0, z0, x1, b), (x0, d, x1, z1), (x0, b, a, d), (c, b, x1, d)]
    return [p for p in parts if p[2] - p[0] > 1e-6 and p[3] - p[1] > 1e-6]


def build_stair(
    b: MeshBuilder,
    stair: Stair,
    rooms: tuple[int, int],
    tread: int,
    riser: int,
    rail: int,
    wall: int,
) -> None:
    """Add steps, the edge of the slab and railings.

    Args:
        b: builder.
        stair: where.
        rooms: the lower and the upper hall.
        tread: material of the treads.
        riser: material of the steps' bodies.
        rail: material of the railings.
        wall: material of the slab's edge.
    """
    x0, z0, x1, z1 = stair.rect
    b.start_object("stairs", "stairs", rooms[0])
    for i in range(RISERS - 1):
        lo, hi = (
            (z0 + i * RUN, z0 + (i + 1) * RUN)
            if stair.rising > 0
            else (z1 - (i + 1) * RUN, z1 - i * RUN)
        )
        top = (i + 1) * RISE
        b.add_box((x0, 0.0, lo), (x1, top - 0.03, hi), riser)
        b.add_box((x0, top - 0.03, lo), (x1, top, hi), tread)
    b.start_object("wall", "slab edge", rooms[1])
    y, h = CEILING_HEIGHT, STOREY_HEIGHT - CEILING_HEIGHT
    b.add_panel((x0, y, z1), (0.0, 0.0, z0 - z1), (0.0, h, 0.0), wall)
    b.add_panel((x1, y, z0), (0.0, 0.0, z1 - z0), (0.0, h, 0.0), wall)
    b.add_panel((x0, y, z0), (x1 - x0, 0.0, 0.0), (0.0, h, 0.0), wall)
    b.add_panel((x1, y, z1), (x0 - x1, 0.0, 0.0), (0.0, h, 0.0), wall)
    _stair_rail(b, stair, rooms[0], rail)
    b.start_object("railing", "railing", rooms[1])
    foot = z0 if stair.rising > 0 else z1
    inside = (foot, foot + 0.05) if stair.rising > 0 else (foot - 0.05, foot)
    b.add_box(
        (x1 - 0.05, STOREY_HEIGHT + RAIL_HEIGHT - 0.05, z0),
        (x1, STOREY_HEIGHT + RAIL_HEIGHT, z1),
        rail,
    )
    b.add_box(
        (x0, STOREY_HEIGHT + RAIL_HEIGHT - 0.05, inside[0]),
        (x1, STOREY_HEIGHT + RAIL_HEIGHT, inside[1]),
        rail,
    )
    count = int(STAIR_LENGTH / 0.14)
    for i in range(count + 1):
        z = z0 + 0.015 + (STAIR_LENGTH - 0.03) * i / count
        b.add_box(
            (x1 - 0.035, CEILING_HEIGHT + 0.2, z - 0.01),
            (x1 - 0.015, STOREY_HEIGHT + RAIL_HEIGHT - 0.04, z + 0.01),
            rail,
        )
    for i in range(1, 7):
        x, z = x0 + i * (x1 - x0) / 7, (inside[0] + inside[1]) / 2
        b.add_box(
            (x - 0.01, CEILING_HEIGHT + 0.2, z - 0.01),
            (x + 0.01, STOREY_HEIGHT + RAIL_HEIGHT - 0.04, z + 0.01),
            rail,
        )


def _stair_rail(b: MeshBuilder, stair: Stair, room: int, rail: int) -> None:
    """Add balusters and a sloped handrail on the open side of the steps, inside their width."""
    x0, z0, x1, z1 = stair.rect
    b.start_object("railing", "handrail", room)
    foot, sign = (z0, 1) if stair.rising > 0 else (z1, -1)
    steps = RISERS - 1
    for i in range(steps):
        top = (i + 1) * RISE
        if top + RAIL_HEIGHT > CEILING_HEIGHT:
            steps = i
            break
        z = foot + sign * (i + 0.5) * RUN
        b.add_box(
            (x1 - 0.05, top, z - 0.012), (x1 - 0.026, top + RAIL_HEIGHT - 0.02, z + 0.012), rail
        )
    za, zb = foot, foot + sign * steps * RUN
    ya, yb = RISE * 0.5 + RAIL_HEIGHT - 0.05, RISE * (steps + 0.5) + RAIL_HEIGHT - 0.05
    left, right, t = x1 - 0.065, x1 - 0.01, 0.05
    unit = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    low = ((left, ya, za), (right, ya, za), (right, yb, zb), (left, yb, zb))
    high = tuple((x, y + t, z) for x, y, z in low)
    for a, c in ((0, 1), (1, 2), (2, 3), (3, 0)):
        b.add_quad((low[a], low[c], high[c], high[a]), rail, unit)
    b.add_quad((high[0], high[1], high[2], high[3]), rail, unit)
    b.add_quad((low[3], low[2], low[1], low[0]), rail, unit)
