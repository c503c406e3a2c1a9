"""The nouns of things."""

from __future__ import annotations

from functools import lru_cache

SPOKEN = {
    "door frame": "door", "entrance door": "front door", "folded towel": "towel",
    "kitchen counter": "counter", "laundry counter": "counter", "toilet paper": "toilet paper roll",
    "coats": "coat rack", "hanging clothes": "clothes rack", "tv monitor": "television",
    "chest of drawers": "dresser", "beam": "", "column": "column", "books": "stack of books",
    "objects": "", "appliances": "appliance", "seating": "seat", "stairs": "staircase",
    "lighting": "lamp", "furniture": "", "shelving": "shelf", "blinds": "window blind",
    "curtain": "curtain", "detergent": "detergent bottle", "gym equipment": "",
    "board panel": "board", "clothes": "",
}  # fmt: skip
"""What people call a thing whose source name differs; "" = they would not point at it."""

HEADS = frozenset(
    ("chair", "lamp", "table", "cabinet", "towel", "counter", "shelf", "stool", "bowl", "clock",
     "sofa", "bed", "plant", "basket", "rack")
)  # fmt: skip
"""Last words that name a kind by themselves: a dining chair is a chair."""

ALSO = {"armchair": ("chair",), "chandelier": ("lamp",), "desk": ("table",),
        "bookshelf": ("shelf",), "couch": ("sofa",), "wardrobe": ("cabinet",),
        "sideboard": ("cabinet",), "pillow": ("cushion",)}  # fmt: skip
"""Kinds a thing belongs to though its name does not end in them."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "sofa": ("sofa", "couch"),
    "television": ("television", "tv"),
    "refrigerator": ("refrigerator", "fridge"),
    "picture": ("picture", "painting"),
    "potted plant": ("potted plant", "house plant"),
    "trash can": ("trash can", "bin"),
    "nightstand": ("nightstand", "bedside table"),
    "wardrobe": ("wardrobe", "closet cabinet"),
    "bookshelf": ("bookshelf", "bookcase"),
    "bathtub": ("bathtub", "tub"),
    "stove": ("stove", "cooker"),
    "cushion": ("cushion", "throw pillow"),
    "lamp": ("lamp", "light"),
    "computer monitor": ("computer monitor", "computer screen"),
}
"""Interchangeable words for one noun, in all phrasings."""


@lru_cache(maxsize=4096)
def find_nouns(name: str) -> tuple[str, ...]:
    """Return the nouns that fit a thing, the most exact first; () if nobody would point at it.

    Args:
        name: of the thing, in plain words.
    """
    spoken = SPOKEN.get(name, name)
    if not spoken:
        return ()
    found = [spoken]
    head = spoken.rpartition(" ")[2]
    for other in (*ALSO.get(spoken, ()), *([head] if head in HEADS else [])):
        if other not in found:
            found.append(other)
    return tuple(found)


def may_mean(noun: str, name: str) -> bool:
    """Tell whether a listener may take a noun for a thing of this name."""
    return noun in find_nouns(name) or noun == name or noun in name.split()
