"""A topological graph grown while exploring: places visited, frontiers beyond them, ways between.

Visited places closer than `merge_radius` are one node. Consecutive places are joined by an edge as
long as the way walked, so the graph never claims a passage nobody took; frontiers hang on the
visited node they are nearest to. Node numbers are never used twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.grid.frontiers import Frontier

VISITED, FRONTIER = "visited", "frontier"

Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""(from (3,), to (3,)) -> length of the way [m], inf when there is none."""


@dataclass(frozen=True)
class TopologicalNode:
    """One place.

    Attributes:
        number: unique within its graph.
        kind: "visited" or "frontier".
        position: (x, y, z) [m].
        frontier: identity of the frontier it stands for, -1 for a visited place.
    """

    number: int
    kind: str
    position: tuple[float, float, float]
    frontier: int = -1


class TopologicalGraph:
    """Visited places and frontiers with walking distances.

    Args:
        merge_radius: a pose this near a visited node (and at its height) is that node [m].
        measure: how to measure the way between two points for links that were not walked (say, on
            the live map); straight lines by default.
    """

    def __init__(self, merge_radius: float = 1.0, measure: Measure | None = None) -> None:
        if merge_radius <= 0:
            raise ValueError(f"merge_radius {merge_radius} must be positive")
        self.merge_radius = float(merge_radius)
        self._measure = measure or (lambda a, b: float(np.linalg.norm(b - a)))
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.nodes: dict[int, TopologicalNode] = {}
        self._links: dict[int, dict[int, float]] = {}
        self._next = 0
        self._current = -1
        self._last = np.zeros(3)
        self._walked = 0.0

    # -- growing ---

    @property
    def current(self) -> int:
        """The visited node the agent was at last, -1 before the first pose."""
        return self._current

    def visit_position(self, position: ArrayLike) -> int:
        """Take in the agent's next position (3,) [m] and return the node it is at."""
        here = _point(position)
        if self._current >= 0:
            self._walked += float(np.linalg.norm(here - self._last))
        self._last = here
        number = self.find_nearest(here, VISITED)
        if number < 0 or np.linalg.norm(here - self.nodes[number].position) > self.merge_radius:
            number = self._add(VISITED, here)
        if number != self._current:
            if self._current >= 0:
                straight = float(
                    np.linalg.norm(
                        np.subtract(self.nodes[number].position, self.nodes[self._current].position)
                    )
                )
                self.add_edge(self._current, number, max(self._walked, straight))
            self._current, self._walked = number, 0.0
        return number

    def set_frontiers(self, frontiers: Iterable[Frontier], height: float = 0.0) -> None:
        """Replace the frontier nodes; a frontier with a known identity keeps its node's number.

        Args:
            frontiers: as tracked by `FrontierTracker`.
            height: y of the floor they lie on [m].
        """
        known = {node.frontier: node.number for node in self.nodes.values() if node.frontier >= 0}
        kept: set[int] = set()
        for frontier in frontiers:
            position = np.array([frontier.target[0], height, frontier.target[1]])
            number = known.get(frontier.identity, -1)
            if number >= 0:
                self._unlink(number)
                self.nodes[number] = TopologicalNode(
                    number, FRONTIER, _triple(position), frontier.identity
                )
            else:
                number = self._add(FRONTIER, position, frontier.identity)
            kept.add(number)
            anchor = self._anchor(position)
            if anchor is not None:
                self.add_edge(number, *anchor)
        for number in [n.number for n in self.nodes.values() if n.kind == FRONTIER]:
            if number not in kept:
                self._unlink(number)
                del self.nodes[number], self._links[number]

    def _anchor(self, position: NDArray[np.float64]) -> tuple[int, float] | None:
        """The visited node with the shortest way to a point among the five nearest as the crow
        flies.
        """
        visited = [n for n in self.nodes.values() if n.kind == VISITED]
        visited.sort(key=lambda n: float(np.linalg.norm(position - n.position)))
        ways = [(self._measure(np.array(n.position), position), n.number) for n in visited[:5]]
        length, number = min(ways, default=(np.inf, -1))
        return (number, length) if np.isfinite(length) else None

    def add_edge(self, a: int, b: int, length: float) -> None:
        """Join two nodes by an edge of `length` [m]; a shorter edge between them stays."""
        for number in (a, b):
            if number not in self.nodes:
                raise ValueError(f"no node {number}; the graph has {len(self.nodes)} nodes")
        if a == b or not length >= 0:
            raise ValueError(
                f"an edge needs two different nodes and a length >= 0, got {a}, {b}, {length}"
            )
        length = min(length, self._links[a].get(b, np.inf))
        self._links[a][b] = self._links[b][a] = float(length)

    def _add(self, kind: str, position: NDArray[np.float64], frontier: int = -1) -> int:
        number = self._next
        self._next += 1
        self.nodes[number] = TopologicalNode(number, kind, _triple(position), frontier)
        self._links[number] = {}
        return number

    def _unlink(self, number: int) -> None:
        for other in self._links[number]:
            del self._links[other][number]
        self._links[number] = {}

    # -- asking ---

    @property
    def edges(self) -> list[tuple[int, int, float]]:
        """All edges (a, b, length [m]) with a < b."""
        return [(a, b, d) for a, near in self._links.items() for b, d in near.items() if a < b]

    def get_neighbours(self, number: int) -> dict[int, float]:
        """Nodes joined to a node and the lengths of the edges [m]."""
        return dict(self._links[number])

    def find_nearest(self, position: ArrayLike, kind: str | None = None) -> int:
        """The node nearest to a point (3,) in a straight line, of one kind if given; -1 when
        empty.
        """
        point = _point(position)
        numbers = [n.number for n in self.nodes.values() if kind is None or n.kind == kind]
        if not numbers:
            return -1
        places = np.array([self.nodes[n].position for n in numbers])
        return numbers[int(np.argmin(np.linalg.norm(places - point, axis=1)))]

    def compute_distances(self, source: int) -> dict[int, float]:
        """Shortest lengths from a node to every node that can be reached [m]."""
        return self._dijkstra(source)[0]

    def find_shortest_path(self, source: int, target: int) -> tuple[list[int], float]:
        """Nodes from source to target and their length [m]; ([], inf) when there is no way."""
        if target not in self.nodes:
            raise ValueError(f"no node {target}; the graph has {len(self.nodes)} nodes")
        length, before = self._dijkstra(source)
        if target not in length:
            return [], float("inf")
        path = [target]
        while path[-1] != source:
            path.append(before[path[-1]])
        return path[::-1], length[target]

    def _dijkstra(self, source: int) -> tuple[dict[int, float], dict[int, int]]:
        if source not in self.nodes:
            raise ValueError(f"no node {source}; the graph has {len(self.nodes)} nodes")
        done: dict[int, float] = {}
        before: dict[int, int] = {}
        queue = [(0.0, source, source)]
        while queue:
            length, node, parent = heapq.heappop(queue)
            if node in done:
                continue
            done[node], before[node] = length, parent
            for other, step in self._links[node].items():
                if other not in done:
                    heapq.heappush(queue, (length + step, other, node))
        return done, before


def _point(position: ArrayLike) -> NDArray[np.float64]:
    point = np.asarray(position, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ValueError(f"a position must be 3 finite numbers, got {position!r}")
    return point


def _triple(point: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
