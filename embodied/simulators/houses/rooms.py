"""What stands where in dining and sleeping rooms and offices."""

from __future__ import annotations

import math

from embodied.simulators.houses import decor, sitting, storage
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.layout import CEILING_HEIGHT
from embodied.simulators.houses.placement import Spot
from embodied.simulators.houses.textures import make_texture


def place_bookshelf(f: Furnisher, w: float = 0.9, h: float = 1.95) -> Spot | None:
    """Stand a shelf full of books and a few other things."""
    spot = f.place_against_wall("shelving", "bookshelf", w, 0.32, h)
    if not spot:
        return None
    tops = storage.add_shelf_frame(f.style, w, 0.32, h, 6 if h > 1.5 else 4, f.style.wood)
    books = f.builder.add_material((1.0, 1.0, 1.0), make_texture("books", int(f.rng.integers(4))))
    for y in tops[:-1]:
        x, end = -w / 2 + 0.04, w / 2 - 0.04
        while x < end - 0.12:
            width = min(f.sample_uniform(0.15, 0.45), end - x)
            if f.sample_chance(0.8):
                f.start_object_at(spot, "objects", "books", y=y, z=0.02)
                storage.add_books(
                    f.style,
                    x,
                    x + width,
                    f.sample_uniform(0.2, 0.26),
                    f.sample_uniform(0.2, 0.29),
                    books,
                    f.sample_uniform(0, 1),
                )
            elif width > 0.16:
                f.start_object_at(spot, "objects", "vase", x + width / 2, y, 0.16)
                decor.add_vase(f.style, 0.2, f.style.add_accent_material(), False)
            x += width + 0.01
    return spot


def place_chairs(
    f: Furnisher, spot: Spot, w: float, d: float, count: int, name: str = "chair"
) -> None:
    """Push chairs to a table: along both long sides, then one at each end."""
    k = f.style
    seat = k.add_fabric_material() if f.sample_chance(0.5) else k.wood
    frame, slats = (k.wood, True) if f.sample_chance(0.6) else (k.dark, False)
    per_side = max(1, int(w / 0.62))
    places = [((i + 0.5) * w / per_side - w / 2, side) for i in range(per_side) for side in (0, 1)]
    places = places[:count]
    for x, side in places:
        jitter = f.sample_uniform(-0.12, 0.12)
        # Its back points away from the table, so its front (+z) looks at it.
        z, yaw = (-0.27, jitter) if side == 0 else (d + 0.27, math.pi + jitter)
        f.start_object_at(spot, "chair", name, x, 0.0, z, yaw)
        sitting.add_chair(k, 0.44, 0.44, 0.92, frame, seat, slats)


def place_dining_set(f: Furnisher, w: float, d: float, seats: int) -> bool:
    """Stand a dining table with chairs, things on it and a lamp over it."""
    k = f.style
    for width in (w, 1.2, 0.8):
        zone = f.find_free_floor(width + 0.1, d + 0.66) or f.find_free_floor(
            width + 0.1, d + 0.66, 0.55
        )
        if not zone:
            continue
        spot = Spot(
            zone.rect,
            zone.x + 0.33 * math.sin(zone.yaw),
            zone.z + 0.33 * math.cos(zone.yaw),
            zone.yaw,
            "",
        )
        f.start_object_at(spot, "table", "dining table")
        storage.add_table(k, width, d, 0.75, k.wood, k.wood if f.sample_chance(0.5) else k.dark)
        place_chairs(f, spot, width, d, seats, "dining chair")
        f.start_object_at(
            spot, "objects", "fruit bowl" if f.sample_chance(0.5) else "bowl", 0.0, 0.75, d / 2
        )
        decor.add_bowl(k, 0.15, k.add_accent_material(), True)
        for x in (-width / 3.2, width / 3.2):
            for z, side in ((0.17, 1), (d - 0.17, -1)):
                f.start_object_at(spot, "objects", "plate", x, 0.75, z)
                decor.add_plate(k)
                f.start_object_at(spot, "objects", "cup", x + 0.18, 0.75, z + 0.06 * side)
                decor.add_cup(k, k.ceramic)
        f.hang_ceiling_lamp(0.75, spot, d)
        return True
    return False


def compute_front_rect(
    spot: Spot, w: float, d: float, z: float
) -> tuple[float, float, float, float]:
    """Return the floor rectangle of a thing w x d that starts `z` in front of a spot's back."""
    sin, cos = round(math.sin(spot.yaw)), round(math.cos(spot.yaw))
    x, y = spot.x + sin * (z + d / 2), spot.z + cos * (z + d / 2)
    half_x, half_z = (w / 2, d / 2) if cos else (d / 2, w / 2)
    return (x - half_x, y - half_z, x + half_x, y + half_z)


