"""Where cameras stand and which way each pixel looks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec

TILE_ROWS = 4
"""Rows of the pixel tile that one packet covers (8 rays: 2 x 4, 16 rays: 4 x 4)."""

BLOCK = 32
"""Tiles are visited in square blocks of this many pixels: neighbours find the tree in cache."""


def compute_camera_poses(
    positions: NDArray[np.floating],
    yaw: NDArray[np.floating],
    camera: CameraSpec,
    pitch: NDArray[np.floating] | float = 0.0,
) -> NDArray[np.float64]:
    """Place an agent's camera in the world.

    Args:
        positions: (N, 3) feet of the agents [m].
        yaw: (N,) headings [rad], counter-clockwise about +y.
        camera: its `position` (in the agent's frame) and `pitch` [deg] apply.
        pitch: extra tilt [rad], scalar or (N,), positive looks up.

    Returns:
        (N, 4, 4) camera-to-world transforms.
    """
    positions = np.asarray(positions, np.float64).reshape(-1, 3)
    yaw = np.broadcast_to(np.asarray(yaw, np.float64), len(positions))
    tilt = np.broadcast_to(np.deg2rad(camera.pitch) + np.asarray(pitch), len(positions))
    sin, cos, up, level = np.sin(yaw), np.cos(yaw), np.sin(tilt), np.cos(tilt)
    poses = np.zeros((len(positions), 4, 4))
    poses[:, 0, 0], poses[:, 2, 0] = cos, -sin
    poses[:, 0, 1], poses[:, 1, 1], poses[:, 2, 1] = sin * up, level, cos * up
    poses[:, 0, 2], poses[:, 1, 2], poses[:, 2, 2] = sin * level, -up, cos * level
    x, y, z = camera.position
    poses[:, 0, 3] = positions[:, 0] + cos * x + sin * z
    poses[:, 1, 3] = positions[:, 1] + y
    poses[:, 2, 3] = positions[:, 2] - sin * x + cos * z
    poses[:, 3, 3] = 1.0
    return poses


def compute_panorama_poses(
    pose: NDArray[np.floating], headings: int = 12, elevations: tuple[float, ...] = (-30, 0, 30)
) -> NDArray[np.float64]:
    """Turn one camera pose into a panorama (VLN's 12 headings x 3 elevations by default).

    Args:
        pose: (4, 4) camera-to-world; its position and heading are kept, its tilt is not.
        headings: views per turn, going right (clockwise) from the pose's heading.
        elevations: tilts [deg], one ring of headings each.

    Returns:
        (len(elevations) * headings, 4, 4), elevation-major.
    """
    pose = check_poses(np.asarray(pose)[None])[0]
    start = np.arctan2(pose[0, 2], pose[2, 2])
    yaw = start - np.arange(headings) * (2 * np.pi / headings)
    camera = CameraSpec(position=(0.0, 0.0, 0.0))
    feet = np.broadcast_to(pose[:3, 3], (headings, 3))
    return np.concatenate(
        [compute_camera_poses(feet, yaw, camera, np.deg2rad(e)) for e in elevations]
    )


def check_poses(poses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return `poses` as finite (N, 4, 4) float64.

    Raises:
        SensorError: another shape, NaN or infinity.
    """
    checked: NDArray[np.float64] = np.ascontiguousarray(poses, np.float64)
    if checked.ndim != 3 or checked.shape[1:] != (4, 4):
        raise SensorError(
            f"camera poses have shape {checked.shape}; give (N, 4, 4) camera-to-world transforms"
        )
    bad = ~np.isfinite(checked).all(axis=(1, 2))
    if bad.any():
        raise SensorError(
            f"camera pose {int(bad.argmax())} of {len(checked)} holds NaN or infinity: "
            "check the position and heading it was made from"
        )
    return checked


@lru_cache(maxsize=64)
def compute_pixel_rays(
    projection: str, width: int, height: int, hfov: float, lanes: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], float]:
    """Compute ray directions in the camera frame, in tile order.

    Pinhole directions reach the plane one metre ahead, so a ray's parameter is depth along the
    optical axis; equirectangular directions have unit length.

    Returns:
        directions (T, 3, lanes), pixel index (T, lanes) (lanes outside the image repeat a pixel
        of its edge), and the size of a pixel [rad].
    """
    columns = lanes // TILE_ROWS
    tiles_y, tiles_x = -(-height // TILE_ROWS), -(-width // columns)
    tile_y, tile_x = (a.ravel() for a in np.indices((tiles_y, tiles_x)))
    order = np.lexsort((tile_x, tile_y, tile_x * columns // BLOCK, tile_y * TILE_ROWS // BLOCK))
    row, column = np.divmod(np.arange(lanes), columns)
    y = tile_y[order, None] * TILE_ROWS + row
    x = tile_x[order, None] * columns + column
    y, x = np.minimum(y, height - 1), np.minimum(x, width - 1)
    pixel = (y * width + x).astype(np.int32)
    right, down = (x + 0.5) / width, (y + 0.5) / height
    if projection == "pinhole":
        half = np.tan(np.deg2rad(hfov) / 2)
        directions = np.stack(
            [
                (2 * right - 1) * half,
                (1 - 2 * down) * half * height / width,
                -np.ones_like(right),
            ],
            axis=1,
        )
        size = 2 * half / width
    else:
        longitude, latitude = (right - 0.5) * 2 * np.pi, (0.5 - down) * np.pi
        directions = np.stack(
            [
                np.sin(longitude) * np.cos(latitude),
                np.sin(latitude),
                -np.cos(longitude) * np.cos(latitude),
            ],
            axis=1,
        )
        size = np.pi / height
    return np.ascontiguousarray(directions, np.float32), pixel, float(size)
