"""Depth images as points in the world."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.extras import require_extra
from embodied.simulators.base import CameraSpec

Array = NDArray[np.float64]


def unproject_depth(
    depth: NDArray[np.generic], camera: CameraSpec, pose: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Return where the pixels of a pinhole camera's depth image are.

    Args:
        depth: (H, W) along the optical axis [m], 0 where there is no reading.
        camera: the one that made it.
        pose: (4, 4) camera to world, looking along -z.

    Returns:
        Points (M, 3) of the pixels with a reading [m], row by row, and which those are (H, W).
    """
    height, width = depth.shape
    half = np.tan(np.deg2rad(camera.hfov) / 2)
    y, x = np.indices((height, width))
    right = ((x + 0.5) / width * 2 - 1) * half
    up = (1 - (y + 0.5) / height * 2) * half * height / width
    reading = np.asarray(depth, np.float64)
    seen = np.asarray(reading > 0)
    rays = np.stack([right, up, -np.ones_like(right)], axis=-1)[seen]
    local = rays * reading[seen][:, None]
    return local @ pose[:3, :3].T + pose[:3, 3], seen


def build_point_cloud(points: Array, colors: NDArray[np.uint8]) -> Any:
    """Return an `open3d.geometry.PointCloud` of points (M, 3) [m] and their colours (M, 3).

    Raises:
        MissingExtraError: Open3D is not installed.
    """
    with require_extra("A point cloud object"):
        import open3d
    cloud = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(points)
    cloud.colors = open3d.utility.Vector3dVector(colors / 255.0)
    return cloud
