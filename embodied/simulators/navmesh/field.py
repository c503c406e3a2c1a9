"""Cached distances on foot: computed once per goal, looked up in microseconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.simulators.navmesh import motion
from embodied.simulators.navmesh.surface import SAME_FLOOR, NavigationSurface, Points, check_points
from maps.paths.geodesic import GeodesicField, trace_corner_points


class DistanceField:
    """Distances from everywhere to the nearest of the goals it was made for.

    Args:
        surface: where the distances hold.
        field: distances of its cells.
    """

    def __init__(self, surface: NavigationSurface, field: GeodesicField) -> None:
        self._surface = surface
        self._field = field

    def get_distances(self, points: ArrayLike) -> NDArray[np.float64]:
        """Distance [m] of each point (N, 3): (N,), inf where unreachable or beyond 2 m of any
        floor.
        """
        given = check_points(points)
        result = self._look_up(given)
        off = np.flatnonzero(result < 0)
        if len(off):
            places, cells = self._surface.snap_points(given[off])
            result[off] = np.where(cells >= 0, self._look_up(places), np.inf)
        return result

    def _look_up(self, points: Points) -> NDArray[np.float64]:
        s = self._surface
        return motion.look_up_distances(
            s.start,
            s.width,
            s.depth,
            s.height,
            s.low,
            s.cell,
            *self._field,
            points,
            SAME_FLOOR,
        )

    def find_path(self, start: ArrayLike) -> Points:
        """Corners of the shortest way from start (3,) to the nearest goal: (M, 3), (0, 3) if
        none.
        """
        places, cells = self._surface.snap_points(check_points(start, "start")[:1])
        if cells[0] < 0 or self._field.root[cells[0]] < 0:
            return np.zeros((0, 3))
        corners = trace_corner_points(self._field, int(cells[0]), self._surface.to_cells(places)[0])
        return self._surface.from_cells(corners)
