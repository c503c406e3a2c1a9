"""Rasterise triangles into columns of solid spans and mark the spans an agent can stand on.

The steps and their integer rules follow Recast (Mononen), because navigability in Habitat is
defined by them: triangles are clipped into 5 cm columns, heights are rounded outwards to whole
cells, and three filters remove ledges and low ceilings. Arithmetic is float32 in Recast's order so
that edges on cell borders round alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maps.compiled import cached_njit

Array = NDArray[Any]

OPEN_TOP = 0xFFFF
SPAN_LIMIT = (1 << 13) - 1
OPEN_ROOM = 255  # free height of a place with nothing above it [cells]
# Neighbour order of every link table: -x, +z, +x, -z.
DX = np.array([-1, 0, 1, 0], np.int64)
DZ = np.array([0, 1, 0, -1], np.int64)


@cached_njit()
def _split(
    source: Array, count: int, low: Array, high: Array, at: float, axis: int, side: Array
) -> tuple[int, int]:
    """Cut a convex polygon at a plane; `low` gets the part below `at`, `high` the rest."""
    for i in range(count):
        side[i] = at - source[i, axis]
    n_low = 0
    n_high = 0
    j = count - 1
    for i in range(count):
        inside_j = side[j] >= 0
        inside_i = side[i] >= 0
        if inside_j != inside_i:
            s = side[j] / (side[j] - side[i])
            for k in range(3):
                value = source[j, k] + (source[i, k] - source[j, k]) * s
                low[n_low, k] = value
                high[n_high, k] = value
            n_low += 1
            n_high += 1
            if side[i] > 0:
                low[n_low] = source[i]
                n_low += 1
            elif side[i] < 0:
                high[n_high] = source[i]
                n_high += 1
        else:
            keep_high = True
            if inside_i:
                low[n_low] = source[i]
                n_low += 1
                keep_high = side[i] == 0
            if keep_high:
                high[n_high] = source[i]
                n_high += 1
        j = i
    return n_low, n_high


@cached_njit()
def _grow(array: Array, size: int) -> Array:
    larger = np.empty(size, array.dtype)
    larger[: len(array)] = array
    return larger


@cached_njit()
def rasterize_triangles(
    vertices: Array,
    faces: Array,
    low: Array,
    high: Array,
    width: int,
    depth: int,
    cell: Any,
    cell_height: Any,
    slope_cosine: Any,
    merge: int,
) -> tuple[Array, ...]:
    """Fill linked lists of solid spans, one list per column, from triangles.

    Returns:
        first: (depth * width,) index of a column's lowest span, -1 none.
        lower, upper: (S,) bottom and top of the span [cells].
        walkable: (S,) bool.
        following: (S,) index of the next span above, -1 none.
        surface: (S,) height of the highest geometry in the span [m].
    """
    capacity = max(1024, 4 * len(faces))
    first = np.full(width * depth, -1, np.int32)
    lower = np.empty(capacity, np.int32)
    upper = np.empty(capacity, np.int32)
    walkable = np.empty(capacity, np.bool_)
    following = np.empty(capacity, np.int32)
    surface = np.empty(capacity, np.float32)
    used = 0
    spare = -1
    one = np.float32(1.0)
    inverse_cell = one / cell
    inverse_height = one / cell_height
    extent = high[1] - low[1]
    a = np.empty((16, 3), np.float32)
    b = np.empty((16, 3), np.float32)
    row = np.empty((16, 3), np.float32)
    piece = np.empty((16, 3), np.float32)
    scratch = np.empty((16, 3), np.float32)
    side = np.empty(16, np.float32)
    for f in range(len(faces)):
        for k in range(3):
            a[k] = vertices[faces[f, k]]
        e0 = a[1] - a[0]
        e1 = a[2] - a[0]
        nx = e0[1] * e1[2] - e0[2] * e1[1]
        ny = e0[2] * e1[0] - e0[0] * e1[2]
        nz = e0[0] * e1[1] - e0[1] * e1[0]
        norm = np.sqrt(nx * nx + ny * ny + nz * nz)
        stand = norm > 0 and ny / norm > slope_cosine
        z_min = min(a[0, 2], a[1, 2], a[2, 2])
        z_max = max(a[0, 2], a[1, 2], a[2, 2])
        z0 = min(max(int((z_min - low[2]) * inverse_cell), 0), depth - 1)
        z1 = min(max(int((z_max - low[2]) * inverse_cell), 0), depth - 1)
        rest = a
        spare_buffer = b
        n_rest = 3
        for iz in range(z0, z1 + 1):
            edge = low[2] + np.float32(iz) * cell
            n_row, n_rest = _split(rest, n_rest, row, spare_buffer, edge + cell, 2, side)
            rest, spare_buffer = spare_buffer, rest
            if n_row < 3:
                continue
            x_min = row[0, 0]
            x_max = row[0, 0]
            for i in range(1, n_row):
                x_min = min(x_min, row[i, 0])
                x_max = max(x_max, row[i, 0])
            x0 = min(max(int((x_min - low[0]) * inverse_cell), 0), width - 1)
            x1 = min(max(int((x_max - low[0]) * inverse_cell), 0), width - 1)
            # `row` is consumed from left to right; `other` takes what remains.
            strip = row
            other = scratch
            n_strip = n_row
            for ix in range(x0, x1 + 1):
                edge_x = low[0] + np.float32(ix) * cell
                n_piece, n_strip = _split(strip, n_strip, piece, other, edge_x + cell, 0, side)
                strip, other = other, strip
                if n_piece < 3:
                    continue
                y_min = piece[0, 1]
                y_max = piece[0, 1]
                for i in range(1, n_piece):
                    y_min = min(y_min, piece[i, 1])
                    y_max = max(y_max, piece[i, 1])
                y_min -= low[1]
                y_max -= low[1]
                if y_max < 0 or y_min > extent:
                    continue
                y_min = max(y_min, np.float32(0))
                y_max = min(y_max, extent)
                s_low = min(max(int(np.floor(y_min * inverse_height)), 0), SPAN_LIMIT)
                s_high = min(max(int(np.ceil(y_max * inverse_height)), s_low + 1), SPAN_LIMIT)
                s_walk = stand
                s_surface = y_max + low[1]
                column = ix + iz * width
                previous = -1
                current = first[column]
                while current >= 0:
                    if lower[current] > s_high:
                        break
                    after = following[current]
                    if upper[current] < s_low:
                        previous = current
                    else:
                        s_low = min(s_low, lower[current])
                        s_high = max(s_high, upper[current])
                        s_surface = max(s_surface, surface[current])
                        if abs(s_high - upper[current]) <= merge:
                            s_walk = s_walk or walkable[current]
                        following[current] = spare
                        spare = current
                        if previous >= 0:
                            following[previous] = after
                        else:
                            first[column] = after
                    current = after
                if spare >= 0:
                    new = spare
                    spare = following[spare]
                else:
                    if used == capacity:
                        capacity *= 2
                        lower = _grow(lower, capacity)
                        upper = _grow(upper, capacity)
                        walkable = _grow(walkable, capacity)
                        following = _grow(following, capacity)
                        surface = _grow(surface, capacity)
                    new = used
                    used += 1
                lower[new] = s_low
                upper[new] = s_high
                walkable[new] = s_walk
                surface[new] = s_surface
                if previous >= 0:
                    following[new] = following[previous]
                    following[previous] = new
                else:
                    following[new] = first[column]
                    first[column] = new
    return (
        first,
        lower[:used].copy(),
        upper[:used].copy(),
        walkable[:used].copy(),
        following[:used].copy(),
        surface[:used].copy(),
    )


@cached_njit()
def filter_spans(
    first: Array,
    lower: Array,
    upper: Array,
    walkable: Array,
    next_span: Array,
    surface: Array,
    width: int,
    depth: int,
    climb: int,
    height: int,
) -> None:
    """Mark spans walkable or not in place: low obstacles in, ledges and low ceilings out."""
    for column in range(len(first)):
        previous = -1
        was_walkable = False
        area = False
        span = first[column]
        while span >= 0:
            now = walkable[span]
            if not now and was_walkable and abs(upper[span] - upper[previous]) <= climb:
                walkable[span] = area
            was_walkable = now
            area = walkable[span]
            previous = span
            span = next_span[span]
    for z in range(depth):
        for x in range(width):
            span = first[x + z * width]
            while span >= 0:
                if walkable[span]:
                    walkable[span] = not _is_ledge(
                        first, lower, upper, next_span, span, x, z, width, depth, climb, height
                    )
                span = next_span[span]
    for column in range(len(first)):
        span = first[column]
        while span >= 0:
            above = next_span[span]
            top = lower[above] if above >= 0 else OPEN_TOP
            if top - upper[span] <= height:
                walkable[span] = False
            span = above


@cached_njit()
def _is_ledge(
    first: Array,
    lower: Array,
    upper: Array,
    following: Array,
    span: int,
    x: int,
    z: int,
    width: int,
    depth: int,
    climb: int,
    height: int,
) -> bool:
    bottom = upper[span]
    above = following[span]
    top = lower[above] if above >= 0 else OPEN_TOP
    drop = OPEN_TOP
    lowest = bottom
    highest = bottom
    for side in range(4):
        nx = x + DX[side]
        nz = z + DZ[side]
        if nx < 0 or nz < 0 or nx >= width or nz >= depth:
            drop = min(drop, -climb - bottom)
            continue
        other = first[nx + nz * width]
        other_bottom = -climb
        other_top = lower[other] if other >= 0 else OPEN_TOP
        if min(top, other_top) - max(bottom, other_bottom) > height:
            drop = min(drop, other_bottom - bottom)
        while other >= 0:
            other_bottom = upper[other]
            other_above = following[other]
            other_top = lower[other_above] if other_above >= 0 else OPEN_TOP
            if min(top, other_top) - max(bottom, other_bottom) > height:
                drop = min(drop, other_bottom - bottom)
                if abs(other_bottom - bottom) <= climb:
                    lowest = min(lowest, other_bottom)
                    highest = max(highest, other_bottom)
            other = other_above
    return drop < -climb or highest - lowest > climb


@cached_njit()
def build_compact_heightfield(
    first: Array,
    lower: Array,
    upper: Array,
    walkable: Array,
    next_span: Array,
    surface: Array,
    width: int,
    depth: int,
    climb: int,
    height: int,
) -> tuple[Array, ...]:
    """Keep walkable spans as nodes sorted by column and link those an agent can step between.

    Returns:
        start: (depth * width + 1,) first node of each column.
        level: (N,) floor of the node [cells]. room: (N,) free height above it [cells].
        ground: (N,) height of the geometry [m].
        links: (N, 4) neighbour node by `DX`, `DZ` order, -1 none.
    """
    start = np.zeros(width * depth + 1, np.int32)
    for column in range(len(first)):
        span = first[column]
        count = 0
        while span >= 0:
            if walkable[span]:
                count += 1
            span = next_span[span]
        start[column + 1] = start[column] + count
    total = start[-1]
    level = np.empty(total, np.int32)
    room = np.empty(total, np.int32)
    ground = np.empty(total, np.float32)
    links = np.full((total, 4), -1, np.int32)
    for column in range(len(first)):
        span = first[column]
        node = start[column]
        while span >= 0:
            if walkable[span]:
                above = next_span[span]
                top = lower[above] if above >= 0 else OPEN_TOP
                level[node] = upper[span]
                room[node] = min(max(top - upper[span], 0), OPEN_ROOM)
                ground[node] = surface[span]
                node += 1
            span = next_span[span]
    for z in range(depth):
        for x in range(width):
            for node in range(start[x + z * width], start[x + z * width + 1]):
                for side in range(4):
                    nx = x + DX[side]
                    nz = z + DZ[side]
                    if nx < 0 or nz < 0 or nx >= width or nz >= depth:
                        continue
                    for other in range(start[nx + nz * width], start[nx + nz * width + 1]):
                        bottom = max(level[node], level[other])
                        top = min(level[node] + room[node], level[other] + room[other])
                        if top - bottom >= height and abs(level[other] - level[node]) <= climb:
                            links[node, side] = other
                            break
    return start, level, room, ground, links
