"""Worlds that are graphs: panoramic places, the ways between them, what is seen from each.

`GraphWorld` is the base; `ConnectivityWorld` (Matterport3D navigation graphs) and `HouseWorld` (any
scene) say what is seen, and a policy cannot tell them apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from embodied.errors import NavigationError, SceneError
from maps.panorama.observation import PanoramaObservation

Array = NDArray[np.float64]


class GraphWorld(ABC):
    """Places joined by straight ways; a place's number is its index.

    Args:
        name: of the world (a scan, a house).
        places: N names, unique.
        positions: (N, 3) where the camera stands, world frame (y up) [m].
        edges: (E, 2) pairs of place numbers; every way can be walked in both directions.

    Attributes:
        name, places, positions: as given; positions float64, read-only.
        neighbours: per place the numbers of the places next to it, rising.
        distances: (N, N) length of the shortest walk [m]; inf between parts without a way.
        next_hop: (N, N) `next_hop[a, b]` is the first place on the shortest walk from a to b; a on
            the diagonal, -1 where there is no way.

    Raises:
        SceneError: no places, places named twice, positions that are not numbers, or edges between
            places that do not exist.
    """

    def __init__(
        self, name: str, places: Sequence[str], positions: ArrayLike, edges: ArrayLike
    ) -> None:
        self.name, self.places = name, tuple(places)
        self.positions = np.array(positions, np.float64).reshape(-1, 3)
        links = np.array(edges, np.int64).reshape(-1, 2)
        count = len(self.places)
        self._check(links)
        self._number = {place: i for i, place in enumerate(self.places)}
        links = links[links[:, 0] != links[:, 1]]
        links = np.unique(np.sort(links, axis=1), axis=0)
        both = np.concatenate([links, links[:, ::-1]])
        order = np.lexsort((both[:, 1], both[:, 0]))
        starts = np.searchsorted(both[order, 0], np.arange(1, count))
        self.neighbours: list[NDArray[np.int64]] = np.split(both[order, 1], starts)
        a, b = links.T
        lengths = np.linalg.norm(self.positions[a] - self.positions[b], axis=1)
        # A way between two places at the same point still is a way: a sparse zero would vanish.
        graph = coo_array((np.maximum(lengths, 1e-9), (a, b)), shape=(count, count)).tocsr()
        found, before = shortest_path(graph, directed=False, return_predecessors=True)
        self.distances: Array = found
        hop = before.T.astype(np.int64)  # undirected: the last place before a, coming from b
        hop[hop < 0] = -1
        np.fill_diagonal(hop, np.arange(count))
        self.next_hop: NDArray[np.int64] = hop
        for array in (self.positions, self.distances, self.next_hop, *self.neighbours):
            array.flags.writeable = False
        self._percepts: dict[int, tuple[PanoramaObservation, NDArray[np.uint8]]] = {}
        self._width = 0

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, place: object) -> bool:
        return place in self._number

    def get_place_index(self, place: str) -> int:
        """Return the number of a named place.

        Raises:
            NavigationError: no place of this name.
        """
        if place not in self._number:
            raise NavigationError(
                f"unknown viewpoint '{place}' in '{self.name}', which has {len(self)} places "
                f"({self.places[0]} ...): it is excluded from the graph or of another scan"
            )
        return self._number[place]

    def find_path(self, start: int, end: int) -> list[int]:
        """Return the places of the shortest walk, both ends included.

        Raises:
            NavigationError: no way leads there.
        """
        if self.next_hop[start, end] < 0:
            raise NavigationError(
                f"no way from '{self.places[start]}' to '{self.places[end]}' in '{self.name}'"
            )
        walk = [int(start)]
        while walk[-1] != end:
            walk.append(int(self.next_hop[walk[-1], end]))
        return walk

    def compute_walk_length(self, walk: Sequence[int]) -> float:
        """Return how long a walk over places is [m]; places not next to each other are joined by
        the shortest walk.
        """
        steps = np.asarray(walk, np.int64)
        return float(self.distances[steps[:-1], steps[1:]].sum())

    def observe_place(self, place: int) -> PanoramaObservation:
        """Return what is seen from a place; computed once, arrays are read-only.

        Between calls the canvas is kept as bits, an eighth of its size.
        """
        known = self._percepts.get(place)
        if known is None:
            seen = self._perceive(place)
            for array in (seen.views, seen.objects, seen.categories, seen.boxes, seen.features):
                array.flags.writeable = False
            bits = np.packbits(seen.canvas, axis=-1)
            known = replace(seen, canvas=np.zeros((*seen.canvas.shape[:2], 0), bool)), bits
            self._percepts[place] = known
            self._width = seen.canvas.shape[2]
        seen, bits = known
        canvas = np.unpackbits(bits, axis=-1, count=self._width).view(bool)
        canvas.flags.writeable = False
        return replace(seen, canvas=canvas)

    def get_true_object_ids(self, place: int) -> NDArray[np.int64]:
        """Return which object of the world each object of a percept truly is, (O,), -1 = none.

        The percept's own ids, but where those come from predictions. For scoring only.
        """
        return self.observe_place(place).objects

    def clear_cache(self) -> None:
        """Drop the percepts kept so far."""
        self._percepts.clear()

    @abstractmethod
    def _perceive(self, place: int) -> PanoramaObservation:
        """Compute what is seen from a place."""

    def _check(self, links: NDArray[np.int64]) -> None:
        count = len(self.places)
        if not count:
            raise SceneError(f"world '{self.name}' has no places")
        if len(set(self.places)) != count:
            twice = next(p for p in self.places if self.places.count(p) > 1)
            raise SceneError(f"world '{self.name}' names the place '{twice}' twice")
        if self.positions.shape != (count, 3) or not np.isfinite(self.positions).all():
            raise SceneError(
                f"world '{self.name}': {count} places need as many finite positions (x, y, z), "
                f"got an array of shape {self.positions.shape}"
            )
        if len(links) and not (links.min() >= 0 and links.max() < count):
            raise SceneError(
                f"world '{self.name}': an edge joins place {int(links.max())}, but places are "
                f"numbered 0..{count - 1}"
            )
