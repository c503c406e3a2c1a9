"""Sofas, chairs, beds and what lies on them, built from parts.

Every function draws into the current object's frame: x in [-w/2, w/2], floor at y = 0, back at
z = 0, front at z = d.
"""

from __future__ import annotations

from embodied.simulators.houses.style import HouseStyle


def add_legs(
    k: HouseStyle, w: float, d: float, h: float, size: float, material: int, inset: float = 0.02
) -> None:
    """Add four square legs."""
    for x in (-w / 2 + inset, w / 2 - inset - size):
        for z in (inset, d - inset - size):
            k.builder.add_box((x, 0.0, z), (x + size, h, z + size), material)


def add_sofa(k: HouseStyle, w: float, d: float, h: float, fabric: int) -> None:
    """Draw a sofa or, when narrow, an armchair: base, arms, back and one seat cushion per place."""
    b, arm = k.builder, 0.17 if w > 1.2 else 0.14
    add_legs(k, w, d, 0.1, 0.06, k.dark, 0.05)
    b.add_box((-w / 2 + 0.02, 0.1, 0.03), (w / 2 - 0.02, 0.28, d - 0.03), fabric)
    for x in (-w / 2, w / 2 - arm):
        b.add_beveled_box((x, 0.09, 0.0), (x + arm, 0.6, d), fabric, 0.05)
    b.add_beveled_box((-w / 2 + arm, 0.2, 0.0), (w / 2 - arm, h, 0.2), fabric, 0.06)
    seats = max(1, round((w - 2 * arm) / 0.68))
    step = (w - 2 * arm) / seats
    for s in range(seats):
        x = -w / 2 + arm + s * step
        b.add_beveled_box((x + 0.005, 0.28, 0.18), (x + step - 0.005, 0.46, d - 0.01), fabric, 0.05)
        b.add_beveled_box((x + 0.01, 0.44, 0.14), (x + step - 0.01, h + 0.03, 0.34), fabric, 0.06)


def add_cushion(k: HouseStyle, size: float, material: int) -> None:
    """Draw a throw cushion leaning back."""
    k.builder.add_beveled_box((-size / 2, 0.0, 0.0), (size / 2, size * 0.9, 0.13), material, 0.04)


def add_chair(
    k: HouseStyle, w: float, d: float, h: float, frame: int, seat: int, slats: bool
) -> None:
    """Draw a dining chair with a slatted or a solid back."""
    b = k.builder
    for x in (-w / 2, w / 2 - 0.04):
        b.add_box((x, 0.0, 0.0), (x + 0.04, h, 0.04), frame)
        b.add_box((x, 0.0, d - 0.04), (x + 0.04, 0.44, d), frame)
    b.add_beveled_box((-w / 2, 0.42, 0.0), (w / 2, 0.48, d), seat, 0.02)
    if slats:
        b.add_box((-w / 2 + 0.04, h - 0.08, 0.0), (w / 2 - 0.04, h, 0.03), frame)
        for s in range(3):
            x = (s - 1) * w * 0.22
            b.add_box((x - 0.02, 0.48, 0.005), (x + 0.02, h - 0.08, 0.025), frame)
    else:
        b.add_beveled_box((-w / 2 + 0.03, 0.58, 0.0), (w / 2 - 0.03, h + 0.02, 0.05), seat, 0.02)


def add_office_chair(k: HouseStyle, w: float, d: float, seat: int) -> None:
    """Draw a swivel chair on a five-armed base."""
    b = k.builder
    b.add_box((-w / 2 + 0.02, 0.04, d / 2 - 0.03), (w / 2 - 0.02, 0.1, d / 2 + 0.03), k.black)
    b.add_box((-0.03, 0.04, 0.02), (0.03, 0.1, d - 0.02), k.black)
    for x, z in ((-w / 2 + 0.04, d / 2), (w / 2 - 0.04, d / 2), (0.0, 0.04), (0.0, d - 0.04)):
        b.add_cylinder((x, 0.0, z), 0.03, 0.05, k.gray, 6)
    b.add_cylinder((0.0, 0.1, d / 2), 0.03, 0.32, k.steel, 8)
    b.add_beveled_box((-w / 2 + 0.02, 0.42, 0.04), (w / 2 - 0.02, 0.51, d - 0.02), seat, 0.04)
    b.add_beveled_box((-w / 2 + 0.05, 0.58, 0.0), (w / 2 - 0.05, 1.05, 0.07), seat, 0.03)
    b.add_box((-0.03, 0.45, 0.0), (0.03, 0.62, 0.03), k.black)
    for x in (-w / 2, w / 2 - 0.04):
        b.add_box((x, 0.64, 0.12), (x + 0.04, 0.68, d - 0.12), k.black)
        b.add_box((x, 0.46, 0.2), (x + 0.04, 0.64, 0.24), k.black)


def add_stool(k: HouseStyle, w: float, h: float, material: int, seat: int) -> None:
    """Draw a round stool on three or four legs."""
    b = k.builder
    for x in (-w * 0.32, w * 0.32):
        for z in (w * 0.18, w * 0.82):
            b.add_cylinder((x, 0.0, z), 0.018, h - 0.03, material, 6)
    if h > 0.55:
        b.add_lathe(
            (0.0, h * 0.35, w / 2), ((w * 0.4, 0.0), (w * 0.4, 0.02)), material, segments=10
        )
    r = w / 2
    pad = ((0.0, 0.0), (r, 0.0), (r, 0.035), (r * 0.88, 0.05), (0.0, 0.05))
    b.add_lathe((0.0, h - 0.05, r), pad, seat)


def add_bench(k: HouseStyle, w: float, d: float, material: int, seat: int) -> None:
    """Draw an upholstered bench."""
    add_legs(k, w, d, 0.38, 0.05, material)
    k.builder.add_beveled_box((-w / 2, 0.36, 0.0), (w / 2, 0.48, d), seat, 0.04)


def add_bed(k: HouseStyle, w: float, d: float, frame: int, cover: int, blanket: int) -> None:
    """Draw a bed with headboard, mattress, duvet and a folded blanket, without pillows."""
    b = k.builder
    b.add_box((-w / 2, 0.0, 0.0), (w / 2, 1.05, 0.06), frame)
    b.add_box((-w / 2 + 0.08, 0.62, 0.055), (w / 2 - 0.08, 0.98, 0.075), frame)
    b.add_box((-w / 2, 0.12, 0.06), (w / 2, 0.3, d), frame)
    add_legs(k, w, d, 0.12, 0.08, frame)
    b.add_beveled_box((-w / 2 + 0.02, 0.28, 0.07), (w / 2 - 0.02, 0.5, d - 0.02), k.linen, 0.05)
    b.add_beveled_box((-w / 2 - 0.01, 0.3, 0.62), (w / 2 + 0.01, 0.56, d + 0.01), cover, 0.06)
    b.add_beveled_box((-w / 2 - 0.01, 0.5, 0.52), (w / 2 + 0.01, 0.575, 0.78), k.linen, 0.03)
    b.add_beveled_box(
        (-w / 2 - 0.02, 0.32, d - 0.62), (w / 2 + 0.02, 0.58, d - 0.18), blanket, 0.05
    )


def add_pillow(k: HouseStyle, w: float, material: int) -> None:
    """Draw a bed pillow lying flat."""
    k.builder.add_beveled_box((-w / 2, 0.0, 0.0), (w / 2, 0.15, 0.4), material, 0.065)
