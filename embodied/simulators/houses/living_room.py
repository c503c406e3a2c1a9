"""What stands where in a living room."""

from __future__ import annotations

import math

from embodied.simulators.houses import decor, sitting, storage
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.layout import CEILING_HEIGHT
from embodied.simulators.houses.placement import Spot
from embodied.simulators.houses.rooms import add_beams, compute_front_rect, place_bookshelf
from embodied.simulators.houses.textures import make_texture


def furnish_living_room(f: Furnisher) -> None:
    """Television with sofa and tables facing it; shelves, fireplace, plants, pictures."""
    k = f.style
    if f.sample_chance(0.35) and f.area > 17:
        w = f.sample_uniform(1.3, 1.5)
        if spot := f.place_against_wall(
            "fireplace", "fireplace", w, 0.4, 2.7, middle=1.5, front=0.9
        ):
            stone = f.builder.add_material(
                (0.75, 0.45, 0.36) if f.sample_chance(0.5) else (0.8, 0.79, 0.76),
                make_texture("bricks"),
                0.5,
            )
            decor.add_fireplace(k, w, 1.05, 0.4, stone)
            f.builder.add_box((-w * 0.4, 1.12, 0.0), (w * 0.4, CEILING_HEIGHT, 0.28), stone)
            f.start_object_at(spot, "objects", "vase", -0.4, 1.12, 0.3)
            decor.add_vase(k, 0.24, k.add_accent_material(), False)
    w = f.sample_uniform(1.4, 1.9)
    stand = f.place_against_wall("cabinet", "tv stand", w, 0.42, 0.5, middle=1.2, front=1.6)
    fabric = k.add_fabric_material()
    if stand:
        storage.add_tv_stand(k, w, 0.42, 0.5, k.wood if f.sample_chance(0.6) else k.dark, k.front)
        size = f.sample_uniform(1.05, 1.4)
        f.start_object_at(stand, "tv_monitor", "television", y=0.5, z=0.18)
        decor.add_television(k, size, True)
        f.mark_wall_covered(stand, size, 0.5, 1.4)
    _seating_group(f, stand, fabric)
    if f.area > 14:
        place_bookshelf(f, f.sample_uniform(0.8, 1.3))
    if f.area > 18:
        spot = f.place_against_wall("chest_of_drawers", "chest of drawers", 1.0, 0.42, 0.85)
        if spot:
            storage.add_drawer_chest(k, 1.0, 0.42, 0.85, k.wood, k.wood, 3, 2)
            f.start_object_at(spot, "lighting", "table lamp", -0.3, 0.85, 0.2)
            decor.add_table_lamp(k, 0.45, k.add_accent_material())
            f.start_object_at(spot, "objects", "vase", 0.25, 0.85, 0.2)
            decor.add_vase(k, 0.24, k.add_accent_material(), True)
    if f.sample_chance(0.7) and f.place_against_wall(
        "lighting", "floor lamp", 0.4, 0.4, 1.6, corner=1.5, gap=0.05
    ):
        decor.add_floor_lamp(k, 1.6)
    f.place_corner_plant(0.9)
    f.place_corner_plant(0.5)
    if f.sample_chance(0.3) and f.area > 22 and (spot := f.find_free_floor(0.32, 0.32, 0.8)):
        f.start_object_at(spot, "column", "column")
        plinth = (
            (0.15, 0.0),
            (0.15, 0.12),
            (0.12, 0.16),
            (0.11, CEILING_HEIGHT - 0.2),
            (0.15, CEILING_HEIGHT - 0.1),
            (0.15, CEILING_HEIGHT),
        )
        f.builder.add_lathe((0.0, 0.0, 0.16), plinth, k.trim, segments=12)
    if k.name in ("rustic", "classic") and f.sample_chance(0.6):
        add_beams(f)
    f.hang_pictures(int(f.rng.integers(2, 5)))
    f.dress_windows("curtain")
    if f.sample_chance(0.5) and f.hang_on_wall("objects", "clock", 0.36, 1.6, 1.96):
        decor.add_clock(k, 0.16)
    f.hang_ceiling_lamp()


