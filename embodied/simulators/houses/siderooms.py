"""What stands where in gyms, hallways and closets."""

from __future__ import annotations

from embodied.simulators.houses import decor, sitting, storage, wet
from embodied.simulators.houses.furnish import Furnisher


def furnish_gym(f: Furnisher) -> None:
    """Treadmill, bike, weights, mat, ball and a large mirror."""
    k = f.style
    if f.place_against_wall("gym_equipment", "treadmill", 0.8, 1.75, 1.4, front=0.3):
        storage.add_treadmill(k, 0.8, 1.75)
    if f.place_against_wall("gym_equipment", "exercise bike", 0.55, 1.15, 1.1):
        storage.add_exercise_bike(k, 0.55, 1.15)
    if f.place_against_wall("gym_equipment", "dumbbell rack", 1.1, 0.42, 0.8):
        storage.add_dumbbells(k, 1.1, 0.42)
    if f.place_against_wall("gym_equipment", "exercise ball", 0.66, 0.66, 0.66, corner=1.0):
        decor.add_yoga_ball(k, 0.32, k.add_accent_material())
    if f.place_against_wall("seating", "bench", 1.1, 0.42, 0.48):
        sitting.add_bench(k, 1.1, 0.42, k.dark, k.black)
    if f.hang_on_wall("mirror", "mirror", 1.5, 0.5, 2.0):
        decor.add_mirror(k, 1.5, 1.5, k.steel)
    if f.hang_on_wall("towel", "towel", 0.6, 0.8, 1.45, origin=0.8):
        wet.add_towel(k, 0.45, k.add_accent_material("fabric", 0.06))
    f.hang_pictures(1)
    f.dress_windows("blinds")
    f.hang_ceiling_lamp()


def furnish_hallway(f: Furnisher) -> None:
    """Shoe cabinet with mirror, coats on hooks, pictures; kept narrow."""
    k = f.style
    if f.sample_chance(0.8) and (
        spot := f.place_against_wall("cabinet", "shoe cabinet", 0.9, 0.26, 0.85)
    ):
        storage.add_sideboard(k, 0.9, 0.26, 0.85, k.wood, k.front)
        f.start_object_at(spot, "objects", "vase", 0.25, 0.85, 0.13)
        decor.add_vase(k, 0.2, k.add_accent_material(), True)
        if f.hang_on_wall("mirror", "mirror", 0.6, 1.1, 1.9, above=spot):
            decor.add_mirror(k, 0.55, 0.8, k.dark)
    if f.hang_on_wall("clothes", "coats", 0.9, 0.9, 1.85, origin=1.8):
        add_coat_rack(f, 0.9)
    if f.sample_chance(0.5) and f.place_against_wall(
        "plant", "potted plant", 0.32, 0.32, 0.9, corner=2.0, gap=0.05
    ):
        decor.add_plant(k, 0.32, 0.9)
    f.hang_pictures(int(f.rng.integers(2, 5)))
    f.dress_windows("curtain")
    f.hang_ceiling_lamp()


def add_coat_rack(f: Furnisher, w: float) -> None:
    """Draw coats hanging from a wall board at y = 0."""
    k, b = f.style, f.builder
    b.add_box((-w / 2, -0.05, 0.0), (w / 2, 0.05, 0.02), k.wood)
    for i in range(3):
        x = (i - 1) * w * 0.32
        b.add_box((x - 0.01, -0.02, 0.0), (x + 0.01, 0.02, 0.08), k.metal)
        material = k.add_fabric_material("accents" if i % 2 else "fabrics")
        b.add_beveled_box((x - 0.13, -0.85, 0.02), (x + 0.13, -0.04, 0.15), material, 0.05)
        for side in (-1, 1):
            b.add_beveled_box(
                (x + side * 0.15 - 0.05, -0.6, 0.03),
                (x + side * 0.15 + 0.05, -0.1, 0.13),
                material,
                0.04,
            )


def furnish_closet(f: Furnisher) -> None:
    """Open rails of clothes and shelves of boxes."""
    k = f.style
    for w in (1.5, 1.1):
        if spot := f.place_against_wall("furniture", "clothes rail", w, 0.5, 1.75):
            for x in (-w / 2, w / 2 - 0.03):
                f.builder.add_box((x, 0.0, 0.23), (x + 0.03, 1.7, 0.26), k.steel)
                f.builder.add_box((x, 0.0, 0.05), (x + 0.03, 0.03, 0.45), k.steel)
            f.builder.add_box((-w / 2, 1.67, 0.235), (w / 2, 1.7, 0.255), k.steel)
            f.start_object_at(spot, "clothes", "clothes", 0.0, 1.66, 0.25)
            decor.add_clothes(k, w - 0.1, int(w / 0.1))
    if spot := f.place_against_wall("shelving", "shelf", 1.0, 0.4, 1.8):
        for y in storage.add_shelf_frame(k, 1.0, 0.4, 1.8, 5, k.wood)[:-1]:
            for x in (-0.3, 0.02, 0.32):
                if f.sample_chance(0.75):
                    f.start_object_at(spot, "objects", "box", x, y, 0.05)
                    f.builder.add_box(
                        (-0.13, 0.0, 0.0),
                        (0.13, f.sample_uniform(0.14, 0.3), 0.3),
                        k.add_accent_material(),
                    )
    if f.sample_chance(0.5) and f.place_against_wall("stool", "stool", 0.4, 0.4, 0.46):
        sitting.add_stool(k, 0.38, 0.46, k.wood, k.wood)
    f.dress_windows("blinds")
    f.hang_ceiling_lamp()
