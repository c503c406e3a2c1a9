"""Scenes of rigid objects that move: their trees are built once, only poses change per frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SensorError
from embodied.simulators.base import Scene
from embodied.simulators.raycast import embree, packet
from embodied.simulators.raycast.bvh import build_bvh
from embodied.simulators.raycast.caster import choose_backend
from embodied.simulators.raycast.surface import pack_surface, sort_faces_by_object


class RigidMeshes:
    """Rigid objects with their look and their trees, shared by any number of moving scenes.

    Args:
        scene: its objects, each in a frame of its own.
        backend: "embree", "numba" or "auto", as of `RayCaster`.

    Attributes:
        scene: the one given, faces sorted by object.
        first: (O + 1,) first face of each object, and F.
        surface: look and labels.
        backend: in use, "embree" or "numba".
    """

    def __init__(self, scene: Scene, backend: str = "auto") -> None:
        self.backend = choose_backend(backend)
        self.scene, _, self.first = sort_faces_by_object(scene)
        self.surface = pack_surface(self.scene)
        self.native: embree.EmbreeMeshes | None = None
        self.trees = np.zeros((len(scene.objects), 2), np.int64)
        self._owned = []
        if self.backend == "embree":
            self.native = embree.EmbreeMeshes(self.scene.vertices, self.scene.faces, self.first)
            return
        for number in np.flatnonzero(np.diff(self.first)).tolist():
            block = slice(int(self.first[number]), int(self.first[number + 1]))
            tree = build_bvh(self.scene.vertices, self.scene.faces[block], np.zeros(1, np.int32))
            tree.triangles.view(np.int32)[:, 10] = number
            self.trees[number] = tree.nodes.ctypes.data, tree.triangles.ctypes.data
            self._owned.append(tree)


class MovingCaster:
    """One world of moving objects to look at, with colours of its own; see `render_many`.

    Args:
        meshes: the objects.
        threads: worker threads of `render_many`.

    Attributes:
        meshes, threads: as given.
    """

    def __init__(self, meshes: RigidMeshes, threads: int = 1) -> None:
        self.meshes, self.threads = meshes, threads
        surface, count = meshes.surface, len(meshes.first) - 1
        self._poses = np.zeros((count, 3, 4), np.float32)
        self._poses[:, :, :3] = np.eye(3)
        self._colors = surface.colors.copy()
        self._native = None if meshes.native is None else embree.EmbreeInstances(meshes.native)
        self._row = np.zeros(packet.COLUMNS, np.int64)
        for column, array in (
            (packet.FIRST, meshes.first),
            (packet.CLASSES, surface.classes),
            (packet.COLORS, self._colors),
            (packet.COORDS, surface.coords),
            (packet.TEXTURES, surface.textures),
            (packet.TEXELS, surface.texels),
            (packet.POSES, self._poses),
            (packet.TREES, meshes.trees),
        ):
            self._row[column] = array.ctypes.data
        self._row[packet.MOVING] = count
        if self._native is not None:
            self._row[packet.SCENE] = self._native.handle
            self._native.set_poses(self._poses, np.arange(count))

    def set_poses(self, poses: NDArray[np.floating]) -> None:
        """Put the objects somewhere.

        Args:
            poses: (O, 4, 4) object to world, rotations and shifts only.

        Raises:
            SensorError: another shape, NaN or infinity.
        """
        if poses.shape != (len(self._poses), 4, 4) or not np.isfinite(poses).all():
            raise SensorError(
                f"poses of moving objects {poses.shape} must be finite and of shape "
                f"({len(self._poses)}, 4, 4)"
            )
        given = poses[:, :3].astype(np.float32)
        moved = np.flatnonzero((given != self._poses).any(axis=(1, 2)))
        if len(moved):
            self._poses[moved] = given[moved]
            if self._native is not None:
                self._native.set_poses(self._poses, moved)

    def set_object_color(self, number: int, color: tuple[float, float, float]) -> None:
        """Give an object another colour, RGB in [0, 1]: to all its faces that have the first's.

        Textures stay on top.
        """
        faces = slice(int(self.meshes.first[number]), int(self.meshes.first[number + 1]))
        given = self.meshes.surface.colors[faces, :9]
        rgb = np.clip(np.array(color) * 255 + 0.5, 0, 255).astype(np.uint8)
        same = (given == given[:1]).all(axis=1)
        self._colors[faces, :9] = np.where(same[:, None], np.tile(rgb, 3), given)
