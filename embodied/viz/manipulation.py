"""Films of arms at work: a grid of episodes, progress bars, and where the policy wants to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.viz.video import BACKGROUND, INK, SOFT, Image, draw_text
from maps.pinhole import compute_focal_length

TILE, STRIP, GAP, HEAD = 320, 44, 8, 56
PLAN, AIM, DONE = (255, 206, 84), (94, 214, 255), (92, 200, 120)
"""Colours of the actions to come, of the imagined place, and of success."""
CAPTION = (
    "Yellow: where the actions to come lead. Blue circle: where the policy imagines the gripper a "
    "quarter of a second later. Blue bar: the progress it imagines."
)
"""Says what the films show."""
_FINE = 4  # bits after the point of OpenCV's coordinates


@dataclass(frozen=True)
class TileScene:
    """What one tile shows.

    Attributes:
        image: (H, W, 3) of the front camera.
        plan_pixels: (M, 2) pixels of where the actions to come lead; rows of NaN are left out.
        imagined_pixel: (2,) pixel of the imagined place; NaN or None: not drawn.
        progress: imagined, in 0 to 1; None: there is none.
        steps: control steps so far.
        success: the task is done.
        done: the episode has ended.
    """

    image: Image
    plan_pixels: NDArray[np.floating] | None = None
    imagined_pixel: NDArray[np.floating] | None = None
    progress: float | None = None
    steps: int = 0
    success: bool = False
    done: bool = False


def project_points(
    points: NDArray[np.floating], pose: NDArray[np.floating], hfov: float, size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the pixels (..., 2) of points (..., 3); NaN for those behind the camera.

    Args:
        points: in the frame of the camera's pose [m].
        pose: (4, 4) camera to that frame, looking along its own -z.
        hfov: horizontal field of view [deg].
        size: width and height of the image.
    """
    local = (np.asarray(points) - pose[:3, 3]) @ pose[:3, :3]
    depth = np.where(local[..., 2] < -1e-6, -local[..., 2], np.nan)
    focal = compute_focal_length(size[0], hfov)
    across = size[0] / 2 + focal * local[..., 0] / depth
    down = size[1] / 2 - focal * local[..., 1] / depth
    return np.stack([across, down], axis=-1)


def draw_tile(scene: TileScene) -> Image:
    """Draw one episode: the picture with plan and aim, a progress bar and the count of steps below.

    Returns:
        (TILE + STRIP, TILE, 3) uint8.
    """
    frame: Image = np.full((TILE + STRIP, TILE, 3), BACKGROUND, np.uint8)
    height, width = scene.image.shape[:2]
    scale = np.array([TILE / width, TILE / height])
    wide = cv2.resize(scene.image, (TILE, TILE), interpolation=cv2.INTER_CUBIC)
    picture = np.asarray(wide, np.uint8)
    if not scene.done:
        if scene.plan_pixels is not None:
            _polyline(picture, scene.plan_pixels * scale)
        if scene.imagined_pixel is not None and np.isfinite(scene.imagined_pixel).all():
            center = _pixel(scene.imagined_pixel * scale)
            cv2.circle(picture, center, 6 << _FINE, AIM, 2, cv2.LINE_AA, _FINE)
    frame[:TILE] = picture
    if scene.success:
        cv2.rectangle(frame, (1, 1), (TILE - 2, TILE - 2), DONE, 3)
    word = "done" if scene.success else "out of time" if scene.done else f"{scene.steps} steps"
    draw_text(frame, word, (TILE - 10, TILE + 13), 16, DONE if scene.success else SOFT, right=True)
    left, right, middle = 12, TILE - 100, TILE + STRIP // 2
    if scene.progress is not None:
        cv2.line(frame, (left, middle), (right, middle), (48, 56, 68), 8, cv2.LINE_AA)
        end = left + round(float(np.clip(scene.progress, 0, 1)) * (right - left))
        cv2.line(frame, (left, middle), (end, middle), AIM, 8, cv2.LINE_AA)
    return frame


def draw_grid(tiles: Sequence[Image], title: str, note: str) -> Image:
    """Lay tiles side by side in rows, about as many rows as columns, below a heading.

    Returns:
        (H, W, 3) uint8 with even sides.
    """
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = int(np.ceil(len(tiles) / columns))
    height, width = tiles[0].shape[:2]
    size = (HEAD + rows * (height + GAP), GAP + columns * (width + GAP))
    frame: Image = np.full((size[0] + size[0] % 2, size[1] + size[1] % 2, 3), BACKGROUND, np.uint8)
    for number, picture in enumerate(tiles):
        top = HEAD + number // columns * (height + GAP)
        left = GAP + number % columns * (width + GAP)
        frame[top : top + height, left : left + width] = picture
    draw_text(frame, title, (GAP + 4, 16), 22, INK)
    draw_text(frame, note, (size[1] - GAP - 4, 19), 17, SOFT, right=True)
    return frame


def _polyline(picture: Image, pixels: NDArray[np.floating]) -> None:
    kept = pixels[np.isfinite(pixels).all(axis=1)]
    for start, end in zip(kept[:-1], kept[1:], strict=True):
        cv2.line(picture, _pixel(start), _pixel(end), PLAN, 2, cv2.LINE_AA, _FINE)


def _pixel(place: NDArray[np.floating]) -> tuple[int, int]:
    """Return a place as OpenCV wants it: whole sixteenths of a pixel, in reach of its integers."""
    x, y = np.clip(np.round(place * (1 << _FINE)), -(2**20), 2**20).astype(int)
    return int(x), int(y)
