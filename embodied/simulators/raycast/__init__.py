"""The embedded ray-casting renderer: RGB, depth and labels of triangle scenes on the CPU."""

from embodied.simulators.raycast.cameras import compute_camera_poses, compute_panorama_poses
from embodied.simulators.raycast.caster import RayCaster, RayHits, render_many
from embodied.simulators.raycast.layers import render_layers
from embodied.simulators.raycast.moving import MovingCaster, RigidMeshes
from embodied.simulators.raycast.noise import apply_noise

__all__ = [
    "RayHits", "MovingCaster", "RayCaster", "RigidMeshes", "apply_noise", "compute_camera_poses",
    "compute_panorama_poses", "render_layers", "render_many",
]  # fmt: skip
