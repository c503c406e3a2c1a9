"""Kitchen, bathroom and laundry fixtures, built from parts (frame as in sitting.py)."""

from __future__ import annotations

from embodied.simulators.houses.sitting import add_legs
from embodied.simulators.houses.storage import add_doors, add_drawers
from embodied.simulators.houses.style import HouseStyle


def add_counter(k: HouseStyle, w: float, d: float, h: float, front: int) -> None:
    """Draw base cabinets under a worktop with a splash-back edge."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.1, d - 0.08), k.black)
    b.add_box((-w / 2, 0.1, 0.0), (w / 2, h - 0.04, d - 0.04), front)
    b.add_box((-w / 2, h - 0.04, 0.0), (w / 2, h, d), k.stone)
    b.add_box((-w / 2, h, 0.0), (w / 2, h + 0.1, 0.02), k.stone)
    cols = max(1, round(w / 0.5))
    add_doors(k, -w / 2, w / 2, 0.11, h - 0.22, d - 0.04, cols, front, h - 0.32)
    add_drawers(k, -w / 2, w / 2, h - 0.21, h - 0.05, d - 0.04, 1, cols, front)


def add_wall_cabinet(k: HouseStyle, w: float, d: float, h: float, front: int) -> None:
    """Draw a hanging cabinet, its bottom at y = 0."""
    k.builder.add_box((-w / 2, 0.0, 0.0), (w / 2, h, d - 0.02), front)
    add_doors(k, -w / 2, w / 2, 0.0, h, d - 0.02, max(1, round(w / 0.45)), front, 0.14)


def add_basin(k: HouseStyle, w: float, d: float, material: int) -> None:
    """Draw a sunken basin seen from above (rim, shaded bowl) with a tap; y = 0 is the worktop."""
    b, rim = k.builder, 0.03
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.012, rim), material)
    b.add_box((-w / 2, 0.0, d - rim), (w / 2, 0.012, d), material)
    for x in (-w / 2, w / 2 - rim):
        b.add_box((x, 0.0, rim), (x + rim, 0.012, d - rim), material)
    b.add_box((-w / 2 + rim, 0.001, rim), (w / 2 - rim, 0.004, d - rim), k.gray)
    b.add_cylinder((0.0, 0.004, d / 2), 0.03, 0.004, k.black, 8)
    add_tap(k, -0.02)


def add_tap(k: HouseStyle, z: float) -> None:
    """Draw a mixer tap standing at depth `z` on y = 0."""
    b = k.builder
    b.add_cylinder((0.0, 0.0, z), 0.022, 0.24, k.chrome, 8)
    b.add_box((-0.014, 0.22, z), (0.014, 0.245, z + 0.18), k.chrome)
    b.add_box((-0.012, 0.19, z + 0.155), (0.012, 0.22, z + 0.18), k.chrome)
    b.add_box((0.02, 0.1, z - 0.01), (0.08, 0.115, z + 0.01), k.chrome)


def add_stove(k: HouseStyle, w: float, d: float, h: float) -> None:
    """Draw a cooker: oven door with window and handle, knobs, four plates."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, h - 0.02, d - 0.03), k.steel)
    b.add_box((-w / 2, h - 0.02, 0.0), (w / 2, h, d), k.black)
    b.add_box((-w / 2 + 0.02, 0.14, d - 0.03), (w / 2 - 0.02, h - 0.16, d - 0.01), k.steel)
    b.add_box((-w / 2 + 0.08, 0.26, d - 0.012), (w / 2 - 0.08, h - 0.3, d - 0.004), k.black)
    b.add_box((-w / 2 + 0.06, h - 0.23, d - 0.01), (w / 2 - 0.06, h - 0.2, d + 0.03), k.chrome)
    for i in range(5):
        x = (i - 2) * w / 6
        b.add_box((x - 0.018, h - 0.12, d - 0.03), (x + 0.018, h - 0.08, d + 0.01), k.black)
    for x in (-w / 4, w / 4):
        for z, r in ((d * 0.3, 0.08), (d * 0.72, 0.1)):
            b.add_cylinder((x, h, z), r, 0.012, k.gray, 12)


