"""Plants, lamps, pictures, textiles and small things, built from parts (frame as in sitting.py).

Wall-mounted things have their back at z = 0; small things stand on y = 0.
"""

from __future__ import annotations

import math

from embodied.simulators.houses.style import HouseStyle

UNIT = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def add_front_image(
    k: HouseStyle, x0: float, x1: float, y0: float, y1: float, z: float, material: int
) -> None:
    """Add an upright picture facing +z that shows its whole texture."""
    k.builder.add_quad(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)), material, UNIT)


def add_plant(k: HouseStyle, w: float, h: float) -> None:
    """Draw a potted plant: a pot and two or three rings of bent leaves."""
    b, rng = k.builder, k.rng
    pot = 0.3 * min(1.0, h)
    r = w * 0.36
    rim = ((0.0, 0.0), (r * 0.7, 0.0), (r, pot), (r * 0.9, pot), (0.0, pot * 0.92))
    b.add_lathe((0, 0, w / 2), rim,
            k.add_accent_material() if rng.random() < 0.6 else k.ceramic, segments=10)  # fmt: skip
    b.add_cylinder((0, pot * 0.9, w / 2), 0.02 * min(1.0, h), (h - pot) * 0.5, k.soil, 6)
    broad = rng.random() < 0.5
    for ring in range(3):
        count = 6
        lift = (h - pot) * (0.25 + 0.3 * ring)
        reach = w * (0.5 - 0.09 * ring)
        for i in range(count):
            angle = (i + 0.5 * ring + 0.3 * rng.random()) * 2 * math.pi / count
            c, s = math.cos(angle), math.sin(angle)
            root = pot + 0.35 * lift
            tip_y = min(pot + lift * (1.5 if ring < 2 else 1.25), h)
            half = reach * (0.3 if broad else 0.16)
            mid = (c * reach * 0.55, root + (tip_y - root) * 0.8, w / 2 + s * reach * 0.55)
            tip = (c * reach, tip_y - (0.1 * h if ring == 0 else 0.0), w / 2 + s * reach)
            left = (mid[0] - s * half, mid[1], mid[2] + c * half)
            right = (mid[0] + s * half, mid[1], mid[2] - c * half)
            material = k.leaf[(i + ring) % 3]
            b.add_quad(((0.0, root, w / 2), right, tip, left), material, UNIT)


def add_floor_lamp(k: HouseStyle, h: float) -> None:
    """Draw a standing lamp with a conical shade."""
    b = k.builder
    b.add_cylinder((0, 0, 0.17), 0.14, 0.03, k.metal)
    b.add_cylinder((0, 0.03, 0.17), 0.015, h - 0.3, k.metal, 6)
    b.add_lathe((0, h - 0.32, 0.17), ((0.19, 0.0), (0.12, 0.3), (0.0, 0.3)), k.shade)


def add_table_lamp(k: HouseStyle, h: float, base: int) -> None:
    """Draw a bedside lamp; its axis at z = 0."""
    b = k.builder
    b.add_lathe(
        (0, 0, 0),
        ((0.0, 0.0), (0.07, 0.0), (0.08, 0.06), (0.03, h * 0.45), (0.015, h * 0.55)),
        base,
        segments=10,
    )
    b.add_lathe(
        (0, h * 0.5, 0), ((0.13, 0.0), (0.085, h * 0.5), (0.0, h * 0.5)), k.shade, segments=10
    )


def add_pendant_lamp(k: HouseStyle, drop: float, kind: int, material: int) -> None:
    """Draw a ceiling lamp hanging from y = 0: dome, globe, flat disc or a small chandelier."""
    b = k.builder
    b.add_cylinder((0, -0.03, 0), 0.06, 0.03, k.metal, 8)
    if kind == 3:
        b.add_lathe((0, -0.1, 0), ((0.0, 0.0), (0.19, 0.01), (0.2, 0.1)), k.glow, segments=16)
        return
    b.add_cylinder((0, -drop, 0), 0.008, drop, k.metal, 4)
    if kind == 0:
        b.add_lathe(
            (0, -drop - 0.1, 0),
            ((0.22, 0.0), (0.2, 0.08), (0.1, 0.17), (0.03, 0.2)),
            material,
            segments=16,
        )
        b.add_lathe(
            (0, -drop - 0.1, 0), ((0.0, 0.0), (0.06, 0.02), (0.05, 0.1)), k.glow, segments=8
        )
    elif kind == 1:
        r = 0.16
        ring = tuple(
            (r * math.sin(math.pi * i / 6), r - r * math.cos(math.pi * i / 6)) for i in range(7)
        )
        b.add_lathe((0, -drop - 0.3, 0), ring, k.glow)
    else:
        for x, z in ((0.24, 0.0), (-0.24, 0.0), (0.0, 0.24), (0.0, -0.24)):
            b.add_box(
                (min(x, 0) - 0.01, -drop, min(z, 0) - 0.01),
                (max(x, 0) + 0.01, -drop + 0.02, max(z, 0) + 0.01),
                k.metal,
            )
            b.add_lathe((x, -drop, z), ((0.04, 0.0), (0.065, 0.1), (0.0, 0.1)), k.shade, segments=8)


