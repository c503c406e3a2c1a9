"""The walkable surface of a scene: one cell per standing place, stacked where storeys lie above
each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.navmesh import motion, regions, voxels
from maps.paths.geodesic import CellGraph

MIN_ISLAND_CELLS = 400  # Recast drops islands below regionMinSize^2 = 20^2 cells
SNAP_REACH = (2.0, 4.0, 2.0)  # half extents of Habitat's search box for the nearest surface [m]
SAME_FLOOR = 0.5  # a point this near a cell's height stands on it [m]

Points = NDArray[np.float64]


class NavigationSurface:
    """Cells an agent's centre may occupy, their links and islands.

    Args:
        vertices: (V, 3) float32 [m], y up.
        faces: (F, 3) int32, counter-clockwise seen from the walkable side.
        agent: body and grid resolution.

    Attributes:
        bounds: (2, 3) of the mesh [m].
        low, cell: corner of cell (0, 0) [m] and edge of a cell [m].
        width, depth: cells along x and z.
        start: (depth * width + 1,) int32 first cell of each column of space.
        column, row: (N,) int32 place of each cell along x and z.
        height: (N,) float32 floor under each cell [m].
        links: (N, 4) int32 neighbours at -x, +z, +x, -z, -1 none.
        covered: (N,) bool, something is above the cell.
        island: (N,) int32.
        centers: (N, 3) [m].

    Raises:
        NavigationError: when the mesh is unusable or nothing in it can be walked on.
    """

    def __init__(self, vertices: ArrayLike, faces: ArrayLike, agent: AgentSpec) -> None:
        points = np.ascontiguousarray(vertices, np.float32)
        triangles = np.ascontiguousarray(faces, np.int32)
        _check_mesh(points, triangles)
        low, high = points.min(axis=0), points.max(axis=0)
        self.bounds: Points = np.stack([low, high]).astype(np.float64)
        cell, tall = np.float32(agent.cell_size), np.float32(agent.cell_height)
        self.cell = float(cell)
        self.low: Points = self.bounds[0]
        # Integer limits are rounded in float32 as Recast does: 0.2 / 0.2 must give one whole cell.
        self.width = max(1, int((high[0] - low[0]) / cell + np.float32(0.5)))
        self.depth = max(1, int((high[2] - low[2]) / cell + np.float32(0.5)))
        height = int(np.ceil(np.float32(agent.height) / tall))
        climb = int(np.floor(np.float32(agent.max_climb) / tall))
        radius = int(np.ceil(np.float32(agent.radius) / cell))
        slope = np.float32(np.cos(np.float32(agent.max_slope) / 180.0 * np.pi))
        size = (self.width, self.depth)
        spans = voxels.rasterize_triangles(
            points, triangles, low, high, *size, cell, tall, slope, climb
        )
        voxels.filter_spans(*spans, *size, climb, height)  # type: ignore[call-arg, arg-type]
        start, level, room, ground, links = voxels.build_compact_heightfield(
            *spans,  # type: ignore[arg-type]
            *size,
            climb,
            height,  # type: ignore[call-arg]
        )
        keep = regions.erode_nodes(links, radius)
        label, sizes = regions.label_islands(links, keep)
        keep &= np.append(sizes >= MIN_ISLAND_CELLS, False)[label]
        if not keep.any():
            raise NavigationError(
                f"no navigable area of at least {MIN_ISLAND_CELLS * self.cell**2:.1f} m2 in the "
                f"scene (bounds {low.tolist()} to {high.tolist()} m) for an agent of radius "
                f"{agent.radius} m and height {agent.height} m. Check that y is up, the unit is "
                "metres and floors face upwards."
            )
        self.start, old, self.links = regions.select_nodes(start, links, keep)
        columns = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        self.column = (columns % self.width).astype(np.int32)
        self.row = (columns // self.width).astype(np.int32)
        self.island, _ = regions.label_islands(self.links, np.ones(len(old), np.bool_))
        self.covered = room[old] < voxels.OPEN_ROOM
        chosen = ground[old] if agent.navmesh == "surface" else level[old] * tall + low[1]
        self.height = chosen.astype(np.float32)
        self.centers: Points = self.from_cells(
            np.stack([self.column + 0.5, self.row + 0.5, self.height / self.cell], axis=1)
        )
        self._tree = cKDTree(self.centers)

    def __len__(self) -> int:
        return len(self.column)

    def build_cell_graph(self) -> CellGraph:
        """Return the cells as the graph distances are measured on."""
        scaled = (self.height / np.float32(self.cell)).astype(np.float32)
        return CellGraph(self.column, self.row, scaled, self.links)

    def to_cells(self, points: Points) -> Points:
        """Convert world points (N, 3) to column, row, height in cells (N, 3)."""
        scaled = points / self.cell
        scaled[:, [0, 2]] -= self.low[[0, 2]] / self.cell
        return np.ascontiguousarray(scaled[:, [0, 2, 1]])

    def from_cells(self, places: Points) -> Points:
        """Convert column, row, height in cells (N, 3) to world points (N, 3)."""
        points = places[:, [0, 2, 1]] * self.cell
        points[:, [0, 2]] += self.low[[0, 2]]
        return points

    def locate_cells(self, points: Points, reach: float = SAME_FLOOR) -> NDArray[np.int32]:
        """Return the cell (N,) under each point whose height is nearest within `reach`, -1 none."""
        return motion.locate_cells(
            self.start, self.width, self.depth, self.height, self.low, self.cell, points, reach
        )

    def find_nearest_cells(self, points: Points) -> NDArray[np.int32]:
        """Return the cell (N,) under or nearest to each point within 2 m (4 m up or down), -1
        none.
        """
        cells = self.locate_cells(points)
        missing = np.flatnonzero(cells < 0)
        missing = missing[np.isfinite(points[missing]).all(axis=1)]
        if len(missing):
            limit = float(np.linalg.norm(SNAP_REACH))
            gap, found = self._tree.query(points[missing], distance_upper_bound=limit)
            hit = np.isfinite(gap)
            offset = np.abs(self.centers[found[hit]] - points[missing[hit]])
            close = (offset <= SNAP_REACH).all(axis=1)
            cells[missing[hit][close]] = found[hit][close]
        return cells

    def snap_points(self, points: Points) -> tuple[Points, NDArray[np.int32]]:
        """Move points (N, 3) onto their nearest cell: places (N, 3), NaN when none, and cells
        (N,).
        """
        cells = self.find_nearest_cells(points)
        places = np.full_like(points, np.nan)
        ok = cells >= 0
        center = self.centers[cells[ok]]
        half = self.cell / 2 * (1 - 1e-6)
        places[ok] = center
        for axis in (0, 2):
            places[ok, axis] = np.clip(
                points[ok, axis], center[:, axis] - half, center[:, axis] + half
            )
        return places, cells


def check_points(points: ArrayLike, name: str = "points") -> Points:
    """Bring points to (N, 3) float64.

    Raises:
        NavigationError: on any other shape.
    """
    array = np.asarray(points, np.float64)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 3:
        raise NavigationError(
            f"{name} of shape {np.shape(points)} must be (N, 3): x, y, z in metres"
        )
    return np.ascontiguousarray(array)


def _check_mesh(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
    if vertices.ndim != 2 or vertices.shape[1:] != (3,):
        raise NavigationError(f"vertices of shape {vertices.shape} must be (V, 3)")
    if faces.ndim != 2 or faces.shape[1:] != (3,):
        raise NavigationError(f"faces of shape {faces.shape} must be (F, 3) triangles")
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        raise NavigationError(
            f"{len(faces)} faces over {len(vertices)} vertices: a mesh needs faces, and each must "
            "name existing vertices"
        )
    if not np.isfinite(vertices).all():
        raise NavigationError("the mesh has NaN or infinite vertices; repair it before navigating")
