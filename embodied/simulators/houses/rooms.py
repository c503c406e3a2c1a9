"""What stands where in living, dining and sleeping rooms and offices."""

from __future__ import annotations

import math

from embodied.simulators.houses import decor, sitting, storage
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.layout import HEIGHT
from embodied.simulators.houses.placement import Spot
from embodied.simulators.houses.textures import texture


def bookshelf(f: Furnisher, w: float = 0.9, h: float = 1.95) -> Spot | None:
    """Stand a shelf full of books and a few other things."""
    spot = f.stand("shelving", "bookshelf", w, 0.32, h)
    if not spot:
        return None
    tops = storage.shelf_frame(f.look, w, 0.32, h, 6 if h > 1.5 else 4, f.look.wood)
    books = f.builder.material((1.0, 1.0, 1.0), texture("books", int(f.rng.integers(4))))
    for y in tops[:-1]:
        x, end = -w / 2 + 0.04, w / 2 - 0.04
        while x < end - 0.12:
            width = min(f.between(0.15, 0.45), end - x)
            if f.chance(0.8):
                f.on(spot, "objects", "books", y=y, z=0.02)
                storage.books(
                    f.look,
                    x,
                    x + width,
                    f.between(0.2, 0.26),
                    f.between(0.2, 0.29),
                    books,
                    f.between(0, 1),
                )
            elif width > 0.16:
                f.on(spot, "objects", "vase", x + width / 2, y, 0.16)
                decor.vase(f.look, 0.2, f.look.accent(), False)
            x += width + 0.01
    return spot


def chairs_around(
    f: Furnisher, spot: Spot, w: float, d: float, count: int, name: str = "chair"
) -> None:
    """Push chairs to a table: along both long sides, then one at each end."""
    k = f.look
    seat = k.fabric() if f.chance(0.5) else k.wood
    frame, slats = (k.wood, True) if f.chance(0.6) else (k.dark, False)
    per_side = max(1, int(w / 0.62))
    places = [((i + 0.5) * w / per_side - w / 2, side) for i in range(per_side) for side in (0, 1)]
    places = places[:count]
    for x, side in places:
        jitter = f.between(-0.12, 0.12)
        # Its back points away from the table, so its front (+z) looks at it.
        z, yaw = (-0.27, jitter) if side == 0 else (d + 0.27, math.pi + jitter)
        f.on(spot, "chair", name, x, 0.0, z, yaw)
        sitting.chair(k, 0.44, 0.44, 0.92, frame, seat, slats)


def dining_set(f: Furnisher, w: float, d: float, seats: int) -> bool:
    """Stand a dining table with chairs, things on it and a lamp over it."""
    k = f.look
    for width in (w, 1.2, 0.8):
        zone = f.free(width + 0.1, d + 0.66) or f.free(width + 0.1, d + 0.66, 0.55)
        if not zone:
            continue
        spot = Spot(
            zone.rect,
            zone.x + 0.33 * math.sin(zone.yaw),
            zone.z + 0.33 * math.cos(zone.yaw),
            zone.yaw,
            "",
        )
        f.on(spot, "table", "dining table")
        storage.table(k, width, d, 0.75, k.wood, k.wood if f.chance(0.5) else k.dark)
        chairs_around(f, spot, width, d, seats, "dining chair")
        f.on(spot, "objects", "fruit bowl" if f.chance(0.5) else "bowl", 0.0, 0.75, d / 2)
        decor.bowl(k, 0.15, k.accent(), True)
        for x in (-width / 3.2, width / 3.2):
            for z, side in ((0.17, 1), (d - 0.17, -1)):
                f.on(spot, "objects", "plate", x, 0.75, z)
                decor.plate(k)
                f.on(spot, "objects", "cup", x + 0.18, 0.75, z + 0.06 * side)
                decor.cup(k, k.ceramic)
        f.ceiling_lamp(0.75, spot, d)
        return True
    return False