def add_picture(k: HouseStyle, w: float, h: float, frame: int) -> None:
    """Draw a framed picture, centred on the origin."""
    b, rim = k.builder, 0.035
    b.add_box((-w / 2, -h / 2, 0.0), (w / 2, h / 2, 0.02), frame)
    b.add_box((-w / 2 + rim, -h / 2 + rim, 0.0), (w / 2 - rim, h / 2 - rim, 0.024), k.white)
    mat = rim + 0.1 * min(w, h)
    add_front_image(
        k,
        -w / 2 + mat,
        w / 2 - mat,
        -h / 2 + mat,
        h / 2 - mat,
        0.026,
        k.add_image_material("picture", 24),
    )
    for y in (-h / 2, h / 2 - rim):
        b.add_box((-w / 2, y, 0.0), (w / 2, y + rim, 0.035), frame)
    for x in (-w / 2, w / 2 - rim):
        b.add_box((x, -h / 2 + rim, 0.0), (x + rim, h / 2 - rim, 0.035), frame)


def add_mirror(k: HouseStyle, w: float, h: float, frame: int) -> None:
    """Draw a framed mirror, centred on the origin."""
    k.builder.add_box((-w / 2, -h / 2, 0.0), (w / 2, h / 2, 0.025), frame)
    add_front_image(
        k,
        -w / 2 + 0.03,
        w / 2 - 0.03,
        -h / 2 + 0.03,
        h / 2 - 0.03,
        0.027,
        k.add_image_material("mirror"),
    )


def add_television(k: HouseStyle, w: float, stand: bool) -> None:
    """Draw a flat television standing on y = 0 (or hanging, without its foot)."""
    b, h = k.builder, w * 0.57
    y = 0.07 if stand else 0.0
    b.add_box((-w / 2, y, 0.0), (w / 2, y + h, 0.045), k.black)
    add_front_image(
        k,
        -w / 2 + 0.015,
        w / 2 - 0.015,
        y + 0.02,
        y + h - 0.015,
        0.047,
        k.add_image_material("screen", 3),
    )
    if stand:
        b.add_box((-0.05, 0.0, 0.0), (0.05, 0.1, 0.03), k.black)
        b.add_box((-w * 0.2, 0.0, -0.06), (w * 0.2, 0.015, 0.14), k.black)


def add_monitor(k: HouseStyle) -> None:
    """Draw a computer screen on a foot."""
    b = k.builder
    b.add_box((-0.28, 0.12, 0.0), (0.28, 0.46, 0.03), k.black)
    add_front_image(k, -0.265, 0.265, 0.135, 0.445, 0.032, k.add_image_material("desktop", 4))
    b.add_box((-0.03, 0.0, -0.01), (0.03, 0.2, 0.01), k.gray)
    b.add_box((-0.1, 0.0, -0.06), (0.1, 0.012, 0.12), k.gray)


def add_flat_image(k: HouseStyle, w: float, d: float, y: float, material: int) -> None:
    """Add a horizontal picture (rug, keyboard) centred on the origin, seen from above."""
    k.builder.add_quad(
        ((-w / 2, y, d / 2), (w / 2, y, d / 2), (w / 2, y, -d / 2), (-w / 2, y, -d / 2)),
        material,
        UNIT,
    )


def add_rug(k: HouseStyle, w: float, d: float, material: int) -> None:
    """Draw a rug a centimetre thick, centred on the origin."""
    k.builder.add_box((-w / 2, 0.0, -d / 2), (w / 2, 0.009, d / 2), k.linen)
    add_flat_image(k, w, d, 0.01, material)


def add_curtain(k: HouseStyle, w: float, h: float, material: int, rod: bool) -> None:
    """Draw a pleated curtain from y = 0 up, as zig-zag strips, with a rod if asked."""
    b, folds = k.builder, max(3, round(w / 0.08))
    step = w / folds
    for i in range(folds):
        x, z0, z1 = -w / 2 + i * step, 0.03 + 0.05 * (i % 2), 0.03 + 0.05 * ((i + 1) % 2)
        b.add_quad(((x, 0, z0), (x + step, 0, z1), (x + step, h, z1), (x, h, z0)), material,
               ((i / 4, 0), ((i + 1) / 4, 0), ((i + 1) / 4, 1), (i / 4, 1)))  # fmt: skip
    if rod:
        b.add_box((-w / 2 - 0.05, h, 0.045), (w / 2 + 0.05, h + 0.025, 0.07), k.metal)


