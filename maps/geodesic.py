"""Geodesic distances and shortest paths over free cells: plain grids and stacked floors alike.

Free space is a graph of cells with four links each (-x, +z, +x, -z; or -column, +row, +column,
-row), so one kernel serves a live 2-D map and the walkable layers of a multi-storey scene. Paths
turn anywhere ("any angle"): a cell's distance is measured in a straight line from the last corner
it can be seen from. A cell can be seen when the segment crosses linked cells only; a path never
squeezes between two diagonal obstacles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maps.any_angle import any_angle, octile
from maps.cells import grid_cells, neighbours, turning_points


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


class Wayfinder:
    """A cell graph with everything derived from it once, for many distance fields.

    Args:
        graph: cells and links.
    """

    def __init__(self, graph: CellGraph) -> None:
        self.graph = graph
        self._turns = turning_points(*graph)

    def field(
        self, cells: NDArray[np.integer], places: NDArray[np.float64], limit: float = np.inf
    ) -> Field:
        """Measure distances from sources at `places` (K, 3) [cells] standing in `cells` (K,)."""
        return Field(
            *any_angle(  # type: ignore[call-arg]
                *self.graph,
                *self._turns,  # type: ignore[arg-type]
                np.asarray(cells, np.int32),
                np.ascontiguousarray(places, np.float64),
                limit,
            )
        )

    def octile(self, cells: NDArray[np.integer]) -> NDArray[np.float64]:
        """Measure eight-neighbour distances (N,) from the source cells (K,)."""
        return octile(neighbours(self.graph.links), np.asarray(cells, np.int32))


class Field(NamedTuple):
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


def _check(free: NDArray[np.bool_], cells: NDArray[np.integer], what: str) -> NDArray[np.int64]:
    if free.ndim != 2 or free.dtype != np.bool_:
        raise ValueError(f"free must be an (H, W) bool array, got {free.dtype} {free.shape}")
    cells = np.atleast_2d(np.asarray(cells))
    if cells.ndim != 2 or cells.shape[1] != 2 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            f"{what} must be (K, 2) integer (row, column), got {cells.dtype} {cells.shape}"
        )
    inside = (cells >= 0).all(1) & (cells < free.shape).all(1)
    if not inside.all():
        raise ValueError(f"{what} {cells[~inside][0].tolist()} lies outside the {free.shape} grid")
    return cells.astype(np.int64)


def distance_field(
    free: NDArray[np.bool_],
    sources: NDArray[np.integer],
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
    cells = _check(free, sources, "sources")
    index, column, row, links = grid_cells(np.ascontiguousarray(free))
    at = index[cells[:, 0], cells[:, 1]]
    at = at[at >= 0]
    finder = Wayfinder(CellGraph(column, row, np.zeros(len(column), np.float32), links))
    if metric == "any_angle":
        places = np.stack([column[at] + 0.5, row[at] + 0.5, np.zeros(len(at))], axis=1)
        values = finder.field(at, places).distance[: len(column)]
    elif metric == "octile":
        values = finder.octile(at)
    else:
        raise ValueError(f"unknown metric '{metric}'; allowed: any_angle, octile")
    result = np.full(free.shape, np.inf, np.float32)
    result[row, column] = values * cell_size
    return result


def shortest_path(
    free: NDArray[np.bool_],
    start: NDArray[np.integer] | tuple[int, int],
    goal: NDArray[np.integer] | tuple[int, int],
    cell_size: float = 1.0,
) -> NDArray[np.float64]:
    """Find the corners of a shortest any-angle path between two cells.

    Returns:
        (M, 2) row, column of the corner cells' centres times `cell_size` [m]; a cell (r, c) has its
        centre at (r + 0.5, c + 0.5). Empty (0, 2) when there is no way.

    Raises:
        ValueError: on wrong shapes or cells outside the grid.
    """
    ends = _check(free, np.array([start, goal]), "start and goal")
    index, column, row, links = grid_cells(np.ascontiguousarray(free))
    first, last = index[ends[:, 0], ends[:, 1]]
    if first < 0 or last < 0:
        return np.zeros((0, 2))
    finder = Wayfinder(CellGraph(column, row, np.zeros(len(column), np.float32), links))
    field = finder.field(
        np.array([last], np.int32), np.array([[column[last] + 0.5, row[last] + 0.5, 0.0]])
    )
    if not np.isfinite(field.distance[first]):
        return np.zeros((0, 2))
    corners = corner_points(field, int(first), field.anchor[first])
    return corners[:, 1::-1] * cell_size


def corner_points(field: Field, cell: int, start: NDArray[np.float64]) -> NDArray[np.float64]:
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