def add_beams(f: Furnisher) -> None:
    """Lay wooden beams under the ceiling across the shorter side."""
    x0, z0, x1, z1 = f.inner
    along_x = x1 - x0 < z1 - z0
    lo, hi = (z0, z1) if along_x else (x0, x1)
    count = max(2, int((hi - lo) / 1.3))
    y0, y1 = f.base + CEILING_HEIGHT - 0.16, f.base + CEILING_HEIGHT
    for i in range(count):
        at = lo + (i + 0.5) * (hi - lo) / count
        f.builder.start_object("beam", "beam", f.index)
        if along_x:
            f.builder.add_box((x0, y0, at - 0.07), (x1, y1, at + 0.07), f.style.dark)
        else:
            f.builder.add_box((at - 0.07, y0, z0), (at + 0.07, y1, z1), f.style.dark)


def furnish_bedroom(f: Furnisher) -> None:
    """Bed with nightstands, wardrobe, dresser with mirror, perhaps a desk, curtains, pictures."""
    k = f.style
    spot, w = None, 0.0
    for w, front in ((1.6 if f.area > 10.5 else 1.2, 0.5), (1.2, 0.5), (0.95, 0.5), (0.95, 0.0)):
        if spot := f.place_against_wall("bed", "bed", w, 2.05, 0.9, middle=1.2, front=front):
            break
    if spot:
        frame = k.wood if f.sample_chance(0.6) else k.dark
        cover = k.add_accent_material(
            ("plaid", "quilt", None, "stripes")[int(f.rng.integers(4))], 0.5
        )
        sitting.add_bed(k, w, 2.05, frame, cover, k.add_fabric_material())
        for x in (-w / 4, w / 4) if w > 1.3 else (0.0,):
            f.start_object_at(spot, "cushion", "pillow", x, 0.48, 0.09)
            sitting.add_pillow(k, min(0.66, w / 2 - 0.06) if w > 1.3 else 0.62, k.linen)
            if w > 1.3:
                f.start_object_at(spot, "cushion", "cushion", x, 0.52, 0.38)
                sitting.add_cushion(k, 0.36, cover)
        for side in (-1, 1):
            _nightstand(f, spot, side * (w / 2 + 0.27))
        f.lay_rug(spot, w + 1.2, 1.6, 1.7)
        if f.hang_on_wall("picture", "picture", 1.0, 1.3, 1.95, above=spot):
            decor.add_picture(k, 0.95, 0.6, k.dark)
    for w in (f.sample_uniform(1.4, 2.0), 1.0):
        if f.place_against_wall("cabinet", "wardrobe", w, 0.6, 2.1, corner=1.0, front=0.5):
            storage.add_wardrobe(
                k, w, 0.6, 2.1, k.wood if f.sample_chance(0.5) else k.front, k.front
            )
            break
    if dresser := f.place_against_wall("chest_of_drawers", "dresser", 1.1, 0.45, 0.82, front=0.5):
        storage.add_drawer_chest(
            k, 1.1, 0.45, 0.82, k.wood, k.wood if f.sample_chance(0.6) else k.front, 3, 2
        )
        if f.hang_on_wall("mirror", "mirror", 0.7, 1.0, 1.8, above=dresser):
            decor.add_mirror(k, 0.6, 0.75, k.wood)
        f.start_object_at(dresser, "objects", "vase", 0.35, 0.82, 0.2)
        decor.add_vase(k, 0.22, k.add_accent_material(), f.sample_chance(0.6))
    if f.area > 12 and f.sample_chance(0.5):
        place_desk(f, 1.1)
    if f.sample_chance(0.4) and f.place_against_wall("stool", "stool", 0.4, 0.4, 0.46):
        sitting.add_stool(k, 0.38, 0.46, k.wood, k.add_fabric_material("accents"))
    if f.sample_chance(0.35) and f.place_against_wall(
        "objects", "laundry basket", 0.44, 0.44, 0.5, corner=1.0
    ):
        decor.add_basket(k, 0.2, 0.5, k.linen, True)
    f.place_corner_plant(0.5)
    f.hang_pictures(int(f.rng.integers(1, 3)))
    f.dress_windows("curtain")
    f.hang_ceiling_lamp()


def _nightstand(f: Furnisher, bed: Spot, x: float) -> None:
    k = f.style
    cos, sin = round(math.cos(bed.yaw)), round(math.sin(bed.yaw))
    spot = Spot(bed.rect, bed.x + cos * x, bed.z - sin * x, bed.yaw, bed.wall)
    rect = compute_front_rect(spot, 0.46, 0.4, 0.0)
    if (
        not f.space.contains_rect(rect)
        or f.space.is_overlapping(rect)
        or not f.space.try_occupy(rect)
    ):
        return
    f.mark_wall_covered(spot, 0.46, 0.0, 0.52)
    f.start_object_at(spot, "chest_of_drawers", "nightstand")
    storage.add_drawer_chest(k, 0.46, 0.4, 0.52, k.wood, k.wood, 2, 1)
    f.start_object_at(spot, "lighting", "bedside lamp", 0.0, 0.52, 0.18)
    decor.add_table_lamp(k, 0.42, k.add_accent_material())
    f.mark_wall_covered(spot, 0.3, 0.5, 0.96)
    if f.sample_chance(0.5):
        f.start_object_at(spot, "objects", "books", 0.12, 0.52, 0.28)
        decor.add_book_pile(k, 2)


