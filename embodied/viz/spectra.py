"""A picture of what scene object spectra are made of: panorama, masks, spectra."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from maps.panorama.canvas import TOP

Image = NDArray[np.uint8]

WIDTH, STRIP, MARGIN, NAMES = 1200, 96, 12, 150
INK, GRID, PAPER = (58, 66, 82), (214, 219, 228), (255, 255, 255)
SEEN, WORD = (37, 84, 214), (245, 132, 31)


def category_colors(count: int) -> NDArray[np.uint8]:
    """Return K colours that differ between neighbours, (K, 3) RGB."""
    golden = 0.618034
    tones = [colorsys.hsv_to_rgb(k * golden % 1, 0.55 + 0.3 * (k % 2), 0.85) for k in range(count)]
    return (np.array(tones) * 255).astype(np.uint8)


def paint_canvas(canvas: NDArray[np.bool_], width: int) -> Image:
    """Return the masks (K, H, W) in the colours of their categories, small ones on top."""
    colors = category_colors(len(canvas))
    picture = np.full((*canvas.shape[1:], 3), 240, np.uint8)
    for row in np.argsort(-canvas.sum(axis=(1, 2)), kind="stable"):
        picture[canvas[row]] = colors[row]
    height = round(width * canvas.shape[1] / canvas.shape[2])
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8
    )


def draw_spectrum(
    canvas: NDArray[np.bool_],
    spectrum: NDArray[np.floating],
    names: tuple[str, ...],
    *,
    photo: Image | None = None,
    words: NDArray[np.floating] | None = None,
    title: str = "",
    rows: int = 10,
) -> Image:
    """Draw a panorama, its masks and its spectrum.

    Args:
        canvas: (K, H, W) masks, column 0 north.
        spectrum: (K, F) its scene object spectrum.
        names: K category names.
        photo: (h, w, 3) equirectangular colours, the middle column north.
        words: (K, F) reference spectra, drawn over the rows in orange.
        title: one line above everything.
        rows: categories drawn at most, those of words first, then by area.

    Returns:
        (height, 1200, 3) RGB.
    """
    inner = WIDTH - 2 * MARGIN
    parts = [_text(title or "scene object spectrum", 28, 0.6)]
    if photo is not None:
        parts += [_text("panorama: north, east, south, west", 18), _fit(_strip(photo), inner)]
    parts += [_text("masks by category", 18), paint_canvas(canvas, inner)]
    area = canvas.mean(axis=(1, 2))
    named: NDArray[np.bool_] = np.zeros(len(canvas), bool)
    if words is not None:
        named = np.asarray(words).max(axis=1) > 0
    order = np.lexsort((-area, ~named))
    shown = [k for k in order if area[k] > 0 or named[k]][:rows]
    head = (
        "each category: mask, and |F| averaged over vertical frequencies, by horizontal frequency"
    )
    parts.append(_text(head + ("; orange: the word's reference" if words is not None else ""), 24))
    colors = category_colors(len(canvas))
    for k in shown:
        reference = words[k] if words is not None and named[k] else None
        parts.append(_row(names[k], canvas[k], spectrum[k], reference, colors[k], area[k], inner))
    if not shown:
        parts.append(_text("no object of any category is in sight", 24))
    picture = np.full((sum(len(p) + 6 for p in parts) + 2 * MARGIN, WIDTH, 3), 255, np.uint8)
    top = MARGIN
    for part in parts:
        picture[top : top + len(part), MARGIN : MARGIN + part.shape[1]] = part
        top += len(part) + 6
    return picture


def _strip(photo: Image) -> Image:
    """Turn north to the left edge and cut off what is beyond +-60 deg."""
    height, width = photo.shape[:2]
    low = round(height * (0.5 - TOP / np.pi))
    return np.roll(photo, -(width // 2), axis=1)[low : height - low]


def _fit(image: Image, width: int) -> Image:
    height = round(image.shape[0] * width / image.shape[1])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _text(text: str, height: int, scale: float = 0.45) -> Image:
    line = np.full((height, WIDTH - 2 * MARGIN, 3), 255, np.uint8)
    _write(line, text, 0, height - 7, scale)
    return line


def _write(image: Image, text: str, x: int, y: int, scale: float = 0.45) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)


def _row(
    name: str,
    mask: NDArray[np.bool_],
    spectrum: NDArray[np.floating],
    word: NDArray[np.floating] | None,
    color: NDArray[np.uint8],
    area: float,
    width: int,
) -> Image:
    line = np.full((STRIP, width, 3), 255, np.uint8)
    _write(line, name.replace("_", " "), 0, 40)
    _write(line, f"{area:.1%} of the view", 0, 60, 0.38)
    picture = np.full((*mask.shape, 3), 240, np.uint8)
    picture[mask] = color
    wide = round(STRIP * mask.shape[1] / mask.shape[0])
    line[:, NAMES : NAMES + wide] = cv2.resize(
        picture, (wide, STRIP), interpolation=cv2.INTER_NEAREST
    )
    left = NAMES + wide + 60
    _curve(line[:, left - 55 :], 55, spectrum, word)
    return line


def _curve(
    area: Image, left: int, values: NDArray[np.floating], word: NDArray[np.floating] | None
) -> None:
    """Draw both sides of the spectrum, frequency 0 in the middle, as the paper's figure does."""
    width, base = area.shape[1] - left - 4, len(area) - 14
    high = max(float(values.max()), float(word.max()) if word is not None else 0.0, 1e-9)
    for y in (6, base):
        cv2.line(area, (left, y), (left + width, y), GRID, 1)
    _write(area, f"{high:.3g}", 0, 14, 0.38)
    count = len(values) - 1
    for share, label in ((0, f"-{count}"), (0.5, "0"), (1, f"{count}")):
        _write(area, label, int(left + share * width) - (10 if share else 0), len(area) - 1, 0.35)
    for row, color in ((word, WORD), (values, SEEN)):
        if row is None:
            continue
        both = np.concatenate([row[:0:-1], row])
        right = left + np.arange(len(both)) * (width / (len(both) - 1))
        down = base - both / high * (base - 6)
        points = np.stack([right, down], axis=1).round().astype(np.int32)
        cv2.polylines(area, [points], False, color, 1, cv2.LINE_AA)
