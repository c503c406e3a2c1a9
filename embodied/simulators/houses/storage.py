"""Tables, cabinets, shelves and desks, built from parts (frame as in sitting.py)."""

from __future__ import annotations

from embodied.simulators.houses.sitting import add_legs
from embodied.simulators.houses.style import HouseStyle


def add_table(k: HouseStyle, w: float, d: float, h: float, top: int, leg: int) -> None:
    """Draw a four-legged table."""
    add_legs(k, w, d, h - 0.04, 0.06, leg, 0.03)
    k.builder.add_box((-w / 2 + 0.05, h - 0.12, 0.05), (w / 2 - 0.05, h - 0.035, d - 0.05), leg)
    k.builder.add_box((-w / 2, h - 0.04, 0.0), (w / 2, h, d), top)


def add_round_table(k: HouseStyle, w: float, h: float, top: int, leg: int) -> None:
    """Draw a round table on a turned column."""
    r = w / 2
    k.builder.add_lathe(
        (0.0, 0.0, r), ((r * 0.5, 0.0), (r * 0.45, 0.04), (0.05, 0.07), (0.045, h - 0.04)), leg
    )
    k.builder.add_lathe(
        (0.0, h - 0.04, r), ((0.0, 0.0), (r, 0.0), (r, 0.04), (0.0, 0.04)), top, segments=20
    )


def add_desk(k: HouseStyle, w: float, d: float, h: float, top: int, body: int) -> None:
    """Draw a desk with a drawer block on one side."""
    b = k.builder
    b.add_box((-w / 2, h - 0.04, 0.0), (w / 2, h, d), top)
    b.add_box((-w / 2 + 0.02, 0.0, 0.03), (-w / 2 + 0.06, h - 0.04, d - 0.03), body)
    b.add_box((w / 2 - 0.44, 0.06, 0.03), (w / 2 - 0.02, h - 0.04, d - 0.04), body)
    b.add_box((-w / 2 + 0.06, 0.25, 0.03), (w / 2 - 0.44, h - 0.04, 0.05), body)
    add_drawers(k, w / 2 - 0.44, w / 2 - 0.02, 0.06, h - 0.05, d - 0.04, 3, 1, top)


def add_drawers(
    k: HouseStyle,
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z: float,
    rows: int,
    cols: int,
    front: int,
) -> None:
    """Add a grid of drawer fronts with handles on the plane at `z`."""
    b, dx, dy = k.builder, (x1 - x0) / cols, (y1 - y0) / rows
    for row in range(rows):
        for col in range(cols):
            a, c = x0 + col * dx, y0 + row * dy
            b.add_box((a + 0.008, c + 0.008, z), (a + dx - 0.008, c + dy - 0.008, z + 0.018), front)
            middle, grip = a + dx / 2, min(0.07, dx * 0.25)
            y = c + dy * 0.62
            b.add_box((middle - grip, y, z + 0.018), (middle + grip, y + 0.016, z + 0.04), k.metal)


def add_doors(
    k: HouseStyle, x0: float, x1: float, y0: float, y1: float, z: float, cols: int, front: int,
    handle_y: float | None = None,
) -> None:  # fmt: skip
    """Add a row of cabinet doors with a raised panel and handles on the plane at `z`."""
    b, dx = k.builder, (x1 - x0) / cols
    middle = (y0 + y1) / 2 if handle_y is None else handle_y
    for col in range(cols):
        a = x0 + col * dx
        b.add_box((a + 0.006, y0 + 0.006, z), (a + dx - 0.006, y1 - 0.006, z + 0.018), front)
        rim = min(0.07, dx * 0.2)
        b.add_box((a + rim, y0 + rim, z + 0.018), (a + dx - rim, y1 - rim, z + 0.026), front)
        x = a + dx - 0.05 if col % 2 == 0 else a + 0.035
        b.add_box((x, middle - 0.07, z + 0.018), (x + 0.016, middle + 0.07, z + 0.05), k.metal)


