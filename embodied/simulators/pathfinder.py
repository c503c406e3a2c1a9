"""Where an agent can stand, how far things are on foot, and how a step ends: navigation over a triangle scene.

Points are (x, y, z) in metres, y up, y = the height of the floor under the agent's feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.navmesh import motion, regions, voxels
from maps import geodesic

MIN_ISLAND_CELLS = 400  # Recast drops islands below regionMinSize^2 = 20^2 cells
SNAP_REACH = (
    2.0,
    4.0,
)  # Habitat's search box for the nearest surface: half extents sideways and up [m]

Points = NDArray[np.float64]


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
        agent: body and grid resolution.

    Raises:
        NavigationError: when nothing in the scene can be walked on.
    """

    def __init__(
        self,
        vertices: ArrayLike,
        faces: ArrayLike,
        agent: AgentSpec | None = None,
    ) -> None:
        self.agent = agent or AgentSpec()
        vertices32 = np.ascontiguousarray(vertices, np.float32)
        faces32 = np.ascontiguousarray(faces, np.int32)
        self._check_mesh(vertices32, faces32)
        low, high = vertices32.min(axis=0), vertices32.max(axis=0)
        self.bounds: Points = np.stack([low, high]).astype(np.float64)
        cell, tall = np.float32(self.agent.cell_size), np.float32(self.agent.cell_height)
        self._cell = float(cell)
        self._low = self.bounds[0]
        self._width = max(1, int((high[0] - low[0]) / cell + np.float32(0.5)))
        self._depth = max(1, int((high[2] - low[2]) / cell + np.float32(0.5)))
        ground, level = self._build(vertices32, faces32, low, high, cell, tall)
        chosen = ground if self.agent.navmesh == "surface" else level * tall + low[1]
        self._height = chosen.astype(np.float32)
        scaled = (self._height / cell).astype(np.float32)
        self._ways = geodesic.Wayfinder(
            geodesic.CellGraph(self._column, self._row, scaled, self._links)
        )
        self._centers = np.stack(
            [
                self._low[0] + (self._column + 0.5) * self._cell,
                self._height,
                self._low[2] + (self._row + 0.5) * self._cell,
            ],
            axis=1,
        )
        self._tree = cKDTree(self._centers)
        self._walls = self._wall_edges()

    @staticmethod
    def _check_mesh(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        if (
            vertices.ndim != 2
            or vertices.shape[1:] != (3,)
            or faces.ndim != 2
            or faces.shape[1:] != (3,)
        ):
            raise NavigationError(
                f"vertices {vertices.shape} and faces {faces.shape} must be (V, 3) and (F, 3)"
            )
        if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
            raise NavigationError(
                f"{len(faces)} faces over {len(vertices)} vertices: a mesh needs faces, and each must name "
                "existing vertices"
            )
        if not np.isfinite(vertices).all():
            raise NavigationError(
                "the mesh has NaN or infinite vertices; repair it before navigating"
            )

    def _build(self, vertices, faces, low, high, cell, tall):  # type: ignore[no-untyped-def]
        agent = self.agent
        height = int(np.ceil(np.float32(agent.height) / tall))
        climb = int(np.floor(np.float32(agent.max_climb) / tall))
        radius = int(np.ceil(np.float32(agent.radius) / cell))
        slope = np.float32(np.cos(np.float32(agent.max_slope) / 180.0 * np.pi))
        size = (self._width, self._depth)
        spans = voxels.Spans(
            *voxels.rasterize(vertices, faces, low, high, *size, cell, tall, slope, climb)
        )
        voxels.filter_spans(*spans, *size, climb, height)
        start, level, _, ground, links = voxels.compact(*spans, *size, climb, height)
        keep = regions.erode(links, radius)
        label, sizes = regions.islands(links, keep)
        keep &= np.append(sizes >= MIN_ISLAND_CELLS, False)[label]
        if not keep.any():
            raise NavigationError(
                f"no navigable area of at least {MIN_ISLAND_CELLS * float(cell) ** 2:.1f} m2 in the scene "
                f"(bounds {low.tolist()} to {high.tolist()} m) for an agent of radius {agent.radius} m and "
                f"height {agent.height} m. Check that y is up, the unit is metres and faces look upwards."
            )
        self._start, old, self._links = regions.select(start, links, keep)
        columns = np.repeat(np.arange(len(self._start) - 1), np.diff(self._start))
        self._column = (columns % self._width).astype(np.int32)
        self._row = (columns // self._width).astype(np.int32)
        self._island, _ = regions.islands(self._links, np.ones(len(old), np.bool_))
        return ground[old], level[old]

    def _wall_edges(self) -> NDArray[np.float64]:
        node, side = np.nonzero(self._links < 0)
        half = self._cell / 2
        middle = self._centers[node].copy()
        middle[:, 0] += voxels.DX[side] * half
        middle[:, 2] += voxels.DZ[side] * half
        self._wall_tree = cKDTree(middle)
        return np.stack([np.abs(voxels.DZ[side]) * half, np.abs(voxels.DX[side]) * half], axis=1)

    # --- facts about the scene -------------------------------------------------------------------

    @property
    def navigable_area(self) -> float:
        """Area an agent's centre can reach, all islands together [m^2]."""
        return len(self._column) * self._cell**2

    @property
    def islands(self) -> int:
        """Number of parts with no way between them."""
        return int(self._island.max()) + 1

    @property
    def largest_island(self) -> int:
        """The island with the greatest area."""
        return int(np.bincount(self._island).argmax())

    @property
    def floors(self) -> list[Floor]:
        """Storeys from bottom to top: levels with at least 1 m^2 per 0.2 m of height, 1 m or more apart."""
        order = np.sort(self._height.astype(np.float64))
        cut = np.flatnonzero(np.diff(order) > 1.0)
        groups = np.split(order, cut + 1)
        storeys: list[Floor] = []
        for group in groups:
            counts, edges = np.histogram(
                group, bins=max(1, int(np.ceil((group[-1] - group[0]) / 0.2)))
            )
            strong = counts * self._cell**2 >= 1.0
            base = None
            for i in np.flatnonzero(strong):
                if base is None or edges[i] - base >= 1.0:
                    base = edges[i]
                    inside = group[(group >= base) & (group < base + 1.0)]
                    storeys.append(Floor(float(np.median(inside)), len(inside) * self._cell**2))
        return storeys

    # --- points ----------------------------------------------------------------------------------

    def _points(self, points: ArrayLike, name: str = "points") -> Points:
        array = np.asarray(points, np.float64)
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != 3:
            raise NavigationError(f"{name} {array.shape} must be (N, 3): x, y, z in metres")
        return np.ascontiguousarray(array)

    def _locate(self, points: Points, reach: float) -> NDArray[np.int32]:
        return motion.locate_many(
            self._start,
            self._width,
            self._depth,
            self._height,
            self._low,
            self._cell,
            points,
            reach,
        )

    def _nearest(self, points: Points) -> NDArray[np.int32]:
        """(N,) cell under or nearest to each point within Habitat's search box, -1 none."""
        nodes = self._locate(points, 0.5)
        missing = np.flatnonzero(nodes < 0)
        missing = missing[np.isfinite(points[missing]).all(axis=1)]
        if len(missing):
            sideways, up = SNAP_REACH
            gap, found = self._tree.query(
                points[missing], distance_upper_bound=float(np.hypot(sideways, up))
            )
            hit = np.isfinite(gap)
            offset = np.abs(self._centers[found[hit]] - points[missing[hit]])
            close = (offset <= [sideways, up, sideways]).all(axis=1)
            nodes[missing[hit][close]] = found[hit][close]
        return nodes

    def is_navigable(self, points: ArrayLike, max_y_delta: float = 0.5) -> NDArray[np.bool_]:
        """Tell which points (N, 3) an agent can stand at; a NaN point is not navigable."""
        return self._locate(self._points(points), max_y_delta) >= 0

    def snap(self, points: ArrayLike) -> Points:
        """Move points (N, 3) to the nearest navigable place within 2 m sideways and 4 m up; NaN when none."""
        given = self._points(points)
        nodes = self._nearest(given)
        result = np.full_like(given, np.nan)
        ok = nodes >= 0
        center = self._centers[nodes[ok]]
        half = self._cell / 2 * (1 - 1e-6)
        result[ok] = center
        for axis in (0, 2):
            result[ok, axis] = np.clip(
                given[ok, axis], center[:, axis] - half, center[:, axis] + half
            )
        return result

    def island(self, points: ArrayLike) -> NDArray[np.int32]:
        """Island of each point (N, 3), -1 for points off the surface."""
        nodes = self._locate(self._points(points), 0.5)
        return np.where(nodes >= 0, self._island[nodes], -1).astype(np.int32)

    def island_radius(self, points: ArrayLike) -> NDArray[np.float64]:
        """Largest distance of an island's cells from their mean, per point (N,) [m]; 0 when there is none."""
        nodes = self._nearest(self._points(points))
        count = np.bincount(self._island)
        mean = np.stack(
            [np.bincount(self._island, self._centers[:, k]) / count for k in range(3)], axis=1
        )
        radius = np.zeros(len(count))
        np.maximum.at(
            radius, self._island, np.linalg.norm(self._centers - mean[self._island], axis=1)
        )
        return np.where(nodes >= 0, radius[self._island[nodes]], 0.0)

    def sample(
        self,
        rng: np.random.Generator,
        count: int = 1,
        island: int | None = None,
        floor: int | None = None,
    ) -> Points:
        """Draw navigable points, uniform by area: (count, 3).

        Raises:
            NavigationError: when the island or floor does not exist or holds no cell.
        """
        choice = np.arange(len(self._column))
        if island is not None:
            choice = choice[self._island[choice] == island]
        if floor is not None:
            storeys = self.floors
            if not 0 <= floor < len(storeys):
                raise NavigationError(f"floor {floor} does not exist; the scene has {len(storeys)}")
            nearest = np.abs(
                self._height[choice, None] - np.array([s.height for s in storeys])
            ).argmin(axis=1)
            choice = choice[nearest == floor]
        if not len(choice):
            raise NavigationError(
                f"no navigable cell on island {island}, floor {floor}; islands are 0 to {self.islands - 1}"
            )
        picked = self._centers[rng.choice(choice, size=count)].copy()
        picked[:, [0, 2]] += (rng.random((count, 2)) - 0.5) * self._cell * (1 - 1e-6)
        return picked

    def closest_obstacle(self, points: ArrayLike, max_radius: float = 2.0) -> NDArray[np.float64]:
        """Distance [m] from each point (N,) to the edge of the navigable area, at most `max_radius`."""
        given = self._points(points)
        result = np.full(len(given), np.inf)
        place = self.snap(given)
        ok = np.isfinite(place).all(axis=1)
        if ok.any():
            k = min(12, len(self._walls))
            _, near = self._wall_tree.query(place[ok], k=k)
            near = near.reshape(-1, k)
            offset = np.abs(self._wall_tree.data[near] - place[ok][:, None])
            gap = np.maximum(offset[..., [0, 2]] - self._walls[near], 0)
            result[ok] = np.minimum(np.linalg.norm(gap, axis=2).min(axis=1), max_radius)
        return result

    def topdown(self, height: float, cell_size: float = 0.05) -> NDArray[np.bool_]:
        """Navigable mask around one height [m]: bool (rows = z, columns = x) from the lower bounds corner."""
        span = (self.bounds[1] - self.bounds[0]).astype(np.float32)
        columns, rows = (int(span[k] / np.float32(cell_size)) for k in (0, 2))
        x = self._low[0] + np.arange(columns) * cell_size
        z = self._low[2] + np.arange(rows) * cell_size
        grid = np.stack(np.broadcast_arrays(x[None], height, z[:, None]), axis=-1)
        return self.is_navigable(grid.reshape(-1, 3)).reshape(rows, columns)

    # --- distances -------------------------------------------------------------------------------

    def distance_field(self, goals: ArrayLike, max_distance: float = np.inf) -> DistanceField:
        """Measure the way on foot from everywhere to the nearest of the goals (K, 3), once, for many look-ups.

        Raises:
            NavigationError: when no goal lies on or near the navigable area.
        """
        given = self._points(goals, "goals")
        place = self.snap(given)
        nodes = self._nearest(given)
        ok = nodes >= 0
        if not ok.any():
            raise NavigationError(
                f"none of the {len(given)} goals (first {given[:1].tolist()}) is within 2 m of the navigable "
                "area; use sample() or snap() to get goals that can be reached"
            )
        xyz = self._to_cells(place[ok])
        return DistanceField(self, self._ways.field(nodes[ok], xyz, max_distance / self._cell))

    def _to_cells(self, points: Points) -> Points:
        scaled = points / self._cell
        scaled[:, 0] -= self._low[0] / self._cell
        scaled[:, 2] -= self._low[2] / self._cell
        return np.ascontiguousarray(scaled[:, [0, 2, 1]])

    def geodesic(self, start: ArrayLike, ends: ArrayLike) -> NDArray[np.float64]:
        """Length of the shortest way from one start (3,) to each end (K, 3): (K,) [m], inf if unreachable."""
        first = self._points(start, "start")
        last = self._points(ends, "ends")
        if self._nearest(first[:1])[0] < 0:
            return np.full(len(last), np.inf)
        return self.distance_field(first[:1]).at(last)

    def shortest_path(self, start: ArrayLike, end: ArrayLike) -> Points:
        """Corners of the shortest way from start (3,) to end (3,): (M, 3), (0, 3) when there is none."""
        first, last = self._points(start, "start"), self._points(end, "end")
        if (self._nearest(np.concatenate([first, last])) < 0).any():
            return np.zeros((0, 3))
        return self.distance_field(last).path(first[0])

    # --- motion ----------------------------------------------------------------------------------

    def step(
        self, positions: ArrayLike, targets: ArrayLike, sliding: bool = True
    ) -> tuple[Points, NDArray[np.bool_]]:
        """Move agents towards targets until a wall, sliding along it or stopping there.

        Args:
            positions: (N, 3) where they stand; snapped to the navigable area within 2 m.
            targets: (N, 3) where they want to be; y is ignored.
            sliding: keep moving along walls.

        Returns:
            (N, 3) new positions on the floor and (N,) bool, True where the agent moved less than asked.

        Raises:
            NavigationError: when a position is NaN or farther than 2 m from the navigable area.
        """
        given = self._points(positions, "positions")
        wanted = self._points(targets, "targets")
        if given.shape != wanted.shape:
            raise NavigationError(f"positions {given.shape} and targets {wanted.shape} must agree")
        result, collided = self._move(given, wanted, sliding)
        lost = np.flatnonzero(collided < 0)
        if len(lost):
            place = self.snap(given[lost])
            bad = ~(np.isfinite(place).all(axis=1) & np.isfinite(wanted[lost]).all(axis=1))
            if bad.any():
                agent = lost[bad][0]
                raise NavigationError(
                    f"agent {agent} at {given[agent].tolist()} going to {wanted[agent].tolist()} stands "
                    "outside the navigable area (inside a wall, off the floor) or has a NaN coordinate; "
                    "place it with sample() or snap()"
                )
            result[lost], collided[lost] = self._move(place, wanted[lost], sliding)
        return result, collided > 0

    def _move(
        self, positions: Points, targets: Points, sliding: bool
    ) -> tuple[Points, NDArray[np.int8]]:
        return motion.step_many(
            self._start,
            self._width,
            self._depth,
            self._height,
            self._column,
            self._row,
            self._links,
            self._low,
            self._cell,
            positions,
            targets,
            0.5,
            sliding,
            self.agent.navmesh == "habitat",
        )


class DistanceField:
    """Distances on foot from everywhere to the nearest goal; made by `PathFinder.distance_field`."""

    def __init__(self, finder: PathFinder, field: geodesic.Field) -> None:
        self._finder = finder
        self._field = field

    def at(self, points: ArrayLike) -> NDArray[np.float64]:
        """Distance [m] of each point (N, 3): (N,), inf where unreachable or farther than 2 m from any floor."""
        f = self._finder
        given = f._points(points)
        result = motion.field_at(
            f._start, f._width, f._depth, f._height, f._low, f._cell, *self._field, given, 0.5
        )
        off = np.flatnonzero(result < 0)
        if len(off):
            place = f.snap(given[off])
            result[off] = motion.field_at(
                f._start, f._width, f._depth, f._height, f._low, f._cell, *self._field, place, 0.5
            )
            result[off[~np.isfinite(place).all(axis=1)]] = np.inf
        return result

    def path(self, start: ArrayLike) -> Points:
        """Corners of the shortest way from start (3,) to the nearest goal: (M, 3), (0, 3) when there is none."""
        f = self._finder
        given = f._points(start, "start")
        node = int(f._nearest(given)[0])
        if node < 0 or self._field.root[node] < 0:
            return np.zeros((0, 3))
        corners = geodesic.corner_points(self._field, node, f._to_cells(f.snap(given))[0])
        result = corners[:, [0, 2, 1]] * f._cell
        result[:, [0, 2]] += f._low[[0, 2]]
        return result
