"""The map an agent draws of a graph world: places it stood at, places it saw from there, and ways.

Only what was seen is in it: an edge joins a visited place to each of its candidates, and a way may
only pass through places already visited. Distances between all pairs are kept current as the map
grows: all new edges end at the place just visited, so one pass over the pairs is enough (the
dynamic form of Floyd's algorithm).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEATURES = 7
"""Numbers that place one node relative to another, see `ViewGraph.compute_position_features`."""

DISTANCE_SCALE, HOP_SCALE = 30.0, 10.0
"""Metres and hops that count as 1 (DUET, Chen et al. 2022)."""

_SLACK = 1e-9


class ViewGraph:
    """Places in the order of their discovery (their row), what is known of them, and all ways.

    Attributes:
        places: M place ids; the index is the row.
        visits: number of calls of `visit_place`, moves through known places not counted.
        current: row of the place visited last, -1 before the first.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.visits = 0
        self.current = -1
        self._rows: dict[int, int] = {}
        self._positions = np.zeros((0, 3))
        self._last_visit = np.zeros(0, np.int64)
        self._seen = np.zeros((0, 0), bool)
        self._distances = np.zeros((0, 0))
        self._hops = np.zeros((0, 0), np.int64)
        self._next = np.zeros((0, 0), np.int64)

    # -- growing ---

    def visit_place(
        self,
        place: int,
        position: ArrayLike,
        candidates: Sequence[int] | NDArray[np.int64],
        candidate_positions: ArrayLike,
    ) -> int:
        """Stand at a place and see where one can walk from it.

        Args:
            place: its id.
            position: (3,) [m], y up, in one frame for the whole map.
            candidates: (C,) ids of the places next to it; negative ones are padding.
            candidate_positions: (C, 3) [m].

        Returns:
            The row of the place.

        Raises:
            ValueError: a position that is not finite, or a place next to itself or named twice.
        """
        ids = np.asarray(candidates, np.int64).reshape(-1)
        points = np.asarray(candidate_positions, np.float64).reshape(-1, 3)
        here = np.asarray(position, np.float64).reshape(-1)
        if here.shape != (3,) or len(points) != len(ids):
            raise ValueError(
                f"place {place}: a position has 3 numbers and each of the {len(ids)} candidates "
                f"one position, got {here.shape} and {len(points)} positions"
            )
        if (ids < 0).any():
            ids, points = ids[ids >= 0], points[ids >= 0]
        if not (np.isfinite(here).all() and np.isfinite(points).all()):
            raise ValueError(f"place {place}: its position or a candidate's is not finite")
        names = ids.tolist()
        if place in names or len(set(names)) != len(names):
            raise ValueError(f"place {place}: candidates {names} must be different other places")
        row = self._row_of(int(place), here)
        self._positions[row] = here
        rows = np.array([self._row_of(c, p) for c, p in zip(names, points, strict=True)], np.int64)
        fresh = self._last_visit[row] == 0 or not self._seen[row, rows].all()
        self.visits += 1
        self.current = row
        self._last_visit[row] = self.visits
        if fresh and len(rows):
            self._seen[row, rows] = True
            self._relax(row, rows)
        return row

    def _row_of(self, place: int, position: NDArray[np.float64]) -> int:
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = len(self.places)
            self.places.append(place)
            if row == len(self._last_visit):
                self._grow(max(32, 2 * row))
            self._positions[row] = position
        return row

    def _grow(self, size: int) -> None:
        self._positions = _padded(self._positions, (size, 3), 0.0)
        self._last_visit = _padded(self._last_visit, (size,), 0)
        self._seen = _padded(self._seen, (size, size), False)
        self._hops = _padded(self._hops, (size, size), 0)
        self._next = _padded(self._next, (size, size), -1)
        self._distances = _padded(self._distances, (size, size), np.inf)
        np.fill_diagonal(self._distances, 0.0)

    def _relax(self, row: int, near: NDArray[np.int64]) -> None:
        """Take the edges row -> near (C,) into the distances, and row as a stop on the way."""
        count = len(self.places)
        distances, hops = self._distances[:count, :count], self._hops[:count, :count]
        following = self._next[:count, :count]
        lengths = np.linalg.norm(self._positions[near] - self._positions[row], axis=1)
        # From here over one edge, and on from there if somebody stood there.
        ways = np.where(self._last_visit[near, None] > 0, distances[near], np.inf)
        ways[np.arange(len(near)), near] = 0.0
        ways += lengths[:, None]
        best = ways.argmin(axis=0)
        length = ways[best, np.arange(count)]
        better = np.flatnonzero(length < distances[row] - _SLACK)
        if len(better):
            over = near[best[better]]
            distances[row, better] = distances[better, row] = length[better]
            hops[row, better] = hops[better, row] = 1 + hops[over, better]
            following[better, row] = np.where(better == over, row, following[better, over])
            following[row, better] = over
        through = distances[:, row, None] + distances[None, row]
        shorter = through < distances - _SLACK
        if shorter.any():
            first, second = np.nonzero(shorter)
            distances[first, second] = through[first, second]
            following[first, second] = following[first, row]
            hops[first, second] = hops[first, row] + hops[row, second]

    # -- asking ---

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, place: int) -> bool:
        return place in self._rows

    def get_row(self, place: int) -> int:
        """Return the row of a place.

        Raises:
            ValueError: the place was never seen.
        """
        if place not in self._rows:
            raise ValueError(f"place {place} is not on the map, which holds {len(self)} places")
        return self._rows[place]

    @property
    def positions(self) -> NDArray[np.float64]:
        """(M, 3) [m]."""
        return self._positions[: len(self)]

    @property
    def last_visit(self) -> NDArray[np.int64]:
        """(M,) number of the latest visit, counted from 1; 0 for places only seen."""
        return self._last_visit[: len(self)]

    @property
    def visited(self) -> NDArray[np.bool_]:
        """(M,) whether the agent stood there."""
        return self.last_visit > 0

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(M, M) whether the column's place was a candidate at the row's."""
        return self._seen[: len(self), : len(self)]

    @property
    def distances(self) -> NDArray[np.float64]:
        """(M, M) length of the shortest known way [m]."""
        return self._distances[: len(self), : len(self)]

    @property
    def hops(self) -> NDArray[np.int64]:
        """(M, M) number of edges of that way."""
        return self._hops[: len(self), : len(self)]

    def list_frontiers(self) -> list[int]:
        """Return the places seen but not visited, in order of discovery."""
        return [self.places[row] for row in np.flatnonzero(self.last_visit == 0)]

    def get_neighbours(self, place: int) -> list[int]:
        """Return the places joined to a place by a known edge."""
        row = self.get_row(place)
        near = self.seen[row] | self.seen[:, row]
        return [self.places[other] for other in np.flatnonzero(near)]

    def list_observers(self, place: int) -> list[int]:
        """Return the visited places of which a place was a candidate."""
        return [self.places[other] for other in np.flatnonzero(self.seen[:, self.get_row(place)])]

    def find_path(self, start: int, end: int) -> list[int]:
        """Return the places of the shortest known way, both ends included; all places between
        were visited.

        Raises:
            ValueError: a place that is not on the map, or no known way.
        """
        row, target = self.get_row(start), self.get_row(end)
        way = [row]
        while row != target:
            row = int(self._next[row, target])
            if row < 0:
                raise ValueError(f"no way is known from place {start} to place {end}")
            way.append(row)
        return [self.places[row] for row in way]

    def compute_position_features(self, from_row: int, heading: float = 0.0) -> NDArray[np.float32]:
        """Place every node relative to one of them (DUET, Chen et al. 2022, section 3.2).

        Args:
            from_row: the node looked from.
            heading: that counts as straight ahead [rad], clockwise from north (-z).

        Returns:
            (M, 7): sine and cosine of the heading and of the elevation in which it lies, straight
            distance and length of the known way in units of 30 m, hops in units of 10. The node
            itself lies straight ahead (0, 1, 0, 1, 0, 0, 0).
        """
        delta = self.positions - self.positions[from_row]
        features = np.empty((len(self), FEATURES), np.float32)
        flat = np.hypot(delta[:, 0], delta[:, 2])
        straight = np.hypot(flat, delta[:, 1])
        angle = np.arctan2(delta[:, 0], -delta[:, 2]) - heading
        np.sin(angle, out=features[:, 0], casting="same_kind")
        np.cos(angle, out=features[:, 1], casting="same_kind")
        some = np.maximum(straight, 1e-8)
        features[:, 2] = delta[:, 1] / some
        features[:, 3] = flat / some
        features[:, 4] = straight / DISTANCE_SCALE
        features[:, 5] = self.distances[from_row] / DISTANCE_SCALE
        features[:, 6] = self.hops[from_row] / HOP_SCALE
        features[straight < 1e-6, :4] = (0.0, 1.0, 0.0, 1.0)
        return features


def _padded(array: NDArray, shape: tuple[int, ...], value: object) -> NDArray:
    larger = np.full(shape, value, array.dtype)
    larger[tuple(slice(n) for n in array.shape)] = array
    return larger
