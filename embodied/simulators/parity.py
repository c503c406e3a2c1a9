"""Agreement with values recorded from habitat-sim (see the README of the reference directory)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SceneError
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import RayCaster
from embodied.simulators.scenes import load_scene

SCENES = ("simple_room", "house_20k", "aws_house")
CAMERA_HEIGHT = 1.25
TOLERANCE = 0.01
"""Depth that differs by less [m] agrees."""

SILHOUETTE = 0.1
"""A recorded depth step between neighbours of more than this share of the depth is a silhouette."""


def measure_depth_parity(
    reference_dir: str | Path, scenes: tuple[str, ...] = SCENES, backend: str = "auto"
) -> dict[str, float]:
    """Render the recorded camera poses and compare depth with the recorded images.

    habitat-sim takes a bare `.glb` stage as z up, so the scenes are loaded that way. Left out are
    pixels beside a silhouette of the recorded image (rasteriser and ray caster may sample either
    side there) and pixels where both see nothing.

    Args:
        reference_dir: directory of the recorded values.
        scenes: which of them to use.
        backend: ray tracer, see `RayCaster`.

    Returns:
        "within_1cm": share of pixels that differ by less than 1 cm, over all scenes;
        "median_error" [m]; "pixels" compared; "<scene>.within_1cm" and "<scene>.median_error".

    Raises:
        SceneError: a recorded file is missing.
    """
    report: dict[str, float] = {}
    everything = []
    for name in scenes:
        error = compute_depth_errors(Path(reference_dir), name, backend)
        report[f"{name}.within_1cm"] = float((error < TOLERANCE).mean())
        report[f"{name}.median_error"] = float(np.median(error))
        everything.append(error)
    error = np.concatenate(everything)
    report["within_1cm"] = float((error < TOLERANCE).mean())
    report["median_error"] = float(np.median(error))
    report["pixels"] = float(len(error))
    return report


def compute_depth_errors(reference: Path, name: str, backend: str = "auto") -> NDArray[np.float32]:
    """Absolute depth errors [m] of one recorded scene, off silhouettes, all poses in one list."""
    recorded, settings = reference / f"{name}.npz", reference / f"{name}.json"
    if not recorded.exists() or not settings.exists():
        raise SceneError(f"{recorded}: no recorded values here. Give the habitat_reference folder.")
    with np.load(recorded, allow_pickle=False) as arrays:
        agent, depth = arrays["camera_agent_pose"], arrays["depth"].astype(np.float32)
    hfov = float(json.loads(settings.read_text()).get("hfov", 90.0))
    scene = load_scene(reference / "scenes" / f"{name}.glb", up="z")
    camera = CameraSpec(("depth",), depth.shape[2], depth.shape[1], hfov)
    images = RayCaster(scene, backend=backend).render(camera, compute_recorded_poses(agent))
    seen = np.asarray(images["depth"], np.float32)
    compared = ~_silhouettes(depth) & ((depth > 0) | (seen > 0))
    return np.abs(seen - depth)[compared]


def compute_recorded_poses(agent: NDArray[np.floating]) -> NDArray[np.float64]:
    """Camera poses (N, 4, 4) from recorded agent rows (N, 7): position xyz [m], quaternion wxyz."""
    from scipy.spatial.transform import Rotation

    poses = np.tile(np.eye(4), (len(agent), 1, 1))
    poses[:, :3, :3] = Rotation.from_quat(agent[:, [4, 5, 6, 3]]).as_matrix()
    poses[:, :3, 3] = agent[:, :3] + [0.0, CAMERA_HEIGHT, 0.0]
    return poses


def _silhouettes(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark pixels (N, H, W) beside a depth step or beside the empty background."""
    low = high = np.pad(depth, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = depth.shape[1:]
    around = [low[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    low, high = np.minimum.reduce(around), np.maximum.reduce(around)
    return high - low > SILHOUETTE * np.maximum(high, 1e-6)
