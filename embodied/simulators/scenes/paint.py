"""Colours for houses that name their materials without giving the images."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from embodied.simulators.base import Material
from embodied.simulators.houses.textures import make_texture
from embodied.simulators.scenes.labels import split_words

Color = tuple[float, float, float]

_CLASSES: dict[str, Color] = {
    "wall": (0.87, 0.85, 0.80), "ceiling": (0.95, 0.95, 0.94), "door": (0.55, 0.36, 0.22),
    "window": (0.66, 0.82, 0.93), "bed": (0.45, 0.55, 0.75), "sofa": (0.36, 0.47, 0.40),
    "chair": (0.66, 0.45, 0.27), "table": (0.58, 0.40, 0.25),
    "chest_of_drawers": (0.50, 0.33, 0.20),
    "cabinet": (0.62, 0.50, 0.38), "furniture": (0.42, 0.30, 0.22), "shelving": (0.70, 0.58, 0.42),
    "counter": (0.80, 0.78, 0.74), "appliances": (0.78, 0.80, 0.82), "toilet": (0.96, 0.96, 0.96),
    "sink": (0.90, 0.92, 0.93), "tv_monitor": (0.10, 0.10, 0.12), "plant": (0.25, 0.52, 0.24),
    "lighting": (0.95, 0.87, 0.60), "picture": (0.75, 0.35, 0.30), "cushion": (0.80, 0.55, 0.55),
    "stool": (0.60, 0.50, 0.60), "towel": (0.70, 0.85, 0.85), "curtain": (0.75, 0.70, 0.85),
}  # fmt: skip

# Words of material names -> colour; the first word that is known counts.
_WORDS: dict[str, Color] = {
    "black": (0.25, 0.24, 0.23), "dark": (0.36, 0.25, 0.18), "white": (0.90, 0.89, 0.86),
    "cream": (0.88, 0.82, 0.70), "eggshell": (0.90, 0.87, 0.78), "pale": (0.84, 0.76, 0.63),
    "grey": (0.62, 0.62, 0.61), "red": (0.60, 0.30, 0.22), "orange": (0.76, 0.50, 0.28),
    "yellow": (0.90, 0.82, 0.55), "brown": (0.52, 0.38, 0.27), "tan": (0.76, 0.65, 0.50),
    "sand": (0.80, 0.72, 0.58), "pink": (0.86, 0.70, 0.68), "rose": (0.78, 0.60, 0.56),
    "blue": (0.58, 0.70, 0.80), "green": (0.62, 0.74, 0.60), "robin": (0.60, 0.78, 0.76),
    "light": (0.80, 0.68, 0.50), "rich": (0.50, 0.30, 0.18), "concrete": (0.66, 0.65, 0.63),
}  # fmt: skip

_FLOOR = (0.68, 0.50, 0.34)
_WET = ("bathroom", "toilet")


def get_class_color(category: str, key: str | None = None) -> Color:
    """Return a class's sRGB colour in [0, 1], varied a little by a key (the same for the same)."""
    color = _CLASSES.get(category, (0.68, 0.60, 0.52))
    if key is None:
        return color
    bits = zlib.crc32(key.encode())
    shifts = [((bits >> (8 * i)) % 256 / 255 - 0.5) * 0.16 for i in range(3)]
    r, g, b = (float(np.clip(c + s, 0.02, 1.0)) for c, s in zip(color, shifts, strict=True))
    return r, g, b


def get_named_color(material: Mapping[str, Any] | None, otherwise: Color) -> Color:
    """Return a material's own colour, else what its name says ("PinkMarble"), else a default."""
    if not material:
        return otherwise
    if rgb := material.get("color"):
        return float(rgb["r"]), float(rgb["g"]), float(rgb["b"])
    known = (_WORDS[w] for w in split_words(str(material.get("name", ""))) if w in _WORDS)
    return next(known, otherwise)


def get_wall_color(material: Mapping[str, Any] | None, key: str) -> Color:
    """Return a wall's colour: its own, or a light shade of what its material is called."""
    plain = get_class_color("wall", key)
    color = get_named_color(material, plain)
    if color == plain or (material or {}).get("color"):
        return color
    r, g, b = (0.45 * c + 0.50 for c in color)
    return r, g, b


def get_floor_material(material: Mapping[str, Any] | None, room: str) -> tuple[Material, float]:
    """Return a floor's material and its texture's side [m]: tiles where it gets wet, else wood."""
    name = split_words(str((material or {}).get("name", "")))
    tiled = room in _WET or any(w.startswith("tile") for w in name)
    kind, side = ("tiles", 0.8) if tiled else ("planks", 1.3)
    default = (0.80, 0.82, 0.82) if tiled else _FLOOR
    return Material(get_named_color(material, default), make_texture(kind)), side
