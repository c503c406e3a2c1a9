"""The embedded ray-casting renderer: RGB, depth and labels of triangle scenes on the CPU."""

from embodied.simulators.raycast.cameras import camera_poses, panorama_poses
from embodied.simulators.raycast.caster import Hits, RayCaster, render_many

__all__ = ["Hits", "RayCaster", "camera_poses", "panorama_poses", "render_many"]