def place_desk(f: Furnisher, w: float) -> Spot | None:
    """Stand a desk with a screen and a chair tucked in front of it."""
    k = f.style
    spot = f.place_against_wall("table", "desk", w, 1.15, 0.76, front=0.2)
    if not spot:
        return None
    storage.add_desk(k, w, 0.65, 0.76, k.wood, k.wood if f.sample_chance(0.5) else k.front)
    if f.sample_chance(0.7):
        f.start_object_at(spot, "tv_monitor", "computer monitor", 0.0, 0.76, 0.16)
        decor.add_monitor(k)
        f.mark_wall_covered(spot, 0.6, 0.76, 1.25)
        f.start_object_at(spot, "objects", "keyboard", 0.0, 0.765, 0.45)
        f.builder.add_box((-0.21, -0.005, -0.075), (0.21, 0.012, 0.075), k.gray)
        decor.add_flat_image(k, 0.4, 0.13, 0.013, k.add_image_material("keys"))
    else:
        f.start_object_at(spot, "objects", "laptop", 0.0, 0.76, 0.36)
        decor.add_laptop(k)
    f.start_object_at(spot, "objects", "books", w / 2 - 0.2, 0.76, 0.25)
    decor.add_book_pile(k, 3)
    f.start_object_at(spot, "lighting", "desk lamp", -w / 2 + 0.18, 0.76, 0.2)
    decor.add_table_lamp(k, 0.42, k.metal)
    f.start_object_at(
        spot, "chair", "office chair", -0.1, 0.0, 1.13, math.pi + f.sample_uniform(-0.3, 0.3)
    )
    sitting.add_office_chair(
        k, 0.58, 0.58, k.add_fabric_material() if f.sample_chance(0.5) else k.black
    )
    return spot


def furnish_dining_room(f: Furnisher) -> None:
    """Table with chairs under a lamp, sideboard, plant, pictures."""
    k = f.style
    if not place_dining_set(f, f.sample_uniform(1.5, 1.9), 0.9, 6):
        place_dining_set(f, 1.0, 0.8, 4)
    w = f.sample_uniform(1.2, 1.7)
    if spot := f.place_against_wall("cabinet", "sideboard", w, 0.42, 0.85, middle=0.8):
        storage.add_sideboard(k, w, 0.42, 0.85, k.wood, k.wood)
        f.start_object_at(spot, "objects", "vase", -0.3, 0.85, 0.2)
        decor.add_vase(k, 0.28, k.add_accent_material(), True)
        f.start_object_at(spot, "objects", "bowl", 0.3, 0.85, 0.2)
        decor.add_bowl(k, 0.14, k.ceramic, False)
        if f.hang_on_wall("mirror", "mirror", 0.9, 1.25, 1.95, above=spot):
            decor.add_mirror(k, 0.85, 0.65, k.dark)
    if f.sample_chance(0.4) and (
        spot := f.place_against_wall("cabinet", "china cabinet", 1.0, 0.4, 1.9, corner=1.0)
    ):
        storage.add_wardrobe(k, 1.0, 0.4, 1.9, k.dark, k.wood)
    f.place_corner_plant(0.9)
    f.hang_pictures(int(f.rng.integers(2, 4)))
    f.dress_windows("curtain")
    if k.name in ("rustic", "classic") and f.sample_chance(0.5):
        add_beams(f)


def furnish_office(f: Furnisher) -> None:
    """Desk, shelves, whiteboard, filing drawers."""
    k = f.style
    place_desk(f, f.sample_uniform(1.3, 1.6))
    place_bookshelf(f, f.sample_uniform(0.9, 1.3))
    if f.sample_chance(0.7) and f.hang_on_wall("board_panel", "whiteboard", 1.3, 1.0, 1.85):
        decor.add_whiteboard(k, 1.3, 0.8)
    if spot := f.place_against_wall("chest_of_drawers", "filing cabinet", 0.45, 0.5, 0.72):
        storage.add_drawer_chest(k, 0.45, 0.5, 0.72, k.gray, k.gray, 3, 1)
        f.start_object_at(spot, "appliances", "printer", 0.0, 0.72, 0.05)
        f.builder.add_beveled_box((-0.19, 0.0, 0.0), (0.19, 0.18, 0.36), k.white, 0.03)
        f.builder.add_box((-0.14, 0.06, 0.34), (0.14, 0.09, 0.42), k.black)
    if f.sample_chance(0.5) and f.place_against_wall(
        "chair", "armchair", 0.8, 0.82, 0.8, corner=1.0, gap=0.08
    ):
        sitting.add_sofa(k, 0.8, 0.82, 0.8, k.add_fabric_material())
    if f.place_against_wall("objects", "trash can", 0.32, 0.32, 0.34):
        decor.add_basket(k, 0.14, 0.34, k.black, False)
    f.place_corner_plant(0.8)
    f.hang_pictures(2)
    f.dress_windows("blinds" if f.sample_chance(0.6) else "curtain")
    f.hang_ceiling_lamp()
