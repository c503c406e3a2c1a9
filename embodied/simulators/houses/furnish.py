"""Tools to furnish one room: stand things, hang them on walls, put them on other things."""

from __future__ import annotations

import math

import numpy as np

from embodied.simulators.houses import decor
from embodied.simulators.houses.floorspace import build_room_space
from embodied.simulators.houses.layout import CEILING_HEIGHT
from embodied.simulators.houses.openings import HousePlan
from embodied.simulators.houses.placement import WALLS, YAW, Spot
from embodied.simulators.houses.stairs import Stair
from embodied.simulators.houses.style import HouseStyle
from embodied.simulators.houses.textures import make_texture

SILL_HEIGHT = 0.92  # things higher than this are not put in front of a window [m]


class Furnisher:
    """One room while it is being furnished.

    Args:
        look: materials of the house.
        plan: the house.
        index: the room.
        base: height of its floor [m].
        rng: random source.
        stair: the stair whose foot (or, upstairs, hole and head) lies in this room.
    """

    def __init__(
        self, look: HouseStyle, plan: HousePlan, index: int, base: float, rng: np.random.Generator,
        stair: Stair | None = None,
    ) -> None:  # fmt: skip
        self.style, self.builder, self.rng = look, look.builder, rng
        self.index, self.base = index, base
        self.category = plan.rooms[index].category
        self.inner = plan.rooms[index].inner
        x0, z0, x1, z1 = self.inner
        self.size = (x1 - x0, z1 - z0)
        self.area = self.size[0] * self.size[1]
        self.openings = [o for o in plan.openings if index in o.rooms]
        self.windows: list[tuple[str, float, float, float, float]] = []
        # What each wall carries: (wall, from, to, bottom, top) [m].
        self.mounted: list[tuple[str, float, float, float, float]] = []
        self.space = build_room_space(plan, index, stair)
        self._note_openings(stair)

    def _note_openings(self, stair: Stair | None) -> None:
        for o in self.openings:
            wall = ("z" if o.axis == 0 else "x") + ("0" if o.rooms[1] == self.index else "1")
            margin = 0.05 if o.kind == "window" else 0.15
            bottom = 0.0 if o.bottom == 0 else o.bottom - 0.05
            self.mounted.append((wall, o.lo - margin, o.hi + margin, bottom, o.top + 0.05))
            if o.kind == "window":
                self.windows.append((wall, o.lo, o.hi, o.bottom, o.top))
        if stair and self.base == 0:
            self.mounted.append(
                ("x0", stair.rect[1] - 0.3, stair.rect[3] + 0.3, 0.0, CEILING_HEIGHT)
            )

    def sample_chance(self, share: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < share)

    def sample_uniform(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))

    def place_against_wall(
        self, category: str, name: str, w: float, d: float, h: float, *, corner: float = 0.0,
        middle: float = 0.0, front: float = 0.0, gap: float = 0.015, facing: Spot | None = None,
        walls: tuple[str, ...] = WALLS,
    ) -> Spot | None:  # fmt: skip
        """Begin an object with its back to a wall; None (and no object) when nothing fits."""
        spot = self.space.place_against_wall(
            self.rng,
            w,
            d,
            tall=h > SILL_HEIGHT,
            corner=corner,
            middle=middle,
            gap=gap,
            front=front,
            facing=facing,
            walls=walls,
        )
        if spot is None:
            return None
        self.mark_wall_covered(spot, w, 0.0, h)
        self.start_object_at(spot, category, name)
        return spot

    def mark_wall_covered(self, spot: Spot, w: float, bottom: float, top: float) -> None:
        """Note that the wall behind a spot is covered from `bottom` to `top` [m]."""
        along = spot.x if spot.wall[0] == "z" else spot.z
        self.mounted.append((spot.wall, along - w / 2, along + w / 2, bottom, top))

    def start_object_at(
        self, spot: Spot, category: str, name: str, x: float = 0.0, y: float = 0.0, z: float = 0.0,
        yaw: float = 0.0,
    ) -> None:  # fmt: skip
        """Begin an object at an offset in a spot's own frame."""
        cos, sin = math.cos(spot.yaw), math.sin(spot.yaw)
        origin = (spot.x + cos * x + sin * z, self.base + y, spot.z - sin * x + cos * z)
        self.builder.start_object(category, name, self.index, origin, spot.yaw + yaw)

    def find_free_floor(self, w: float, d: float, margin: float = 0.62) -> Spot | None:
        """Find floor in the open; the spot's point is the middle of the rectangle's back edge."""
        spot = self.space.place_free_standing(self.rng, w, d, margin)
        if spot is None:
            return None
        back = d / 2
        x, z = spot.x - math.sin(spot.yaw) * back, spot.z - math.cos(spot.yaw) * back
        return Spot(spot.rect, x, z, spot.yaw, "")

    def is_wall_free(self, wall: str, lo: float, hi: float, bottom: float, top: float) -> bool:
        """Return whether a piece of wall carries nothing yet."""
        x0, z0, x1, z1 = self.inner
        start, end = (x0, x1) if wall[0] == "z" else (z0, z1)
        return start <= lo and hi <= end and not any(
            w == wall and lo < b and hi > a and bottom < t and top > u
            for w, a, b, u, t in self.mounted
        )  # fmt: skip

    def hang_on_wall(
        self, category: str, name: str, w: float, bottom: float, top: float, *,
        above: Spot | None = None, origin: float | None = None, tries: int = 8,
    ) -> Spot | None:  # fmt: skip
        """Begin a wall-mounted object, above a spot or anywhere; `origin` is its y [m] (middle)."""
        x0, z0, x1, z1 = self.inner
        for _ in range(1 if above else tries):
            wall = above.wall if above else WALLS[int(self.rng.integers(4))]
            if above:
                along = above.x if wall[0] == "z" else above.z
            else:
                lo, hi = (x0, x1) if wall[0] == "z" else (z0, z1)
                if hi - lo < w + 0.2:
                    continue
                along = self.sample_uniform(lo + w / 2 + 0.1, hi - w / 2 - 0.1)
            if not self.is_wall_free(wall, along - w / 2, along + w / 2, bottom, top):
                continue
            self.mounted.append((wall, along - w / 2 - 0.06, along + w / 2 + 0.06, bottom, top))
            return self.start_wall_object(
                wall, along, category, name, (bottom + top) / 2 if origin is None else origin
            )
        return None

    def start_wall_object(
        self, wall: str, along: float, category: str, name: str, y: float
    ) -> Spot:
        """Begin an object on a wall at a position along it and a height [m]."""
        x0, z0, x1, z1 = self.inner
        line = {"z0": z0, "z1": z1, "x0": x0, "x1": x1}[wall]
        x, z = (along, line) if wall[0] == "z" else (line, along)
        spot = Spot((x, z, x, z), x, z, YAW[wall], wall)
        self.start_object_at(spot, category, name, y=y)
        return spot

    def hang_pictures(self, count: int) -> None:
        """Hang framed pictures at eye level."""
        for _ in range(count):
            w, h = ((0.5, 0.7), (0.8, 0.6), (1.1, 0.75), (0.4, 0.4))[int(self.rng.integers(4))]
            if self.hang_on_wall("picture", "picture", w + 0.1, 1.6 - h / 2, 1.6 + h / 2):
                frame = (self.style.wood, self.style.dark, self.style.black)[
                    int(self.rng.integers(3))
                ]
                decor.add_picture(self.style, w, h, frame)

    def hang_ceiling_lamp(
        self, drop: float = 0.5, over: Spot | None = None, depth: float = 0.0
    ) -> None:
        """Hang a lamp from the ceiling, over a spot's middle or in the middle of the room."""
        x0, z0, x1, z1 = self.inner
        x, z = (x0 + x1) / 2, (z0 + z1) / 2
        if over:
            x = over.x + math.sin(over.yaw) * depth / 2
            z = over.z + math.cos(over.yaw) * depth / 2
        kind = int(self.rng.integers(3)) if over else (3, 3, 2, 0, 1)[int(self.rng.integers(5))]
        name = ("pendant lamp", "globe lamp", "chandelier", "ceiling lamp")[kind]
        self.builder.start_object("lighting", name, self.index, (x, self.base + CEILING_HEIGHT, z))
        decor.add_pendant_lamp(
            self.style, drop if over else 0.25, kind, self.style.add_accent_material()
        )

    def dress_windows(self, style: str) -> None:
        """Put curtains or blinds on every window."""
        cloth = self.builder.add_material(
            self.style.sample_color("accents"), make_texture("folds"), 1.0
        )
        light = self.builder.add_material(
            self.style.sample_color("walls"), make_texture("folds"), 1.0
        )
        material = cloth if self.sample_chance(0.5) else light
        for wall, lo, hi, bottom, top in self.windows:
            if style == "blinds":
                self.start_wall_object(wall, (lo + hi) / 2, "blinds", "blinds", top - 0.45)
                decor.add_blinds(self.style, hi - lo + 0.06, 0.47, self.style.white)
                continue
            panel = 0.22 + 0.14 * (hi - lo)
            for middle in (lo - panel * 0.35, hi + panel * 0.35):
                a, b = middle - panel / 2, middle + panel / 2
                x0, z0, x1, z1 = self.inner
                start, end = (x0, x1) if wall[0] == "z" else (z0, z1)
                if a < start or b > end:
                    continue
                others = [
                    m for m in self.mounted if not (m[0] == wall and m[1] <= lo and m[2] >= hi)
                ]
                covered = [m[4] for m in others if m[0] == wall and a < m[2] and b > m[1]]
                foot = max(covered, default=0.03)
                if foot > 1.0:
                    continue
                foot = 0.03 if foot < 0.1 else max(foot + 0.05, bottom - 0.1)
                spot = self.start_wall_object(wall, middle, "curtain", "curtain", foot)
                decor.add_curtain(self.style, panel, top + 0.12 - foot, material, True)
                self.mark_wall_covered(spot, panel, foot, top + 0.15)

    def place_corner_plant(self, share: float = 0.7) -> None:
        """Put a potted plant into a corner."""
        if not self.sample_chance(share):
            return
        w, h = self.sample_uniform(0.34, 0.5), self.sample_uniform(0.7, 1.5)
        if self.place_against_wall("plant", "potted plant", w, w, h, corner=2.0, gap=0.08):
            decor.add_plant(self.style, w, h)

    def lay_rug(self, spot: Spot, w: float, d: float, z: float) -> None:
        """Lay a rug at an offset in front of a spot, cut to the room."""
        cos, sin = abs(math.cos(spot.yaw)), abs(math.sin(spot.yaw))
        x = spot.x + math.sin(spot.yaw) * z
        y = spot.z + math.cos(spot.yaw) * z
        x0, z0, x1, z1 = self.inner
        reach = min(x - x0, x1 - x, 9), min(y - z0, z1 - y, 9)
        along, across = (reach[0], reach[1]) if cos > sin else (reach[1], reach[0])
        w, d = min(w, 2 * along - 0.3), min(d, 2 * across - 0.3)
        if w < 0.8 or d < 0.6:
            return
        self.start_object_at(spot, "floor", "rug", z=z)
        decor.add_rug(self.style, w, d, self.style.add_image_material("rug", 16))
