"""What lies before an agent at one decision: where it could go, and how sure its explorer is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embodied.policies.vln.dual_scale import Decision
from embodied.policies.vln.meta_explore.config import MetaExploreConfig
from embodied.policies.vln.meta_explore.episode import Episode
from maps.graph.viewgraph import ViewGraph

NONE = -8.0
"""Log probability of what there is not."""


class Outlook(NamedTuple):
    """One decision of one episode, M places being on its map.

    Attributes:
        logits: (1 + M,) of what the explorer may do: STOP and neighbours; -inf elsewhere.
        new, beyond: unvisited places next to the agent and elsewhere; of the latter none that was
            a local goal before (the loop guard).
        summary: (14,) float32, columns `mode_selector.SUMMARY`.
    """

    logits: NDArray[np.float32]
    new: list[int]
    beyond: list[int]
    summary: NDArray[np.float32]


def look(
    index: int,
    decision: Decision,
    graph: ViewGraph,
    episode: Episode,
    explore: NDArray[np.float32],
    fused: NDArray[np.float32],
    config: MetaExploreConfig,
) -> Outlook:
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
    near = graph.neighbours(here)
    visited = [place for place in near if graph.visited[graph.row(place)]]
    new = [place for place in near if place not in visited]
    beyond = [f for f in graph.frontiers() if f not in near and f not in episode.tried]
    columns = {place: decision.column(index, place) for place in (*near, *beyond)}

    logits = explore.copy()
    if config.anti_loop:
        for place, weight in episode.recent.items():
            logits[decision.column(index, place)] -= config.anti_loop * weight
    if not config.steps_back:
        logits[[columns[place] for place in visited]] = -np.inf

    alone, jointly = _log_softmax(explore), _log_softmax(fused)
    back = max((alone[columns[place]] for place in visited), default=NONE)
    step = max((alone[columns[place]] for place in new), default=NONE)
    best = max(beyond, key=lambda place: jointly[columns[place]], default=None)
    away = 10.0 if best is None else graph.distances[graph.row(here), graph.row(best)]
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
        max(episode.stops.values(), default=0.0),
        episode.recent.get(here, 0.0),
    )
    return Outlook(logits, new, beyond, np.maximum(np.array(summary, np.float32), NONE))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())
