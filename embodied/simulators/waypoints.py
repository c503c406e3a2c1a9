"""Waypoints on the navigable area of a scene, and the straight walks between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embodied.errors import NavigationError
from embodied.simulators.base import Room, Scene
from embodied.simulators.embedded import World
from embodied.simulators.pathfinder import PathFinder

Array = NDArray[np.float64]
Edges = NDArray[np.int64]

ROOMY_CLEARANCE = 0.5
"""Clearance [m] beyond which a place is no better; below it, more is better."""
CLEARANCE_JITTER = 0.25
"""Random part [m] of that preference, so that houses of one plan differ."""
DOOR_SPACING = 1.0
"""Other places keep this far from a doorway [m]."""
EYE_HEIGHT = 1.25
"""Height [m] at which neighbours see each other."""
MAX_STRAIGHT_RATIO = 1.02
"""A walk up to this much longer than the straight line counts as straight: over 2 m it gives way
0.2 m to the side, which is no more than the body's radius."""
MAX_DETOUR_RATIO = 1.05
"""A way is dropped when another place makes it at most this much longer: it would only repeat what
two shorter ways offer (our choice; Matterport's graphs have 4 ways per place, these have as many).
"""


@dataclass(frozen=True)
class WaypointSpec:
    """How densely a scene is covered.

    Attributes:
        spacing: distance places keep within a room [m]; no floor is farther than this from one.
        max_edge: longest straight walk between neighbours [m].
    """

    spacing: float = 1.9
    max_edge: float = 3.5

    def __post_init__(self) -> None:
        if not 0 < self.spacing < np.inf:
            raise NavigationError(
                f"waypoint spacing {self.spacing} m must be positive; 1.5 to 2.2 suits a home"
            )
        if not self.spacing <= self.max_edge < np.inf:
            raise NavigationError(
                f"longest way {self.max_edge} m must not be below the spacing {self.spacing} m, "
                "or places have no neighbours"
            )


def sample_waypoints(
    world: World, spec: WaypointSpec, rng: np.random.Generator
) -> tuple[Array, Edges]:
    """Cover the largest navigable island of a scene with places and join them.

    Doorways come first, then a maximal Poisson-disc sample per room that prefers open floor, then
    what is missing to connect everything.

    Args:
        world: the scene; its rooms and doors are used where it has them.
        spec: density.
        rng: source of randomness.

    Returns:
        (N, 3) places on the floor [m] and (E, 2) ways, pairs a < b. Any way can be walked straight
        in both directions, and every place can be reached from every other.
    """
    paths, scene = world.pathfinder, world.scene
    surface = paths.surface
    even = (surface.column % 2 == 0) & (surface.row % 2 == 0)
    cells = surface.centers[(surface.island == paths.largest_island) & even]
    rooms = locate_rooms(scene.rooms, cells)
    wish = np.minimum(paths.distance_to_closest_obstacle(cells), ROOMY_CLEARANCE) + rng.uniform(
        0, CLEARANCE_JITTER, len(cells)
    )
    doors = _doorways(paths, scene)
    gap = np.linalg.norm(cells[:, None] - doors, axis=2).min(axis=1, initial=np.inf)
    chosen = _spread(cells, rooms, wish, gap > DOOR_SPACING, spec.spacing)
    empty = np.setdiff1d(np.unique(rooms), np.append(rooms[chosen], -1))
    inside = [int(np.where(rooms == room, wish, -1).argmax()) for room in empty]
    places = np.concatenate([doors, cells[[*chosen, *inside]]])
    places, walks = _connect(world, places, spec)
    return places, _thin(places, walks)


def locate_rooms(rooms: Sequence[Room], points: Array) -> NDArray[np.int64]:
    """Return the room each point (N, 3) lies in, -1 outside all; of rooms above each other the
    highest whose floor is not above the point.
    """
    found = np.full(len(points), -1, np.int64)
    best = np.full(len(points), -np.inf)
    for index, room in enumerate(rooms):
        above = points[:, 1] - room.floor
        inside = (above > -0.3) & (above < 3.0) & (room.floor > best)
        inside &= _in_polygon(room.polygon, points[:, [0, 2]])
        found[inside], best[inside] = index, room.floor
    return found


def find_straight_walks(world: World, places: Array, longest: float, since: int = 0) -> Edges:
    """Return the pairs a < b of places (N, 3) that see each other and whose walk is all but
    straight, (E, 2); only those with b >= `since`.
    """
    pairs = []
    for b in range(since, len(places)):
        away = np.linalg.norm(places[:b] - places[b], axis=1)
        near = np.flatnonzero(away <= longest)
        if len(near):
            field = world.pathfinder.compute_distance_field(
                places[b], longest * MAX_STRAIGHT_RATIO + 0.1
            )
            near = near[field.get_distances(places[near]) <= away[near] * MAX_STRAIGHT_RATIO + 0.02]
            pairs += [(int(a), b) for a in near]
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    eyes = places + (0.0, EYE_HEIGHT, 0.0)
    start, way = eyes[edges[:, 0]], eyes[edges[:, 1]] - eyes[edges[:, 0]]
    free = world.caster.cast_rays(start, way).distance > 1 if len(edges) else np.zeros(0, bool)
    return edges[free]


