"""Films: what the agent sees beside the map it draws, as an H.264 file that browsers play."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.errors import EmbodiedError
from embodied.files import atomic_write
from robots.video import CameraVideoWriter

Image = NDArray[np.uint8]

CODEC = {"crf": "22", "preset": "veryfast"}
BACKGROUND = (17, 21, 28)
INK, SOFT = (236, 240, 245), (150, 162, 178)
PANEL, MARGIN, GAP, HEAD, FOOT = 400, 24, 16, 64, 44
SIZE = (2 * MARGIN + 3 * PANEL + 2 * GAP, HEAD + PANEL + FOOT)  # width, height: both even


def colorize_depth(depth: NDArray[np.floating], far: float = 6.0) -> Image:
    """Colour depth (H, W) [m]: near is bright, `far` and beyond dark, nothing measured black."""
    near = np.clip(1.0 - depth / far, 0.0, 1.0)
    colors = cv2.applyColorMap((255 * near).astype(np.uint8), cv2.COLORMAP_INFERNO)
    image = cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)
    image[depth <= 0] = 0
    return image.astype(np.uint8)


def compose_frame(
    rgb: Image, depth: NDArray[np.floating], chart: Image, title: str, note: str
) -> Image:
    """Lay camera, depth and map side by side with a heading.

    Args:
        rgb: (H, W, 3).
        depth: (H, W) [m].
        chart: (h, w, 3) top-down map.
        title: at the left above the pictures.
        note: at the right above the pictures.

    Returns:
        (508, 1280, 3) uint8.
    """
    names = ("camera", "depth: near is bright, 6 m and beyond dark", "map from depth and pose")
    return compose_panels((rgb, colorize_depth(depth), chart), names, title, note)


def compose_panels(pictures: Sequence[Image], names: Sequence[str], title: str, note: str) -> Image:
    """Lay three square pictures (H, W, 3) side by side, each with its name below, with a heading.

    Returns:
        (508, 1280, 3) uint8.
    """
    width, height = SIZE
    frame: Image = np.full((height, width, 3), BACKGROUND, np.uint8)
    for index, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        left = MARGIN + index * (PANEL + GAP)
        frame[HEAD : HEAD + PANEL, left : left + PANEL] = _fit(picture)
        draw_text(frame, name, (left, HEAD + PANEL + 10), 17, SOFT)
    draw_text(frame, title, (MARGIN, 18), 26, INK)
    draw_text(frame, note, (width - MARGIN, 22), 20, SOFT, right=True)
    return frame


class VideoWriter:
    """Writes H.264 MP4 frame by frame; the file appears when the `with` block ends without error.

    Args:
        path: the file.
        fps: frames per second.

    Raises:
        EmbodiedError: no frames, or frames of odd or different size.
        UnwritableError: the folder cannot be written to.
    """

    def __init__(self, path: str | Path, fps: int = 12) -> None:
        self.fps = fps
        self.count = 0
        self._path = path
        self._shape: tuple[int, ...] = ()
        self._film: CameraVideoWriter | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(atomic_write(self._path))
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add_frame(self, frame: Image) -> None:
        """Append one frame (H, W, 3) uint8, H and W even."""
        if self._film is None:
            if frame.ndim != 3 or frame.shape[0] % 2 or frame.shape[1] % 2:
                raise EmbodiedError(f"film frames {frame.shape} must be (even, even, 3)")
            self._shape = frame.shape
            height, width = frame.shape[:2]
            self._film = CameraVideoWriter(
                self._file, height, width, Fraction(1, self.fps), self.fps, CODEC, {}
            )
        if frame.shape != self._shape:
            raise EmbodiedError(f"film frames must all be {self._shape}, one is {frame.shape}")
        self._film.add_image(frame, self.count)
        self.count += 1

    def _finish(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if self._film is not None:
            self._film.close()
        elif kind is None:
            raise EmbodiedError("a film needs at least one frame")


def write_video(path: str | Path, frames: Iterable[Image], fps: int = 12) -> int:
    """Write frames (H, W, 3) uint8, all of one even size, as MP4; return their number."""
    with VideoWriter(path, fps) as film:
        for frame in frames:
            film.add_frame(frame)
    return film.count


def _fit(picture: Image) -> Image:
    if picture.shape[:2] == (PANEL, PANEL):
        return picture
    grow = picture.shape[0] < PANEL
    way = cv2.INTER_CUBIC if grow else cv2.INTER_AREA
    return cv2.resize(picture, (PANEL, PANEL), interpolation=way).astype(np.uint8)


def draw_text(
    frame: Image,
    text: str,
    corner: tuple[int, int],
    size: int,
    color: tuple[int, int, int],
    *,
    right: bool = False,
) -> None:
    """Lay antialiased text over a frame; `corner` is its upper left (or upper right) corner."""
    mask = _text(text, size)
    x, y = corner[0] - (mask.shape[1] if right else 0), corner[1]
    part = frame[y : y + mask.shape[0], x : x + mask.shape[1]]
    alpha = mask[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = (part * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)


@lru_cache(maxsize=64)  # every frame has another note
def _text(text: str, size: int) -> NDArray[np.uint8]:
    """Coverage mask of a line of text; the font comes with Pillow."""
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text or " ")
    picture = Picture.new("L", (max(1, int(right - min(left, 0)) + 1), int(bottom) + 2))
    ImageDraw.Draw(picture).text((-min(left, 0), 0), text, 255, font=font)
    return np.asarray(picture).copy()
