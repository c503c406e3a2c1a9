"""What language-guided navigation must beat: chance, no words, and a detector with no learning.

All three see only what any agent sees; none reads a privileged observation. They keep the same map
as the learned agents (`maps.graph.viewgraph`) and act in the tasks `VLN-*` (place graphs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.perception.landmarks import find_landmarks, find_target_landmark
from embodied.perception.vocabulary import split_words
from embodied.policies.base import PolicyTask, require_observations
from embodied.policies.vln.trace import END, EXPLORE, START, DecisionRecord, EpisodeTrace
from embodied.types import Observations, PlaceActions
from maps.graph.viewgraph import ViewGraph

OBSERVATION_KEYS = (
    "instruction", "place", "position", "candidates", "candidate_positions",
    "objects", "object_names", "object_categories", "object_boxes", "object_features",
)  # fmt: skip
DISTANCE = 0
"""Column of the object features: metres, 0 = unknown."""

Row = dict[str, Any]


class BaselineWalker(ABC):
    """Plays one episode on its own map.

    Args:
        rng: of all its draws.

    Attributes:
        graph: the map.
        place: where it stands.
        moves: moves made.
        metres: length of the way walked [m].
        trace: why it went where it went.
    """

    rule = ""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def reset(self) -> None:
        """Forget the episode."""
        self.graph = ViewGraph()
        self.trace = EpisodeTrace()
        self.place, self.moves, self.metres = -1, 0, 0.0
        self._way: list[int] = []
        self._last = np.zeros(3)

    def act(self, seen: Row) -> tuple[int, int]:
        """Take in one row of the observations; return the candidate (0 stops) and the object (0
        names none).
        """
        place = int(seen["place"])
        candidates = [int(c) for c in seen["candidates"] if c >= 0]
        points = np.asarray(seen["candidate_positions"], np.float64)[: len(candidates)]
        position = np.asarray(seen["position"], np.float64)
        if self.place >= 0:
            self.moves += 1
            self.metres += float(np.linalg.norm(position - self._last))
        self.trace.record_place(
            place, position, candidates, points, EXPLORE if self.place >= 0 else START
        )
        self.trace.instruction = str(seen["instruction"])
        self.place, self._last = place, position
        self.graph.visit_place(place, position, candidates, points)
        goal, answer = self.choose_place(seen, candidates) if not self._way else (self._way[-1], -1)
        if not self._way and goal >= 0:
            self._way = self.graph.find_path(place, goal)[1:]
        if goal < 0:
            objects = [int(o) for o in seen["objects"]]
            return 0, objects.index(answer) + 1 if answer >= 0 else 0
        return candidates.index(self._way.pop(0)) + 1, 0

    @abstractmethod
    def choose_place(self, seen: Row, candidates: list[int]) -> tuple[int, int]:
        """Choose the next place on the map, -1 to stop, and the identity of the object to name."""

    def record_decision(
        self,
        chosen: int,
        answer: int = -1,
        candidates: tuple[int, ...] = (),
        scores: tuple[float, ...] = (),
        landmarks: tuple[str, ...] = (),
    ) -> None:
        """Write the decision into the trace."""
        self.trace.decisions.append(
            DecisionRecord(
                decision=len(self.trace.decisions),
                moves=self.moves,
                place=self.place,
                mode=END if chosen < 0 else EXPLORE,
                chosen=chosen,
                rule=self.rule,
                candidates=candidates,
                scores=scores,
                landmarks=landmarks,
                answer=answer,
            )
        )


class RandomWalker(BaselineWalker):
    """Walk to uniformly drawn neighbours, stop after a number of moves, name any object in view.

    The number of moves is drawn uniformly from `moves` for each episode. Anderson et al. (2018)
    let their random agent take 5 steps; paths in the R2R family have 4 to 7 places.
    """

    rule = "random"

    def __init__(self, rng: np.random.Generator, moves: tuple[int, int] = (3, 6)) -> None:
        super().__init__(rng)
        self.range = moves

    def reset(self) -> None:
        """Forget the episode and draw the length of the next."""
        super().reset()
        self.length = int(self.rng.integers(self.range[0], self.range[1] + 1))

    def choose_place(self, seen: Row, candidates: list[int]) -> tuple[int, int]:
        """See `BaselineWalker`."""
        chosen, answer = -1, -1
        if self.moves < self.length and candidates:
            chosen = int(self.rng.choice(candidates))
        else:
            objects = [int(o) for o in seen["objects"] if o >= 0]
            answer = int(self.rng.choice(objects)) if objects else -1
        self.record_decision(chosen, answer, tuple(candidates))
        return chosen, answer


class BlindWalker(BaselineWalker):
    """Walk away from the start as far as the training paths lead, then stop: no words, no sights.

    At each place the next one is drawn uniformly from the neighbours that were not visited and that
    lie further from the start, along the shortest way on the agent's own map, than this place does:
    so the way walked always is a shortest path on the map, as the annotated paths are in the true
    graph. Where there is no such neighbour it stops (going on would mean turning back). It stops
    once it has walked `metres` or made `moves`, whichever comes first. It names no object.

    The two limits are the means over the training split (REVERIE v2: 9.6 m, 5.0 moves; R2R: 9.9 m,
    5.0 moves), the only thing it knows about the task.
    """

    rule = "blind"

    def __init__(self, rng: np.random.Generator, metres: float = 9.8, moves: int = 5) -> None:
        super().__init__(rng)
        self.limits = metres, moves

    def choose_place(self, seen: Row, candidates: list[int]) -> tuple[int, int]:
        """See `BaselineWalker`."""
        chosen, away = -1, []
        if self.metres < self.limits[0] and self.moves < self.limits[1]:
            start = self.graph.get_row(self.trace.path[0][0])
            far = self.graph.distances[start]
            here = far[self.graph.get_row(self.place)]
            frontiers = set(self.graph.list_frontiers())
            away = [c for c in candidates if c in frontiers and far[self.graph.get_row(c)] > here]
        if away:
            chosen = int(self.rng.choice(away))
        self.record_decision(chosen, -1, tuple(away))
        return chosen, -1


@dataclass(frozen=True)
class DetectorConfig:
    """How the detector baseline reads and searches.

    The defaults had the highest success among target "read" and "first", reach 1, 1.5 and 3 m and
    evidence 1 and 2 on 200 episodes in 20 training houses (0.25; 0.14 to 0.25). On 400 training
    episodes of REVERIE the same grid gives 0.11 to 0.13.

    Attributes:
        target: which landmark of the instruction is the target: "read" (the one that
            `find_target_landmark` finds behind the last verb of action), "first", "last" or "any".
        reach: an object counts as found up to this distance [m]; objects of unknown distance
            always count (REVERIE lists none beyond 3 m).
        evidence: how many of the instruction's landmark categories, the target's among them, must
            be in view at the place (fewer if the instruction has fewer).
        max_moves: it gives up and stops after so many moves.
    """

    target: str = "read"
    reach: float = 1.5
    evidence: int = 2
    max_moves: int = 40

    def __post_init__(self) -> None:
        known = ("read", "first", "last", "any")
        if self.target not in known:
            raise ConfigError(
                f"unknown target '{self.target}': {suggest_nearest(self.target, known)}"
            )
        if self.reach <= 0 or self.evidence < 1 or self.max_moves < 0:
            raise ConfigError(
                f"reach {self.reach} m must be positive, evidence {self.evidence} at least 1 and "
                f"max_moves {self.max_moves} not negative"
            )


class DetectorWalker(BaselineWalker):
    """Walk to the nearest frontier until an object of the target's category is in view; stop there.

    The category comes from the instruction by `find_landmarks` (a word list, no learning). Among
    several objects of the category the one whose name shares most words with the instruction is
    named, then the one that looks largest. Without a known landmark it explores until `max_moves`.
    """

    rule = "nearest"

    def __init__(self, rng: np.random.Generator, config: DetectorConfig | None = None) -> None:
        super().__init__(rng)
        self.config = config or DetectorConfig()

    def choose_place(self, seen: Row, candidates: list[int]) -> tuple[int, int]:
        """See `BaselineWalker`."""
        marks = find_landmarks(str(seen["instruction"]))
        words = tuple(mark.word for mark in marks)
        rows = [mark.row for mark in marks]
        read = find_target_landmark(str(seen["instruction"]), marks)
        sought = {
            "read": rows[read : read + 1] if marks else [],
            "first": rows[:1],
            "last": rows[-1:],
            "any": rows,
        }[self.config.target]
        answer = self._find(seen, set(sought), set(rows))
        frontiers = self.graph.list_frontiers()
        if answer >= 0 or not frontiers or self.moves >= self.config.max_moves:
            self.record_decision(-1, answer, landmarks=words)
            return -1, answer
        here = self.graph.get_row(self.place)
        gaps = [float(self.graph.distances[here, self.graph.get_row(f)]) for f in frontiers]
        chosen = frontiers[int(np.argmin(gaps))]
        self.record_decision(chosen, -1, tuple(frontiers), tuple(-g for g in gaps), words)
        return chosen, -1

    def _find(self, seen: Row, sought: set[int], landmarks: set[int]) -> int:
        """Identity of the best object of a sought category within reach, -1 for none."""
        words = set(split_words(str(seen["instruction"])))
        near: list[tuple[int, float, int]] = []
        categories = set()
        for index, identity in enumerate(seen["objects"]):
            if identity < 0 or seen["object_features"][index, DISTANCE] > self.config.reach:
                continue
            category = int(seen["object_categories"][index])
            categories.add(category)
            if category in sought:
                shared = len(words & set(split_words(seen["object_names"][index])))
                width, height = seen["object_boxes"][index, 2:]
                near.append((shared, float(width * height), int(identity)))
        enough = len(categories & landmarks) >= min(self.config.evidence, len(landmarks))
        return max(near)[2] if near and enough else -1


class BaselinePolicy:
    """One walker per environment; the action is (N, 2): candidate and object, 0 for none.

    Args:
        make: builds a walker from its generator.
        seed: of the draws; row i draws from a stream of its own.
    """

    def __init__(
        self, make: Callable[[np.random.Generator], BaselineWalker], seed: int = 0
    ) -> None:
        self._make, self._seed = make, seed
        self._walkers: list[BaselineWalker] = []

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> PlaceActions:
        """Choose one action per agent; see `Policy`."""
        columns = dict(
            zip(
                OBSERVATION_KEYS, require_observations(observations, *OBSERVATION_KEYS), strict=True
            )
        )
        while len(self._walkers) < len(first):
            stream = np.random.default_rng([self._seed, len(self._walkers)])
            self._walkers.append(self._make(stream))
        actions = np.zeros((len(first), 2), np.int64)
        for index, walker in enumerate(self._walkers[: len(first)]):
            if first[index]:
                walker.reset()
            actions[index] = walker.act({name: rows[index] for name, rows in columns.items()})
        return actions

    def get_traces(self) -> list[EpisodeTrace]:
        """Return the trace of each row's episode."""
        return [walker.trace for walker in self._walkers]