def add_range_hood(k: HouseStyle, w: float, d: float) -> None:
    """Draw an extractor hood, its lower edge at y = 0."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.08, d), k.steel)
    b.add_box((-w / 4, 0.08, 0.0), (w / 4, 0.85, d * 0.55), k.steel)


def add_refrigerator(k: HouseStyle, w: float, d: float, h: float, body: int) -> None:
    """Draw a fridge-freezer with two doors and long handles."""
    b = k.builder
    b.add_box((-w / 2, 0.03, 0.0), (w / 2, h, d - 0.06), body)
    for y0, y1, grip in (
        (0.05, h * 0.36, (h * 0.2, h * 0.34)),
        (h * 0.37, h - 0.01, (h * 0.4, h * 0.62)),
    ):
        b.add_beveled_box((-w / 2, y0, d - 0.06), (w / 2, y1, d), body, 0.015)
        b.add_box((w / 2 - 0.09, grip[0], d), (w / 2 - 0.06, grip[1], d + 0.04), k.chrome)
    b.add_box((-w / 2 + 0.02, 0.0, 0.05), (w / 2 - 0.02, 0.03, d - 0.1), k.black)


def add_microwave(k: HouseStyle, w: float, d: float, h: float) -> None:
    """Draw a microwave oven."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, h, d - 0.01), k.steel)
    b.add_box((-w / 2 + 0.03, 0.03, d - 0.01), (w / 2 - 0.14, h - 0.03, d), k.black)
    b.add_box((w / 2 - 0.12, 0.03, d - 0.01), (w / 2 - 0.02, h - 0.03, d - 0.005), k.gray)
    b.add_box((w / 2 - 0.15, 0.04, d - 0.01), (w / 2 - 0.13, h - 0.04, d + 0.03), k.chrome)


def add_front_loader(k: HouseStyle, w: float, d: float, h: float, body: int) -> None:
    """Draw a washing machine or dryer: round door (stacked bars), panel and dial."""
    b = k.builder
    b.add_beveled_box((-w / 2, 0.02, 0.0), (w / 2, h, d - 0.02), body, 0.015)
    b.add_box((-w / 2 + 0.02, h - 0.13, d - 0.02), (w / 2 - 0.02, h - 0.02, d - 0.008), k.gray)
    b.add_box((w * 0.2, h - 0.1, d - 0.01), (w * 0.3, h - 0.04, d + 0.015), k.chrome)
    b.add_box((-w * 0.4, h - 0.1, d - 0.01), (-w * 0.1, h - 0.05, d), k.black)
    center, r = h * 0.44, min(w * 0.36, 0.22)
    for ring, material, z in (
        (r, k.chrome, 0.0),
        (r * 0.78, k.black, 0.012),
        (r * 0.5, k.water, 0.02),
    ):
        for i in range(8):
            y0, y1 = (-1 + 0.25 * i) * ring, (-1 + 0.25 * (i + 1)) * ring
            half = (ring * ring - ((y0 + y1) / 2) ** 2) ** 0.5
            b.add_box((-half, center + y0, d - 0.025), (half, center + y1, d - 0.01 + z), material)


def add_toilet(k: HouseStyle) -> None:
    """Draw a toilet: tank, bowl, seat and lid against the tank (0.4 x 0.68 m)."""
    b = k.builder
    b.add_beveled_box((-0.2, 0.38, 0.0), (0.2, 0.78, 0.19), k.ceramic, 0.03)
    b.add_box((-0.21, 0.78, 0.0), (0.21, 0.81, 0.2), k.ceramic)
    b.add_box((-0.03, 0.81, 0.08), (0.03, 0.82, 0.12), k.chrome)
    profile = ((0.0, 0.0), (0.13, 0.0), (0.11, 0.12), (0.15, 0.28), (0.19, 0.4), (0.19, 0.42))
    b.add_lathe((0.0, 0.0, 0.44), profile, k.ceramic, (1.0, 1.25), 14)
    seat = ((0.19, 0.0), (0.195, 0.02), (0.11, 0.025), (0.08, -0.06), (0.0, -0.08))
    b.add_lathe((0.0, 0.42, 0.44), seat, k.ceramic_in, (1.0, 1.25), 14)
    b.add_box((-0.1, 0.0, 0.05), (0.1, 0.4, 0.4), k.ceramic)
    b.add_beveled_box((-0.18, 0.44, 0.19), (0.18, 0.84, 0.225), k.ceramic, 0.015)


