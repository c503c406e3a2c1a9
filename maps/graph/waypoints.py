"""Where to go next from here: waypoints on the free floor of a live map.

They stand in for the neighbours of a navigation graph when there is none ("ghost" nodes; An et al.,
"ETPNav", TPAMI 2024, predicts them from depth). Ours are chosen on the map itself, the way the
places of a navigation graph lie in a home: straight walks away, apart from each other, on open
floor; and one for every border to the unknown that none of them covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.compiled import cached_njit
from maps.paths.planning import compute_cost_field, is_line_clear

Cells = NDArray[np.int64]

STRIDE = 2
"""Every other cell is tried: 10 cm on the usual grid."""
SLACK = 0.15
"""Added to what a straight walk may measure on a grid of eight directions [m]."""


@dataclass(frozen=True)
class WaypointProposalSpec:
    """How waypoints lie.

    Attributes:
        min_distance, max_distance: range of their distance from here [m].
        spacing: they keep apart as far as they see each other [m].
        min_spacing: they keep this far apart even with a wall between [m].
        max_detour: longest walk to one, in straight distances; 8-connected grids alone need 1.08.
        ample_clearance: distance from obstacles beyond which a place is no better [m].
        preferred_distance: distance from here that is preferred among equals [m].
        frontier_reach: farthest a border to the unknown may lie from its waypoint [m].
    """

    min_distance: float = 1.4
    max_distance: float = 3.3
    spacing: float = 2.0
    min_spacing: float = 1.2
    max_detour: float = 1.13
    ample_clearance: float = 0.5
    preferred_distance: float = 2.2
    frontier_reach: float = 1.4

    def __post_init__(self) -> None:
        if not (
            0 < self.min_distance < self.max_distance
            and 0 < self.min_spacing <= self.spacing
            and self.max_detour >= 1
        ):
            raise ValueError(
                f"need 0 < near {self.min_distance} < far {self.max_distance}, 0 < least "
                f"{self.min_spacing} <= spacing "
                f"{self.spacing} and detour {self.max_detour} >= 1"
            )


def propose_waypoints(
    weight: NDArray[np.uint8],
    clearance: NDArray[np.float32],
    start: tuple[int, int],
    cell_size: float,
    known: ArrayLike = (),
    frontiers: ArrayLike = (),
    spec: WaypointProposalSpec | None = None,
) -> Cells:
    """Choose waypoints around a cell.

    Args:
        weight: (H, W) uint8, 0 where the body cannot stand
            (`maps.paths.planning.compute_cost_weights`).
        clearance: (H, W) distance to the nearest obstacle [m].
        start: (row, column) of the agent.
        cell_size: [m].
        known: (K, 2) cells of places there are already.
        frontiers: (F, 2) cells on borders to the unknown, the most promising first.
        spec: how they lie.

    Returns:
        (P, 2) cells (row, column), best first, those at frontiers last.
    """
    spec = spec or WaypointProposalSpec()
    cells, field = find_walkable_cells(weight, start, cell_size, spec)
    if not len(cells):
        return np.zeros((0, 2), np.int64)
    there = _cells(known)
    distance = np.hypot(*(cells - np.array(start)).T) * cell_size
    wish = np.minimum(clearance[cells[:, 0], cells[:, 1]], spec.ample_clearance)
    wish = wish - 0.1 * np.abs(distance - spec.preferred_distance)
    straight = field <= spec.max_detour * distance + SLACK
    open_ = straight & (distance >= spec.min_distance) & (distance <= spec.max_distance)
    for place in there:
        open_ &= ~find_covered_cells(weight, place, cells, spec.spacing / cell_size)
        open_ &= np.hypot(*(cells - place).T) * cell_size >= spec.min_spacing
    chosen: list[NDArray[np.int64]] = []
    for index in np.argsort(-wish, kind="stable"):
        if open_[index]:
            chosen.append(cells[index])
            open_ &= ~find_covered_cells(weight, cells[index], cells, spec.spacing / cell_size)
    for border in _cells(frontiers):
        all_places = np.array([*there, *chosen, np.array(start)]).reshape(-1, 2)
        if (np.hypot(*(all_places - border).T) * cell_size <= spec.frontier_reach).any():
            continue  # going to that place will show what is behind
        gap = np.hypot(*(cells - border).T) * cell_size
        apart = np.hypot(*(cells[:, None] - all_places[None]).transpose(2, 0, 1)).min(axis=1)
        good = straight & (gap <= spec.frontier_reach) & (apart * cell_size >= spec.min_spacing)
        if good.any():
            chosen.append(cells[int(np.where(good, gap - wish, np.inf).argmin())])
    return np.array(chosen, np.int64).reshape(-1, 2)


def find_walkable_cells(
    weight: NDArray[np.uint8], start: tuple[int, int], cell_size: float, spec: WaypointProposalSpec
) -> tuple[Cells, NDArray[np.float64]]:
    """Return the cells around `start` that can be walked to, (N, 2), and the way's length [m]."""
    reach = int(np.ceil((spec.max_distance + 0.5) / cell_size))
    low = [max(0, start[0] - reach), max(0, start[1] - reach)]
    part = weight[low[0] : start[0] + reach + 1, low[1] : start[1] + reach + 1]
    inside = (start[0] - low[0], start[1] - low[1])
    field = compute_cost_field((part > 0).astype(np.uint8), inside, cell_size)
    cells = np.argwhere(np.isfinite(field[::STRIDE, ::STRIDE])) * STRIDE
    return cells + np.array(low), field[cells[:, 0], cells[:, 1]].astype(np.float64)


def thin_points(here: ArrayLike, points: ArrayLike, detour: float = 1.1) -> list[int]:
    """Return the rows of points (N, 3) that no other makes superfluous.

    A point is superfluous when the way over another one is at most `detour` times as long, as in
    the navigation graphs of houses.
    """
    center, places = np.asarray(here, np.float64), np.asarray(points, np.float64).reshape(-1, 3)
    length = np.linalg.norm(places - center, axis=1)
    kept = list(range(len(places)))
    for row in np.argsort(-length, kind="stable"):
        others = [k for k in kept if k != row]
        over = length[others] + np.linalg.norm(places[others] - places[row], axis=1)
        if len(others) and over.min() <= detour * length[row]:
            kept.remove(int(row))
    return kept


def find_covered_cells(
    weight: NDArray[np.uint8], place: ArrayLike, cells: Cells, radius: float
) -> NDArray[np.bool_]:
    """Tell which cells (N, 2) lie within `radius` [cells] of a place and in a clear line with it.

    What a wall separates is not covered: the next room needs a place of its own.
    """
    row, column = (int(v) for v in np.asarray(place))
    hit: NDArray[np.bool_] = _covered(weight, row, column, np.ascontiguousarray(cells), radius)
    return hit


@cached_njit()
def _covered(
    weight: NDArray[np.uint8], row: int, column: int, cells: Cells, radius: float
) -> NDArray[np.bool_]:
    hit = np.zeros(len(cells), np.bool_)
    for k in range(len(cells)):
        gap = np.hypot(cells[k, 0] - row, cells[k, 1] - column)
        if gap < radius:
            hit[k] = gap < 2 or is_line_clear(
                weight, row + 0.5, column + 0.5, cells[k, 0] + 0.5, cells[k, 1] + 0.5, 8
            )
    return hit


def _cells(values: ArrayLike) -> Cells:
    return np.asarray(values, np.int64).reshape(-1, 2)
