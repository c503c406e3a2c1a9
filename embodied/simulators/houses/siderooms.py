"""What stands where in gyms, hallways and closets."""

from __future__ import annotations

from embodied.simulators.houses import decor, sitting, storage, wet
from embodied.simulators.houses.furnish import Furnisher


def gym(f: Furnisher) -> None:
    """Treadmill, bike, weights, mat, ball and a large mirror."""
    k = f.look
    if f.stand("gym_equipment", "treadmill", 0.8, 1.75, 1.4, front=0.3):
        storage.treadmill(k, 0.8, 1.75)
    if f.stand("gym_equipment", "exercise bike", 0.55, 1.15, 1.1):
        storage.exercise_bike(k, 0.55, 1.15)
    if f.stand("gym_equipment", "dumbbell rack", 1.1, 0.42, 0.8):
        storage.dumbbells(k, 1.1, 0.42)
    if f.stand("gym_equipment", "exercise ball", 0.66, 0.66, 0.66, corner=1.0):
        decor.yoga_ball(k, 0.32, k.accent())
    if f.stand("seating", "bench", 1.1, 0.42, 0.48):
        sitting.bench(k, 1.1, 0.42, k.dark, k.black)
    if f.hang("mirror", "mirror", 1.5, 0.5, 2.0):
        decor.mirror(k, 1.5, 1.5, k.steel)
    if f.hang("towel", "towel", 0.6, 0.8, 1.45, origin=0.8):
        wet.towel(k, 0.45, k.accent("fabric", 0.06))
    f.pictures(1)
    f.dress_windows("blinds")
    f.ceiling_lamp()


def hallway(f: Furnisher) -> None:
    """Shoe cabinet with mirror, coats on hooks, pictures; kept narrow."""
    k = f.look
    if f.chance(0.8) and (spot := f.stand("cabinet", "shoe cabinet", 0.9, 0.26, 0.85)):
        storage.sideboard(k, 0.9, 0.26, 0.85, k.wood, k.front)
        f.on(spot, "objects", "vase", 0.25, 0.85, 0.13)
        decor.vase(k, 0.2, k.accent(), True)
        if f.hang("mirror", "mirror", 0.6, 1.1, 1.9, above=spot):
            decor.mirror(k, 0.55, 0.8, k.dark)
    if f.hang("clothes", "coats", 0.9, 0.9, 1.85, origin=1.8):
        coat_rack(f, 0.9)
    if f.chance(0.5) and f.stand("plant", "potted plant", 0.32, 0.32, 0.9, corner=2.0, gap=0.05):
        decor.plant(k, 0.32, 0.9)
    f.pictures(int(f.rng.integers(2, 5)))
    f.dress_windows("curtain")
    f.ceiling_lamp()


def coat_rack(f: Furnisher, w: float) -> None:
    """Draw coats hanging from a wall board at y = 0."""
    k, b = f.look, f.builder
    b.box((-w / 2, -0.05, 0.0), (w / 2, 0.05, 0.02), k.wood)
    for i in range(3):
        x = (i - 1) * w * 0.32
        b.box((x - 0.01, -0.02, 0.0), (x + 0.01, 0.02, 0.08), k.metal)
        material = k.fabric("accents" if i % 2 else "fabrics")
        b.soft((x - 0.13, -0.85, 0.02), (x + 0.13, -0.04, 0.15), material, 0.05)
        for side in (-1, 1):
            b.soft(
                (x + side * 0.15 - 0.05, -0.6, 0.03),
                (x + side * 0.15 + 0.05, -0.1, 0.13),
                material,
                0.04,
            )


def closet(f: Furnisher) -> None:
    """Open rails of clothes and shelves of boxes."""
    k = f.look
    for w in (1.5, 1.1):
        if spot := f.stand("furniture", "clothes rail", w, 0.5, 1.75):
            for x in (-w / 2, w / 2 - 0.03):
                f.builder.box((x, 0.0, 0.23), (x + 0.03, 1.7, 0.26), k.steel)
                f.builder.box((x, 0.0, 0.05), (x + 0.03, 0.03, 0.45), k.steel)
            f.builder.box((-w / 2, 1.67, 0.235), (w / 2, 1.7, 0.255), k.steel)
            f.on(spot, "clothes", "clothes", 0.0, 1.66, 0.25)
            decor.clothes(k, w - 0.1, int(w / 0.1))
    if spot := f.stand("shelving", "shelf", 1.0, 0.4, 1.8):
        for y in storage.shelf_frame(k, 1.0, 0.4, 1.8, 5, k.wood)[:-1]:
            for x in (-0.3, 0.02, 0.32):
                if f.chance(0.75):
                    f.on(spot, "objects", "box", x, y, 0.05)
                    f.builder.box((-0.13, 0.0, 0.0), (0.13, f.between(0.14, 0.3), 0.3), k.accent())
    if f.chance(0.5) and f.stand("stool", "stool", 0.4, 0.4, 0.46):
        sitting.stool(k, 0.38, 0.46, k.wood, k.wood)
    f.dress_windows("blinds")
    f.ceiling_lamp()