def add_blinds(k: HouseStyle, w: float, h: float, material: int) -> None:
    """Draw lowered slats hanging down from y = h."""
    b, count = k.builder, max(4, round(h / 0.09))
    b.add_box((-w / 2, h - 0.05, 0.0), (w / 2, h, 0.06), material)
    for i in range(count):
        y = h - 0.06 - (i + 1) * (h - 0.06) / count
        b.add_box(
            (-w / 2 + 0.01, y, 0.012), (w / 2 - 0.01, y + 0.06 * h / (0.09 * count), 0.03), material
        )


def add_vase(k: HouseStyle, h: float, material: int, flowers: bool) -> None:
    """Draw a vase, with flowers if asked."""
    b, rng = k.builder, k.rng
    r = h * 0.3
    b.add_lathe(
        (0, 0, 0),
        ((0.0, 0.0), (r * 0.6, 0.0), (r, h * 0.4), (r * 0.45, h * 0.8), (r * 0.6, h)),
        material,
        segments=10,
    )
    if flowers:
        for i in range(5):
            a, reach = i * 1.26 + rng.random(), r * 1.1
            x, z, y = math.cos(a) * reach, math.sin(a) * reach, h * (1.5 + 0.3 * rng.random())
            b.add_quad(
                ((0, h * 0.8, 0), (x + 0.01, y, z), (x, y, z), (0.0, h * 0.9, 0.0)), k.leaf[0], UNIT
            )
            b.add_lathe(
                (x, y - 0.02, z),
                ((0.0, 0.0), (0.035, 0.02), (0.0, 0.04)),
                k.add_accent_material(),
                segments=6,
            )


def add_cup(k: HouseStyle, material: int) -> None:
    """Draw a cup."""
    k.builder.add_lathe(
        (0, 0, 0),
        ((0.0, 0.0), (0.03, 0.0), (0.04, 0.09), (0.033, 0.09), (0.0, 0.03)),
        material,
        segments=8,
    )


def add_bowl(k: HouseStyle, r: float, material: int, fruit: bool) -> None:
    """Draw a bowl, with fruit if asked."""
    b = k.builder
    b.add_lathe(
        (0, 0, 0),
        ((0.0, 0.0), (r * 0.45, 0.0), (r, r * 0.6), (r * 0.92, r * 0.6), (0.0, r * 0.25)),
        material,
    )
    if fruit:
        ball = ((0.0, 0.0), (0.032, 0.012), (0.04, 0.04), (0.032, 0.068), (0.0, 0.08))
        for i, color in enumerate(
            ((0.85, 0.2, 0.15), (0.95, 0.6, 0.15), (0.5, 0.7, 0.2), (0.9, 0.75, 0.2))
        ):
            a = i * math.pi / 2
            b.add_lathe(
                (math.cos(a) * r * 0.4, r * 0.35, math.sin(a) * r * 0.4),
                ball,
                b.add_material(color),
                segments=8,
            )


def add_plate(k: HouseStyle) -> None:
    """Draw a plate with a darker well."""
    k.builder.add_lathe(
        (0, 0, 0), ((0.0, 0.0), (0.08, 0.0), (0.125, 0.015), (0.08, 0.008)), k.ceramic
    )
    k.builder.add_cylinder((0, 0.004, 0), 0.078, 0.003, k.ceramic_in)


def add_book_pile(k: HouseStyle, count: int) -> None:
    """Draw a small pile of books."""
    for i in range(count):
        w, d = 0.1 - 0.012 * i, 0.14 - 0.012 * i
        k.builder.add_box(
            (-w, 0.03 * i, -d), (w - 0.006, 0.03 * i + 0.028, d), k.add_accent_material()
        )


def add_laptop(k: HouseStyle) -> None:
    """Draw an open laptop facing +z."""
    b = k.builder
    b.add_box((-0.17, 0.0, -0.1), (0.17, 0.018, 0.13), k.steel)
    add_flat_image(k, 0.3, 0.12, 0.019, k.add_image_material("keys"))
    b.add_quad(
        ((-0.17, 0.018, -0.1), (0.17, 0.018, -0.1), (0.17, 0.23, -0.17), (-0.17, 0.23, -0.17)),
        k.add_image_material("desktop", 4),
        UNIT,
    )
    b.add_quad(
        (
            (0.17, 0.018, -0.104),
            (-0.17, 0.018, -0.104),
            (-0.17, 0.23, -0.174),
            (0.17, 0.23, -0.174),
        ),
        k.steel,
        UNIT,
    )


def add_kettle(k: HouseStyle) -> None:
    """Draw a kettle."""
    b = k.builder
    b.add_lathe(
        (0, 0, 0), ((0.0, 0.0), (0.09, 0.0), (0.07, 0.17), (0.03, 0.2), (0.0, 0.21)), k.chrome
    )
    b.add_box((0.07, 0.05, -0.012), (0.13, 0.19, 0.012), k.black)
    b.add_box((-0.13, 0.13, -0.015), (-0.06, 0.17, 0.015), k.chrome)