@dataclass(frozen=True)
class RandomPlaceConfig:
    """How far a random walk goes.

    Attributes:
        moves: fewest and most moves of an episode.
    """

    moves: tuple[int, int] = (3, 6)

    def __post_init__(self) -> None:
        if not 0 <= self.moves[0] <= self.moves[1]:
            raise ConfigError(f"moves {self.moves} must be two numbers, 0 <= fewest <= most")


class RandomPlacePolicy(BaselinePolicy):
    """`RandomWalker` in every environment of a batch.

    Args:
        seed: of the draws.
        config: how far it walks.
    """

    config_class: ClassVar[type] = RandomPlaceConfig

    def __init__(self, seed: int = 0, config: RandomPlaceConfig | None = None) -> None:
        moves = (config or RandomPlaceConfig()).moves
        super().__init__(lambda rng: RandomWalker(rng, moves), seed)

    @classmethod
    def from_config(cls, config: RandomPlaceConfig, task: PolicyTask) -> RandomPlacePolicy:
        """Build it for a task; see `embodied.policies.factory`."""
        return cls(task.seed, config)


@dataclass(frozen=True)
class BlindConfig:
    """How far a blind walk goes.

    Attributes:
        metres: longest way; the last move may pass it [m].
        moves: most moves.
    """

    metres: float = 9.8
    moves: int = 5

    def __post_init__(self) -> None:
        if self.metres <= 0 or self.moves < 1:
            raise ConfigError(f"metres {self.metres} and moves {self.moves} must be positive")


