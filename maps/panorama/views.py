"""The geometry of the 36 views: directions, pixels, and what boxes in images mean as angles.

Headings are clockwise from north (-z in the world), elevations up from the horizon [rad]. View v
looks at heading 30 deg * (v % 12) and elevation 30 deg * (v // 12 - 1); images have 640 x 480
pixels and see 60 deg from top to bottom.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.panorama.observation import VIEWS

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
FOCAL = float(IMAGE_HEIGHT / 2 / np.tan(np.pi / 6))
"""Focal length of a view [px]."""

TOP = float(np.pi / 3)
"""Elevation of the upper edge of a canvas; the lower edge is at -TOP."""
HEIGHT, WIDTH = 32, 96
"""Cells of a canvas: 3.75 deg each."""


def wrap_angle(angle: ArrayLike) -> Floats:
    """Return angles moved into [-pi, pi)."""
    return (np.asarray(angle, np.float64) + np.pi) % (2 * np.pi) - np.pi


def compute_view_angles() -> Floats:
    """Return heading and elevation of the 36 views, (36, 2)."""
    index = np.arange(VIEWS)
    return np.stack([np.radians(30) * (index % 12), np.radians(30) * (index // 12 - 1)], axis=-1)


def find_nearest_view(heading: ArrayLike, elevation: ArrayLike) -> Ints:
    """Return the view whose axis is nearest in angle to each direction.

    On a fixed ring the nearest axis is the one of the nearest heading; the ring is the one of the
    nearest of its three axes, compared by their scalar products with the direction.
    """
    heading, elevation = np.broadcast_arrays(
        np.asarray(heading, np.float64), np.asarray(elevation, np.float64)
    )
    column = np.rint(heading / np.radians(30))
    turn = np.cos(heading - column * np.radians(30))
    rings = np.radians([-30.0, 0.0, 30.0])
    score = np.cos(elevation)[..., None] * turn[..., None] * np.cos(rings)
    score = score + np.sin(elevation)[..., None] * np.sin(rings)
    return (12 * score.argmax(axis=-1) + column.astype(np.int64) % 12).astype(np.int64)


def pixels_to_angles(views: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return heading and elevation of pixels of the 36 views, by rotating the rays.

    Args:
        views: view indices.
        x: pixels to the right of the left edge of a 640 x 480 image.
        y: pixels below its upper edge.

    Returns:
        headings in (-pi, 3 pi), not wrapped, so that they are continuous inside a view, and
        elevations; shapes as broadcast from the arguments.
    """
    angles = compute_view_angles()[np.asarray(views)]
    right = (np.asarray(x, np.float64) - IMAGE_WIDTH / 2) / FOCAL
    up = (IMAGE_HEIGHT / 2 - np.asarray(y, np.float64)) / FOCAL
    cos, sin = np.cos(angles[..., 1]), np.sin(angles[..., 1])
    ahead = cos - up * sin
    heading = angles[..., 0] + np.arctan2(right, ahead)
    return heading, np.arctan2(sin + up * cos, np.hypot(right, ahead))


def angles_to_pixels(
    views: ArrayLike, heading: ArrayLike, elevation: ArrayLike
) -> tuple[Floats, Floats]:
    """Return the pixels where directions appear in views: the inverse of `pixels_to_angles`.

    Returns:
        x, y; infinite for directions that are not before the camera.
    """
    angles = compute_view_angles()[np.asarray(views)]
    turn = np.asarray(heading, np.float64) - angles[..., 0]
    elevation = np.asarray(elevation, np.float64)
    cos, sin = np.cos(angles[..., 1]), np.sin(angles[..., 1])
    flat, high = np.cos(elevation), np.sin(elevation)
    depth = flat * np.cos(turn) * cos + high * sin
    depth = np.where(depth > 1e-6, depth, np.nan)
    x = IMAGE_WIDTH / 2 + FOCAL * flat * np.sin(turn) / depth
    y = IMAGE_HEIGHT / 2 - FOCAL * (high * cos - flat * np.cos(turn) * sin) / depth
    return np.where(depth > 0, x, np.inf), np.where(depth > 0, y, np.inf)