def living_room(f: Furnisher) -> None:
    """Television with sofa and tables facing it; shelves, fireplace, plants, pictures."""
    k = f.look
    if f.chance(0.35) and f.area > 17:
        w = f.between(1.3, 1.5)
        if spot := f.stand("fireplace", "fireplace", w, 0.4, 2.7, middle=1.5, front=0.9):
            stone = f.builder.material(
                (0.75, 0.45, 0.36) if f.chance(0.5) else (0.8, 0.79, 0.76), texture("bricks"), 0.5
            )
            decor.fireplace(k, w, 1.05, 0.4, stone)
            f.builder.box((-w * 0.4, 1.12, 0.0), (w * 0.4, HEIGHT, 0.28), stone)
            f.on(spot, "objects", "vase", -0.4, 1.12, 0.3)
            decor.vase(k, 0.24, k.accent(), False)
    w = f.between(1.4, 1.9)
    stand = f.stand("cabinet", "tv stand", w, 0.42, 0.5, middle=1.2, front=1.6)
    fabric = k.fabric()
    if stand:
        storage.tv_stand(k, w, 0.42, 0.5, k.wood if f.chance(0.6) else k.dark, k.front)
        size = f.between(1.05, 1.4)
        f.on(stand, "tv_monitor", "television", y=0.5, z=0.18)
        decor.television(k, size, True)
        f.carry(stand, size, 0.5, 1.4)
    _seating_group(f, stand, fabric)
    if f.area > 14:
        bookshelf(f, f.between(0.8, 1.3))
    if f.area > 18:
        spot = f.stand("chest_of_drawers", "chest of drawers", 1.0, 0.42, 0.85)
        if spot:
            storage.chest(k, 1.0, 0.42, 0.85, k.wood, k.wood, 3, 2)
            f.on(spot, "lighting", "table lamp", -0.3, 0.85, 0.2)
            decor.table_lamp(k, 0.45, k.accent())
            f.on(spot, "objects", "vase", 0.25, 0.85, 0.2)
            decor.vase(k, 0.24, k.accent(), True)
    if f.chance(0.7) and f.stand("lighting", "floor lamp", 0.4, 0.4, 1.6, corner=1.5, gap=0.05):
        decor.floor_lamp(k, 1.6)
    f.corner_plant(0.9)
    f.corner_plant(0.5)
    if f.chance(0.3) and f.area > 22 and (spot := f.free(0.32, 0.32, 0.8)):
        f.on(spot, "column", "column")
        plinth = (
            (0.15, 0.0),
            (0.15, 0.12),
            (0.12, 0.16),
            (0.11, HEIGHT - 0.2),
            (0.15, HEIGHT - 0.1),
            (0.15, HEIGHT),
        )
        f.builder.lathe((0.0, 0.0, 0.16), plinth, k.trim, segments=12)
    if k.name in ("rustic", "classic") and f.chance(0.6):
        beams(f)
    f.pictures(int(f.rng.integers(2, 5)))
    f.dress_windows("curtain")
    if f.chance(0.5) and f.hang("objects", "clock", 0.36, 1.6, 1.96):
        decor.clock(k, 0.16)
    f.ceiling_lamp()


