"""Everyday names of things -> mpcat40 classes."""

from __future__ import annotations

import re
from functools import lru_cache

from embodied.simulators.categories import MPCAT40

# Words and phrases as they occur in scene files, grouped by class. The longest phrase found at the end of a name
# wins (English puts the head noun last: "kitchen cabinet" is a cabinet, "cabinet door" a door).
_ALIASES: dict[str, str] = {
    "wall": "decorative wall, partition, room divider, wainscoting, backsplash, brick wall",
    "floor": "rug, carpet, mat, floor mat, doormat, bath mat, ground, floorboard, parquet, tile floor",
    "chair": "armchair, arm chair, dining chair, office chair, desk chair, rocking chair, recliner, "
    "folding chair, high chair, wheelchair, lounge chair",
    "door": "doorway, folding door, door frame, doorframe, gate, door handle, doorknob, garage door, "
    "sliding door",
    "table": "desk, coffee table, dining table, side table, end table, nightstand, night stand, "
    "bedside table, workbench, tv table, dressing table, vanity table, pool table, console table",
    "picture": "photo frame, photo, painting, poster, portrait, artwork, wall art, wall decor, "
    "picture frame, framed picture, tapestry",
    "cabinet": "cupboard, kitchen cabinet, tv cabinet, tv stand, sideboard, locker, medicine cabinet, "
    "filing cabinet, safe, hutch, buffet, display case, vanity, wardrobe, armoire, closet",
    "cushion": "pillow, throw pillow, bean bag, pouf cushion",
    "window": "window frame, windowpane, skylight, window glass",
    "sofa": "couch, loveseat, sectional, settee, futon, sofa bed",
    "bed": "bunk bed, crib, cot, mattress, dog bed, bed frame, headboard",
    "curtain": "drape, drapes, shower curtain, curtains",
    "chest_of_drawers": "dresser, drawer, drawers, chest of drawers, bureau",
    "plant": "house plant, houseplant, potted plant, flower, flowers, tree, plant pot, flowerpot, bush",
    "sink": "basin, washbasin, sink basin, kitchen sink, faucet, tap",
    "stairs": "stair, staircase, steps, stairway, ladder, step",
    "ceiling": "roof, suspended ceiling",
    "toilet": "bidet, urinal, toilet seat",
    "stool": "ottoman, bar stool, footstool, foot stool, barstool, piano stool, pouf, hassock",
    "towel": "hand towel, dish towel, bath towel, towel rail, towel ring, towel holder, "
    "hand towel holder, scrub brush cloth, washcloth",
    "mirror": "looking glass",
    "tv_monitor": "tv, television, monitor, screen, computer monitor, television set, tv screen",
    "shower": "shower door, shower glass, shower head, shower stall, shower cabin, shower tray",
    "column": "pillar, post",
    "bathtub": "bath, tub, bath tub, hot tub, bathtub basin",
    "counter": "counter top, countertop, kitchen counter, kitchen island, bar counter, worktop",
    "fireplace": "mantel, chimney, hearth, wood stove",
    "lighting": "lamp, light, chandelier, ceiling light, floor lamp, desk lamp, table lamp, "
    "light fixture, wall lamp, sconce, lantern, candle, light switch fixture",
    "beam": "rafter, girder",
    "railing": "banister, handrail, balustrade, fence",
    "shelving": "shelf, shelves, bookshelf, bookcase, shelving unit, rack, shoe rack, wine rack, "
    "storage shelving, bookshelves",
    "blinds": "blind, window blind, shutter, shutters, roller blind",
    "gym_equipment": "fitness equipment, dumbbell, treadmill, exercise bike, weights, barbell, "
    "punching bag, yoga mat, exercise machine",
    "seating": "bench, pew, seat, banquette",
    "board_panel": "board, whiteboard, blackboard, chalkboard, panel, bulletin board, noticeboard",
    "furniture": "piano, grandfather clock, coat stand, easel, cart, trolley, furnishing",
    "appliances": "appliance, air conditioner, aircon, refrigerator, fridge, freezer, stove, oven, "
    "stove burner, range hood, hood, microwave, dishwasher, washing machine, washer, dryer, "
    "clothes dryer, toaster, coffee machine, coffee maker, kettle, blender, fan, heater, radiator, "
    "boiler, water heater, vacuum cleaner, iron, cooker, cooktop, hob, rice cooker, refridgerator, "
    "room decor heater, vent, thermostat",
    "clothes": "clothing, coat, jacket, shirt, cloth, shoe, shoes, hat, dress, bag of clothes, laundry",
    "objects": "object, ball, basket ball, basketball, football, vase, bottle, box, bin, trash can, "
    "garbage can, garbage bag, waste bin, wastebasket, basket, laundry hamper, book, books, bowl, "
    "cup, mug, plate, dish, pan, pot, utensil, kitchen utensils, tableware, knife, butter knife, "
    "fork, spoon, spatula, ladle, seasoning box, salt shaker, pepper shaker, clock, alarm clock, "
    "watch, camera, security camera, tablet, laptop, computer, keyboard, mouse, cell phone, phone, "
    "telephone, remote control, remote, speaker, statue, sculpture, figurine, toy, teddy bear, "
    "guitar, suitcase, backpack, bag, umbrella, paper, newspaper, pen, pencil, credit card, "
    "key chain, keys, soap, soap bar, soap bottle, soap dispenser, dish sponge, sponge, spray bottle, "
    "toilet paper, toilet paper hanger, paper towel, paper towel roll, tissue box, toothbrush, "
    "plunger, scrub brush, broom, mop, bucket, boots, baseball bat, tennis racket, racket, cd, "
    "desktop, apple, bread, egg, lettuce, potato, tomato, fruit, food, wine bottle, glass, jar, tray, "
    "aluminum foil, candle holder, table top decor, room decor, decoration, decor, ornament, "
    "dog toy, vacuum, fire extinguisher, ashtray, globe, pencil holder, container, cushion box",
    "misc": "miscellaneous, other, clutter, device",
    "unlabeled": "unknown, unlabelled, unclassified, scene, remove, none",
}  # fmt: skip


def _phrases() -> dict[tuple[str, ...], str]:
    table = {}
    for category, names in _ALIASES.items():
        for phrase in names.split(","):
            table[tuple(phrase.split())] = category
    for category in MPCAT40:
        table[tuple(category.split("_"))] = category
    return table


_PHRASES = _phrases()
_LONGEST = max(map(len, _PHRASES))


def words(name: str) -> list[str]:
    """Split a name into lower-case words: "CoffeeTable_01|surface" -> coffee, table, surface."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[a-z]+", spaced.lower())


@lru_cache(maxsize=4096)
def to_mpcat40(name: str) -> str | None:
    """Return the mpcat40 class a thing's name says, or None when no known word occurs in it.

    The match that ends last in the name wins, then the longest: "kitchen cabinet" is a cabinet, "cabinet door" a door.
    Plurals are understood.
    """
    parts = words(name)
    while (
        len(parts) > 1 and len(parts[-1]) == 1
    ):  # "ChairA", "lamp_b": a variant letter, not a noun
        parts.pop()
    for end in range(len(parts), 0, -1):
        for start in range(max(0, end - _LONGEST), end):
            phrase = tuple(parts[start:end])
            for candidate in (phrase, (*phrase[:-1], phrase[-1].removesuffix("s")),
                              (*phrase[:-1], phrase[-1].removesuffix("es"))):  # fmt: skip
                if candidate in _PHRASES:
                    return _PHRASES[candidate]
    return None