def boxes_to_angles(views: ArrayLike, boxes: ArrayLike) -> Floats:
    """Return the smallest angular box around each image box.

    Headings are extreme at corners; elevations too, or where the box crosses the middle column.

    Args:
        views: (N,) view indices.
        boxes: (N, 4) left, top, width, height [px].

    Returns:
        (N, 4) heading [0, 2 pi) and elevation of the centre, width and height [rad].
    """
    views = np.asarray(views, np.int64)[:, None]
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    left, top = boxes[:, 0], boxes[:, 1]
    right, bottom = left + boxes[:, 2], top + boxes[:, 3]
    middle = np.clip(IMAGE_WIDTH / 2, left, right)
    x = np.stack([left, right, left, right, middle, middle], axis=1)
    y = np.stack([top, top, bottom, bottom, top, bottom], axis=1)
    heading, elevation = pixels_to_angles(views, x, y)
    low = np.stack([heading.min(axis=1), elevation.min(axis=1)], axis=1)
    high = np.stack([heading.max(axis=1), elevation.max(axis=1)], axis=1)
    centre = (low + high) / 2
    return np.column_stack([centre[:, 0] % (2 * np.pi), centre[:, 1], high - low])


def compute_cell_angles(height: int = HEIGHT, width: int = WIDTH) -> tuple[Floats, Floats]:
    """Return the headings (W,) of the columns and the elevations (H,) of the rows of a canvas."""
    columns = (np.arange(width) + 0.5) * (2 * np.pi / width)
    rows = TOP - (np.arange(height) + 0.5) * (2 * TOP / height)
    return columns, rows


