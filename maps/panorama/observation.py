"""What is seen all around from one place, in the few numbers that navigation needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VIEWS = 36
"""12 headings x 3 elevations, 30 deg apart: view v looks at heading 30 deg * (v % 12), clockwise
from north (-z), and elevation 30 deg * (v // 12 - 1)."""

OBJECT_FEATURES = ("distance", "log_area", "log_aspect", "red", "green", "blue")
"""Columns of `PanoramaObservation.features`: metres (0 = unknown), log of the solid angle [sr], log
of width over height, mean colour in [0, 1] (0 = unknown)."""

VIEW_EXTRAS = ("red", "green", "blue", "depth_mean", "depth_min")
"""Columns of `PanoramaObservation.views` after the 2K category columns; 0 = unknown; depth in
metres / 10."""


@dataclass(frozen=True)
class PanoramaObservation:
    """A place as seen by an agent that turned once around itself.

    Headings are clockwise from north (-z in the world), elevations up from the horizon [rad].

    Attributes:
        views: (36, 2K + 5) float32: per view the area share of each category, the angular size
            [rad] of the largest instance of each, then `VIEW_EXTRAS`. Or features of an image
            encoder, (36, D).
        objects: (O,) int64 identities, unique in the world, >= 0.
        names: O names in plain words ("potted plant").
        categories: (O,) int64 rows of the canvas, -1 where the object has none.
        boxes: (O, 4) float32 heading and elevation of the centre, width and height [rad].
        features: (O, 6) float32, columns `OBJECT_FEATURES`.
        canvas: (K, H, W) bool: where each category is seen. Column c spans the headings from
            2 pi c / W on; row 0 is at +60 deg, the last row ends at -60 deg.
    """

    views: NDArray[np.float32]
    objects: NDArray[np.int64]
    names: tuple[str, ...]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float32]
    features: NDArray[np.float32]
    canvas: NDArray[np.bool_]
