"""Furniture of a given outer size made of a few boxes, so that a table is seen as a table.

A piece is a list of blocks `(x0, x1, y0, y1, z0, z1, shade)` in fractions of its size: x to the
right, y up, z from the front (0) to the back (1); shade multiplies the colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from embodied.simulators.base import Material
from embodied.simulators.scenes.builder import MeshPart
from embodied.simulators.scenes.shapes import make_box

Block = tuple[float, float, float, float, float, float, float]


def _legs(top: float, width: float = 0.08, shade: float = 0.85) -> list[Block]:
    near, far = (0.0, width), (1.0 - width, 1.0)
    return [(*x, 0.0, top, *z, shade) for x in (near, far) for z in (near, far)]


def _drawers(rows: int, columns: int, bottom: float = 0.06) -> list[Block]:
    """A body with a grid of fronts standing proud of it."""
    blocks: list[Block] = [(0, 1, bottom, 1, 0.04, 1, 0.8), (0.04, 0.96, 0, bottom, 0.1, 1, 0.6)]
    step_x, step_y = 1 / columns, (1 - bottom) / rows
    for i in range(columns):
        for j in range(rows):
            x, y = i * step_x, bottom + j * step_y
            blocks.append(
                (x + 0.015, x + step_x - 0.015, y + 0.015, y + step_y - 0.015, 0, 0.04, 1)
            )
    return blocks


_SEAT: list[Block] = [(0, 1, 0.08, 0.46, 0, 1, 1), (0.1, 0.9, 0.46, 1, 0.72, 1, 0.93),
                      (0, 0.1, 0.46, 0.72, 0, 1, 0.88), (0.9, 1, 0.46, 0.72, 0, 1, 0.88),
                      (0.04, 0.96, 0, 0.08, 0.06, 0.94, 0.4)]  # fmt: skip

_PIECES: dict[str, list[Block]] = {
    "table": [(0, 1, 0.93, 1, 0, 1, 1), *_legs(0.93)],
    "desk": [(0, 1, 0.94, 1, 0, 1, 1), (0, 0.04, 0, 0.94, 0, 1, 0.85),
             (0.68, 1, 0, 0.94, 0.04, 1, 0.85),
             (0.70, 0.98, 0.55, 0.88, 0, 0.04, 1), (0.70, 0.98, 0.1, 0.5, 0, 0.04, 1)],
    "chair": [(0, 1, 0.44, 0.52, 0, 1, 1), (0.04, 0.96, 0.52, 1, 0.9, 1, 0.92), *_legs(0.44, 0.1)],
    "sofa": _SEAT,
    "arm chair": _SEAT,
    "bed": [(0, 1, 0.1, 0.4, 0, 0.95, 0.7), (0.02, 0.98, 0.4, 0.62, 0.01, 0.95, 1),
            (0, 1, 0, 1, 0.95, 1, 0.6),
            (0.1, 0.45, 0.62, 0.75, 0.72, 0.93, 1.5), (0.55, 0.9, 0.62, 0.75, 0.72, 0.93, 1.5)],
    "dog bed": [(0, 1, 0, 0.5, 0, 1, 1), (0, 1, 0.5, 1, 0.85, 1, 0.8),
                (0, 0.15, 0.5, 1, 0, 0.85, 0.8),
                (0.85, 1, 0.5, 1, 0, 0.85, 0.8)],
    "stool": [(0, 1, 0.85, 1, 0, 1, 1), *_legs(0.85, 0.12)],
    "ottoman": [(0, 1, 0.15, 1, 0, 1, 1), *_legs(0.15, 0.12)],
    "lighting": [(0.25, 0.75, 0, 0.03, 0.25, 0.75, 0.3), (0.46, 0.54, 0.03, 0.74, 0.46, 0.54, 0.4),
                 (0.1, 0.9, 0.72, 1, 0.1, 0.9, 1)],
    "plant": [(0.3, 0.7, 0, 0.3, 0.3, 0.7, 0.6), (0.46, 0.54, 0.3, 0.5, 0.46, 0.54, 0.5),
              (0, 1, 0.45, 0.8, 0.25, 0.75, 1), (0.25, 0.75, 0.4, 0.85, 0, 1, 0.9),
              (0.2, 0.8, 0.8, 1, 0.2, 0.8, 1.1)],
    "shelving": [(0, 0.04, 0, 1, 0, 1, 0.9), (0.96, 1, 0, 1, 0, 1, 0.9), (0, 1, 0, 1, 0.95, 1, 0.7),
                 *[(0.04, 0.96, y, y + 0.03, 0, 0.95, 1) for y in (0.02, 0.25, 0.49, 0.73, 0.97)]],
    "toilet": [(0.2, 0.8, 0, 0.3, 0.15, 0.75, 0.9), (0.08, 0.92, 0.3, 0.45, 0, 0.75, 1),
               (0.05, 0.95, 0.35, 1, 0.76, 1, 0.96)],
    "tv_monitor": [(0, 1, 0.1, 1, 0.4, 0.6, 1), (0.03, 0.97, 0.14, 0.97, 0.38, 0.4, 2.4),
                   (0.3, 0.7, 0, 0.04, 0.1, 0.9, 0.8), (0.45, 0.55, 0.04, 0.1, 0.45, 0.55, 0.8)],
    "laptop": [(0, 1, 0, 0.06, 0, 0.8, 0.7), (0, 1, 0.06, 1, 0.8, 0.88, 0.4)],
    "picture": [(0, 1, 0, 1, 0.2, 1, 0.4), (0.07, 0.93, 0.07, 0.93, 0, 0.2, 1.1)],
    "chest_of_drawers": _drawers(3, 2),
    "furniture": _drawers(1, 3),
    "cabinet": _drawers(1, 2),
    "counter": [(0, 1, 0.95, 1, 0, 1, 1.1),
                *[(*b[:2], b[2] * 0.95, b[3] * 0.95, *b[4:]) for b in _drawers(1, 4)]],
    "fridge": [(0, 1, 0, 1, 0.06, 1, 0.85), (0.01, 0.99, 0.36, 0.995, 0, 0.06, 1),
               (0.01, 0.99, 0.02, 0.34, 0, 0.06, 1)],
    "washing machine": [(0, 1, 0, 1, 0.04, 1, 0.95), (0.2, 0.8, 0.2, 0.72, 0, 0.04, 0.4),
                        (0, 1, 0.82, 1, 0, 0.04, 0.8)],
    "microwave": [(0, 1, 0, 1, 0.04, 1, 0.9), (0.05, 0.7, 0.1, 0.9, 0, 0.04, 0.35)],
}  # fmt: skip
_PIECES["clothes dryer"] = _PIECES["washing machine"]
_PIECES["side table"] = [*_PIECES["table"], (0.05, 0.95, 0.45, 0.5, 0.05, 0.95, 0.9)]


def make_furniture_boxes(
    kind: str, category: str, size: Sequence[float], color: tuple[float, float, float]
) -> Iterator[MeshPart]:
    """Yield the boxes of one thing, centred at the origin and facing -z.

    Args:
        kind: its name ("arm chair"), looked up before the class.
        category: its class.
        size: outer extents x, y, z [m].
        color: sRGB in [0, 1].
    """
    extents = np.asarray(size, np.float64)
    blocks = _PIECES.get(kind) or _PIECES.get(category) or [(0, 1, 0, 1, 0, 1, 1)]
    for x0, x1, y0, y1, z0, z1, shade in blocks:
        low, high = np.array([x0, y0, z0]), np.array([x1, y1, z1])
        r, g, b = (float(np.clip(c * shade, 0.0, 1.0)) for c in color)
        yield make_box(
            (high - low) * extents, ((low + high) / 2 - 0.5) * extents, Material((r, g, b))
        )
