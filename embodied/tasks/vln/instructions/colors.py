"""Colour words for measured colours."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LIGHT = 0.82
"""Mean brightness of a surface as rendered over its own (embodied/simulators/raycast/shading.py);
people name the surface, not the shade it lies in."""
MARGIN = 7.0
"""A second colour word at most this much farther away [CIELAB] would do as well (our choice: three
times the difference people notice side by side)."""
FAR = 34.0
"""No word fits a colour farther than this from all prototypes [CIELAB]."""

PROTOTYPES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((20, 20, 22), (45, 44, 46)),
    "grey": ((95, 96, 98), (125, 126, 128), (160, 161, 163)),
    "white": ((242, 242, 240), (250, 250, 250), (228, 229, 230)),
    "red": ((185, 40, 40), (150, 30, 40), (215, 60, 50)),
    "orange": ((235, 130, 45), (215, 110, 50)),
    "yellow": ((240, 205, 60), (225, 190, 80)),
    "green": ((70, 130, 60), (55, 90, 50), (120, 160, 90), (75, 95, 70)),
    "teal": ((40, 140, 140), (80, 135, 135)),
    "blue": ((50, 90, 160), (60, 110, 150), (45, 65, 110), (120, 165, 205), (90, 130, 165)),
    "purple": ((115, 60, 140), (150, 110, 170)),
    "pink": ((235, 150, 170), (225, 130, 120)),
    "brown": ((115, 72, 42), (80, 50, 32), (150, 100, 62), (110, 85, 68)),
    "beige": ((220, 200, 165), (205, 175, 135), (235, 222, 195)),
}
"""Typical sRGB values of the basic colour terms of English (Berlin and Kay 1969), with teal and
beige, which homes are full of."""


def rgb_to_lab(rgb: ArrayLike) -> Array:
    """Convert sRGB (..., 3) in [0, 1] to CIELAB under D65 (CIE 15:2004)."""
    c = np.asarray(rgb, np.float64)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124564, 0.2126729, 0.0193339],
         [0.3575761, 0.7151522, 0.1191920],
         [0.1804375, 0.0721750, 0.9503041]]
    )  # fmt: skip
    t = xyz / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def color_words(rgb: ArrayLike | None) -> frozenset[str]:
    """Return the words that people may use for the colour of a surface.

    Args:
        rgb: (3,) sRGB in [0, 1] as rendered; None for a thing nobody has seen.

    Returns:
        one word where the colour is clear, several where it lies between, all of them for None.
    """
    if rgb is None:
        return frozenset(PROTOTYPES)
    surface = np.minimum(np.asarray(rgb, np.float64) / LIGHT, 1.0)
    names, points = _prototypes()
    away = np.linalg.norm(points - rgb_to_lab(surface), axis=1)
    nearest = {name: away[rows].min() for name, rows in names.items()}
    best = min(nearest.values())
    if best > FAR:
        return frozenset(PROTOTYPES)
    return frozenset(name for name, d in nearest.items() if d <= best + MARGIN)


@cache
def _prototypes() -> tuple[dict[str, list[int]], Array]:
    points = [p for group in PROTOTYPES.values() for p in group]
    rows, first = {}, 0
    for name, group in PROTOTYPES.items():
        rows[name] = list(range(first, first + len(group)))
        first += len(group)
    return rows, rgb_to_lab(np.array(points) / 255)
