"""The embedded ray-casting renderer: RGB, depth and labels of triangle scenes on the CPU."""

from embodied.simulators.raycast.cameras import camera_poses, panorama_poses
from embodied.simulators.raycast.caster import Hits, RayCaster, render_many
from embodied.simulators.raycast.layers import render_layers
from embodied.simulators.raycast.moving import MovingCaster, RigidMeshes
from embodied.simulators.raycast.noise import apply_noise

__all__ = [
    "Hits", "MovingCaster", "RayCaster", "RigidMeshes", "apply_noise", "camera_poses",
    "panorama_poses", "render_layers", "render_many",
]  # fmt: skip
