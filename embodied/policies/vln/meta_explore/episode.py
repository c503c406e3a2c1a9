"""What Meta-Explore keeps of one running episode besides the network's own memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.policies.vln.seen_spectra import SceneMemory
from embodied.policies.vln.trace import START, EpisodeTrace
from maps.graph.viewgraph import ViewGraph


class MetaExploreEpisode:
    """One episode: where it stands, what is left of the walk it is on, what it remembers.

    Args:
        memory: of category masks, for the rules that look at them.
        privileged: remember true distances, too.

    Attributes:
        trace: why it went where it went.
        decisions, moves: made so far.
        place: where the agent stands.
        remaining_path: places still to walk to.
        cause: what the present walk belongs to.
        ending: the walk leads to the place to stop at.
        stop_probabilities: stop probability by place, of the last decision there.
        answers: identity of the likeliest object by place, -1 for none.
        oracle_canvases: those of places seen but not visited: only for the labelled upper bound.
        goal_distances: true distance to the goal by place [m], from privileged observations.
        tried_goals: places that were local goals already.
        visit_weights: remembered visits by place; they fade.
    """

    def __init__(self, memory: SceneMemory | None = None, privileged: bool = False) -> None:
        self.memory, self.privileged = memory, privileged
        self.trace = EpisodeTrace()
        self.decisions = self.moves = 0
        self.place = -1
        self.remaining_path: list[int] = []
        self.cause = START
        self.ending = False
        self.stop_probabilities: dict[int, float] = {}
        self.answers: dict[int, int] = {}
        self.oracle_canvases: dict[int, NDArray[np.bool_]] = {}
        self.goal_distances: dict[int, float] = {}
        self.tried_goals: set[int] = set()
        self.visit_weights: dict[int, float] = {}

    def observe_place(self, seen: Mapping[str, Any], row: int) -> None:
        """Take in one row of the observations, before anything is decided on it."""
        place = int(seen["place"][row])
        near = seen["candidates"][row]
        ids = near[near >= 0].tolist()
        if self.place >= 0:
            self.moves += 1
        self.trace.instruction = seen["instruction"][row]
        points = seen["candidate_positions"][row][: len(ids)]
        self.trace.record_place(place, seen["position"][row], ids, points, self.cause)
        self.place = place
        self.neighbours = ids
        if self.memory is not None and place not in self.memory:
            self.memory.add_view(place, seen["canvas"][row])
        if "candidate_canvas" in seen:
            for index, other in enumerate(ids):
                self.oracle_canvases[other] = np.array(seen["candidate_canvas"][row][index])
        if self.privileged:
            self.goal_distances[place] = float(seen["goal_distance"][row])
            for index, other in enumerate(ids):
                self.goal_distances[other] = float(seen["candidate_goal_distances"][row][index])
        if (
            self.remaining_path and self.remaining_path[0] not in ids
        ):  # something else moved the agent: decide anew
            self.remaining_path, self.ending = [], False

    def remember_visit(self, decay: float) -> None:
        """Let earlier visits fade and count the one to this place."""
        for place in self.visit_weights:
            self.visit_weights[place] *= decay
        self.visit_weights[self.place] = self.visit_weights.get(self.place, 0.0) + 1.0

    def start_walk(self, way: list[int], cause: str) -> None:
        """Set out along places, the first of which is the present one."""
        self.remaining_path, self.cause = way[1:], cause

    def pop_candidate(self) -> int:
        """Number of the candidate to walk to now, from 1."""
        return self.neighbours.index(self.remaining_path.pop(0)) + 1

    def find_best_stop(self) -> int:
        """The place with the highest remembered stop probability; the first of equals."""
        return max(self.stop_probabilities, key=lambda place: self.stop_probabilities[place])


def find_expert_frontier(graph: ViewGraph, place: int, goal_distances: Mapping[int, float]) -> int:
    """Return the unvisited place through which the shortest way to the goal leads.

    n* = argmin d_map(place, n) + d_true(n, goal), over the places seen but not visited: the expert
    of DUET's fine-tuning. It reads true distances, so it labels and never decides.

    Args:
        graph: the agent's map.
        place: where it stands.
        goal_distances: true walking distance to the nearest goal by place [m].

    Returns:
        The place, -1 if every place was visited.
    """
    frontiers = graph.list_frontiers()
    if not frontiers:
        return -1
    away = graph.distances[graph.get_row(place)]
    lengths = [away[graph.get_row(f)] + goal_distances[f] for f in frontiers]
    return frontiers[int(np.argmin(lengths))]


def should_exploit(
    graph: ViewGraph, place: int, goal_distances: Mapping[int, float], margin: float = 0.0
) -> bool:
    """The mode's label: whether the expert's next place is not next to the agent.

    At a goal the expert stops, which is the explorer's action.

    Args:
        graph: the agent's map.
        place: where it stands.
        goal_distances: true walking distance to the nearest goal by place [m].
        margin: the way over the best unvisited neighbour must be longer by more than this [m].
    """
    if goal_distances[place] <= 0:
        return False
    expert = find_expert_frontier(graph, place, goal_distances)
    near = graph.get_neighbours(place)
    if expert < 0 or expert in near:
        return False
    away = graph.distances[graph.get_row(place)]
    visited = graph.visited
    steps = [
        away[graph.get_row(n)] + goal_distances[n] for n in near if not visited[graph.get_row(n)]
    ]
    best = away[graph.get_row(expert)] + goal_distances[expert]
    return not steps or min(steps) > best + margin