def _seating_group(f: Furnisher, stand: Spot | None, fabric: int) -> None:
    k = f.look
    depth = f.size[1] if stand and stand.wall[0] == "z" else f.size[0]
    spot, w = None, 2.1
    for w in (2.2, 1.9, 1.5):
        if f.area < 14 and w > 2:
            continue
        if stand and depth > 4.4:
            # A deep room: the sofa stands in the open, a viewing distance from the screen.
            spot = _facing(f, stand, w, 0.92, f.between(2.7, 3.1))
        spot = spot or f.stand("sofa", "sofa", w, 0.92, 0.8, middle=0.6, front=0.9, facing=stand)
        if spot:
            break
    if not spot:
        return
    if spot.wall == "":
        f.on(spot, "sofa", "sofa")
    sitting.sofa(k, w, 0.92, 0.8, fabric)
    accent = k.accent("fabric", 0.06)
    for x in (-w / 2 + 0.42, w / 2 - 0.42):
        if f.chance(0.85):
            f.on(spot, "cushion", "cushion", x, 0.47, 0.34, f.between(-0.2, 0.2))
            sitting.cushion(k, 0.4, accent)
    rect = _ahead(spot, 1.1, 0.6, 1.3)
    if f.space.inside(rect) and not f.space.overlaps_one(rect) and f.space.block(rect):
        f.on(spot, "table", "coffee table", z=1.3)
        storage.table(k, 1.1, 0.6, 0.42, k.wood, k.dark)
        f.on(spot, "objects", "books", -0.25, 0.42, 1.6)
        decor.book_pile(k, 3)
        f.on(spot, "objects", "vase", 0.25, 0.42, 1.55)
        decor.vase(k, 0.2, k.accent(), True)
    f.rug(spot, 2.6, 1.9, 1.5)
    side = f.stand("table", "side table", 0.45, 0.45, 0.55, corner=1.0, gap=0.05)
    if side:
        storage.round_table(k, 0.45, 0.55, k.wood, k.metal)
        f.on(side, "lighting", "table lamp", 0.0, 0.55, 0.22)
        decor.table_lamp(k, 0.45, k.accent())
    if f.area > 16:
        chair = f.stand("chair", "armchair", 0.85, 0.85, 0.8, corner=1.2, gap=0.08, front=0.4)
        if chair:
            sitting.sofa(k, 0.85, 0.85, 0.8, k.fabric("accents") if f.chance(0.5) else fabric)
    if f.chance(0.4):
        ottoman = f.stand("seating", "ottoman", 0.7, 0.5, 0.45)
        if ottoman:
            sitting.bench(k, 0.7, 0.5, k.dark, fabric)


def _ahead(spot: Spot, w: float, d: float, z: float) -> tuple[float, float, float, float]:
    """Return the floor rectangle of a thing w x d that starts `z` in front of a spot's back."""
    sin, cos = round(math.sin(spot.yaw)), round(math.cos(spot.yaw))
    x, y = spot.x + sin * (z + d / 2), spot.z + cos * (z + d / 2)
    half_x, half_z = (w / 2, d / 2) if cos else (d / 2, w / 2)
    return (x - half_x, y - half_z, x + half_x, y + half_z)


def _facing(f: Furnisher, stand: Spot, w: float, d: float, distance: float) -> Spot | None:
    """Occupy the place of a thing that looks at a spot from a distance [m]."""
    rect = _ahead(stand, w, d, distance)
    x0, z0, x1, z1 = f.inner
    if rect[0] < x0 + 0.7 or rect[1] < z0 + 0.7 or rect[2] > x1 - 0.7 or rect[3] > z1 - 0.7:
        return None
    if f.space.overlaps_one(rect) or not f.space.block(rect):
        return None
    sin, cos = round(math.sin(stand.yaw)), round(math.cos(stand.yaw))
    back = distance + d
    return Spot(rect, stand.x + sin * back, stand.z + cos * back, stand.yaw + math.pi, "")


def beams(f: Furnisher) -> None:
    """Lay wooden beams under the ceiling across the shorter side."""
    x0, z0, x1, z1 = f.inner
    along_x = x1 - x0 < z1 - z0
    lo, hi = (z0, z1) if along_x else (x0, x1)
    count = max(2, int((hi - lo) / 1.3))
    y0, y1 = f.base + HEIGHT - 0.16, f.base + HEIGHT
    for i in range(count):
        at = lo + (i + 0.5) * (hi - lo) / count
        f.builder.start("beam", "beam", f.index)
        if along_x:
            f.builder.box((x0, y0, at - 0.07), (x1, y1, at + 0.07), f.look.dark)
        else:
            f.builder.box((at - 0.07, y0, z0), (at + 0.07, y1, z1), f.look.dark)


