"""Cameras in PyBullet worlds, rendered by the embedded ray caster.

Physics stays PyBullet's; what it would draw is traced instead, which is many times as fast as its
TinyRenderer. The trees of the meshes are built once and shared by all worlds; per frame only poses
change.

Frames: z up here; cameras look along their own -z with +x right and +y up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import CameraSpec
from embodied.simulators.bullet.drawn import LinkPoses, build_visual_scene
from embodied.simulators.bullet.rotations import from_rotvec
from embodied.simulators.bullet.world import BulletWorld, Triple
from embodied.simulators.raycast import MovingCaster, RigidMeshes, render_many
from embodied.simulators.scenes.builder import Z_UP_TO_Y_UP

Array = NDArray[np.float64]


class BulletCameras:
    """Looks into worlds that were all built alike.

    Args:
        template: one such world with `visuals=True`; it may be closed afterwards.
        worlds: those to look into.
        bodies: numbers of what is seen by name, the same in all worlds.
        threads: worker threads; each renders whole images.
        backend: ray tracer, as of `RayCaster`.

    Attributes:
        labels: names that semantic images show by their index; 0 is the background.
    """

    def __init__(
        self,
        template: BulletWorld,
        worlds: Sequence[BulletWorld],
        bodies: Mapping[str, int],
        threads: int = 1,
        backend: str = "auto",
    ) -> None:
        scene, anchors = build_visual_scene(template, bodies)
        self.labels = tuple(scene.categories)
        meshes = RigidMeshes(scene, backend)
        self._casters = [MovingCaster(meshes, threads) for _ in worlds]
        self._links = [LinkPoses(world, bodies, anchors) for world in worlds]
        self._anchors = anchors
        self._turns = np.broadcast_to(Z_UP_TO_Y_UP, (len(worlds), 4, 4)).copy()
        self._gains = np.ones((len(worlds), 3), np.float32)

    def set_body_colors(self, row: int, colors: Mapping[str, Triple]) -> None:
        """Give the bases of bodies of one world a colour, RGB in [0, 1]; others keep theirs.

        What of a base has another colour than its first shape keeps that as well.
        """
        for number, (owner, link) in enumerate(self._anchors, start=1):
            if owner in colors and link < 0:
                self._casters[row].set_object_color(number, colors[owner])

    def set_light(self, row: int, gain: Triple = (1.0, 1.0, 1.0), turn: float = 0.0) -> None:
        """Set the light of one world: factors on red, green, blue, and a turn about z [rad]."""
        self._gains[row] = gain
        around = np.eye(4)
        around[:3, :3] = from_rotvec(np.array([0.0, 0.0, turn]))
        # Turning the world under the light is turning the light: cameras turn with it.
        self._turns[row] = Z_UP_TO_Y_UP @ around

    def set_world_frame(self, row: int, frame: Array) -> None:
        """Say where one world stands in the frame that layers share, (4, 4); see `layer`."""
        self._turns[row] = frame

    def get_caster(self, row: int) -> MovingCaster:
        """Return the caster of one world, to be rendered together with others."""
        return self._casters[row]

    def update_poses(self, rows: Sequence[int] | None = None) -> None:
        """Take over where everything is now in some worlds, or in all; later images show this
        moment.
        """
        chosen = range(len(self._links)) if rows is None else rows
        poses = np.stack([self._links[row].read_poses() for row in chosen])
        frames = self._turns[list(chosen), None] @ self._links[0].compute_frames(poses)
        still = np.eye(4)[None]
        for row, placed in zip(chosen, frames, strict=True):
            self._casters[row].set_poses(np.concatenate([still, placed]))

    def render(
        self, camera: CameraSpec, poses: Array, rows: Sequence[int] | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Render one image per world.

        Args:
            camera: what to render; its `position` and `pitch` are not applied.
            poses: (N, 4, 4) camera to world, z up.
            rows: the N worlds; None means all of them.

        Returns:
            One array per output: rgb (N, H, W, 3) uint8, depth (N, H, W) float32 [m], semantic
            (N, H, W) int32 (index into `labels`), instance (N, H, W) int32 (number of the link).
        """
        chosen = list(range(len(self._casters)) if rows is None else rows)
        casters, gains = [self._casters[row] for row in chosen], self._gains[chosen]
        images = render_many(casters, camera, self._turns[chosen] @ poses)
        if "rgb" in images and (gains != 1).any():
            bright = np.asarray(images["rgb"], np.float32) * gains[:, None, None, :]
            images["rgb"] = np.clip(bright + 0.5, 0, 255).astype(np.uint8)
        return images


def look_at(eye: Array, target: Array, up: Array | Triple = (0.0, 0.0, 1.0)) -> Array:
    """Return camera poses (..., 4, 4) at eyes (..., 3) that look at targets (..., 3)."""
    eye, target = np.broadcast_arrays(np.asarray(eye, np.float64), target)
    back = eye - target
    back = back / np.linalg.norm(back, axis=-1, keepdims=True)
    right = np.cross(np.broadcast_to(up, back.shape), back)
    right = right / np.linalg.norm(right, axis=-1, keepdims=True)
    pose = np.zeros((*eye.shape[:-1], 4, 4))
    pose[..., :3, 0], pose[..., :3, 1], pose[..., :3, 2] = right, np.cross(back, right), back
    pose[..., :3, 3], pose[..., 3, 3] = eye, 1.0
    return pose
