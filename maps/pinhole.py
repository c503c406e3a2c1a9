"""The pinhole camera of every depth image: it looks along its own -z, +x right, +y up.

The centre of pixel (row i, column j) lies at j + 0.5, i + 0.5 from the image's upper left corner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def compute_focal_length(width: int, hfov: float) -> float:
    """Return the focal length [pixels] of an image of a width [pixels].

    Args:
        width: of the image [pixels].
        hfov: its horizontal field of view [deg].
    """
    return float(width / (2 * np.tan(np.deg2rad(hfov) / 2)))


def unproject_pixels(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    depth: NDArray[np.floating],
    pose: NDArray[np.float64],
    hfov: float,
) -> NDArray[np.float64]:
    """Return the points (N, 3) that pixels show, in the frame of the camera's pose [m].

    Args:
        rows: (N,) of the pixels.
        columns: (N,) likewise.
        depth: (H, W) the image, along the optical axis [m].
        pose: (4, 4) camera to that frame.
        hfov: horizontal field of view [deg].
    """
    height, width = depth.shape
    focal = compute_focal_length(width, hfov)
    ahead = depth[rows, columns].astype(np.float64)
    right, up = (columns + 0.5 - width / 2) / focal, (height / 2 - rows - 0.5) / focal
    local = ahead[:, None] * np.stack([right, up, -np.ones_like(right)], axis=1)
    return np.asarray(local @ pose[:3, :3].T + pose[:3, 3])
