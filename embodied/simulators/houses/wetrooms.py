"""What stands where in kitchens, bathrooms and laundry rooms."""

from __future__ import annotations

from embodied.simulators.houses import decor, sitting, storage, wet
from embodied.simulators.houses.furnish import Furnisher
from embodied.simulators.houses.placement import Spot
from embodied.simulators.houses.rooms import place_dining_set
from embodied.simulators.houses.siderooms import add_coat_rack
from embodied.simulators.houses.textures import make_texture


def furnish_kitchen(f: Furnisher) -> None:
    """A counter row with sink, stove, hood and wall cabinets; fridge; table and chairs."""
    k = f.style
    front = k.front
    steel = k.steel if f.sample_chance(0.6) else k.white
    for w in (3.0, 2.4, 1.8):
        if _row(f, w, front):
            break
    if f.place_against_wall("appliances", "refrigerator", 0.7, 0.7, 1.85, corner=1.5, front=0.7):
        wet.add_refrigerator(k, 0.68, 0.68, 1.85, steel)
    if second := f.place_against_wall(
        "counter", "kitchen counter", 1.2, 0.62, 0.9, front=0.7, corner=0.5
    ):
        wet.add_counter(k, 1.2, 0.62, 0.9, front)
        f.start_object_at(second, "appliances", "microwave", -0.25, 0.9, 0.1)
        wet.add_microwave(k, 0.5, 0.36, 0.28)
        f.mark_wall_covered(second, 1.0, 0.9, 1.25)
        f.start_object_at(second, "appliances", "toaster", 0.32, 0.9, 0.3)
        decor.add_toaster(k, k.add_accent_material())
    if f.area > 9.5 and not place_dining_set(f, 1.2, 0.75, 4):
        _small_table(f)
    if f.sample_chance(0.6) and f.place_against_wall(
        "objects", "trash can", 0.36, 0.36, 0.6, corner=0.8
    ):
        decor.add_basket(k, 0.16, 0.6, k.steel, False)
    if f.sample_chance(0.4) and (spot := f.place_against_wall("shelving", "shelf", 0.8, 0.3, 1.5)):
        for y in storage.add_shelf_frame(k, 0.8, 0.3, 1.5, 4, k.wood)[:-1]:
            f.start_object_at(spot, "objects", "bowl", -0.18, y, 0.16)
            decor.add_bowl(k, 0.11, k.ceramic, False)
            f.start_object_at(spot, "objects", "jar", 0.16, y, 0.16)
            f.builder.add_cylinder((0, 0, 0), 0.06, 0.18, k.add_accent_material(), 8)
    if f.hang_on_wall("objects", "clock", 0.34, 1.65, 2.0):
        decor.add_clock(k, 0.15)
    f.place_corner_plant(0.4)
    f.hang_pictures(1)
    f.dress_windows("blinds" if f.sample_chance(0.7) else "curtain")
    f.hang_ceiling_lamp()


def _row(f: Furnisher, w: float, front: int) -> Spot | None:
    """Stand one counter row w wide with a stove at one end and a sink in it."""
    k, h, d = f.style, 0.9, 0.62
    spot = f.place_against_wall("counter", "kitchen counter", w, d, h, front=0.75, middle=0.3)
    if not spot:
        return None
    end = 1 if f.sample_chance(0.5) else -1
    body = w - 0.6
    # The counter's own frame is shifted: the stove takes one end of the row.
    shifted = _beside(spot, -end * 0.3)
    f.builder.replace_frame((shifted.x, f.base, shifted.z), spot.yaw)
    wet.add_counter(k, body, d, h, front)
    f.start_object_at(spot, "appliances", "stove", end * (w / 2 - 0.3))
    wet.add_stove(k, 0.59, d, h)
    sink_x = -end * (0.3 + body * 0.12)
    f.start_object_at(spot, "sink", "sink", sink_x, h, 0.1)
    wet.add_basin(k, 0.55, 0.42, k.steel)
    if _clear(f, spot, end * (w / 2 - 0.3), 0.64, 1.5, 2.7):
        f.start_object_at(spot, "appliances", "range hood", end * (w / 2 - 0.3), 1.62)
        wet.add_range_hood(k, 0.6, 0.48)
        f.mark_wall_covered(_beside(spot, end * (w / 2 - 0.3)), 0.66, 1.4, 2.7)
    step = body / max(1, round(body / 0.8))
    x = -end * w / 2 + end * step / 2
    tiles = f.builder.add_material((0.95, 0.95, 0.93), make_texture("brick_tiles", 2), 0.4)
    for _ in range(round(body / step)):
        if _clear(f, spot, x, step, 1.0, 2.2):
            f.start_object_at(spot, "cabinet", "kitchen cabinet", x, 1.45)
            wet.add_wall_cabinet(k, step - 0.01, 0.36, 0.72, front)
            f.mark_wall_covered(_beside(spot, x), step, 1.0, 2.2)
            f.start_object_at(spot, "wall", "backsplash", x, 1.0)
            f.builder.add_box((-step / 2, 0.0, -0.012), (step / 2, 0.45, 0.0), tiles)
        x += end * step
    f.start_object_at(spot, "appliances", "kettle", -end * (w / 2 - 0.25), h, 0.3)
    decor.add_kettle(k)
    f.start_object_at(spot, "objects", "knife block", end * (w / 2 - 0.78), h, 0.12)
    f.builder.add_box((-0.05, 0.0, 0.0), (0.05, 0.2, 0.12), k.dark)
    f.builder.add_box((-0.035, 0.2, 0.02), (0.035, 0.28, 0.08), k.black)
    f.start_object_at(spot, "objects", "bowl", -end * (w / 2 - 0.6), h, 0.35)
    decor.add_bowl(k, 0.13, k.add_accent_material(), True)
    return spot


