"""What lies before an agent at one decision: where it could go, and how sure its explorer is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embodied.policies.vln.dual_scale import Decision
from embodied.policies.vln.meta_explore.config import MetaExploreConfig
from embodied.policies.vln.meta_explore.episode import MetaExploreEpisode
from maps.graph.viewgraph import ViewGraph

NONE = -8.0
"""Log probability of what there is not."""


class DecisionSummary(NamedTuple):
    """One decision of one episode, M places being on its map.

    Attributes:
        logits: (1 + M,) of what the explorer may do: STOP and neighbours; -inf elsewhere.
        unvisited_neighbours, distant_frontiers: unvisited places next to the agent and elsewhere;
            of the latter none that was a local goal before (the loop guard).
        mode_features: (14,) float32, columns `mode_selector.MODE_FEATURES`.
    """

    logits: NDArray[np.float32]
    unvisited_neighbours: list[int]
    distant_frontiers: list[int]
    mode_features: NDArray[np.float32]


def summarize_decision(
    index: int,
    decision: Decision,
    graph: ViewGraph,
    episode: MetaExploreEpisode,
    explore: NDArray[np.float32],
    fused: NDArray[np.float32],
    config: MetaExploreConfig,
) -> DecisionSummary:
    """Gather what one row of a decision offers.

    Args:
        index: the row.
        decision: of the network.
        graph: the agent's map.
        episode: what it remembers.
        explore: (1 + M,) the row's logits of one step.
        fused: (1 + M,) its logits over all unvisited places.
        config: whether the explorer steps back, and what it pays for visited places.
    """
    here = episode.place
    near = graph.get_neighbours(here)
    visited = [place for place in near if graph.visited[graph.get_row(place)]]
    new = [place for place in near if place not in visited]
    beyond = [f for f in graph.list_frontiers() if f not in near and f not in episode.tried_goals]
    columns = {place: decision.find_column(index, place) for place in (*near, *beyond)}

    logits = explore.copy()
    if config.anti_loop:
        for place, weight in episode.visit_weights.items():
            logits[decision.find_column(index, place)] -= config.anti_loop * weight
    if not config.steps_back:
        logits[[columns[place] for place in visited]] = -np.inf

    alone, jointly = _log_softmax(explore), _log_softmax(fused)
    back = max((alone[columns[place]] for place in visited), default=NONE)
    step = max((alone[columns[place]] for place in new), default=NONE)
    best = max(beyond, key=lambda place: jointly[columns[place]], default=None)
    away = 10.0 if best is None else graph.distances[graph.get_row(here), graph.get_row(best)]
    summary = (
        alone[0],
        back,
        step,
        jointly[0],
        max((jointly[columns[place]] for place in new), default=NONE),
        NONE if best is None else jointly[columns[best]],
        np.log1p(len(new)),
        np.log1p(len(beyond)),
        len(visited) / max(1, len(near)),
        away / 10,
        episode.decisions / config.max_decisions,
        float(back > step),
        max(episode.stop_probabilities.values(), default=0.0),
        episode.visit_weights.get(here, 0.0),
    )
    return DecisionSummary(logits, new, beyond, np.maximum(np.array(summary, np.float32), NONE))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
