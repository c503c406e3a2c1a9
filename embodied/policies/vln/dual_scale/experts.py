"""What the shortest-path expert would choose, in the columns of a decision (DUET, section 3.5).

The expert knows the true walking distances to the goal of every place on the agent's map, because
the privileged observations named them when the place was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from embodied.nn.placement import to_tensor_like
from embodied.policies.base import require_observations
from embodied.policies.vln.dual_scale.state import Decision
from maps.graph.viewgraph import ViewGraph

IGNORED = -100
"""Label of a decision that has no right answer (torch's default `ignore_index`)."""

AT_GOAL = 1e-6
"""Nearer than this the agent is at a goal [m]."""


@dataclass(frozen=True)
class ExpertLabels:
    """The expert's answers to B decisions; `IGNORED` where there is none.

    Attributes:
        fused: (B,) column: STOP at a goal, else the unvisited place n that minimises
            d_map(here, n) + d_true(n, goal).
        explore: (B,) column: the same over the neighbours, visited ones too.
        objects: (B,) index of the target among the objects, where it is visible.
        mode: (B,) 1 explore, 0 exploit (the place of `fused` is not next to here).
    """

    fused: Tensor
    explore: Tensor
    objects: Tensor
    mode: Tensor


class ExpertMemory:
    """True distances to the goal, per episode and place.

    Args:
        count: episodes side by side, numbered as in `DualScaleState`.
    """

    def __init__(self, count: int) -> None:
        self.distances: list[dict[int, float]] = [{} for _ in range(count)]
        self.targets = np.full(count, -1, np.int64)

    def begin_episodes(self, rows: ArrayLike) -> None:
        """Forget some episodes (R,)."""
        for row in np.asarray(rows, np.int64).reshape(-1).tolist():
            self.distances[row] = {}

    def observe(self, observations: Mapping[str, Any], rows: ArrayLike | None = None) -> None:
        """Take in the privileged part of the observations (R, ...) of episodes (R,).

        Raises:
            ConfigError: the task gives no privileged observations.
        """
        own, near, target = require_observations(
            observations, "goal_distance", "candidate_goal_distances", "target"
        )
        index = np.arange(len(own)) if rows is None else np.asarray(rows, np.int64)
        self.targets[index] = target
        for b, row in enumerate(index.tolist()):
            known = self.distances[row]
            ids = observations["candidates"][b]
            shown = ids >= 0
            known.update(zip(ids[shown].tolist(), near[b][shown].tolist(), strict=True))
            known[int(observations["place"][b])] = float(own[b])

    def get_goal_distances(self, row: int, graph: ViewGraph) -> NDArray[np.float64]:
        """Return the true distances [m] of all places on an episode's map, (M,)."""
        known = self.distances[row]
        return np.array([known[place] for place in graph.places])

    def compute_labels(self, decision: Decision, graphs: list[ViewGraph]) -> ExpertLabels:
        """Return the expert's answers.

        Args:
            decision: of B episodes.
            graphs: the maps of all episodes, as the state holds them.
        """
        answers = np.full((4, len(decision.rows)), IGNORED, np.int64)
        for b, row in enumerate(decision.rows.tolist()):
            graph = graphs[row]
            true = self.get_goal_distances(row, graph)
            total = graph.distances[graph.current] + true
            near = graph.seen[graph.current] & np.isfinite(total)
            if true[graph.current] <= AT_GOAL:
                answers[[0, 1, 3], b] = 0, 0, 1
            else:
                free = ~graph.visited & np.isfinite(total)
                if free.any():
                    best = np.where(free, total, np.inf).argmin()
                    answers[[0, 3], b] = 1 + best, near[best]
                if near.any():
                    answers[1, b] = 1 + np.where(near, total, np.inf).argmin()
            if self.targets[row] >= 0:
                found = np.flatnonzero(decision.object_ids[b] == self.targets[row])
                if len(found):
                    answers[2, b] = found[0]
        return ExpertLabels(*to_tensor_like(decision.fused, answers))
