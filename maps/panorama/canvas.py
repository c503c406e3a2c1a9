"""The geometry of looking all around: views, boxes, category canvases.

Headings are clockwise from north (-z in the world), elevations up from the horizon [rad]. A canvas
(K, H, W) covers the full circle and elevations of +-60 deg, which is what 36 views of 60 deg
cover: the centre of column c has heading 2 pi (c + 0.5) / W, row 0 ends at +60 deg.

A cell of a canvas belongs to a box if its centre does, and every object owns at least the cell of
its own centre: areas stay unbiased and nothing small is lost (our choice; the source is silent).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.panorama.observation import VIEWS
from maps.panorama.views import (
    FOCAL,
    HEIGHT,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    TOP,
    WIDTH,
    Floats,
    Ints,
    angles_to_pixels,
    boxes_to_angles,
    check_views,
    compute_cell_angles,
    compute_cell_pixels,
    compute_view_angles,
    find_nearest_view,
    find_seen_cells,
    join_boxes,
    pixels_to_angles,
    wrap_angle,
)

__all__ = [
    "HEIGHT",
    "TOP",
    "WIDTH",
    "angles_to_pixels",
    "boxes_to_angles",
    "boxes_to_canvas",
    "compute_cell_angles",
    "direction_to_cell",
    "join_boxes",
    "find_nearest_view",
    "pixels_to_angles",
    "semantic_to_canvas",
    "stitch_views",
    "compute_view_angles",
    "view_boxes_to_canvas",
    "compute_view_shares",
    "compute_view_sizes",
    "wrap_angle",
]

Canvas = NDArray[np.bool_]


def direction_to_cell(
    heading: ArrayLike, elevation: ArrayLike, height: int = HEIGHT, width: int = WIDTH
) -> tuple[Ints, Ints]:
    """Return the row and column that hold each direction; beyond +-60 deg the nearest row."""
    row = np.floor((TOP - np.asarray(elevation)) / (2 * TOP) * height)
    column = np.floor((np.asarray(heading) % (2 * np.pi)) / (2 * np.pi) * width)
    return np.clip(row, 0, height - 1).astype(np.int64), column.astype(np.int64) % width


def boxes_to_canvas(
    categories: ArrayLike, boxes: ArrayLike, count: int, height: int = HEIGHT, width: int = WIDTH
) -> Canvas:
    """Fill the boxes of objects into a category canvas.

    Args:
        categories: (O,) canvas row of each object, -1 to leave it out.
        boxes: (O, 4) heading and elevation of the centre, width and height [rad]; widths of 2 pi
            and more go all around, parts beyond +-60 deg are cut off.
        count: number of categories K.
        height: H.
        width: W.

    Returns:
        (K, H, W) bool.

    Raises:
        ValueError: a category outside -1 .. K-1, or a box that is not finite or has no size.
    """
    categories, boxes = _checked(categories, boxes, count)
    kept = (categories >= 0) & (np.abs(boxes[:, 1]) - boxes[:, 3] / 2 < TOP)
    categories, boxes = categories[kept], boxes[kept]
    columns, rows = compute_cell_angles(height, width)
    across = np.abs(wrap_angle(columns - boxes[:, :1])) <= boxes[:, 2:3] / 2
    down = np.abs(rows - boxes[:, 1:2]) <= boxes[:, 3:4] / 2
    row, column = direction_to_cell(boxes[:, 0], boxes[:, 1], height, width)
    item = np.arange(len(boxes))
    across[item, column] = True
    down[item, row] = True
    canvas = np.zeros((count, height, width), bool)
    for category, y, x in zip(categories, down, across, strict=True):
        canvas[category] |= y[:, None] & x
    return canvas


def view_boxes_to_canvas(
    categories: ArrayLike,
    objects: ArrayLike,
    views: ArrayLike,
    boxes: ArrayLike,
    count: int,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> Canvas:
    """Fill boxes that were drawn in the images of the 36 views into a category canvas.

    An object occupies the cells on which its views agree, see `seen_cells`. Where one is thinner
    than a cell, no centre may lie inside: rows and columns of its joined box that would stay empty
    get the cell on its middle line, so that a pole is not broken off.

    Args:
        categories: (O,) canvas row of each object, -1 to leave it out.
        objects: (N,) the object of each box, 0 .. O-1.
        views: (N,) the view of each box.
        boxes: (N, 4) left, top, width, height [px] in 640 x 480.
        count: number of categories K.
        height: H.
        width: W.

    Returns:
        (K, H, W) bool.

    Raises:
        ValueError: an index out of range, or a box that is not finite or has no size.
    """
    objects, views, boxes = check_views(objects, views, boxes)
    joined = join_boxes(objects, views, boxes)
    categories = np.asarray(categories, np.int64)
    if len(categories) != len(joined):
        raise ValueError(
            f"{len(categories)} categories for {len(joined)} objects: give one per object, "
            "and at least one box for each object"
        )
    if not len(boxes):
        return np.zeros((count, height, width), bool)
    seen = find_seen_cells(objects, views, boxes, height, width)
    small = ~seen.any(axis=1)
    canvas = boxes_to_canvas(categories[small], joined[small], count, height, width)
    _close_gaps(seen.reshape(-1, height, width), joined)
    flat = canvas.reshape(count, -1)
    for category, cells in zip(categories, seen, strict=True):
        if category >= 0:
            flat[category] |= cells
    return canvas


def semantic_to_canvas(
    rows: NDArray[Any],
    count: int,
    heading: float = 0.0,
    height: int = HEIGHT,
    width: int = WIDTH,
    share: float = 0.25,
) -> Canvas:
    """Turn an equirectangular category image into a canvas.

    Args:
        rows: (h, w) canvas row of every pixel, -1 for none; from +90 to -90 deg, the middle
            column looks along `heading`.
        count: number of categories K.
        heading: [rad] of the middle of the image.
        height: H.
        width: W.
        share: a cell is set when a category covers at least this part of it (our choice: a
            quarter keeps things of half a cell's width, a single stray pixel is no object).

    Returns:
        (K, H, W) bool.
    """
    image = np.asarray(rows)
    h, w = image.shape
    fine = max(2, min(8, -(-w // width)))
    columns, elevations = compute_cell_angles(height * fine, width * fine)
    x = np.floor((columns - heading + np.pi) % (2 * np.pi) / (2 * np.pi) * w).astype(np.int64)
    y = np.floor((np.pi / 2 - elevations) / np.pi * h).astype(np.int64)
    return _vote(image[np.minimum(y, h - 1)[:, None], x % w], count, fine, share)


def stitch_views(
    rows: NDArray[Any], count: int, height: int = HEIGHT, width: int = WIDTH, share: float = 0.25
) -> Canvas:
    """Turn the category images of the 36 views into a canvas.

    Every direction is read in the view whose axis is nearest to it.

    Args:
        rows: (36, h, w) canvas row of every pixel, -1 for none; 4:3 images of 60 deg height.
        count: number of categories K.
        height: H.
        width: W.
        share: as in `semantic_to_canvas`.

    Returns:
        (K, H, W) bool.

    Raises:
        ValueError: images that are not 36, or not 4:3.
    """
    images = np.asarray(rows)
    if images.ndim != 3 or len(images) != VIEWS or images.shape[2] * 3 != images.shape[1] * 4:
        raise ValueError(
            f"views of shape {images.shape}: 36 images of 4:3 are needed, as (36, 480, 640)"
        )
    fine = 3
    columns, elevations = compute_cell_angles(height * fine, width * fine)
    heading, elevation = np.broadcast_arrays(columns, elevations[:, None])
    view = find_nearest_view(heading, elevation)
    x, y = angles_to_pixels(view, heading, elevation)
    h, w = images.shape[1:]
    x = np.clip(np.floor(x * w / IMAGE_WIDTH), 0, w - 1).astype(np.int64)
    y = np.clip(np.floor(y * h / IMAGE_HEIGHT), 0, h - 1).astype(np.int64)
    return _vote(images[view, y, x], count, fine, share)


def compute_view_shares(canvas: NDArray[Any]) -> NDArray[np.float32]:
    """Return which part of the image of each view each category covers.

    Args:
        canvas: (K, H, W) or (B, K, H, W).

    Returns:
        (36, K) or (B, 36, K) in [0, 1].
    """
    canvas = np.asarray(canvas)
    weights = _view_weights(*canvas.shape[-2:])
    flat = canvas.reshape(*canvas.shape[:-2], -1).astype(np.float32)
    return np.swapaxes(flat @ weights.T, -1, -2)


def compute_view_sizes(categories: ArrayLike, boxes: ArrayLike, count: int) -> NDArray[np.float32]:
    """Return the angular size of the largest instance of each category in each view.

    The size of an instance is the root of its box's solid angle, sqrt(w cos(elevation) h); it is
    in a view if the point of its box that is nearest to the axis is inside the image.

    Args:
        categories: (O,) canvas row of each object, -1 to leave it out.
        boxes: (O, 4) heading and elevation of the centre, width and height [rad].
        count: number of categories K.

    Returns:
        (36, K) [rad], 0 where there is none.

    Raises:
        ValueError: as `boxes_to_canvas`.
    """
    categories, boxes = _checked(categories, boxes, count)
    kept = categories >= 0
    categories, boxes = categories[kept], boxes[kept]
    angles = compute_view_angles()[:, None]
    turn = np.clip(wrap_angle(angles[..., 0] - boxes[:, 0]), -boxes[:, 2] / 2, boxes[:, 2] / 2)
    lift = np.clip(angles[..., 1] - boxes[:, 1], -boxes[:, 3] / 2, boxes[:, 3] / 2)
    x, y = angles_to_pixels(np.arange(VIEWS)[:, None], boxes[:, 0] + turn, boxes[:, 1] + lift)
    inside = (x >= 0) & (x <= IMAGE_WIDTH) & (y >= 0) & (y <= IMAGE_HEIGHT)
    size = np.sqrt(boxes[:, 2] * np.cos(boxes[:, 1]) * boxes[:, 3])
    sizes = np.zeros((VIEWS, count), np.float32)
    np.maximum.at(sizes.T, categories, np.where(inside, size, 0).astype(np.float32).T)
    return sizes


def _close_gaps(seen: NDArray[np.bool_], joined: Floats) -> None:
    """Give objects (O, H, W), in place, a cell in every row and column of their boxes (O, 4)."""
    height, width = seen.shape[1:]
    columns, rows = compute_cell_angles(height, width)
    across = np.abs(wrap_angle(columns - joined[:, :1])) <= joined[:, 2:3] / 2
    down = np.abs(rows - joined[:, 1:2]) <= joined[:, 3:4] / 2
    row, column = direction_to_cell(joined[:, 0], joined[:, 1], height, width)
    across &= ~seen.any(axis=1)
    down &= ~seen.any(axis=2)
    for item, x in np.argwhere(across):
        seen[item, row[item], x] = True
    for item, y in np.argwhere(down):
        seen[item, y, column[item]] = True


def _vote(samples: NDArray[Any], count: int, fine: int, share: float) -> Canvas:
    """Set the cells whose fine x fine samples hold enough of a category."""
    height, width = samples.shape[0] // fine, samples.shape[1] // fine
    cell = (np.arange(height * fine) // fine)[:, None] * width + np.arange(width * fine) // fine
    known = samples >= 0
    if known.any() and int(samples.max()) >= count:
        raise ValueError(f"category {int(samples.max())} in the image: rows are -1 .. {count - 1}")
    key = samples[known].astype(np.int64) * (height * width) + cell[known]
    votes = np.bincount(key, minlength=count * height * width)
    return (votes >= share * fine * fine).reshape(count, height, width)


@cache
def _view_weights(height: int, width: int) -> NDArray[np.float32]:
    """Return the part of each view's image that each cell covers, (36, H*W), rows of sum 1."""
    fine = 4
    x, y = compute_cell_pixels(height * fine, width * fine)
    inside = (x >= 0) & (x <= IMAGE_WIDTH) & (y >= 0) & (y <= IMAGE_HEIGHT)
    # An image plane shows a solid angle enlarged by 1 / cos^3 of the angle to the axis.
    safe = np.where(inside, np.hypot(x - IMAGE_WIDTH / 2, y - IMAGE_HEIGHT / 2) / FOCAL, 0)
    rows = compute_cell_angles(height * fine, width * fine)[1]
    area = np.where(inside, (1 + safe**2) ** 1.5, 0) * np.repeat(np.cos(rows), width * fine)
    area = area.reshape(VIEWS, height, fine, width, fine).sum(axis=(2, 4)).reshape(VIEWS, -1)
    return (area / area.sum(axis=1, keepdims=True)).astype(np.float32)


def _checked(categories: ArrayLike, boxes: ArrayLike, count: int) -> tuple[Ints, Floats]:
    categories = np.asarray(categories, np.int64).reshape(-1)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if len(categories) != len(boxes):
        raise ValueError(f"{len(categories)} categories for {len(boxes)} boxes: give one per box")
    if len(categories) and not (categories.min() >= -1 and categories.max() < count):
        raise ValueError(
            f"categories {categories.min()} .. {categories.max()}: allowed are -1 (none) .. "
            f"{count - 1}"
        )
    bad = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise ValueError(f"box {i} is {boxes[i].tolist()}: needed are finite numbers, sizes > 0")
    return categories, boxes
