"""Small procedural textures, made once per process and shared by all houses.

Patterns for paint, wood, tiles and fabric are near-white: the material's colour tints them.
Pictures, window views and rugs carry their own colours.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Texture = NDArray[np.uint8]


@lru_cache(maxsize=256)
def make_texture(kind: str, variant: int = 0) -> Texture:
    """Return a (H, W, 3) uint8 texture of `TEXTURE_KINDS`; equal arguments, the same array."""
    rng = np.random.Generator(np.random.PCG64([zlib.crc32(kind.encode()), variant]))
    image = TEXTURE_KINDS[kind](rng)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    result = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    result.setflags(write=False)
    return result


def _noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> NDArray:
    """Return smooth noise in [0, 1] that repeats at the borders."""
    grid = rng.random(cells)
    rows = np.arange(shape[0]) * cells[0] / shape[0]
    cols = np.arange(shape[1]) * cells[1] / shape[1]
    r, c = rows.astype(int), cols.astype(int)
    fr, fc = (rows - r)[:, None], (cols - c)[None]
    fr, fc = fr * fr * (3 - 2 * fr), fc * fc * (3 - 2 * fc)
    r1, c1 = (r + 1) % cells[0], (c + 1) % cells[1]
    top = grid[np.ix_(r, c)] * (1 - fc) + grid[np.ix_(r, c1)] * fc
    bottom = grid[np.ix_(r1, c)] * (1 - fc) + grid[np.ix_(r1, c1)] * fc
    return top * (1 - fr) + bottom * fr


def _plaster(rng: np.random.Generator) -> NDArray:
    return 0.97 + 0.025 * _noise(rng, (64, 64), (6, 6)) - 0.025 * rng.random((64, 64))


def _grain(rng: np.random.Generator) -> NDArray:
    rings = _noise(rng, (64, 128), (10, 3)) * 5 + np.arange(64)[:, None] / 9
    fine = _noise(rng, (64, 128), (48, 6))
    return 0.84 + 0.1 * np.abs(np.sin(np.pi * rings)) + 0.07 * fine


def _planks(rng: np.random.Generator) -> NDArray:
    image = np.empty((128, 128))
    for row in range(8):
        shift = int(rng.integers(128))
        for part in range(2):
            cols = (np.arange(64) + shift + 64 * part) % 128
            grain = _noise(rng, (16, 64), (8, 3))
            board = rng.uniform(0.76, 0.95) + 0.1 * (grain - 0.5)
            board[:, 0] *= 0.72
            image[row * 16 : row * 16 + 16, cols] = board
        image[row * 16] *= 0.72
    return image


def _tiles(rng: np.random.Generator) -> NDArray:
    image = np.repeat(np.repeat(rng.uniform(0.88, 0.97, (2, 2)), 32, 0), 32, 1)
    image += 0.05 * (_noise(rng, (64, 64), (10, 10)) - 0.5)
    image[::32] = image[1::32] = 0.7
    image[:, ::32] = image[:, 1::32] = 0.7
    return image


def _checker(rng: np.random.Generator) -> NDArray:
    image = np.repeat(np.repeat(np.array([[0.96, 0.5], [0.5, 0.96]]), 32, 0), 32, 1)
    image += 0.05 * (_noise(rng, (64, 64), (10, 10)) - 0.5)
    image[::32] = image[:, ::32] = 0.75
    return image


def _brick_tiles(rng: np.random.Generator) -> NDArray:
    image = np.full((64, 64), 0.98)
    for row in range(4):
        shift = 16 * (row % 2)
        for part in range(2):
            cols = (np.arange(32) + shift + 32 * part) % 64
            image[row * 16 : row * 16 + 16, cols] = rng.uniform(0.9, 0.98)
            image[row * 16 : row * 16 + 16, cols[0]] = 0.78
        image[row * 16] = 0.78
    return image


def _bricks(rng: np.random.Generator) -> NDArray:
    return _brick_tiles(rng) * (0.8 + 0.2 * rng.random((64, 64))) * 0.98


def _carpet(rng: np.random.Generator) -> NDArray:
    return 0.78 + 0.17 * rng.random((64, 64)) + 0.06 * _noise(rng, (64, 64), (8, 8))


def _fabric(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:32, 0:32]
    return 0.9 + 0.05 * ((x // 2 + y // 2) % 2) + 0.05 * rng.random((32, 32))


def _leather(rng: np.random.Generator) -> NDArray:
    return 0.82 + 0.18 * _noise(rng, (64, 64), (14, 14))


def _stripes(rng: np.random.Generator) -> NDArray:
    x = np.arange(64)[None]
    image = np.where((x // 8) % 2 == 0, 0.97, 0.88) * np.ones((64, 1))
    return image - 0.02 * rng.random((64, 64))


def _dots(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:64, 0:64]
    image = np.full((64, 64), 0.96)
    for cy, cx in ((16, 16), (48, 48)):
        r = np.hypot(y - cy, x - cx)
        petal = 7 + 4 * np.cos(4 * np.arctan2(y - cy, x - cx))
        image[r < petal] = 0.86
        image[r < 3] = 0.95
    return image - 0.02 * rng.random((64, 64))


def _marble(rng: np.random.Generator) -> NDArray:
    warp = _noise(rng, (128, 128), (5, 5)) + 0.5 * _noise(rng, (128, 128), (11, 11))
    vein = np.abs(np.sin(np.pi * 3 * warp))
    return 0.97 - 0.25 * np.exp(-vein * 9) - 0.03 * rng.random((128, 128))


def _granite(rng: np.random.Generator) -> NDArray:
    return 0.75 + 0.25 * _noise(rng, (64, 64), (32, 32)) * rng.random((64, 64))


def _plaid(rng: np.random.Generator) -> NDArray:
    image = np.full((64, 64), 0.97)
    for width, shade in ((24, 0.85), (6, 0.72)):
        start = int(rng.integers(0, 64 - width))
        image[start : start + width] *= shade
        image[:, start : start + width] *= shade
    return image


def _quilt(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:64, 0:64]
    ridge = np.minimum(np.abs((x + y) % 32 - 16), np.abs((x - y) % 32 - 16)) / 16
    return 0.99 - 0.18 * np.exp(-ridge * 8) - 0.02 * rng.random((64, 64))


def _folds(rng: np.random.Generator) -> NDArray:
    x = np.arange(64)
    shade = 0.84 + 0.14 * np.sin(x * 2 * np.pi / 16) + 0.03 * np.sin(x * 2 * np.pi / 64)
    return shade[None] * np.ones((16, 1)) - 0.02 * rng.random((16, 64))


def _slats(rng: np.random.Generator) -> NDArray:
    y = np.arange(64)[:, None] % 8
    return np.where(y == 7, 0.6, 0.98 - 0.02 * y) * np.ones((1, 16)) - 0.01 * rng.random((64, 16))


def _books(rng: np.random.Generator) -> NDArray:
    image = np.zeros((64, 128, 3))
    x = 0
    covers = np.array(
        [[0.55, 0.16, 0.14], [0.16, 0.25, 0.42], [0.18, 0.36, 0.24], [0.82, 0.72, 0.5],
         [0.32, 0.2, 0.14], [0.78, 0.45, 0.18], [0.85, 0.84, 0.8], [0.3, 0.3, 0.34]]
    )  # fmt: skip
    while x < 128:
        width = int(rng.integers(4, 10))
        cover = covers[rng.integers(len(covers))] * rng.uniform(0.8, 1.15)
        image[:, x : x + width] = cover
        image[:, x : x + 1] *= 0.5
        band = int(rng.integers(8, 48))
        image[band : band + 6, x + 1 : x + width - 1] = np.clip(cover * 1.6 + 0.1, 0, 1)
        x += width
    return image


def _view(rng: np.random.Generator) -> NDArray:
    y = np.linspace(1, 0, 64)[:, None, None]
    sky = np.array([0.9, 0.95, 0.99]) * (1 - y) + np.array([0.5, 0.71, 0.94]) * y
    image = sky * np.ones((1, 64, 1))
    cloud = _noise(rng, (64, 64), (6, 4))[..., None] * _noise(rng, (64, 64), (12, 8))[..., None]
    image += (1 - image) * np.clip(3 * cloud - 0.7, 0, 1) * 0.8
    x = np.arange(64)
    for base, color in (
        (26, (0.55, 0.68, 0.62)),
        (18, (0.42, 0.6, 0.36)),
        (11, (0.36, 0.54, 0.27)),
    ):
        top = base + 5 * _noise(rng, (1, 64), (1, 6))[0] + 2 * np.sin(x / 4 + rng.random() * 6)
        image[(63 - np.arange(64))[:, None] < top[None]] = color
    return image


def _picture(rng: np.random.Generator) -> NDArray:
    hue = rng.random((5, 3)) * 0.75 + 0.15
    y, x = np.mgrid[0:64, 0:64] / 64.0
    style = int(rng.integers(4))
    image = np.ones((64, 64, 3)) * (0.75 + 0.2 * rng.random(3))
    if style == 0:  # landscape with a sun
        image = hue[0] * (1 - y[..., None]) * 0.6 + np.array([0.95, 0.8, 0.6]) * (
            0.4 + 0.6 * y[..., None]
        )
        cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.45)
        image[np.hypot(x - cx, y - cy) < 0.11] = (0.98, 0.85, 0.45)
        for k in range(3):
            ridge = 0.5 + 0.14 * k + 0.1 * (_noise(rng, (1, 64), (1, 5))[0] - 0.5)
            image[y > ridge[None]] = hue[1] * (0.9 - 0.22 * k)
    elif style == 1:  # colour fields
        for k in range(6):
            a, b = np.sort(rng.random(2)), np.sort(rng.random(2))
            image[(x > a[0]) & (x < a[1]) & (y > b[0]) & (y < b[1])] = hue[k % 5]
    elif style == 2:  # discs
        for k in range(5):
            inside = np.hypot(x - rng.random(), y - rng.random()) < rng.uniform(0.08, 0.28)
            image[inside] = 0.75 * hue[k] + 0.25 * image[inside]
    else:  # a vase of flowers
        image = image * (1 - 0.15 * y[..., None])
        image[(np.abs(x - 0.5) < 0.11 + 0.05 * np.sin(y * 20)) & (y > 0.58) & (y < 0.92)] = (
            hue[0] * 0.8
        )
        for _ in range(14):
            cx, cy = rng.normal(0.5, 0.15), rng.normal(0.36, 0.1)
            image[np.hypot(x - cx, y - cy) < 0.065] = (0.25, 0.45, 0.25)
            image[np.hypot(x - cx, y - cy + 0.03) < 0.045] = hue[int(rng.integers(1, 5))]
    return image


def _rug(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:96, 0:96] / 96.0
    colors = np.array(
        [[0.5, 0.2, 0.18], [0.2, 0.28, 0.4], [0.75, 0.68, 0.55], [0.62, 0.5, 0.3],
         [0.3, 0.42, 0.4], [0.84, 0.8, 0.72], [0.36, 0.33, 0.33], [0.7, 0.45, 0.35]]
    )  # fmt: skip
    base, accent, third = colors[rng.permutation(len(colors))[:3]]
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    image = np.ones((96, 96, 3)) * base
    style = int(rng.integers(3))
    u, v = np.abs(x - 0.5), np.abs(y - 0.5)
    if style == 0:
        image[((u + v) * 8).astype(int) % 2 == 0] = accent
        image[u + v < 0.12] = third
    elif style == 1:
        image[(y * 14).astype(int) % 2 == 0] = accent
    else:
        image[np.sin(x * 40) * np.sin(y * 40) > 0.25] = accent
        image[np.hypot(u, v) < 0.22] = third
        image[np.hypot(u, v) < 0.15] = accent
    image[(edge > 0.03) & (edge < 0.06)] = accent
    image[edge < 0.03] = third
    return image * (0.85 + 0.15 * rng.random((96, 96, 1)))


def _screen(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:32, 0:48] / 32.0
    glare = np.clip(1 - np.abs(x - y - 0.4) * 3, 0, 1)
    return np.stack([0.05 + 0.1 * glare, 0.06 + 0.11 * glare, 0.08 + 0.13 * glare], axis=-1)


def _desktop(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:36, 0:64] / 36.0
    image = np.stack([0.15 + 0.2 * x, 0.35 + 0.2 * y, 0.6 + 0.1 * x], axis=-1)
    image[6:28, 8:40] = 0.95
    image[6:9, 8:40] = (0.25, 0.3, 0.4)
    for row in range(12, 26, 3):
        image[row, 11 : int(rng.integers(20, 38))] = 0.45
    return image


def _mirror(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:32, 0:32] / 32.0
    shine = np.clip(1 - np.abs((x + y) % 0.8 - 0.3) * 6, 0, 1) * 0.12
    return np.stack([0.74 + shine, 0.81 + shine, 0.85 + shine], axis=-1)


def _board(rng: np.random.Generator) -> NDArray:
    image = np.full((48, 64, 3), 0.96)
    for row in range(8, 40, 6):
        end = int(rng.integers(20, 52))
        color = (0.2, 0.3, 0.7) if rng.random() < 0.6 else (0.75, 0.2, 0.2)
        image[row, 6:end:2] = color
        image[row + 1, 7:end:3] = color
    return image


def _keys(rng: np.random.Generator) -> NDArray:
    image = np.full((16, 48), 0.85)
    image[::4] = image[:, ::3] = 0.35
    return image


def _fire(rng: np.random.Generator) -> NDArray:
    y, x = np.mgrid[0:32, 0:48] / np.array([32.0, 48.0])[:, None, None]
    flame = np.clip(1.3 * _noise(rng, (32, 48), (4, 9)) + y - 0.75 - np.abs(x - 0.5), 0, 1)
    heat = np.clip(flame * 3, 0, 1)
    return np.stack([0.08 + 0.92 * heat, 0.05 + 0.7 * heat**2, 0.04 + 0.3 * heat**4], axis=-1)


TEXTURE_KINDS = {
    "plaster": _plaster, "grain": _grain, "planks": _planks, "tiles": _tiles, "checker": _checker,
    "brick_tiles": _brick_tiles, "bricks": _bricks, "carpet": _carpet, "fabric": _fabric,
    "leather": _leather, "stripes": _stripes, "dots": _dots, "marble": _marble,
    "granite": _granite, "plaid": _plaid, "quilt": _quilt, "folds": _folds, "slats": _slats,
    "books": _books, "view": _view, "picture": _picture, "rug": _rug, "screen": _screen,
    "desktop": _desktop, "mirror": _mirror, "board": _board, "keys": _keys, "fire": _fire,
}  # fmt: skip
"""Every texture by name."""