def _beside(spot: Spot, x: float) -> Spot:
    """Return a spot moved `x` to its right."""
    dx = x if spot.wall == "z0" else -x if spot.wall == "z1" else 0.0
    dz = -x if spot.wall == "x0" else x if spot.wall == "x1" else 0.0
    return Spot(spot.rect, spot.x + dx, spot.z + dz, spot.yaw, spot.wall)


def _clear(f: Furnisher, spot: Spot, x: float, w: float, bottom: float, top: float) -> bool:
    place = _beside(spot, x)
    along = place.x if spot.wall[0] == "z" else place.z
    return f.is_wall_free(spot.wall, along - w / 2 + 0.01, along + w / 2 - 0.01, bottom, top)


def _small_table(f: Furnisher) -> None:
    k = f.style
    if spot := f.place_against_wall("table", "breakfast table", 0.9, 0.6, 0.9):
        storage.add_table(k, 0.9, 0.6, 0.9, k.wood, k.metal)
        f.start_object_at(spot, "objects", "cup", 0.2, 0.9, 0.3)
        decor.add_cup(k, k.add_accent_material())
        f.start_object_at(spot, "objects", "plate", -0.15, 0.9, 0.3)
        decor.add_plate(k)
        if f.place_against_wall("stool", "bar stool", 0.38, 0.38, 0.65):
            sitting.add_stool(k, 0.36, 0.65, k.metal, k.wood)


