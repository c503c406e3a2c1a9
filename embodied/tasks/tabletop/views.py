"""What the cameras of a batch of workcells see: one from the front, one on the wrist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SensorError, suggest_nearest
from embodied.simulators.base import CameraSpec
from embodied.simulators.bullet import Rig
from embodied.simulators.bullet.cameras import BulletCameras, look_at
from embodied.simulators.bullet.points import build_point_cloud, unproject_depth
from embodied.tasks.tabletop.config import TabletopConfig
from embodied.tasks.tabletop.workcell import Workcell

Array = NDArray[np.float64]

CAMERAS = ("front", "wrist")

_FIELDS = {"front": 38.0, "wrist": 75.0}  # horizontal [deg]
_DEPTHS = (0.01, 4.0)  # [m]
# At scale 1 [m]: of the front camera from the middle of the working space, of the wrist camera in
# the frame of the tool, looking at the finger tips.
_FRONT_EYE, _FRONT_TARGET = np.array([0.42, -0.56, 0.5]), np.array([0.02, 0.01, 0.07])
_WRIST_EYE, _WRIST_TARGET = np.array([0.085, 0.0, 0.08]), np.array([0.03, 0.0, -0.02])


class TableViews:
    """Cameras of some workcells that were built alike.

    Args:
        config: of the task.
        rig: the arm.
        cells: the workcells.
    """

    def __init__(self, config: TabletopConfig, rig: Rig, cells: Sequence[Workcell]) -> None:
        self._config, self._cells = config, cells
        self._scale = rig.spec.scale
        self._middle = np.array([*rig.spec.center, 0.0])
        template = type(cells[0])(config, rig, visuals=True)
        self._cameras = BulletCameras(
            template.world, [cell.world for cell in cells], template.bodies
        )
        template.world.close()
        for row in range(len(cells)):
            self.apply_appearance(row)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names that semantic images show by their index; 0 is the background."""
        return self._cameras.labels

    def apply_appearance(self, row: int) -> None:
        """Take over colours and light of the episode that a workcell plays now."""
        layout = self._cells[row].layout
        if layout is not None:
            self._cameras.set_body_colors(row, layout.colors)
            self._cameras.set_light(row, layout.view.light, layout.view.turn)

    def camera_spec(self, camera: str, outputs: tuple[str, ...] = ("rgb",)) -> CameraSpec:
        """Return a camera's size and field of view.

        Raises:
            SensorError: unknown camera or output.
        """
        if camera not in CAMERAS:
            raise SensorError(f"unknown camera '{camera}': {suggest_nearest(camera, CAMERAS)}")
        return CameraSpec(
            outputs=outputs,
            width=self._config.width,
            height=self._config.height,
            hfov=_FIELDS[camera],
            min_depth=_DEPTHS[0],
            max_depth=_DEPTHS[1],
        )

    def camera_poses(self, camera: str) -> Array:
        """Return where the cameras are now, (N, 4, 4) camera to base frame, looking along -z."""
        views = [cell.layout.view if cell.layout else None for cell in self._cells]

        def shifts(name: str) -> Array:
            return np.array([getattr(view, name) if view else (0.0,) * 3 for view in views])

        if camera == "front":
            return look_at(
                self._middle + self._scale * _FRONT_EYE + shifts("eye"),
                self._middle + self._scale * _FRONT_TARGET + shifts("target"),
            )
        local = look_at(
            self._scale * _WRIST_EYE + shifts("wrist"), self._scale * _WRIST_TARGET, (1.0, 0.0, 0.0)
        )
        return np.stack([cell.hand.pose for cell in self._cells]) @ local

    def render_images(
        self, cameras: Sequence[str] = CAMERAS, outputs: tuple[str, ...] = ("rgb",),
        rows: Sequence[int] | None = None,
    ) -> dict[str, dict[str, NDArray[np.generic]]]:  # fmt: skip
        """Render what cameras see now.

        Args:
            cameras: some of `CAMERAS`.
            outputs: some of "rgb", "depth", "semantic", "instance".
            rows: N of the workcells; None means all.

        Returns:
            For each camera one array (N, H, W, ...) per output, see `BulletCameras.render`.

        Raises:
            SensorError: unknown camera or output.
        """
        specs = {camera: self.camera_spec(camera, outputs) for camera in cameras}
        self._cameras.update_poses(rows)
        chosen = slice(None) if rows is None else list(rows)
        return {
            camera: self._cameras.render(spec, self.camera_poses(camera)[chosen], rows)
            for camera, spec in specs.items()
        }

    def compute_points(self, row: int, camera: str = "front") -> tuple[Array, NDArray[np.uint8]]:
        """Return points (M, 3) that a camera of one workcell sees [m], and their colours (M, 3).

        Raises:
            SensorError: unknown camera.
        """
        outputs = ("rgb", "depth")
        images = self.render_images((camera,), outputs)[camera]
        pose = self.camera_poses(camera)[row]
        points, seen = unproject_depth(
            images["depth"][row], self.camera_spec(camera, outputs), pose
        )
        return points, np.asarray(images["rgb"][row][seen], np.uint8)

    def make_point_cloud(self, row: int, camera: str = "front") -> Any:
        """Return the same as an `open3d.geometry.PointCloud`.

        Raises:
            MissingExtraError: Open3D is not installed.
        """
        return build_point_cloud(*self.compute_points(row, camera))