def _in_polygon(polygon: Array, points: Array) -> NDArray[np.bool_]:
    """Tell which points (N, 2) lie in a polygon (K, 2), by the crossings of a ray along +x."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    x, z = points[:, None, 0], points[:, None, 1]
    spans = (start[:, 1] > z) != (end[:, 1] > z)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (z - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    odd: NDArray[np.bool_] = (spans & (x < crossing)).sum(axis=1) % 2 == 1
    return odd


def _doorways(paths: PathFinder, scene: Scene) -> Array:
    """Return the floor in the middle of every open doorway (D, 3)."""
    doors = [o for o in scene.objects if o.category == "door"]
    if not doors:
        return np.zeros((0, 3))
    middle = np.array([o.center for o in doors])
    middle[:, 1] -= np.array([o.size[1] for o in doors]) / 2
    places = paths.snap_points(middle)
    shift = np.hypot(*(places - middle)[:, [0, 2]].T)
    # Beside a closed door, or the leaf of an open one, the floor begins farther away.
    good = (shift < 0.15) & (paths.get_island(places) == paths.largest_island)
    kept: list[Array] = []
    for place in places[good]:
        if all(np.linalg.norm(place - other) > DOOR_SPACING / 2 for other in kept):
            kept.append(place)
    return np.array(kept).reshape(-1, 3)


def _spread(
    cells: Array,
    rooms: NDArray[np.int64],
    wish: Array,
    free: NDArray[np.bool_],
    spacing: float,
) -> list[int]:
    """Choose cells in falling order of `wish`, `spacing` apart within a room."""
    open_ = free.copy()
    chosen: list[int] = []
    for index in np.argsort(-wish, kind="stable"):
        if open_[index]:
            chosen.append(int(index))
            near = np.linalg.norm(cells - cells[index], axis=1) < spacing
            open_ &= ~(near & (rooms == rooms[index]))
    return chosen


def _connect(world: World, places: Array, spec: WaypointSpec) -> tuple[Array, Edges]:
    """Add places until straight walks connect all of them; return them and the walks.

    New ones lie along the shortest way between two parts: as few as possible on open floor first,
    then on the way itself.
    """
    walks = find_straight_walks(world, places, spec.max_edge)
    parts = _parts(len(places), walks)
    while parts.max() > 0:
        small = int(np.bincount(parts).argmin())
        others = np.flatnonzero(parts != small)
        field = world.pathfinder.compute_distance_field(places[parts == small])
        way = field.find_path(places[others[field.get_distances(places[others]).argmin()]])
        for step, reach in ((0.8 * spec.max_edge, 0.4), (0.8 * spec.max_edge, 0.0), (0.25, 0.0)):
            new = _recentre(world.pathfinder, _along(way, step), reach)
            trial = np.concatenate([places, new])
            trial = trial[_apart(trial, len(places), 0.3 if reach else 0.02)]
            more = find_straight_walks(world, trial, spec.max_edge, len(places))
            after = _parts(len(trial), np.concatenate([walks, more]))
            if after.max() < parts.max():
                places, walks, parts = trial, np.concatenate([walks, more]), after
                break
        else:
            raise NavigationError(
                f"scene '{world.scene.name}': waypoints cannot be joined by straight walks of at "
                f"most {spec.max_edge} m: the navigable area is too winding. Allow longer ways."
            )
    return places, walks


def _apart(points: Array, first: int, gap: float) -> list[int]:
    """Return the first rows, and those later ones that keep `gap` [m] from all before."""
    kept = list(range(first))
    for row in range(first, len(points)):
        if np.linalg.norm(points[kept] - points[row], axis=1).min() >= gap:
            kept.append(row)
    return kept


def _parts(count: int, walks: Edges) -> NDArray[np.int64]:
    """Return the connected part each place belongs to."""
    graph = coo_array((np.ones(len(walks)), walks.T), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _along(way: Array, step: float) -> Array:
    """Return the corners of a way (M, 3) and points on it, nowhere farther apart than `step`,
    without its ends.
    """
    pieces = [way[:1]]
    for start, end in zip(way[:-1], way[1:], strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / step)))
        share = np.arange(1, count + 1)[:, None] / count
        pieces.append(start + share * (end - start))
    return np.concatenate(pieces)[1:-1]


def _recentre(paths: PathFinder, points: Array, reach: float) -> Array:
    """Move points (N, 3) to the most open floor within `reach` [m] and a straight walk."""
    centers = paths.surface.centers
    moved = points.copy()
    for row, point in enumerate(points):
        near = centers[np.linalg.norm(centers - point, axis=1) < reach]
        if not len(near):
            continue
        near = near[paths.geodesic_distance(point, near) < reach * MAX_STRAIGHT_RATIO + 0.05]
        if len(near):
            moved[row] = near[paths.distance_to_closest_obstacle(near).argmax()]
    return moved


def _thin(places: Array, edges: Edges) -> Edges:
    """Drop each way that another place makes hardly longer, from the longest on; what is
    connected stays so.
    """
    length = np.full((len(places), len(places)), np.inf)
    spans = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    length[edges[:, 0], edges[:, 1]] = length[edges[:, 1], edges[:, 0]] = spans
    kept: list[tuple[int, int]] = []
    for a, b in edges[np.argsort(-spans, kind="stable")]:
        if (length[a] + length[b]).min() <= MAX_DETOUR_RATIO * length[a, b]:
            length[a, b] = length[b, a] = np.inf
        else:
            kept.append((int(a), int(b)))
    return np.array(sorted(kept), np.int64).reshape(-1, 2)
