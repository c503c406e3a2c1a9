"""habitat-lab's configurations and rotations -> ours. Needs neither habitat-lab nor habitat-sim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from embodied.errors import NavigationError, SensorError, suggest_nearest
from embodied.simulators.base import AgentSpec, CameraSpec, NoiseSpec, Scene
from embodied.simulators.scenes import load_scene
from embodied.simulators.scenes.habitat import CONFIG_EXTENSIONS
from embodied.types import Pose

Array = NDArray[np.float64]

SENSORS = {
    f"HabitatSim{projection}{kind}Sensor": (output, projection_name)
    for projection, projection_name in (("", "pinhole"), ("Equirectangular", "equirectangular"))
    for kind, output in (("RGB", "rgb"), ("Depth", "depth"), ("Semantic", "instance"))
}
"""habitat-lab's sensor types -> (our output, our projection); semantic images hold instances."""

FAR = 1000.0
"""habitat-sim's far plane [m]; the depth sensor clips to its own range afterwards."""


def load_habitat_scene(scene: str, dataset: str = "default") -> Scene:
    """Load what `simulator.scene` names, standing as habitat-sim would stand it.

    Args:
        scene: a mesh, a Habitat configuration, or the name of a scene in the dataset.
        dataset: `simulator.scene_dataset`: "default", or a `*.scene_dataset_config.json`.

    Raises:
        SceneError: the scene is missing or unreadable.
    """
    if not Path(scene).exists() and dataset not in ("", "default"):
        return load_scene(f"{dataset}#{scene}")
    if scene.lower().endswith(CONFIG_EXTENSIONS):
        return load_scene(scene)
    return load_scene(scene, up="z")  # habitat-sim takes every bare stage mesh as z up


def read_agent_spec(config: Any) -> AgentSpec:
    """Read the body and step lengths from a habitat-lab simulator configuration.

    Raises:
        NavigationError: more than one agent.
    """
    names = list(config.agents_order)
    if len(names) != 1:
        raise NavigationError(
            f"the embedded simulator carries one habitat-lab agent, the configuration names "
            f"{names}; keep one in habitat.simulator.agents_order"
        )
    agent = config.agents[names[0]]
    return AgentSpec(
        radius=float(agent.radius),
        height=float(agent.height),
        max_climb=float(agent.max_climb),
        max_slope=float(agent.max_slope),
        forward=float(config.forward_step_size),
        turn=float(config.turn_angle),
        sliding=bool(config.habitat_sim_v0.allow_sliding),
        navmesh="habitat",
    )


def read_camera_spec(config: Any) -> CameraSpec:
    """Read one camera from a habitat-lab sensor configuration; where it sits is `read_mount_pose`'s
    answer.

    Raises:
        SensorError: a sensor type, projection or noise model the embedded simulator lacks.
    """
    if config.type not in SENSORS:
        raise SensorError(
            f"unknown sensor type '{config.type}': {suggest_nearest(config.type, SENSORS)}"
        )
    output, projection = SENSORS[config.type]
    subtype = str(getattr(config, "sensor_subtype", "PINHOLE"))
    if projection == "pinhole" and subtype != "PINHOLE":
        raise SensorError(
            f"sensor_subtype '{subtype}' of {config.type} cannot be rendered; use PINHOLE"
        )
    return CameraSpec(
        outputs=(output,),
        width=int(config.width),
        height=int(config.height),
        hfov=float(getattr(config, "hfov", 90.0)),
        position=(0.0, 0.0, 0.0),
        projection=projection,
        max_depth=FAR,
        noise=_noise(config),
    )


def _noise(config: Any) -> NoiseSpec:
    model = str(getattr(config, "noise_model", "None"))
    options = dict(getattr(config, "noise_model_kwargs", {}))
    output = SENSORS[config.type][0]
    if model == "None":
        return NoiseSpec()
    if model == "GaussianNoiseModel" and output == "rgb" and not options.get("mean", 0):
        # Habitat adds intensity_constant * N(0, sigma) to colours in [0, 1].
        strength = options.get("intensity_constant", 0.2) * options.get("sigma", 1.0)
        return NoiseSpec(rgb_sigma=255.0 * strength)
    if model == "RedwoodDepthNoiseModel" and output == "depth":
        multiplier = float(options.get("noise_multiplier", 1.0))
        return NoiseSpec(depth="redwood", depth_multiplier=multiplier)
    raise SensorError(
        f"noise_model '{model}' {options} on {config.type} is not available; use None, "
        "GaussianNoiseModel with mean 0 (RGB) or RedwoodDepthNoiseModel (depth)"
    )


def read_mount_pose(config: Any) -> Array:
    """Return the (4, 4) sensor-to-body transform of a habitat-lab sensor configuration.

    Its `orientation` [rad] turns about x, then y, then z of the body.
    """
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler(
        "xyz", [float(a) for a in config.orientation]
    ).as_matrix()
    transform[:3, 3] = [float(p) for p in config.position]
    return transform


def to_xyzw(rotation: Any) -> Array:
    """Return a unit quaternion (4,) xyzw of a list in that order or of a numpy-quaternion.

    Raises:
        NavigationError: not four finite numbers, or zero.
    """
    if hasattr(rotation, "imag") and hasattr(rotation, "w"):
        rotation = [rotation.x, rotation.y, rotation.z, rotation.w]
    values = np.asarray(rotation, np.float64).reshape(-1)
    length = np.linalg.norm(values)
    if values.shape != (4,) or not np.isfinite(length) or length < 1e-9:
        raise NavigationError(f"rotation {rotation} is not a quaternion (x, y, z, w)")
    return values / length


def to_position(point: Sequence[float] | NDArray[Any]) -> Array:
    """Return a position (3,) as float64.

    Raises:
        NavigationError: not three finite numbers.
    """
    values = np.array(point, np.float64).reshape(-1)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise NavigationError(f"position {point} is not three finite numbers [m]")
    return values


def compute_yaw(rotation: Array) -> float:
    """Return the heading [rad] of a quaternion (4,) xyzw."""
    x, y, z, w = (float(v) for v in rotation)
    return Pose((0.0, 0.0, 0.0), (x, y, z, w)).yaw


def build_body_matrix(position: Array, rotation: Array) -> Array:
    """Return the (4, 4) body-to-world transform of a position (3,) and a quaternion (4,) xyzw."""
    x, y, z, w = (float(v) for v in rotation)
    px, py, pz = (float(v) for v in position)
    # Written out: three of these are made per step, and scipy's checks cost more than the sums.
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), px],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), py],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), pz],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def matrix_to_xyzw(pose: Array) -> Array:
    """Return the rotation of a (4, 4) transform as a quaternion (4,) xyzw."""
    return Rotation.from_matrix(np.asarray(pose)[:3, :3]).as_quat()


def turn_rotation(rotation: Array, angle: float) -> Array:
    """Turn a quaternion (4,) xyzw about the body's own +y by `angle` [rad]."""
    x, y, z, w = (float(v) for v in rotation)
    sin, cos = np.sin(angle / 2), np.cos(angle / 2)
    product = np.array([x * cos - z * sin, y * cos + w * sin, z * cos + x * sin, w * cos - y * sin])
    return product / np.linalg.norm(product)


def build_tilt_matrix(angle: float) -> Array:
    """Return the (4, 4) rotation that makes a camera look up by `angle` [rad]."""
    transform = np.eye(4)
    transform[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return transform
