"""Images that are rendered when somebody looks at them, environment by environment.

Policies that predict chunks look once in several steps, and drawing an image takes longer than the
physics of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from embodied.errors import SensorError
from embodied.tasks.tabletop.views import CAMERAS, TableViews

Rows = int | slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]


class LazyRender:
    """What all cameras of some workcells see between two steps.

    Args:
        views: the cameras.
        count: number of workcells N.
        size: height and width of the images.
    """

    def __init__(self, views: TableViews, count: int, size: tuple[int, int]) -> None:
        self._views = views
        self._drawn = np.zeros(count, bool)
        self._over = False
        self.images = {name: np.empty((count, *size, 3), np.uint8) for name in CAMERAS}

    def render_rows(self, rows: Rows) -> None:
        """Render the images of some workcells that were not rendered yet.

        Raises:
            SensorError: the workcells have moved on.
        """
        wanted = np.zeros(len(self._drawn), bool)
        wanted[rows] = True
        missing = np.flatnonzero(wanted & ~self._drawn)
        if not len(missing):
            return
        if self._over:
            raise SensorError(
                f"images of environments {missing.tolist()} were not looked at before the next "
                "step: look earlier, or make the environment without lazy=True"
            )
        for name, found in self._views.render_images(rows=missing.tolist()).items():
            self.images[name][missing] = found["rgb"]
        self._drawn[missing] = True

    def mark_stale(self) -> None:
        """Say that the workcells move on."""
        self._over = True


class LazyImage:
    """The images of one camera at one moment; an array (N, H, W, 3) uint8 to those who read it.

    Indexing its rows renders those rows only; `np.asarray` renders all.

    Args:
        moment: when.
        camera: one of `CAMERAS`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, moment: LazyRender, camera: str) -> None:
        self._moment, self._camera = moment, camera

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""
        return self._moment.images[self._camera].shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> NDArray[np.uint8]:
        self._moment.render_rows(rows)
        return self._moment.images[self._camera][rows]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:], dtype=dtype, copy=copy)