def bedroom(f: Furnisher) -> None:
    """Bed with nightstands, wardrobe, dresser with mirror, perhaps a desk, curtains, pictures."""
    k = f.look
    spot, w = None, 0.0
    for w, front in ((1.6 if f.area > 10.5 else 1.2, 0.5), (1.2, 0.5), (0.95, 0.5), (0.95, 0.0)):
        if spot := f.stand("bed", "bed", w, 2.05, 0.9, middle=1.2, front=front):
            break
    if spot:
        frame = k.wood if f.chance(0.6) else k.dark
        cover = k.accent(("plaid", "quilt", None, "stripes")[int(f.rng.integers(4))], 0.5)
        sitting.bed(k, w, 2.05, frame, cover, k.fabric())
        for x in (-w / 4, w / 4) if w > 1.3 else (0.0,):
            f.on(spot, "cushion", "pillow", x, 0.48, 0.09)
            sitting.pillow(k, min(0.66, w / 2 - 0.06) if w > 1.3 else 0.62, k.linen)
            if w > 1.3:
                f.on(spot, "cushion", "cushion", x, 0.52, 0.38)
                sitting.cushion(k, 0.36, cover)
        for side in (-1, 1):
            _nightstand(f, spot, side * (w / 2 + 0.27))
        f.rug(spot, w + 1.2, 1.6, 1.7)
        if f.hang("picture", "picture", 1.0, 1.3, 1.95, above=spot):
            decor.picture(k, 0.95, 0.6, k.dark)
    for w in (f.between(1.4, 2.0), 1.0):
        if f.stand("cabinet", "wardrobe", w, 0.6, 2.1, corner=1.0, front=0.5):
            storage.wardrobe(k, w, 0.6, 2.1, k.wood if f.chance(0.5) else k.front, k.front)
            break
    if dresser := f.stand("chest_of_drawers", "dresser", 1.1, 0.45, 0.82, front=0.5):
        storage.chest(k, 1.1, 0.45, 0.82, k.wood, k.wood if f.chance(0.6) else k.front, 3, 2)
        if f.hang("mirror", "mirror", 0.7, 1.0, 1.8, above=dresser):
            decor.mirror(k, 0.6, 0.75, k.wood)
        f.on(dresser, "objects", "vase", 0.35, 0.82, 0.2)
        decor.vase(k, 0.22, k.accent(), f.chance(0.6))
    if f.area > 12 and f.chance(0.5):
        desk(f, 1.1)
    if f.chance(0.4) and f.stand("stool", "stool", 0.4, 0.4, 0.46):
        sitting.stool(k, 0.38, 0.46, k.wood, k.fabric("accents"))
    if f.chance(0.35) and f.stand("objects", "laundry basket", 0.44, 0.44, 0.5, corner=1.0):
        decor.basket(k, 0.2, 0.5, k.linen, True)
    f.corner_plant(0.5)
    f.pictures(int(f.rng.integers(1, 3)))
    f.dress_windows("curtain")
    f.ceiling_lamp()


def _nightstand(f: Furnisher, bed: Spot, x: float) -> None:
    k = f.look
    cos, sin = round(math.cos(bed.yaw)), round(math.sin(bed.yaw))
    spot = Spot(bed.rect, bed.x + cos * x, bed.z - sin * x, bed.yaw, bed.wall)
    rect = _ahead(spot, 0.46, 0.4, 0.0)
    if not f.space.inside(rect) or f.space.overlaps_one(rect) or not f.space.block(rect):
        return
    f.carry(spot, 0.46, 0.0, 0.52)
    f.on(spot, "chest_of_drawers", "nightstand")
    storage.chest(k, 0.46, 0.4, 0.52, k.wood, k.wood, 2, 1)
    f.on(spot, "lighting", "bedside lamp", 0.0, 0.52, 0.18)
    decor.table_lamp(k, 0.42, k.accent())
    f.carry(spot, 0.3, 0.5, 0.96)
    if f.chance(0.5):
        f.on(spot, "objects", "books", 0.12, 0.52, 0.28)
        decor.book_pile(k, 2)