@cache
def compute_cell_pixels(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the pixels of a canvas' cell centres in every view, two (36, H*W)."""
    columns, rows = compute_cell_angles(height, width)
    heading, elevation = (a.ravel() for a in np.broadcast_arrays(columns, rows[:, None]))
    x, y = angles_to_pixels(np.arange(VIEWS)[:, None], heading, elevation)
    return x.astype(np.float32), y.astype(np.float32)


def find_seen_cells(
    objects: Ints, views: Ints, boxes: Floats, height: int = HEIGHT, width: int = WIDTH
) -> NDArray[np.bool_]:
    """Return the cells of objects that several views show in boxes.

    These are the cells whose centre lies in at least one of the boxes and in no view that shows
    the object elsewhere: views correct each other, where a plain union would keep the corners that
    each rectangle has too much (our choice).

    Args:
        objects: (N,) the object of each box, 0 .. O-1, each at least once.
        views: (N,) view indices.
        boxes: (N, 4) left, top, width, height [px].
        height: H of the canvas.
        width: W.

    Returns:
        (O, H*W) bool; a small object may own no cell.
    """
    x, y = compute_cell_pixels(height, width)
    x, y = x[views], y[views]
    left, top, right, bottom = (edge[:, None] for edge in _edges(boxes.astype(np.float32)))
    slack = 2.0  # boxes are whole pixels
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    frame = (x >= 0) & (x <= IMAGE_WIDTH) & (y >= 0) & (y <= IMAGE_HEIGHT)
    near = (x >= left - slack) & (x <= right + slack)
    near &= (y >= top - slack) & (y <= bottom + slack)
    order = np.argsort(objects, kind="stable")
    starts = np.searchsorted(objects[order], np.arange(int(objects.max()) + 1))
    seen = np.logical_or.reduceat(inside[order], starts)
    return seen & ~np.logical_or.reduceat((frame & ~near)[order], starts)


def join_boxes(objects: ArrayLike, views: ArrayLike, boxes: ArrayLike) -> Floats:
    """Return one angular box per object from its boxes in several views.

    The box that no image edge cuts and that lies most central is taken as it is; an object cut in
    every view gets the extent of its `find_seen_cells`, which is exact to a cell.

    Args:
        objects: (N,) the object of each box, 0 .. O-1, each at least once.
        views: (N,) view indices.
        boxes: (N, 4) left, top, width, height [px] in 640 x 480.

    Returns:
        (O, 4) heading [0, 2 pi) and elevation of the centre, width and height [rad].

    Raises:
        ValueError: an index out of range, an object without a box, or a box that is not finite.
    """
    objects, views, boxes = check_views(objects, views, boxes)
    if not len(boxes):
        return np.zeros((0, 4))
    angles = boxes_to_angles(views, boxes)
    left, top, right, bottom = _edges(boxes)
    across = (left <= 1) | (right >= IMAGE_WIDTH - 1)
    along = (top <= 1) | (bottom >= IMAGE_HEIGHT - 1)
    cut = across | along
    away = np.hypot((left + right - IMAGE_WIDTH) / 2, (top + bottom - IMAGE_HEIGHT) / 2)
    order = np.lexsort((away, cut, objects))
    count = int(objects.max()) + 1
    first = np.searchsorted(objects[order], np.arange(count))
    best = order[first]
    joined = angles[best]
    open_ended = np.flatnonzero(cut[best])
    if len(open_ended):
        # What its views agree on, headings relative to the most central box.
        columns, rows = compute_cell_angles()
        cells = find_seen_cells(objects, views, _widened(boxes))[open_ended].reshape(
            -1, HEIGHT, WIDTH
        )
        turn = wrap_angle(columns - joined[open_ended, :1])
        lift = np.broadcast_to(rows, (len(open_ended), HEIGHT))
        for axis, angle, step in ((0, turn, 2 * np.pi / WIDTH), (1, lift, 2 * TOP / HEIGHT)):
            seen: NDArray[np.bool_] = np.asarray(cells.any(axis=(1, 2)[axis]))
            # What is thinner than a cell and not cut that way is known better from its box.
            thin = (joined[open_ended, axis + 2] < step) & ~(across, along)[axis][best][open_ended]
            known = seen.any(axis=1) & ~thin
            low = np.where(seen, angle, np.inf).min(axis=1, initial=np.inf)[known] - step / 2
            high = np.where(seen, angle, -np.inf).max(axis=1, initial=-np.inf)[known] + step / 2
            item = open_ended[known]
            base = joined[item, 0] if axis == 0 else 0.0
            joined[item, axis] = base + (low + high) / 2
            joined[item, axis + 2] = high - low
    joined[:, 0] %= 2 * np.pi
    return joined


def _widened(boxes: Floats) -> Floats:
    """Return boxes in which each thing, however thin, can hold the centre of a cell.

    The least size is that of a cell in the corner of an image, where pixels cover the least angle.
    """
    least = 2 * FOCAL * np.tan(np.pi / WIDTH) / np.cos(np.pi / 6) ** 3
    more = np.maximum(least - boxes[:, 2:], 0.0)
    return np.hstack([boxes[:, :2] - more / 2, boxes[:, 2:] + more])


def check_views(
    objects: ArrayLike, views: ArrayLike, boxes: ArrayLike
) -> tuple[Ints, Ints, Floats]:
    """Return boxes in views as arrays, or say what is wrong with them (ValueError)."""
    objects = np.asarray(objects, np.int64).reshape(-1)
    views = np.asarray(views, np.int64).reshape(-1)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not len(objects) == len(views) == len(boxes):
        raise ValueError(f"{len(objects)} objects, {len(views)} views, {len(boxes)} boxes: unequal")
    if len(views) and not (views.min() >= 0 and views.max() < VIEWS):
        raise ValueError(f"view {views.min()} .. {views.max()}: there are 0 .. {VIEWS - 1}")
    bad = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise ValueError(f"box {i} is {boxes[i].tolist()}: needed are finite pixels, sizes > 0")
    if len(objects) and len(np.unique(objects)) != int(objects.max()) + 1:
        raise ValueError("object indices must be 0 .. O-1 with a box for each")
    return objects, views, boxes


def _edges(boxes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    return boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
