"""Why an agent went where it went: one record per decision, one trace per episode.

A policy that explains itself has `traces()`, which returns the trace of the running episode of each
row. It stays valid until the next `act` that begins a new episode in that row, so whoever steps the
environments takes it in between. Positions are metres, y up, relative to the start; everything in a
trace comes from the agent's own map, never from the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES

START, EXPLORE, EXPLOIT, JUMP, RETURN, END = "start", "explore", "exploit", "jump", "return", "stop"
"""What a move belongs to: one step of the explorer, a correction by a local goal, a jump of the
global planner, the way back to the best place to stop. END names the decision to stop."""

STOP_PLACE = -1
"""Stands among places, chosen ones and candidates, for stopping."""


@dataclass(frozen=True)
class DecisionRecord:
    """One decision.

    Attributes:
        decision: 0 for the first of the episode.
        moves: moves made before it.
        place: where it was made.
        mode: EXPLORE, EXPLOIT, JUMP, RETURN or END.
        chosen: the place to walk to, -1 to stop here.
        p_exploit: probability of a correction by the mode selector, NaN where none was asked.
        p_stop: probability of stopping among the actions that were compared.
        rule: what scored the candidates: "explorer", "global" or a rule of `local_goals`.
        branch: which form of the rule was used, e.g. "snav" or "fallback" for the spectra.
        candidates: the places that were compared.
        scores: (len(candidates),) logits of a network, values of a rule; higher is better.
        landmarks: words of the instruction the rule looked for.
        spectrum: (K, W // 2 + 1) scene object spectrum of the chosen place as far as it was seen
            from its visited neighbours; None for rules without one.
        answer: identity of the object named with END, -1 for none.
    """

    decision: int
    moves: int
    place: int
    mode: str
    chosen: int
    p_exploit: float = float("nan")
    p_stop: float = float("nan")
    rule: str = "explorer"
    branch: str = ""
    candidates: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    landmarks: tuple[str, ...] = ()
    spectrum: NDArray[np.float32] | None = None
    answer: int = -1

    def find_top_categories(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the strongest categories of the spectrum with their share of its energy."""
        if self.spectrum is None:
            return []
        energy = np.square(self.spectrum.astype(np.float64)).sum(-1)
        total = energy.sum()
        order = np.argsort(-energy, kind="stable")[:count]
        return [(SOS_CATEGORIES[k], float(energy[k] / total)) for k in order if energy[k] > 0]

    def to_json(self, spectrum: bool = True) -> dict[str, Any]:
        """Return plain values; numbers that are not finite become null."""
        found = {
            "decision": self.decision,
            "moves": self.moves,
            "place": self.place,
            "mode": self.mode,
            "chosen": self.chosen,
            "p_exploit": _number(self.p_exploit),
            "p_stop": _number(self.p_stop),
            "rule": self.rule,
            "branch": self.branch,
            "candidates": list(self.candidates),
            "scores": [_number(score) for score in self.scores],
            "landmarks": list(self.landmarks),
            "categories": [[name, round(share, 4)] for name, share in self.find_top_categories()],
            "answer": self.answer,
        }
        if spectrum and self.spectrum is not None:
            found["spectrum"] = np.round(self.spectrum.astype(np.float64), 3).tolist()
        return found


@dataclass
class EpisodeTrace:
    """What one episode looked like from inside.

    Attributes:
        instruction: as given.
        decisions: in order.
        path: the places stood on, in order, the start first, each with what led there.
        places: all places on the map with their positions (x, y, z), in order of discovery.
        visited: those that were entered.
        edges: known ways between two places.
    """

    instruction: str = ""
    decisions: list[DecisionRecord] = field(default_factory=list)
    path: list[tuple[int, str]] = field(default_factory=list)
    places: dict[int, tuple[float, float, float]] = field(default_factory=dict)
    visited: set[int] = field(default_factory=set)
    edges: set[tuple[int, int]] = field(default_factory=set)

    def record_place(
        self,
        place: int,
        position: NDArray[np.floating],
        neighbours: Sequence[int],
        neighbour_positions: NDArray[np.floating],
        cause: str,
    ) -> None:
        """Take in one place.

        Args:
            place: where the agent stands.
            position: (3,) of it.
            neighbours: the C places it can walk to from here.
            neighbour_positions: (C, 3).
            cause: START or what led here.
        """
        self.path.append((int(place), cause))
        self.visited.add(int(place))
        self.places.setdefault(int(place), _point(position))
        for other, point in zip(neighbours, neighbour_positions, strict=True):
            self.places.setdefault(int(other), _point(point))
            self.edges.add((min(int(place), int(other)), max(int(place), int(other))))

    def split_segments(self) -> list[tuple[str, list[int]]]:
        """Cut the path into stretches of one cause; each begins where the one before ended."""
        found: list[tuple[str, list[int]]] = []
        for (before, _), (place, because) in zip(self.path, self.path[1:], strict=False):
            if not found or found[-1][0] != because:
                found.append((because, [before]))
            found[-1][1].append(place)
        return found

    def to_json(self, goals: Sequence[int] = (), spectra: bool = True) -> dict[str, Any]:
        """Return plain values for a file.

        Args:
            goals: places that count as success, which the agent did not know.
            spectra: include the whole spectrum of each winner, not only its top categories.
        """
        return {
            "instruction": self.instruction,
            "goals": [int(goal) for goal in goals],
            "places": {str(place): list(point) for place, point in self.places.items()},
            "visited": sorted(self.visited),
            "edges": sorted(list(edge) for edge in self.edges),
            "path": [[place, because] for place, because in self.path],
            "segments": [[because, places] for because, places in self.split_segments()],
            "decisions": [record.to_json(spectra) for record in self.decisions],
        }


@runtime_checkable
class ExplainablePolicy(Protocol):
    """A policy that can say why it acted."""

    def get_traces(self) -> list[EpisodeTrace]:
        """Return the trace of each row's episode."""
        ...


def _point(position: NDArray[np.floating]) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in position)
    return x, y, z


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