def add_toaster(k: HouseStyle, material: int) -> None:
    """Draw a toaster."""
    b = k.builder
    b.add_beveled_box((-0.14, 0.0, -0.09), (0.14, 0.19, 0.09), material, 0.03)
    for z in (-0.045, 0.02):
        b.add_box((-0.1, 0.188, z), (0.1, 0.192, z + 0.025), k.black)


def add_basket(k: HouseStyle, r: float, h: float, material: int, full: bool) -> None:
    """Draw a bin or a laundry basket; axis at z = r."""
    b = k.builder
    b.add_lathe(
        (0, 0, r),
        ((0.0, 0.0), (r * 0.8, 0.0), (r, h), (r * 0.92, h), (r * 0.8, 0.05), (0.0, 0.05)),
        material,
    )
    if full:
        b.add_beveled_box(
            (-r * 0.6, h * 0.6, r * 0.5),
            (r * 0.6, h * 1.1, r * 1.5),
            k.add_accent_material("fabric", 0.06),
            0.06,
        )


def add_clock(k: HouseStyle, r: float) -> None:
    """Draw a wall clock (stacked bars make the disc), centred on the origin."""
    b = k.builder
    for ring, material, z in ((r, k.black, 0.03), (r * 0.9, k.white, 0.034)):
        for i in range(9):
            y0, y1 = (-1 + i / 4.5) * ring, (-1 + (i + 1) / 4.5) * ring
            half = math.sqrt(max(ring * ring - ((y0 + y1) / 2) ** 2, 0))
            b.add_box((-half, y0, 0.0), (half, y1, z), material)
    b.add_box((-0.008, 0.0, 0.03), (0.008, r * 0.7, 0.04), k.black)
    b.add_box((0.0, -0.008, 0.03), (r * 0.5, 0.008, 0.04), k.black)


def add_clothes(k: HouseStyle, w: float, count: int) -> None:
    """Draw shirts and coats on hangers along a rail at y = 0, hanging down from it."""
    b, rng = k.builder, k.rng
    for i in range(count):
        x = -w / 2 + (i + 0.5) * w / count
        length = rng.uniform(0.65, 1.0)
        material = k.add_fabric_material(("accents", "fabrics", "walls")[int(rng.integers(3))])
        b.add_beveled_box((x - 0.022, -length, -0.2), (x + 0.022, -0.1, 0.2), material, 0.015)
        b.add_box((x - 0.006, -0.1, -0.008), (x + 0.006, 0.02, 0.008), k.steel)


def add_fireplace(k: HouseStyle, w: float, h: float, d: float, stone: int) -> None:
    """Draw a fireplace: surround, mantel, hearth, fire and chimney breast."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (-w * 0.28, h, d), stone)
    b.add_box((w * 0.28, 0.0, 0.0), (w / 2, h, d), stone)
    b.add_box((-w * 0.28, h * 0.68, 0.0), (w * 0.28, h, d), stone)
    b.add_box((-w / 2 - 0.06, h, 0.0), (w / 2 + 0.06, h + 0.07, d + 0.08), k.wood)
    b.add_box((-w * 0.28, 0.0, 0.0), (w * 0.28, h * 0.68, 0.05), k.black)
    add_front_image(k, -w * 0.22, w * 0.22, 0.1, h * 0.6, d * 0.4, k.add_image_material("fire", 3))
    for i in range(3):
        b.add_box(
            (-w * 0.2, 0.02 + 0.05 * i, d * 0.35 + 0.05 * i),
            (w * 0.2, 0.08 + 0.05 * i, d * 0.5 + 0.05 * i),
            k.dark,
        )


def add_whiteboard(k: HouseStyle, w: float, h: float) -> None:
    """Draw a written-on board, centred on the origin."""
    k.builder.add_box((-w / 2, -h / 2, 0.0), (w / 2, h / 2, 0.02), k.steel)
    add_front_image(
        k,
        -w / 2 + 0.02,
        w / 2 - 0.02,
        -h / 2 + 0.02,
        h / 2 - 0.02,
        0.022,
        k.add_image_material("board", 6),
    )
    k.builder.add_box((-w / 3, -h / 2, 0.0), (w / 3, -h / 2 + 0.02, 0.07), k.steel)


def add_yoga_ball(k: HouseStyle, r: float, material: int) -> None:
    """Draw an exercise ball; axis at z = r."""
    ring = tuple(
        (r * math.sin(math.pi * i / 8), r - r * math.cos(math.pi * i / 8)) for i in range(9)
    )
    k.builder.add_lathe((0, 0, r), ring, material, segments=16)
