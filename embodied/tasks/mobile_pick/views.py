"""What cameras see in the house: its own caster and the arm's, laid over each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import ConfigError
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import render_layers
from embodied.tasks.mobile_pick.workcell import MobileCell
from embodied.tasks.tabletop.batch import TabletopBatch
from embodied.tasks.tabletop.views import CAMERAS, TableViews

Array = NDArray[np.float64]

_MISC = MPCAT40.index("misc")


class MobileViews(TableViews):
    """The arm's cameras and those of the base.

    Args:
        config: of the arm.
        rig: the arm.
        cells: the workcells.
    """

    _cells: Sequence[MobileCell]

    def render_images(
        self, cameras: Sequence[str] = CAMERAS, outputs: tuple[str, ...] = ("rgb",),
        rows: Sequence[int] | None = None,
    ) -> dict[str, dict[str, NDArray[np.generic]]]:  # fmt: skip
        """Render what the arm's cameras see now; see `TableViews.render_images`."""
        chosen = list(range(len(self._cells)) if rows is None else rows)
        found: dict[str, dict[str, NDArray[np.generic]]] = {}
        for camera in cameras:
            spec, poses = self.camera_spec(camera, outputs), self.camera_poses(camera)
            seen = [self.render(row, spec, self._cells[row].frame @ poses[row]) for row in chosen]
            found[camera] = {name: np.stack([one[name] for one in seen]) for name in seen[0]}
        return found

    def render(self, row: int, camera: CameraSpec, pose: Array) -> dict[str, NDArray[np.generic]]:
        """Render a camera from a pose (4, 4) in the house of one workcell: arrays (H, W, ...)."""
        cell = self._cells[row]
        if cell.house is None:
            raise ConfigError("there is no house to look at: reset the environment first")
        self._cameras.set_world_frame(row, cell.frame)
        self._cameras.update_poses([row])
        moving = self._cameras.get_caster(row), self._classes(row)
        images = render_layers([(cell.house, cell.names), moving], camera, pose[None])
        return {name: image[0] for name, image in images.items()}

    def _classes(self, row: int) -> NDArray[np.int32]:
        """Return the class ids of what moves, by its index in `labels`."""
        known = self._cells[row].classes
        return np.array([known.get(label, _MISC) for label in self.labels], np.int32)


class MobileBatch(TabletopBatch):
    """The arm's half of the environment, one workcell; see `TabletopBatch`."""

    cells: list[MobileCell]  # type: ignore[assignment]

    def build_cell(self) -> MobileCell:
        """Make the workcell."""
        return MobileCell(self.config, self.rig)

    def build_views(self) -> MobileViews:
        """Make the cameras."""
        return MobileViews(self.config, self.rig, self.cells)