def furnish_bathroom(f: Furnisher) -> None:
    """Toilet, vanity with sink and mirror, bathtub or shower, towels, mat, small things."""
    k = f.style
    front = k.front if f.sample_chance(0.6) else k.wood
    for free in (0.5, 0.1):
        if f.place_against_wall("toilet", "toilet", 0.5, 0.7, 0.85, front=free, corner=0.7):
            wet.add_toilet(k)
            break
    if f.sample_chance(0.6) or f.area < 4.5:
        wash = f.area > 5.5 and f.place_against_wall(
            "bathtub", "bathtub", 1.65, 0.75, 0.56, corner=1.5
        )
        if wash:
            wet.add_bathtub(k, 1.65, 0.75, 0.56)
    else:
        wash = None
    wanted = not wash or f.area > 9
    if wanted and f.place_against_wall("shower", "shower", 0.9, 0.9, 2.1, corner=2.5, gap=0.005):
        wet.add_shower(k, 0.9, 0.9)
    if spot := f.place_against_wall("cabinet", "vanity", 0.8, 0.48, 0.82, front=0.5):
        wet.add_washstand(k, 0.8, 0.48, front)
        f.start_object_at(spot, "sink", "sink", 0.0, 0.82, 0.03)
        wet.add_bowl_sink(k, 0.46, 0.38)
        f.start_object_at(spot, "objects", "soap dispenser", 0.3, 0.82, 0.2)
        f.builder.add_cylinder((0, 0, 0), 0.03, 0.15, k.add_accent_material(), 8)
        f.builder.add_box((-0.006, 0.15, -0.006), (0.006, 0.19, 0.05), k.chrome)
        if f.hang_on_wall("mirror", "mirror", 0.66, 1.1, 1.9, above=spot):
            decor.add_mirror(k, 0.62, 0.78, k.chrome)
            f.start_object_at(spot, "lighting", "wall lamp", 0.0, 1.95)
            f.builder.add_box((-0.25, 0.0, 0.0), (0.25, 0.06, 0.07), k.glow)
        f.lay_rug(spot, 0.8, 0.5, 0.85)
    for _ in range(2):
        if f.hang_on_wall("towel", "towel", 0.55, 0.75, 1.4, origin=0.8):
            wet.add_towel(k, 0.42, k.add_accent_material("fabric", 0.06))
    if f.hang_on_wall("objects", "toilet paper", 0.2, 0.6, 0.8):
        f.builder.add_box((-0.06, -0.05, 0.01), (0.06, 0.06, 0.12), k.white)
        f.builder.add_box((-0.08, -0.005, 0.0), (0.08, 0.005, 0.07), k.chrome)
    if f.sample_chance(0.5) and f.place_against_wall(
        "objects", "laundry basket", 0.4, 0.4, 0.5, corner=0.5
    ):
        decor.add_basket(k, 0.18, 0.5, k.linen, True)
    if f.sample_chance(0.4) and (spot := f.place_against_wall("shelving", "shelf", 0.5, 0.3, 1.5)):
        for y in storage.add_shelf_frame(k, 0.5, 0.3, 1.5, 5, k.white)[:-1]:
            f.start_object_at(spot, "towel", "folded towel", 0.0, y, 0.04)
            f.builder.add_beveled_box(
                (-0.16, 0.0, 0.0), (0.16, 0.1, 0.22), k.add_accent_material("fabric", 0.06), 0.03
            )
    f.dress_windows("blinds")
    f.hang_ceiling_lamp()


def furnish_laundry_room(f: Furnisher) -> None:
    """Washer, dryer, worktop with sink, shelf, basket, ironing board."""
    k = f.style
    for name in ("washing machine", "dryer"):
        if f.place_against_wall("appliances", name, 0.62, 0.64, 0.86, front=0.5):
            wet.add_front_loader(k, 0.6, 0.6, 0.86, k.white if f.sample_chance(0.7) else k.steel)
    if spot := f.place_against_wall("counter", "laundry counter", 0.9, 0.6, 0.9, front=0.4):
        wet.add_counter(k, 0.9, 0.6, 0.9, k.front)
        f.start_object_at(spot, "sink", "sink", 0.0, 0.9, 0.1)
        wet.add_basin(k, 0.5, 0.4, k.steel)
    if spot := f.place_against_wall("shelving", "shelf", 0.8, 0.35, 1.7):
        for y in storage.add_shelf_frame(k, 0.8, 0.35, 1.7, 4, k.white)[:-1]:
            f.start_object_at(spot, "objects", "detergent", -0.2, y, 0.16)
            f.builder.add_beveled_box(
                (-0.08, 0.0, -0.05), (0.08, 0.24, 0.05), k.add_accent_material(), 0.03
            )
            f.start_object_at(spot, "towel", "folded towel", 0.15, y, 0.05)
            f.builder.add_beveled_box(
                (-0.15, 0.0, 0.0), (0.15, 0.14, 0.24), k.add_accent_material("fabric", 0.06), 0.03
            )
    if f.place_against_wall("objects", "laundry basket", 0.48, 0.48, 0.5):
        decor.add_basket(k, 0.22, 0.45, k.linen, True)
    if f.sample_chance(0.6) and f.place_against_wall("furniture", "ironing board", 1.2, 0.36, 0.9):
        for x in (-0.35, 0.3):
            f.builder.add_box((x, 0.0, 0.14), (x + 0.03, 0.86, 0.2), k.steel)
            f.builder.add_box((x, 0.0, 0.02), (x + 0.03, 0.03, 0.34), k.steel)
        f.builder.add_beveled_box(
            (-0.6, 0.85, 0.01), (0.6, 0.9, 0.35), k.add_accent_material("dots", 0.3), 0.02
        )
    if f.hang_on_wall("clothes", "hanging clothes", 0.8, 0.9, 1.95, origin=1.9):
        add_coat_rack(f, 0.8)
    f.dress_windows("blinds")
    f.hang_ceiling_lamp()