def desk(f: Furnisher, w: float) -> Spot | None:
    """Stand a desk with a screen and a chair tucked in front of it."""
    k = f.look
    spot = f.stand("table", "desk", w, 1.15, 0.76, front=0.2)
    if not spot:
        return None
    storage.desk(k, w, 0.65, 0.76, k.wood, k.wood if f.chance(0.5) else k.front)
    if f.chance(0.7):
        f.on(spot, "tv_monitor", "computer monitor", 0.0, 0.76, 0.16)
        decor.monitor(k)
        f.carry(spot, 0.6, 0.76, 1.25)
        f.on(spot, "objects", "keyboard", 0.0, 0.765, 0.45)
        f.builder.box((-0.21, -0.005, -0.075), (0.21, 0.012, 0.075), k.gray)
        decor.flat_image(k, 0.4, 0.13, 0.013, k.image("keys"))
    else:
        f.on(spot, "objects", "laptop", 0.0, 0.76, 0.36)
        decor.laptop(k)
    f.on(spot, "objects", "books", w / 2 - 0.2, 0.76, 0.25)
    decor.book_pile(k, 3)
    f.on(spot, "lighting", "desk lamp", -w / 2 + 0.18, 0.76, 0.2)
    decor.table_lamp(k, 0.42, k.metal)
    f.on(spot, "chair", "office chair", -0.1, 0.0, 1.13, math.pi + f.between(-0.3, 0.3))
    sitting.office_chair(k, 0.58, 0.58, k.fabric() if f.chance(0.5) else k.black)
    return spot


def dining_room(f: Furnisher) -> None:
    """Table with chairs under a lamp, sideboard, plant, pictures."""
    k = f.look
    if not dining_set(f, f.between(1.5, 1.9), 0.9, 6):
        dining_set(f, 1.0, 0.8, 4)
    w = f.between(1.2, 1.7)
    if spot := f.stand("cabinet", "sideboard", w, 0.42, 0.85, middle=0.8):
        storage.sideboard(k, w, 0.42, 0.85, k.wood, k.wood)
        f.on(spot, "objects", "vase", -0.3, 0.85, 0.2)
        decor.vase(k, 0.28, k.accent(), True)
        f.on(spot, "objects", "bowl", 0.3, 0.85, 0.2)
        decor.bowl(k, 0.14, k.ceramic, False)
        if f.hang("mirror", "mirror", 0.9, 1.25, 1.95, above=spot):
            decor.mirror(k, 0.85, 0.65, k.dark)
    if f.chance(0.4) and (spot := f.stand("cabinet", "china cabinet", 1.0, 0.4, 1.9, corner=1.0)):
        storage.wardrobe(k, 1.0, 0.4, 1.9, k.dark, k.wood)
    f.corner_plant(0.9)
    f.pictures(int(f.rng.integers(2, 4)))
    f.dress_windows("curtain")
    if k.name in ("rustic", "classic") and f.chance(0.5):
        beams(f)


def office(f: Furnisher) -> None:
    """Desk, shelves, whiteboard, filing drawers."""
    k = f.look
    desk(f, f.between(1.3, 1.6))
    bookshelf(f, f.between(0.9, 1.3))
    if f.chance(0.7) and f.hang("board_panel", "whiteboard", 1.3, 1.0, 1.85):
        decor.whiteboard(k, 1.3, 0.8)
    if spot := f.stand("chest_of_drawers", "filing cabinet", 0.45, 0.5, 0.72):
        storage.chest(k, 0.45, 0.5, 0.72, k.gray, k.gray, 3, 1)
        f.on(spot, "appliances", "printer", 0.0, 0.72, 0.05)
        f.builder.soft((-0.19, 0.0, 0.0), (0.19, 0.18, 0.36), k.white, 0.03)
        f.builder.box((-0.14, 0.06, 0.34), (0.14, 0.09, 0.42), k.black)
    if f.chance(0.5) and f.stand("chair", "armchair", 0.8, 0.82, 0.8, corner=1.0, gap=0.08):
        sitting.sofa(k, 0.8, 0.82, 0.8, k.fabric())
    if f.stand("objects", "trash can", 0.32, 0.32, 0.34):
        decor.basket(k, 0.14, 0.34, k.black, False)
    f.corner_plant(0.8)
    f.pictures(2)
    f.dress_windows("blinds" if f.chance(0.6) else "curtain")
    f.ceiling_lamp()
