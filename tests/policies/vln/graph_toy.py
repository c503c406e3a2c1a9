"""A small random graph world that speaks the observations of the VLN tasks, without a simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs, DualScaleNetwork

NAMES = ("chair", "potted plant", "table", "bed")
TEXTS = (
    "go to the bed",
    "walk past the chair and stop at the potted plant by the table",
    "table",
    "leave the room with the bed, then find a chair",
)
VOCABULARY = Vocabulary.from_texts([*TEXTS, *NAMES])
WIDTH = 71


class GraphToy:
    """N places on a plane, each joined to its nearest, with random views and objects."""

    def __init__(self, places: int = 14, seed: int = 0, candidates: int = 8) -> None:
        rng = np.random.default_rng(seed)
        self.positions = rng.uniform(-8, 8, (places, 3)) * (1.0, 0.1, 1.0)
        apart = np.linalg.norm(self.positions[:, None] - self.positions[None], axis=-1)
        near = np.argsort(apart, axis=1)[:, 1:4]
        joined = np.zeros((places, places), bool)
        joined[np.arange(places)[:, None], near] = True
        joined |= joined.T
        ring = np.arange(places)  # one cycle through all of them, so that every place is reached
        joined[ring, np.roll(ring, 1)] = joined[np.roll(ring, 1), ring] = True
        self.joined = joined
        self.width = max(candidates, int(joined.sum(1).max()))
        self.views = rng.random((places, 36, WIDTH)).astype(np.float32)
        self.views[..., :33] *= rng.random((places, 36, 33)) < 0.1  # area shares are sparse
        self.views[:, rng.random(36) < 0.4] = 0.0
        self.objects = [rng.permutation(50)[: rng.integers(0, 4)] for _ in range(places)]
        self.features = rng.random((places, 6, 6)).astype(np.float32)
        self.boxes = rng.uniform(0.1, 1.0, (places, 6, 4)).astype(np.float32)
        ways = np.where(joined, apart, np.inf)
        np.fill_diagonal(ways, 0.0)
        for k in range(places):
            ways = np.minimum(ways, ways[:, k, None] + ways[None, k])
        self.distances = ways

    def observe(
        self,
        places: list[int],
        starts: list[int],
        texts: list[str] | None = None,
        goals: list[int] | None = None,
        headings: list[float] | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> dict[str, Any]:
        """Observations of agents at some places; `order` permutes the candidates of each."""
        count, width = len(places), self.width
        ids = np.full((count, width), -1, np.int64)
        around = np.zeros((count, width, 3), np.float32)
        objects = np.full((count, 6), -1, np.int64)
        names = []
        for b, place in enumerate(places):
            near = np.flatnonzero(self.joined[place])
            if order is not None:
                near = near[np.argsort(order[: len(near)])]
            ids[b, : len(near)] = near
            around[b, : len(near)] = self.positions[near] - self.positions[starts[b]]
            objects[b, : len(self.objects[place])] = self.objects[place]
            names.append(tuple(NAMES[i % len(NAMES)] for i in self.objects[place]))
        shown = objects >= 0
        made: dict[str, Any] = {
            "instruction": tuple(texts or [TEXTS[0]] * count),
            "place": np.array(places),
            "position": (self.positions[places] - self.positions[starts]).astype(np.float32),
            "heading": np.array(headings or [0.3] * count, np.float32),
            "views": self.views[places],
            "candidates": ids,
            "candidate_positions": around,
            "objects": objects,
            "object_names": tuple(names),
            "object_categories": np.where(shown, objects % 5, -1),
            "object_boxes": self.boxes[places] * shown[..., None],
            "object_features": self.features[places] * shown[..., None],
        }
        if goals is not None:
            made["goal_distance"] = self.distances[places, goals].astype(np.float32)
            far = self.distances[ids, np.array(goals)[:, None]]
            made["candidate_goal_distances"] = np.where(ids < 0, np.inf, far).astype(np.float32)
            made["target"] = np.array(
                [self.objects[g][0] if len(self.objects[g]) else -1 for g in goals]
            )
        return made

    def walk(self, start: int, length: int, seed: int = 0) -> list[int]:
        """A random walk over neighbours."""
        rng = np.random.default_rng(seed)
        way = [start]
        while len(way) < length:
            way.append(int(rng.choice(np.flatnonzero(self.joined[way[-1]]))))
        return way


def tiny(seed: int = 0, **options: Any) -> DualScaleNetwork:
    """A tiny network with weights of a seed, in evaluation mode; none of its biases is 0."""
    import torch

    torch.manual_seed(seed)
    network = DualScaleNetwork(DualScaleConfig(**options), VOCABULARY, DualScaleInputs(WIDTH))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return network.eval()
