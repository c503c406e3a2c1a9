"""Equirectangular depth for everything that wants pinhole images: four upright views around.

Resampling keeps planes plane: the inverse of the range along a ray is smooth over a plane (over the
floor exactly sin(depression) / height), so it is what gets interpolated, and only between pixels of
one surface; across a depth edge the nearest pixel is taken, so that no point hangs in the air.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from maps.pinhole import compute_focal_length

VIEWS = 4
HFOV = 90.0
"""Field of view of each view [deg]: four of them close the circle."""

BEND = 0.04
"""Relative second difference of the inverse range above which neighbouring pixels are not one
plane: on planes it is the square of a pixel's angle [rad], a thousandth."""


def split_depth(
    panorama: NDArray[np.float32], width: int = 64, height: int = 112
) -> NDArray[np.float32]:
    """Cut an equirectangular depth image into four pinhole ones.

    Args:
        panorama: (H, W) length of each ray [m], 0 = nothing; centre column ahead, row 0 up.
        width: of a view [px].
        height: of a view [px]; more than its width, to see the floor near the feet.

    Returns:
        (4, height, width) depth along the optical axis [m], 0 = nothing. View k looks k * 90 deg
        to the left of the panorama's centre, with `HFOV` across.

    Raises:
        ValueError: not an (H, W) image.
    """
    image = np.ascontiguousarray(panorama, np.float32)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim != 2 or min(image.shape) < 2:
        raise ValueError(f"a panorama must be an (H, W) depth image, got {image.shape}")
    columns, rows, forward = _lookup(image.shape[0], image.shape[1], width, height)
    usable = np.isfinite(image) & (image > 0)
    inverse = np.where(usable, 1.0 / np.where(usable, image, 1.0), 0.0).astype(np.float32)
    # one column more on each side: the image closes on itself
    ring = np.concatenate([inverse[:, -1:], inverse, inverse[:, :1]], axis=1)
    mode = cv2.BORDER_REPLICATE
    near = cv2.remap(ring, columns, rows, cv2.INTER_NEAREST, borderMode=mode)
    smooth = cv2.remap(ring, columns, rows, cv2.INTER_LINEAR, borderMode=mode)
    one_plane = cv2.remap(_bend(ring), columns, rows, cv2.INTER_NEAREST, borderMode=mode)
    value = np.where((one_plane <= BEND * near) & (near > 0), smooth, near)
    with np.errstate(divide="ignore"):
        depth = np.where(value > 0, forward / np.where(value > 0, value, 1.0), 0.0)
    return depth.reshape(VIEWS, height, width).astype(np.float32)


def get_view_yaw(view: int) -> float:
    """Heading of a view relative to the panorama's centre [rad], counter-clockwise."""
    return view * np.pi / 2


def _bend(ring: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest second difference of (H, W) along rows and columns."""
    bend = np.zeros_like(ring)
    bend[1:-1] = np.abs(ring[2:] + ring[:-2] - 2 * ring[1:-1])
    across = np.abs(ring[:, 2:] + ring[:, :-2] - 2 * ring[:, 1:-1])
    bend[:, 1:-1] = np.maximum(bend[:, 1:-1], across)
    return bend


@lru_cache(maxsize=8)
def _lookup(
    rows: int, columns: int, width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of the views lies in the ring image, and the forward share of its ray."""
    focal = compute_focal_length(width, HFOV)
    right = (np.arange(width) + 0.5 - width / 2) / focal
    up = (height / 2 - np.arange(height) - 0.5) / focal
    x, y = np.broadcast_arrays(right[None], up[:, None])
    length = np.sqrt(x**2 + y**2 + 1.0)
    longitude, latitude = np.arctan2(x, np.ones_like(x)), np.arcsin(y / length)
    turned = [longitude - get_view_yaw(view) for view in range(VIEWS)]
    at = (np.concatenate(turned) / (2 * np.pi) + 0.5) % 1.0 * columns - 0.5 + 1.0
    row = np.tile((0.5 - latitude / np.pi) * rows - 0.5, (VIEWS, 1))
    return (
        at.astype(np.float32),
        row.astype(np.float32),
        np.tile(1.0 / length, (VIEWS, 1)).astype(np.float32),
    )