def add_washstand(k: HouseStyle, w: float, d: float, front: int) -> None:
    """Draw a bathroom vanity: cabinet and top; the basin is an object of its own."""
    b = k.builder
    add_legs(k, w, d, 0.15, 0.05, front)
    b.add_box((-w / 2, 0.14, 0.0), (w / 2, 0.78, d - 0.03), front)
    b.add_box((-w / 2 - 0.01, 0.78, 0.0), (w / 2 + 0.01, 0.82, d), k.stone)
    add_doors(k, -w / 2, w / 2, 0.15, 0.77, d - 0.03, 2, front)


def add_bowl_sink(k: HouseStyle, w: float, d: float) -> None:
    """Draw a raised oval basin with a tap, standing on y = 0."""
    profile = (
        (w * 0.32, 0.0),
        (w * 0.48, 0.11),
        (w * 0.5, 0.13),
        (w * 0.45, 0.13),
        (w * 0.3, 0.04),
        (0.0, 0.03),
    )
    k.builder.add_lathe((0.0, 0.0, d / 2), profile, k.ceramic, (1.0, d / w), 14)
    add_tap(k, 0.02)


def add_bathtub(k: HouseStyle, w: float, d: float, h: float) -> None:
    """Draw a bathtub with water-coloured inside and a tap at one end."""
    b, rim = k.builder, 0.08
    b.add_box((-w / 2, 0.0, 0.0), (-w / 2 + rim + 0.04, h, d), k.ceramic)
    b.add_box((w / 2 - rim - 0.04, 0.0, 0.0), (w / 2, h, d), k.ceramic)
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, h, rim), k.ceramic)
    b.add_box((-w / 2, 0.0, d - rim), (w / 2, h, d), k.ceramic)
    b.add_box((-w / 2 + rim, 0.05, rim), (w / 2 - rim, 0.3, d - rim), k.water)
    b.add_box((-w / 2 - 0.005, h - 0.03, -0.0), (w / 2 + 0.005, h + 0.005, rim), k.ceramic)
    b.add_box((-w / 2 + 0.02, h, d / 2 - 0.02), (-w / 2 + 0.05, h + 0.14, d / 2 + 0.02), k.chrome)
    b.add_box(
        (-w / 2 + 0.02, h + 0.12, d / 2 - 0.02), (-w / 2 + 0.2, h + 0.15, d / 2 + 0.02), k.chrome
    )


def add_shower(k: HouseStyle, w: float, d: float) -> None:
    """Draw a shower in a corner: tray, rail-framed low glass, pipe and head."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.12, d), k.ceramic)
    b.add_box((-w / 2 + 0.05, 0.12, 0.05), (w / 2 - 0.05, 0.125, d - 0.05), k.water)
    b.add_box((-0.015, 0.9, 0.01), (0.015, 2.1, 0.04), k.chrome)
    b.add_box((-0.015, 2.07, 0.01), (0.015, 2.1, 0.34), k.chrome)
    b.add_cylinder((0.0, 2.03, 0.32), 0.11, 0.03, k.chrome, 12)
    b.add_box((-0.09, 1.05, 0.01), (0.09, 1.1, 0.06), k.chrome)
    for x in (-w / 2, w / 2 - 0.025):
        b.add_box((x, 0.12, d - 0.025), (x + 0.025, 1.95, d), k.chrome)
    b.add_box((-w / 2, 1.93, d - 0.025), (w / 2, 1.96, d), k.chrome)
    b.add_box((-w / 2 + 0.02, 0.14, d - 0.018), (-w * 0.05, 1.93, d - 0.008), k.glass)


def add_towel(k: HouseStyle, w: float, material: int) -> None:
    """Draw a towel hung over a bar; y = 0 is its lower edge, the bar at 0.6 m."""
    b = k.builder
    b.add_box((-w / 2 - 0.06, 0.58, 0.05), (w / 2 + 0.06, 0.6, 0.07), k.chrome)
    for x in (-w / 2 - 0.06, w / 2 + 0.04):
        b.add_box((x, 0.57, 0.0), (x + 0.02, 0.61, 0.07), k.chrome)
    b.add_beveled_box((-w / 2, 0.0, 0.065), (w / 2, 0.61, 0.09), material, 0.012)
    b.add_beveled_box((-w / 2, 0.18, 0.02), (w / 2, 0.61, 0.05), material, 0.012)
    b.add_box((-w / 2, 0.08, 0.09), (w / 2, 0.13, 0.093), k.linen)
