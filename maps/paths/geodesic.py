"""Geodesic distances and shortest paths over free cells: plain grids and stacked floors alike.

Free space is a graph of cells with four links each (-x, +z, +x, -z; or -column, +row, +column,
-row), so one kernel serves a live 2-D map and the walkable layers of a multi-storey scene. Paths
turn anywhere ("any angle"): a cell's distance is measured in a straight line from the last corner
it can be seen from. A cell can be seen when the segment crosses linked cells only; a path never
squeezes between two diagonal obstacles.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.paths.any_angle import compute_any_angle_distances
from maps.paths.cells import extend_neighbours, find_turning_points, number_free_cells
from maps.paths.octile import compute_octile_distances


class CellGraph(NamedTuple):
    """Cells sorted by row, then column, then height.

    Attributes:
        column, row: (N,) int32 grid coordinates; the cell covers [column, column + 1) x [row, row +
            1).
        height: (N,) float32 height of the floor, in cells (same unit as column and row).
        links: (N, 4) int32 neighbours at -column, +row, +column, -row; -1 none.
    """

    column: NDArray[np.int32]
    row: NDArray[np.int32]
    height: NDArray[np.float32]
    links: NDArray[np.int32]


class GeodesicSolver:
    """A cell graph with everything derived from it once, for many distance fields.

    Args:
        graph: cells and links.
    """

    def __init__(self, graph: CellGraph) -> None:
        self.graph = graph
        self._turns = find_turning_points(*graph)

    def compute_field(
        self, cells: NDArray[np.integer], places: NDArray[np.float64], limit: float = np.inf
    ) -> GeodesicField:
        """Measure distances from sources at `places` (K, 3) [cells] standing in `cells` (K,)."""
        return GeodesicField(
            *compute_any_angle_distances(  # type: ignore[call-arg]
                *self.graph,
                *self._turns,  # type: ignore[arg-type]
                np.asarray(cells, np.int32),
                np.ascontiguousarray(places, np.float64),
                limit,
            )
        )

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        return extend_neighbours(self.graph.links)

    def compute_octile(self, cells: NDArray[np.integer], goal: int = -1) -> NDArray[np.float64]:
        """Measure eight-neighbour distances (N,) from cells (K,); with a goal only its own is
        final.
        """
        sources = np.asarray(cells, np.int32)
        return compute_octile_distances(
            self._table, self.graph.column, self.graph.row, sources, goal
        )


class GeodesicField(NamedTuple):
    """Distances from the sources to every cell.

    Attributes:
        distance: (N + K + V,) float64 in cells, inf where unreachable: N cells, K sources, V
            obstacle corners.
        root: (N + K + V,) int32 index of the place each of them is measured from in a straight
            line, -1 none.
        anchor: (N + K + V, 3) column, row, height [cells].
    """

    distance: NDArray[np.float64]
    root: NDArray[np.int32]
    anchor: NDArray[np.float64]


class GeodesicGrid:
    """A plain grid prepared once for many queries.

    Args:
        free: (H, W) bool, True where one may stand.
        cell_size: edge of a cell [m].

    Raises:
        ValueError: when `free` is not an (H, W) bool array.
    """

    def __init__(self, free: NDArray[np.bool_], cell_size: float = 1.0) -> None:
        if np.ndim(free) != 2 or np.asarray(free).dtype != np.bool_:
            raise ValueError(
                f"free must be an (H, W) bool array, got {np.asarray(free).dtype} {np.shape(free)}"
            )
        self.cell_size = cell_size
        self._index, column, row, links = number_free_cells(np.ascontiguousarray(free))
        height = np.zeros(len(column), np.float32)
        self._finder = GeodesicSolver(CellGraph(column, row, height, links))

    def _cells(self, cells: ArrayLike, what: str) -> NDArray[np.int32]:
        places = np.atleast_2d(np.asarray(cells))
        if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iu":
            raise ValueError(
                f"{what} must be (K, 2) integer (row, column), got {places.dtype} {places.shape}"
            )
        shape = self._index.shape
        inside = (places >= 0).all(axis=1) & (places < shape).all(axis=1)
        if not inside.all():
            raise ValueError(f"{what} {places[~inside][0].tolist()} lies outside the {shape} grid")
        return self._index[places[:, 0], places[:, 1]]

    def _field(self, cells: NDArray[np.int32], limit: float = np.inf) -> GeodesicField:
        graph = self._finder.graph
        zero = np.zeros(len(cells))
        places = np.stack([graph.column[cells] + 0.5, graph.row[cells] + 0.5, zero], axis=1)
        return self._finder.compute_field(cells, places, limit)

    def compute_field(
        self, sources: ArrayLike, metric: str = "any_angle", max_distance: float = np.inf
    ) -> NDArray[np.float32]:
        """Measure the way from the nearest source to every cell; see `compute_distance_field`."""
        cells = self._cells(sources, "sources")
        cells = cells[cells >= 0]
        graph = self._finder.graph
        if metric == "any_angle":
            values = self._field(cells, max_distance / self.cell_size).distance[: len(graph.row)]
        elif metric == "octile":
            values = self._finder.compute_octile(cells)
        else:
            raise ValueError(f"unknown metric '{metric}'; allowed: any_angle, octile")
        result = np.full(self._index.shape, np.inf, np.float32)
        result[graph.row, graph.column] = values * self.cell_size
        return result

    def compute_octile_distance(self, start: ArrayLike, goal: ArrayLike) -> float:
        """Measure one eight-neighbour way [m]; inf when there is none."""
        first, last = self._cells(np.array([start, goal]), "start and goal")
        if first < 0 or last < 0:
            return float("inf")
        value = self._finder.compute_octile(np.array([first]), int(last))[last]
        return float(value) * self.cell_size

    def find_path(self, start: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
        """Find the corners of a shortest any-angle way; see `find_shortest_path`."""
        first, last = self._cells(np.array([start, goal]), "start and goal")
        if first < 0 or last < 0:
            return np.zeros((0, 2))
        field = self._field(np.array([last]))
        if not np.isfinite(field.distance[first]):
            return np.zeros((0, 2))
        corners = trace_corner_points(field, int(first), field.anchor[first])
        return corners[:, 1::-1] * self.cell_size


def compute_distance_field(
    free: NDArray[np.bool_],
    sources: ArrayLike,
    cell_size: float = 1.0,
    metric: str = "any_angle",
) -> NDArray[np.float32]:
    """Measure the way from the nearest source to every cell centre.

    Args:
        free: (H, W) bool, True where one may stand.
        sources: (K, 2) int (row, column). Sources on blocked cells are ignored.
        cell_size: edge of a cell [m].
        metric: "any_angle", or "octile" (eight neighbours, no cutting of corners: MovingAI's
            rules).

    Returns:
        (H, W) float32 [m], inf where blocked or unreachable.

    Raises:
        ValueError: on wrong shapes, sources outside the grid or an unknown metric.
    """
    return GeodesicGrid(free, cell_size).compute_field(sources, metric)


def find_shortest_path(
    free: NDArray[np.bool_], start: ArrayLike, goal: ArrayLike, cell_size: float = 1.0
) -> NDArray[np.float64]:
    """Find the corners of a shortest any-angle way between two cells (row, column).

    Returns:
        (M, 2) row, column times `cell_size` [m]: the start cell's centre, obstacle corners, the
        goal cell's centre; a cell (r, c) covers [r, r + 1) x [c, c + 1). Empty (0, 2) when there is
        no way.

    Raises:
        ValueError: on wrong shapes or cells outside the grid.
    """
    return GeodesicGrid(free, cell_size).find_path(start, goal)


def trace_corner_points(
    field: GeodesicField, cell: int, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """List the turning points from `start` in `cell` to its source: (M, 3) column, row, height
    [cells].
    """
    points = [np.asarray(start, np.float64)]
    at = cell
    while field.root[at] >= 0:
        at = int(field.root[at])
        if np.abs(points[-1] - field.anchor[at]).max() > 1e-9:
            points.append(field.anchor[at])
    if len(points) == 1:
        points.append(field.anchor[at])
    return np.array(points)