class BlindPolicy(BaselinePolicy):
    """`BlindWalker` in every environment of a batch.

    Args:
        seed: of the draws.
        config: how far it walks.
    """

    config_class: ClassVar[type] = BlindConfig

    def __init__(self, seed: int = 0, config: BlindConfig | None = None) -> None:
        limits = config or BlindConfig()
        super().__init__(lambda rng: BlindWalker(rng, limits.metres, limits.moves), seed)

    @classmethod
    def from_config(cls, config: BlindConfig, task: PolicyTask) -> BlindPolicy:
        """Build it for a task; see `embodied.policies.factory`."""
        return cls(task.seed, config)


class DetectorPolicy(BaselinePolicy):
    """`DetectorWalker` in every environment of a batch.

    Args:
        config: how it reads and searches.
        seed: unused by its decisions, which are all determined by what it sees.
    """

    config_class: ClassVar[type] = DetectorConfig

    def __init__(self, config: DetectorConfig | None = None, seed: int = 0) -> None:
        super().__init__(lambda rng: DetectorWalker(rng, config), seed)

    @classmethod
    def from_config(cls, config: DetectorConfig, task: PolicyTask) -> DetectorPolicy:
        """Build it for a task; see `embodied.policies.factory`."""
        return cls(config, task.seed)