def add_drawer_chest(
    k: HouseStyle, w: float, d: float, h: float, body: int, front: int, rows: int, cols: int
) -> None:
    """Draw a chest of drawers or a nightstand on short legs."""
    add_legs(k, w, d, 0.1, 0.05, body)
    k.builder.add_box((-w / 2, 0.08, 0.0), (w / 2, h - 0.025, d - 0.02), body)
    k.builder.add_box((-w / 2 - 0.01, h - 0.025, 0.0), (w / 2 + 0.01, h, d), body)
    add_drawers(k, -w / 2, w / 2, 0.1, h - 0.03, d - 0.02, rows, cols, front)


def add_sideboard(k: HouseStyle, w: float, d: float, h: float, body: int, front: int) -> None:
    """Draw a low cabinet with doors and a row of drawers."""
    add_legs(k, w, d, 0.12, 0.05, body)
    k.builder.add_box((-w / 2, 0.1, 0.0), (w / 2, h, d - 0.02), body)
    cols = max(2, round(w / 0.5))
    add_doors(k, -w / 2, w / 2, 0.12, h * 0.7, d - 0.02, cols, front)
    add_drawers(k, -w / 2, w / 2, h * 0.7, h - 0.02, d - 0.02, 1, cols, front)


def add_tv_stand(k: HouseStyle, w: float, d: float, h: float, body: int, front: int) -> None:
    """Draw a media console: doors at the sides, open shelves in the middle."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.06, d - 0.03), body)
    b.add_box((-w / 2, h - 0.035, 0.0), (w / 2, h, d), body)
    b.add_box((-w / 2, 0.06, 0.0), (w / 2, h - 0.035, 0.02), k.black)
    for a, c in ((-w / 2, -w / 6), (w / 6, w / 2)):
        b.add_box((a, 0.06, 0.0), (c, h - 0.035, d - 0.03), body)
        add_doors(k, a, c, 0.06, h - 0.035, d - 0.03, 1, front)
    b.add_box((-w / 6, h * 0.5, 0.02), (w / 6, h * 0.5 + 0.02, d - 0.05), body)
    b.add_box((-w / 8, 0.06, 0.08), (w / 8, 0.13, d - 0.08), k.black)


def add_wardrobe(k: HouseStyle, w: float, d: float, h: float, body: int, front: int) -> None:
    """Draw a tall cabinet with doors over drawers."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, h, d - 0.02), body)
    b.add_box((-w / 2 - 0.02, h, 0.0), (w / 2 + 0.02, h + 0.05, d + 0.01), body)
    cols = max(2, round(w / 0.5))
    add_drawers(k, -w / 2, w / 2, 0.08, 0.36, d - 0.02, 1, max(1, cols // 2), front)
    add_doors(k, -w / 2, w / 2, 0.37, h - 0.02, d - 0.02, cols, front)


def add_shelf_frame(
    k: HouseStyle, w: float, d: float, h: float, boards: int, body: int
) -> list[float]:
    """Draw an open shelf and return the height of each board's top."""
    b = k.builder
    for x in (-w / 2, w / 2 - 0.025):
        b.add_box((x, 0.0, 0.0), (x + 0.025, h, d), body)
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, h, 0.012), body)
    tops = []
    for i in range(boards):
        y = 0.06 + (h - 0.085) * i / (boards - 1)
        b.add_box((-w / 2 + 0.025, y, 0.012), (w / 2 - 0.025, y + 0.025, d), body)
        tops.append(y + 0.025)
    return tops


