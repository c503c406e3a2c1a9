"""Everyday names of things -> mpcat40 classes."""

from __future__ import annotations

import re
from functools import lru_cache

from embodied.categories import MPCAT40

# Names as they occur in scene files, by class; where usage differs, Matterport's own table decided.
_TABLE = """
wall: decorative wall, partition, room divider, wainscoting, wainscotting, backsplash, molding,
    moulding, crown molding, baseboard
floor: rug, carpet, mat, floor mat, doormat, bath mat, ground, floorboard, parquet, tile floor
chair: armchair, arm chair, dining chair, office chair, recliner, high chair, wheelchair, beanbag,
    bean bag
door: doorway, folding door, door frame, doorframe, sliding door, garage door, archway, door handle
table: desk, coffee table, dining table, side table, sidetable, end table, workbench, dressing
    table, vanity, pool table, stand
picture: photo frame, photo, painting, poster, portrait, art, artwork, wall art, wall decor, wall
    decoration, picture frame, framed picture, wall frame
cabinet: cupboard, kitchen cabinet, tv cabinet, sideboard, locker, filing cabinet, safe, hutch,
    closet
cushion: pillow, throw pillow
window: window frame, windowframe, windowpane, windowsill, window sill, window glass, skylight
sofa: couch, loveseat, sectional, settee, futon, sofa bed
bed: bunk bed, crib, cot, mattress, dog bed, bed frame, bedframe, headboard
curtain: drape, shower curtain
chest_of_drawers: dresser, drawer, bureau, nightstand, night stand, bedside table, bedside cabinet
plant: house plant, houseplant, potted plant, flower, tree, bush, grass
sink: basin, washbasin, sink basin, kitchen sink
stairs: stair, staircase, step, stairway
ceiling: roof
toilet: bidet, toilet seat
stool: ottoman, bar stool, footstool, foot stool, barstool, pouf, hassock
towel: hand towel, dish towel, bath towel, paper towel
mirror: looking glass
tv_monitor: tv, television, monitor, computer monitor, tv screen
shower: shower door, shower glass, shower head, shower stall, shower cabin, shower tray, shower
    wall, shower floor
column: pillar, post
bathtub: bath, tub, hot tub, bathtub basin
counter: counter top, countertop, kitchen counter, kitchen island, worktop
fireplace: mantel, chimney, hearth
lighting: lamp, light, chandelier, ceiling light, floor lamp, desk lamp, table lamp, light fixture,
    wall lamp, sconce, lantern, lampshade
beam: rafter, girder
railing: rail, banister, handrail, balustrade, stair rail
shelving: shelf, shelves, bookshelves, bookshelf, bookcase, shelving unit, rack, shoe rack, easel
blinds: blind, shutter, window shade
gym_equipment: fitness equipment, exercise equipment, dumbbell, treadmill, exercise bike, weight,
    barbell, punching bag, weight machine, exercise machine
seating: bench, pew, seat
board_panel: board, panel, bulletin board, blackboard, chalkboard
furniture: wardrobe, armoire, tv stand, tv table, coat stand, cart, trolley
appliances: appliance, air conditioner, airconditioner, refrigerator, fridge, freezer, stove, oven,
    stove burner, range hood, microwave, dishwasher, washing machine, washer, dryer, clothes dryer,
    toaster, coffee machine, coffee maker, blender, vacuum cleaner, cooker, cooktop, rice cooker
clothes: clothing, coat, jacket, shirt, hat, dress, laundry
objects: object, ball, basketball, vase, bottle, box, bin, trash, trash can, trashcan, garbage can,
    garbage bag, waste bin, basket, laundry hamper, book, bowl, cup, mug, plate, dish, pan, pot,
    flowerpot, plant pot, utensil, tableware, knife, fork, spoon, spatula, ladle, salt shaker,
    pepper shaker, clock, watch, camera, tablet, laptop, computer, desktop, keyboard, mouse, phone,
    cellphone, telephone, remote, remote control, speaker, statue, sculpture, figurine, doll, mask,
    toy, teddy bear, stuffed animal, piano, guitar, drum, suitcase, backpack, bag, handbag, purse,
    umbrella, newspaper, paper towel roll, paper, pen, pencil, credit card, key chain, key, soap,
    soap bar, soap bottle, soap dispenser, sponge, toiletry, toilet paper, toilet paper hanger,
    tissue box, toothbrush, plunger, scrub brush, broom, mop, bucket, boot, shoe, cloth, blanket,
    baseball bat, tennis racket, cd, apple, bread, egg, lettuce, potato, tomato, fruit, food, glass,
    jar, tray, aluminum foil, candle, candlestick, table top decor, room decor, decoration, decor,
    ornament, watering can, kettle, teapot, fan, ceiling fan, heater, radiator, thermostat, faucet,
    tap, towel holder, towel bar, towel rail, hand towel holder, light switch, switch, printer, fire
    extinguisher, firealarm, fire alarm, scale, urn, hanger, rope, handle, knickknack, ladder, gate
misc: miscellaneous, other, device, vent, duct, pipe, frame, chest, pedestal, sign, exit sign, arch,
    fence, fencing
unlabeled: unknown, unlabelled, unclassified, scene, none
void: remove, delete
"""


def _phrases() -> dict[tuple[str, ...], str]:
    table = {}
    for entry in re.findall(r"^(\w+): ((?:.|\n )*)", _TABLE, re.MULTILINE):
        for phrase in entry[1].split(","):
            table[tuple(phrase.split())] = entry[0]
    for category in MPCAT40:
        table[tuple(category.split("_"))] = category
    return table


_PHRASES = _phrases()
_LONGEST = max(map(len, _PHRASES))


def split_words(name: str) -> list[str]:
    """Split a name into lower-case words: "CoffeeTable_01|surface" -> coffee, table, surface."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[a-z]+", spaced.lower())


@lru_cache(maxsize=4096)
def to_mpcat40(name: str) -> str | None:
    """Return the mpcat40 class a thing's name says, or None when no known word occurs in it.

    English puts the head noun last, so the match that ends last in the name wins, then the longest:
    "kitchen cabinet" is a cabinet, "cabinet door" a door. Plurals are understood.
    """
    parts = split_words(re.sub(r"\s*[/\\]\s*other room", "", name))
    while len(parts) > 1 and len(parts[-1]) == 1:  # "ChairA", "lamp_b": a variant, not a noun
        parts.pop()
    for end in range(len(parts), 0, -1):
        for start in range(max(0, end - _LONGEST), end):
            *head, last = parts[start:end]
            for noun in (last, last.removesuffix("s"), last.removesuffix("es")):
                if (*head, noun) in _PHRASES:
                    return _PHRASES[(*head, noun)]
    return None
