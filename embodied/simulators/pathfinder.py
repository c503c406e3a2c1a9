"""Where an agent can stand, how far things are on foot, and how a step ends: navigation over a
triangle scene.

Points are (x, y, z) in metres, y up, y = the height of the floor under the agent's feet. Queries
take batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.navmesh import motion, voxels
from embodied.simulators.navmesh.field import DistanceField
from embodied.simulators.navmesh.surface import SAME_FLOOR, NavigationSurface, Points, check_points
from maps.paths.geodesic import GeodesicSolver

STOREY = 1.0  # floors closer than this count as one [m]

__all__ = ["DistanceField", "Floor", "PathFinder"]


@dataclass(frozen=True)
class Floor:
    """One storey: its height [m] and navigable area [m^2]."""

    height: float
    area: float


class PathFinder:
    """Navigation queries on the static geometry of one scene for one kind of agent.

    Args:
        vertices: (V, 3) [m], y up.
        faces: (F, 3) int; counter-clockwise seen from the walkable side.
        agent: body and grid resolution; `navmesh="habitat"` repeats habitat-sim's heights and
            contacts.

    Raises:
        NavigationError: when the mesh is unusable or nothing in it can be walked on.
    """

    def __init__(
        self, vertices: ArrayLike, faces: ArrayLike, agent: AgentSpec | None = None
    ) -> None:
        self.agent = agent or AgentSpec()
        self.surface = NavigationSurface(vertices, faces, self.agent)

    @cached_property
    def _ways(self) -> GeodesicSolver:
        return GeodesicSolver(self.surface.build_cell_graph())

    # --- facts about the scene ---

    @property
    def bounds(self) -> Points:
        """(2, 3) lowest and highest corner of the scene [m]."""
        return self.surface.bounds

    @property
    def navigable_area(self) -> float:
        """Area an agent's centre can reach, all islands together [m^2]."""
        return len(self.surface) * self.surface.cell**2

    @property
    def num_islands(self) -> int:
        """Number of parts with no way between them."""
        return int(self.surface.island.max()) + 1

    @cached_property
    def largest_island(self) -> int:
        """The island with the greatest area; in a house with ceilings the roof does not count."""
        island, covered = self.surface.island, self.surface.covered
        area = np.bincount(island)
        # Roofs are open to the sky and often larger than the rooms below them.
        rooms = np.bincount(island, covered) >= area / 2
        rooms &= area >= area.max() / 5
        return int(np.where(rooms, area, 0 if rooms.any() else area).argmax())

    @cached_property
    def floors(self) -> list[Floor]:
        """Storeys with at least 1 m^2, from bottom to top; stairs count to the storey below."""
        height = np.sort(self.surface.height.astype(np.float64))
        least = max(1, int(1.0 / self.surface.cell**2))
        storeys: list[Floor] = []
        first = 0
        while first < len(height):
            last = int(np.searchsorted(height, height[first] + 0.2))
            if last - first < least:
                first = last
                continue
            top = int(np.searchsorted(height, height[first] + STOREY))
            area = (top - first) * self.surface.cell**2
            storeys.append(Floor(float(np.median(height[first:last])), area))
            first = top
        return storeys

    # --- points ---

    def is_navigable(self, points: ArrayLike, max_y_delta: float = 0.5) -> NDArray[np.bool_]:
        """Tell which points (N, 3) an agent can stand at; a NaN point is not navigable."""
        return self.surface.locate_cells(check_points(points), max_y_delta) >= 0

    def snap_points(self, points: ArrayLike) -> Points:
        """Move points (N, 3) to the nearest navigable place within 2 m (4 m up, down); NaN when
        none.
        """
        return self.surface.snap_points(check_points(points))[0]

    def get_island(self, points: ArrayLike) -> NDArray[np.int32]:
        """Island of each point (N,), -1 for points off the surface."""
        cells = self.surface.locate_cells(check_points(points))
        return np.where(cells >= 0, self.surface.island[cells], -1).astype(np.int32)

    def island_radius(self, points: ArrayLike) -> NDArray[np.float64]:
        """Greatest distance of an island's cells from their mean, per point (N,) [m]; 0 if none is
        near.
        """
        cells = self.surface.find_nearest_cells(check_points(points))
        return np.where(cells >= 0, self._radii[self.surface.island[cells]], 0.0)

    @cached_property
    def _radii(self) -> NDArray[np.float64]:
        island, centers = self.surface.island, self.surface.centers
        count = np.bincount(island)
        mean = np.stack([np.bincount(island, centers[:, k]) / count for k in range(3)], axis=1)
        radius = np.zeros(len(count))
        np.maximum.at(radius, island, np.linalg.norm(centers - mean[island], axis=1))
        return radius

    def sample_points(
        self,
        rng: np.random.Generator,
        count: int = 1,
        island: int | None = None,
        floor: int | None = None,
    ) -> Points:
        """Draw navigable points, uniform by area: (count, 3).

        Args:
            rng: source of randomness.
            count: number of points.
            island: only there; None means anywhere, table tops and roofs included (see
                `largest_island`).
            floor: only on this storey, an index into `floors`.

        Raises:
            NavigationError: when the island or floor does not exist or holds no cell.
        """
        surface = self.surface
        choice = np.arange(len(surface))
        if island is not None:
            choice = choice[surface.island[choice] == island]
        if floor is not None:
            if not 0 <= floor < len(self.floors):
                raise NavigationError(
                    f"floor {floor} does not exist; the scene has {len(self.floors)}, from 0"
                )
            heights = np.array([storey.height for storey in self.floors])
            nearest = np.abs(surface.height[choice, None] - heights).argmin(axis=1)
            choice = choice[nearest == floor]
        if not len(choice):
            raise NavigationError(
                f"nothing to stand on at island {island}, floor {floor}; islands are 0 to "
                f"{self.num_islands - 1}, floors 0 to {len(self.floors) - 1}"
            )
        picked = surface.centers[rng.choice(choice, size=count)].copy()
        picked[:, [0, 2]] += (rng.random((count, 2)) - 0.5) * surface.cell * (1 - 1e-6)
        return picked

    @cached_property
    def _walls(self) -> tuple[cKDTree, Points]:
        """Middle points of the cell sides without a neighbour and their half extents along x, z."""
        cell, side = np.nonzero(self.surface.links < 0)
        half = self.surface.cell / 2
        middle = self.surface.centers[cell].copy()
        middle[:, 0] += voxels.DX[side] * half
        middle[:, 2] += voxels.DZ[side] * half
        extent = np.stack([np.abs(voxels.DZ[side]), np.abs(voxels.DX[side])], axis=1) * half
        return cKDTree(middle), extent

    def distance_to_closest_obstacle(
        self, points: ArrayLike, max_radius: float = 2.0
    ) -> NDArray[np.float64]:
        """Distance [m] from each point (N,) to the edge of the navigable area, at most
        `max_radius`.

        The agent's own radius is already taken off. inf for a point farther than 2 m from any
        floor.
        """
        places, cells = self.surface.snap_points(check_points(points))
        result = np.full(len(places), np.inf)
        ok = cells >= 0
        if ok.any():
            tree, extent = self._walls
            k = min(12, len(extent))
            near = tree.query(places[ok], k=k)[1].reshape(-1, k)
            offset = np.abs(tree.data[near] - places[ok][:, None])[..., [0, 2]]
            gap = np.linalg.norm(np.maximum(offset - extent[near], 0), axis=2)
            result[ok] = np.minimum(gap.min(axis=1), max_radius)
        return result

    def get_topdown_view(self, height: float, cell_size: float = 0.05) -> NDArray[np.bool_]:
        """Navigable mask within 0.5 m of a height [m]: (rows = z, columns = x) from the low
        corner.
        """
        if cell_size <= 0:
            raise NavigationError(f"cell_size {cell_size} m must be positive")
        span = (self.bounds[1] - self.bounds[0]).astype(np.float32)
        columns, rows = (int(span[k] / np.float32(cell_size)) for k in (0, 2))
        x = self.bounds[0, 0] + np.arange(columns) * cell_size
        z = self.bounds[0, 2] + np.arange(rows) * cell_size
        grid = np.stack(np.broadcast_arrays(x[None], height, z[:, None]), axis=-1)
        return self.is_navigable(grid.reshape(-1, 3)).reshape(rows, columns)

    # --- distances ---

    def compute_distance_field(
        self, goals: ArrayLike, max_distance: float = np.inf
    ) -> DistanceField:
        """Measure the way on foot from everywhere to the nearest of the goals (K, 3), once.

        Args:
            goals: (K, 3); those off the surface are moved onto it within 2 m, the rest ignored.
            max_distance: farther places read inf [m].

        Raises:
            NavigationError: when no goal lies on or near the navigable area.
        """
        given = check_points(goals, "goals")
        places, cells = self.surface.snap_points(given)
        ok = cells >= 0
        if not ok.any():
            raise NavigationError(
                f"none of the {len(given)} goals (first {given[:1].tolist()}) is within 2 m of the "
                "navigable area; use sample() or snap() to get goals that can be reached"
            )
        sources = self.surface.to_cells(places[ok])
        return DistanceField(
            self.surface,
            self._ways.compute_field(cells[ok], sources, max_distance / self.surface.cell),
        )

    def geodesic_distance(self, start: ArrayLike, ends: ArrayLike) -> NDArray[np.float64]:
        """Length of the shortest way from one start (3,) to each end (K, 3): (K,) [m], inf if
        none.
        """
        first = check_points(start, "start")[:1]
        last = check_points(ends, "ends")
        if self.surface.find_nearest_cells(first)[0] < 0:
            return np.full(len(last), np.inf)
        return self.compute_distance_field(first).get_distances(last)

    def find_shortest_path(self, start: ArrayLike, end: ArrayLike) -> Points:
        """Corners of the shortest way from start (3,) to end (3,): (M, 3), (0, 3) when there is
        none.
        """
        last = check_points(end, "end")[:1]
        if self.surface.find_nearest_cells(last)[0] < 0:
            return np.zeros((0, 3))
        return self.compute_distance_field(last).find_path(start)

    # --- motion ---

    def step(
        self, positions: ArrayLike, targets: ArrayLike, sliding: bool = True
    ) -> tuple[Points, NDArray[np.bool_]]:
        """Move agents towards targets until a wall, sliding along it or stopping there.

        Args:
            positions: (N, 3) where they stand; moved onto the navigable area within 2 m.
            targets: (N, 3) where they want to be; y is ignored.
            sliding: keep moving along walls.

        Returns:
            (N, 3) new positions on the floor and (N,) bool, True where the agent moved less than
            asked.

        Raises:
            NavigationError: when a position is NaN or farther than 2 m from the navigable area.
        """
        given = check_points(positions, "positions")
        wanted = check_points(targets, "targets")
        if given.shape != wanted.shape:
            raise NavigationError(f"positions {given.shape} and targets {wanted.shape} must agree")
        result, collided = self._move(given, wanted, sliding)
        lost = np.flatnonzero(collided < 0)
        if len(lost):
            places, cells = self.surface.snap_points(given[lost])
            bad = (cells < 0) | ~np.isfinite(wanted[lost]).all(axis=1)
            if bad.any():
                agent = lost[bad][0]
                raise NavigationError(
                    f"agent {agent} at {given[agent].tolist()} going to {wanted[agent].tolist()} "
                    "stands outside the navigable area (inside a wall, off the floor) or has a NaN "
                    "coordinate; place it with sample() or snap()"
                )
            result[lost], collided[lost] = self._move(places, wanted[lost], sliding)
        return result, collided > 0

    def _move(
        self, positions: Points, targets: Points, sliding: bool
    ) -> tuple[Points, NDArray[np.int8]]:
        s = self.surface
        return motion.step_points(
            s.start,
            s.width,
            s.depth,
            s.height,
            s.column,
            s.row,
            s.links,
            s.low,
            s.cell,
            positions,
            targets,
            SAME_FLOOR,
            sliding,
            self.agent.navmesh == "habitat",
        )
