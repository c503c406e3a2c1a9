"""What is seen from a place, put together from annotated object boxes instead of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.panorama.canvas import boxes_to_canvas, compute_view_shares, compute_view_sizes
from maps.panorama.observation import OBJECT_FEATURES, VIEW_EXTRAS, VIEWS, PanoramaObservation


def build_panorama_from_boxes(
    objects: ArrayLike,
    names: Sequence[str],
    categories: ArrayLike,
    boxes: ArrayLike,
    count: int,
    canvas: NDArray[np.bool_] | None = None,
) -> PanoramaObservation:
    """Describe a place by the boxes of the objects around it.

    Boxes carry neither colour nor depth: those columns stay 0, which means unknown.

    Args:
        objects: (O,) identities.
        names: O names.
        categories: (O,) canvas rows, -1 where an object has none.
        boxes: (O, 4) heading and elevation of the centre, width and height [rad].
        count: number of categories K.
        canvas: (K, H, W) where each category is seen, if known better than by the boxes.

    Raises:
        ValueError: a category out of range, or a box that is not finite or has no size.
    """
    rows = np.array(categories, np.int64).reshape(-1)
    angular = np.array(boxes, np.float64).reshape(-1, 4)
    drawn = boxes_to_canvas(rows, angular, count) if canvas is None else canvas
    views = np.zeros((VIEWS, 2 * count + len(VIEW_EXTRAS)), np.float32)
    if len(angular):
        views[:, count : 2 * count] = compute_view_sizes(rows, angular, count)
    present = np.flatnonzero(drawn.any(axis=(1, 2)))
    if len(present):
        views[:, present] = compute_view_shares(drawn[present])
    features = np.zeros((len(angular), len(OBJECT_FEATURES)), np.float32)
    width, height = angular[:, 2], angular[:, 3]
    low, high = angular[:, 1] - height / 2, angular[:, 1] + height / 2
    limit = np.pi / 2
    band = np.sin(np.minimum(high, limit)) - np.sin(np.maximum(low, -limit))
    features[:, OBJECT_FEATURES.index("log_area")] = np.log(np.maximum(width * band, 1e-6))
    features[:, OBJECT_FEATURES.index("log_aspect")] = np.log(width / height)
    return PanoramaObservation(
        views=views,
        objects=np.array(objects, np.int64).reshape(-1),
        names=tuple(names),
        categories=rows,
        boxes=angular.astype(np.float32),
        features=features,
        canvas=drawn,
    )