def _seating_group(f: Furnisher, stand: Spot | None, fabric: int) -> None:
    k = f.style
    depth = f.size[1] if stand and stand.wall[0] == "z" else f.size[0]
    spot, w = None, 2.1
    for w in (2.2, 1.9, 1.5):
        if f.area < 14 and w > 2:
            continue
        if stand and depth > 4.4:
            # A deep room: the sofa stands in the open, a viewing distance from the screen.
            spot = _facing(f, stand, w, 0.92, f.sample_uniform(2.7, 3.1))
        spot = spot or f.place_against_wall(
            "sofa", "sofa", w, 0.92, 0.8, middle=0.6, front=0.9, facing=stand
        )
        if spot:
            break
    if not spot:
        return
    if spot.wall == "":
        f.start_object_at(spot, "sofa", "sofa")
    sitting.add_sofa(k, w, 0.92, 0.8, fabric)
    accent = k.add_accent_material("fabric", 0.06)
    for x in (-w / 2 + 0.42, w / 2 - 0.42):
        if f.sample_chance(0.85):
            f.start_object_at(
                spot, "cushion", "cushion", x, 0.47, 0.34, f.sample_uniform(-0.2, 0.2)
            )
            sitting.add_cushion(k, 0.4, accent)
    rect = compute_front_rect(spot, 1.1, 0.6, 1.3)
    if (
        f.space.contains_rect(rect)
        and not f.space.is_overlapping(rect)
        and f.space.try_occupy(rect)
    ):
        f.start_object_at(spot, "table", "coffee table", z=1.3)
        storage.add_table(k, 1.1, 0.6, 0.42, k.wood, k.dark)
        f.start_object_at(spot, "objects", "books", -0.25, 0.42, 1.6)
        decor.add_book_pile(k, 3)
        f.start_object_at(spot, "objects", "vase", 0.25, 0.42, 1.55)
        decor.add_vase(k, 0.2, k.add_accent_material(), True)
    f.lay_rug(spot, 2.6, 1.9, 1.5)
    side = f.place_against_wall("table", "side table", 0.45, 0.45, 0.55, corner=1.0, gap=0.05)
    if side:
        storage.add_round_table(k, 0.45, 0.55, k.wood, k.metal)
        f.start_object_at(side, "lighting", "table lamp", 0.0, 0.55, 0.22)
        decor.add_table_lamp(k, 0.45, k.add_accent_material())
    if f.area > 16:
        chair = f.place_against_wall(
            "chair", "armchair", 0.85, 0.85, 0.8, corner=1.2, gap=0.08, front=0.4
        )
        if chair:
            sitting.add_sofa(
                k,
                0.85,
                0.85,
                0.8,
                k.add_fabric_material("accents") if f.sample_chance(0.5) else fabric,
            )
    if f.sample_chance(0.4):
        ottoman = f.place_against_wall("seating", "ottoman", 0.7, 0.5, 0.45)
        if ottoman:
            sitting.add_bench(k, 0.7, 0.5, k.dark, fabric)


def _facing(f: Furnisher, stand: Spot, w: float, d: float, distance: float) -> Spot | None:
    """Occupy the place of a thing that looks at a spot from a distance [m]."""
    rect = compute_front_rect(stand, w, d, distance)
    x0, z0, x1, z1 = f.inner
    if rect[0] < x0 + 0.7 or rect[1] < z0 + 0.7 or rect[2] > x1 - 0.7 or rect[3] > z1 - 0.7:
        return None
    if f.space.is_overlapping(rect) or not f.space.try_occupy(rect):
        return None
    sin, cos = round(math.sin(stand.yaw)), round(math.cos(stand.yaw))
    back = distance + d
    return Spot(rect, stand.x + sin * back, stand.z + cos * back, stand.yaw + math.pi, "")
