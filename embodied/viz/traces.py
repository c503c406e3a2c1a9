"""Traces of episodes, read back from the files that `embodied eval --explain` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import NavigationError
from embodied.policies.vln.trace import EXPLOIT, STOP_PLACE


@dataclass(frozen=True)
class ExplainedDecision:
    """One decision; see `embodied.policies.vln.trace.DecisionRecord` for the fields."""

    place: int
    mode: str
    chosen: int
    moves: int = 0
    p_exploit: float = math.nan
    p_stop: float = math.nan
    rule: str = ""
    branch: str = ""
    candidates: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    landmarks: tuple[str, ...] = ()
    categories: tuple[tuple[str, float], ...] = ()
    spectrum: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Explanation:
    """One episode from inside.

    Attributes:
        name: of the episode.
        instruction: as given.
        places: place -> position (3,) relative to the start [m].
        visited: places that were entered.
        edges: known ways.
        segments: (what led there, places), in order.
        decisions: the decisions.
        goals: places that count as success, unknown to the agent.
        metrics: of the episode, if stored.
        world: scene or scan.
        start: world position of the start (3,) [m].
    """

    name: str
    instruction: str
    places: Mapping[int, tuple[float, float, float]]
    visited: frozenset[int] = frozenset()
    edges: Sequence[tuple[int, int]] = ()
    segments: Sequence[tuple[str, tuple[int, ...]]] = ()
    decisions: Sequence[ExplainedDecision] = ()
    goals: tuple[int, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    world: str = ""
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def get_position(self, place: int) -> NDArray[np.float64]:
        """World position (3,) of a place."""
        return np.add(self.places[place], self.start)

    def get_positions(self, places: Iterable[int]) -> NDArray[np.float64]:
        """World positions (N, 3)."""
        return np.array([self.get_position(p) for p in places]).reshape(-1, 3)

    @property
    def path(self) -> list[int]:
        """Places stood on, in order."""
        walks = [walk for _, walk in self.segments]
        return [*walks[0][:1], *(p for walk in walks for p in walk[1:])] if walks else []

    def truncate_at(self, moves: int) -> Explanation:
        """Return the episode as the agent knew it after so many moves."""
        stood = set(self.path[: moves + 1]) or set(list(self.places)[:1])
        edges = [(a, b) for a, b in self.edges if a in stood or b in stood]
        known = stood | {p for edge in edges for p in edge}
        segments, left = [], moves
        for mode, walk in self.segments:
            if left > 0:
                segments.append((mode, walk[: left + 1]))
            left -= len(walk) - 1
        return replace(
            self,
            places={p: at for p, at in self.places.items() if p in known},
            visited=frozenset(stood),
            edges=edges,
            segments=segments,
        )

    @property
    def corrections(self) -> list[ExplainedDecision]:
        """Decisions that chose a local goal."""
        return [c for c in self.decisions if c.mode == EXPLOIT]


def parse_trace(content: Mapping[str, Any], name: str = "") -> Explanation:
    """Read one trace (`EpisodeTrace.to_json`, and what the evaluation stored beside it).

    Raises:
        NavigationError: a field is missing or names a place that is not on the map.
    """
    where = f"trace '{name or content.get('episode', '')}'"
    try:
        places = {int(k): _triple(v) for k, v in content["places"].items()}
        found = Explanation(
            name=str(content.get("episode", name)),
            instruction=str(content["instruction"]),
            places=places,
            visited=frozenset(int(v) for v in content["visited"]),
            edges=[(int(a), int(b)) for a, b in content["edges"]],
            segments=[(str(m), tuple(int(p) for p in walk)) for m, walk in content["segments"]],
            decisions=[_choice(item) for item in content["decisions"]],
            goals=tuple(int(g) for g in content.get("goals", ()) if int(g) in places),
            metrics={k: float(v) for k, v in content.get("metrics", {}).items() if _is_number(v)},
            world=str(content.get("world", "")),
            start=_triple(content.get("start", (0.0, 0.0, 0.0))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NavigationError(
            f"{where} lacks or garbles a field ({error!r}); expected what "
            "`embodied eval --explain` writes"
        ) from error
    named = {p for _, walk in found.segments for p in walk} | {p for e in found.edges for p in e}
    named |= {p for c in found.decisions for p in (c.place, *c.candidates)} - {STOP_PLACE}
    if not named <= set(places):
        unknown = sorted(named - set(places))[0]
        raise NavigationError(f"{where} names the place {unknown}, which is not in its 'places'")
    return found


def load_traces(path: str | Path) -> list[Explanation]:
    """Read the traces of a file (.json of one, .jsonl of one per line) or of a folder of such.

    Raises:
        NavigationError: no traces there, or one that cannot be read; names file and line.
    """
    root = Path(path)
    files = sorted([*root.glob("*.json"), *root.glob("*.jsonl")]) if root.is_dir() else [root]
    found = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            lines = text.splitlines() if file.suffix == ".jsonl" else [text]
            parsed = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise NavigationError(f"{file} is not a readable trace: {error}") from error
        found += [parse_trace(item, f"{file.stem}") for item in parsed if "decisions" in item]
    if not found:
        raise NavigationError(
            f"no traces in {root}; write some with: embodied eval RUN --explain {root}"
        )
    return found


def _choice(item: Mapping[str, Any]) -> ExplainedDecision:
    spectrum = item.get("spectrum")
    return ExplainedDecision(
        place=int(item["place"]),
        mode=str(item["mode"]),
        chosen=int(item["chosen"]),
        moves=int(item.get("moves", 0)),
        p_exploit=_float(item.get("p_exploit")),
        p_stop=_float(item.get("p_stop")),
        rule=str(item.get("rule", "")),
        branch=str(item.get("branch", "")),
        candidates=tuple(int(c) for c in item.get("candidates", ())),
        scores=tuple(_float(s) for s in item.get("scores", ())),
        landmarks=tuple(str(w) for w in item.get("landmarks", ())),
        categories=tuple((str(n), float(s)) for n, s in item.get("categories", ())),
        spectrum=None if spectrum is None else np.asarray(spectrum, np.float64),
    )


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _triple(point: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in point)
    return x, y, z
