"""From images taken all around to a `PanoramaObservation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from maps.panorama.canvas import compute_view_shares, compute_view_sizes
from maps.panorama.observation import VIEW_EXTRAS, VIEWS, PanoramaObservation
from maps.panorama.views import HEIGHT, TOP, WIDTH, compute_cell_angles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH = 3.0
"""Objects farther than this [m] are not listed (REVERIE's rule)."""
MIN_AREA = 0.006
"""Objects that show less than this solid angle [sr] are not listed: a book at 2 m (our choice:
what covers fewer pixels in a small panorama has no reliable colour or box)."""
SHARE = 0.25
"""A canvas cell is set when a category covers at least this part of it (`maps.panorama.canvas`)."""


def build_panorama_from_images(
    rgb: NDArray[np.uint8] | None,
    depth: NDArray[np.floating],
    rows: NDArray[np.integer],
    instances: NDArray[np.integer],
    names: Sequence[str] | Mapping[int, str],
    count: int,
    *,
    heading: float = 0.0,
    reach: float = REACH,
    min_area: float = MIN_AREA,
    listed: NDArray[np.bool_] | None = None,
) -> PanoramaObservation:
    """Describe a place by equirectangular images of it.

    Args:
        rgb: (h, w, 3), None where there is no colour. All images span +90 to -90 deg.
        depth: (h, w) length of the rays [m], 0 = unknown.
        rows: (h, w) canvas row of each pixel, -1 for none.
        instances: (h, w) identity of each pixel's object, 0 = none.
        names: identity -> name in plain words.
        count: number of categories K.
        heading: of the middle of the images [rad].
        reach: objects whose median distance is larger are not listed [m].
        min_area: objects that show a smaller solid angle are not listed [sr].
        listed: identity -> whether it may be listed; None = all. The canvas and the views take
            every pixel whatever this says.

    Raises:
        ValueError: images of different sizes, or a row outside -1 .. K-1.
    """
    size = depth.shape
    if len(size) != 2 or rows.shape != size or instances.shape != size:
        raise ValueError(f"depth {size}, rows {rows.shape}, instances {instances.shape}: unequal")
    if rgb is not None and rgb.shape != (*size, 3):
        raise ValueError(f"rgb {rgb.shape} does not match depth {size}")
    fine = max(2, min(8, -(-size[1] // WIDTH)))
    pick = _samples(size[0], size[1], round(heading / (2 * np.pi) * size[1]), fine)
    kinds = rows.ravel()[pick].astype(np.int64)
    if kinds.min() < -1 or kinds.max() >= count:
        raise ValueError(f"rows {kinds.min()} .. {kinds.max()}: allowed are -1 .. {count - 1}")
    far = depth.ravel()[pick].astype(np.float64)
    who = instances.ravel()[pick].astype(np.int64)
    colour = None if rgb is None else rgb.reshape(-1, 3)[pick] / 255
    cell, areas = _layout(fine)
    known = kinds >= 0
    shares = np.bincount(kinds[known] * (HEIGHT * WIDTH) + cell[known], minlength=_cells(count))
    grid = (shares / fine**2).astype(np.float32).reshape(count, HEIGHT, WIDTH)
    found = _Instances(who, far, kinds, areas, colour)
    views = np.concatenate(
        [
            compute_view_shares(grid),
            compute_view_sizes(found.kinds, found.boxes, count),
            _extras(colour, far, cell, fine),
        ],
        axis=1,
    ).astype(np.float32)
    kept = (found.distance <= reach) & (found.area >= min_area)
    if listed is not None:
        kept &= listed[found.ids]
    ids = found.ids[kept]
    return PanoramaObservation(
        views,
        ids,
        tuple(names[int(i)] for i in ids),
        found.kinds[kept],
        found.boxes[kept].astype(np.float32),
        _features(found.distance[kept], found.area[kept], found.boxes[kept], found.colour[kept]),
        grid >= SHARE - 1e-6,
    )


class _Instances:
    """What can be said about each object of an image, in order of identity.

    Attributes:
        ids, kinds: (I,) identity and canvas row.
        area: (I,) solid angle shown [sr].
        distance: (I,) median length of the rays that meet it [m].
        colour: (I, 3) mean, 0 where there is none.
        boxes: (I, 4) heading and elevation of the centre, width and height [rad].
    """

    def __init__(
        self,
        who: Ints,
        far: Floats,
        kinds: Ints,
        areas: Floats,
        colour: Floats | None,
    ) -> None:
        seen = np.flatnonzero((who > 0) & (far > 0))
        order = seen[np.lexsort((far[seen], who[seen]))]
        who = who[order]
        starts = np.flatnonzero(np.diff(who, prepend=-1))
        counts = np.diff(starts, append=len(who))
        self.ids = who[starts]
        self.kinds = kinds[order[starts]]
        weight = areas[order]
        self.area = _sum(weight, starts)
        self.distance = far[order[starts + counts // 2]]
        self.colour = np.zeros((len(starts), 3))
        if colour is not None and len(starts):
            self.colour = _sum(colour[order] * weight[:, None], starts) / self.area[:, None]
        fine = round(np.sqrt(len(far) / (HEIGHT * WIDTH)))
        y, x = np.divmod(order, WIDTH * fine)
        self.boxes = _boxes(np.repeat(np.arange(len(starts)), counts), y, x, starts, fine)


def _sum(values: Floats, starts: Ints) -> Floats:
    return np.add.reduceat(values, starts, axis=0) if len(starts) else values[:0]


def _boxes(group: Ints, y: Ints, x: Ints, starts: Ints, fine: int) -> Floats:
    """Return the smallest box around the pixels of each group; it may cross north."""
    count, width = len(starts), WIDTH * fine
    if not count:
        return np.zeros((0, 4))
    step = 2 * np.pi / width
    top = TOP - np.minimum.reduceat(y, starts) * step
    bottom = TOP - (np.maximum.reduceat(y, starts) + 1) * step
    present = np.zeros(count * width, bool)
    present[group * width + x] = True
    owner, column = np.divmod(np.flatnonzero(present), width)
    first = np.searchsorted(owner, np.arange(count))
    after = np.append(column[1:], 0)
    last = np.append(first[1:], len(owner)) - 1
    after[last] = column[first] + width
    gap = after - column - 1  # free columns to the right of each column in use
    widest = np.maximum.reduceat(gap, first)
    is_widest = np.flatnonzero(gap == widest[owner])
    begin = after[is_widest[np.searchsorted(owner[is_widest], np.arange(count))]]
    wide = width - widest
    centre = (begin + wide / 2) * step % (2 * np.pi)
    return np.stack([centre, (top + bottom) / 2, wide * step, top - bottom], axis=1)


def _extras(colour: Floats | None, far: Floats, cell: Ints, fine: int) -> NDArray[np.float32]:
    """Return `VIEW_EXTRAS` of the 36 views, (36, 5)."""
    cells = HEIGHT * WIDTH
    extras = np.zeros((VIEWS, len(VIEW_EXTRAS)), np.float32)
    if colour is not None:
        mean = [np.bincount(cell, colour[:, i], cells) / fine**2 for i in range(3)]
        extras[:, :3] = compute_view_shares(np.stack(mean).reshape(3, HEIGHT, WIDTH))
    known = far > 0
    part = np.bincount(cell, known, cells) / fine**2
    total = np.bincount(cell, far, cells) / fine**2
    part, total = compute_view_shares(np.stack([part, total]).reshape(2, HEIGHT, WIDTH)).T
    extras[:, 3] = np.where(part > 0, total / np.maximum(part, 1e-9), 0) / 10
    blocks = np.where(known, far, np.inf).reshape(HEIGHT, fine, WIDTH, fine)
    near = blocks.min(axis=(1, 3)).ravel()
    least = np.where(_windows(), near, np.inf).min(axis=1)
    extras[:, 4] = np.where(np.isfinite(least), least, 0) / 10
    return extras


def _features(distance: Floats, area: Floats, boxes: Floats, colour: Floats) -> NDArray[np.float32]:
    """Return the columns `OBJECT_FEATURES`."""
    small = 1e-9
    shape = np.log(np.maximum(boxes[:, 2], small) / np.maximum(boxes[:, 3], small))
    table = [distance, np.log(np.maximum(area, small)), shape, *colour.T]
    return np.stack(table, axis=1).astype(np.float32)


def _cells(count: int) -> int:
    return count * HEIGHT * WIDTH


@cache
def _samples(h: int, w: int, turn: int, fine: int) -> Ints:
    """Return the pixels of an (h, w) image that `fine` x `fine` samples per canvas cell fall on.

    Args:
        h: image rows, from +90 to -90 deg.
        w: image columns.
        turn: columns between the middle of the image and north, clockwise.
        fine: samples per side of a cell.
    """
    columns, elevations = compute_cell_angles(HEIGHT * fine, WIDTH * fine)
    x = np.floor(columns / (2 * np.pi) * w + w / 2 - turn).astype(np.int64) % w
    y = np.floor((np.pi / 2 - elevations) / np.pi * h).astype(np.int64)
    return (y[:, None] * w + x).ravel()


@cache
def _layout(fine: int) -> tuple[Ints, Floats]:
    """Return the cell of each sample and the solid angle [sr] it stands for."""
    y, x = np.indices((HEIGHT * fine, WIDTH * fine))
    rows = compute_cell_angles(HEIGHT * fine, WIDTH * fine)[1]
    area = np.cos(rows) * (2 * TOP / len(rows)) * (2 * np.pi / (WIDTH * fine))
    return (y // fine * WIDTH + x // fine).ravel(), np.repeat(area, WIDTH * fine)


@cache
def _windows() -> NDArray[np.bool_]:
    """Return which cells each view shows, (36, H*W)."""
    cells = np.eye(HEIGHT * WIDTH, dtype=np.float32).reshape(-1, HEIGHT, WIDTH)
    return compute_view_shares(cells) > 0