def add_books(
    k: HouseStyle, x0: float, x1: float, depth: float, height: float, material: int, shift: float
) -> None:
    """Draw a run of books standing on y = 0 with spines to the front, coloured by one texture."""
    b = k.builder
    u0, u1 = shift, shift + (x1 - x0) / 0.9
    b.add_quad(((x0, 0, depth), (x1, 0, depth), (x1, height, depth), (x0, height, depth)), material,
           ((u0, 0), (u1, 0), (u1, 1), (u0, 1)))  # fmt: skip
    b.add_quad(
        ((x0, height, depth), (x1, height, depth), (x1, height, 0), (x0, height, 0)),
        k.linen,
        ((0, 0), (1, 0), (1, 1), (0, 1)),
    )
    for x, y in ((x1, u1), (x0, u0)):
        right = x == x1
        a, c = (depth, 0.0) if right else (0.0, depth)
        b.add_quad(((x, 0, a), (x, 0, c), (x, height, c), (x, height, a)), material,
               ((y, 0), (y + 0.01, 0), (y + 0.01, 1), (y, 1)))  # fmt: skip


def add_treadmill(k: HouseStyle, w: float, d: float) -> None:
    """Draw a treadmill: belt, rails and a console."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 0.14, d), k.black)
    b.add_box((-w / 2 + 0.1, 0.14, 0.25), (w / 2 - 0.1, 0.155, d - 0.04), k.gray)
    for x in (-w / 2 + 0.02, w / 2 - 0.08):
        b.add_box((x, 0.1, 0.12), (x + 0.06, 1.25, 0.2), k.steel)
        b.add_box((x, 0.9, 0.12), (x + 0.06, 0.96, 0.8), k.black)
    b.add_box((-w / 2, 1.15, 0.04), (w / 2, 1.42, 0.14), k.black)
    b.add_box((-w / 5, 1.2, 0.135), (w / 5, 1.36, 0.15), k.water)


def add_exercise_bike(k: HouseStyle, w: float, d: float) -> None:
    """Draw a stationary bike: flywheel (stacked bars), saddle and handlebar."""
    b = k.builder
    for z in (0.05, d - 0.13):
        b.add_box((-w / 2, 0.0, z), (w / 2, 0.07, z + 0.08), k.black)
    b.add_box((-0.04, 0.05, 0.05), (0.04, 0.14, d - 0.05), k.steel)
    wheel = k.add_accent_material()
    for y, half in (
        (0.16, 0.16),
        (0.24, 0.23),
        (0.32, 0.26),
        (0.4, 0.26),
        (0.48, 0.23),
        (0.56, 0.16),
    ):
        b.add_box((-0.05, y, 0.32 - half), (0.05, y + 0.08, 0.32 + half), wheel)
    b.add_box((-0.03, 0.1, d - 0.38), (0.03, 0.8, d - 0.32), k.steel)
    b.add_beveled_box((-0.12, 0.8, d - 0.48), (0.12, 0.88, d - 0.2), k.black, 0.04)
    b.add_box((-0.03, 0.5, 0.28), (0.03, 1.05, 0.34), k.steel)
    b.add_box((-w / 2 + 0.02, 1.03, 0.24), (w / 2 - 0.02, 1.08, 0.34), k.black)


def add_dumbbells(k: HouseStyle, w: float, d: float) -> None:
    """Draw a two-level rack of dumbbells."""
    b = k.builder
    for y in (0.25, 0.65):
        b.add_box((-w / 2, y, 0.04), (w / 2, y + 0.04, d), k.gray)
        count = int(w / 0.24)
        for i in range(count):
            x = -w / 2 + (i + 0.5) * w / count
            b.add_box((x - 0.02, y + 0.07, 0.1), (x + 0.02, y + 0.1, d - 0.04), k.steel)
            for z in (0.06, d - 0.14):
                b.add_cylinder((x, y + 0.04, z + 0.05), 0.07, 0.12, k.black, 8)
    for x in (-w / 2, w / 2 - 0.05):
        b.add_box((x, 0.0, 0.0), (x + 0.05, 0.72, 0.06), k.gray)
        b.add_box((x, 0.0, 0.0), (x + 0.05, 0.05, d), k.gray)
