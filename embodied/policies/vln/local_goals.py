"""Local goals: which unvisited place to walk to when an exploration went wrong.

Hwang et al., Meta-Explore (CVPR 2023): the local goal is the unvisited place whose corrected
trajectory T' fits the instruction best. T' is the shortest known way from the start of the episode
to the place (our choice: the paper's definition could not be read). The rules:

    backtrack    places one can branch to from the place visited last but one, then two, ...
    random       any place
    nearest      the shortest known way from here
    bag_cosine   as sos_cosine, on the areas of the categories: no spectrum
    bag          as sos, on the areas of the categories: no spectrum
    sos_cosine   largest cosine of the goal word's spectrum along T'
    sos          S_nav of all words along T', with its fallback
    goal_only    cosine of the goal word's spectrum at the place alone
    learned      a trained `FrontierRanker` over these scores, distances, the explorer's logit
    oracle       true length of the way over the place to the goal: an upper bound, never a result

`bag` and `sos` share every step but the transform, so their difference is what the spectrum adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.errors import ConfigError, suggest_nearest
from embodied.nn.placement import to_tensor_like
from embodied.perception.sos import compute_s_nav, cosine_similarity
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory
from maps.graph.viewgraph import ViewGraph

RULES = (
    "backtrack",
    "random",
    "nearest",
    "bag_cosine",
    "bag",
    "sos_cosine",
    "sos",
    "goal_only",
    "learned",
    "oracle",
)
SCENE_RULES = frozenset(("bag_cosine", "bag", "sos_cosine", "sos", "goal_only", "learned"))
"""Rules that look at category masks; the others need none."""

FEATURES = (
    "sos",
    "sos_cosine",
    "goal_only",
    "bag",
    "bag_cosine",
    "bag_goal_only",
    "logit",
    "probability",
    "distance",
    "start_distance",
    "steps_back",
    "adjacent",
    "seen_from",
    "turn",
)
"""Columns of `compute_ranker_features`, the inputs of the ranker."""

TIE = 1e-6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrontierScene:
    """What was seen along the corrected trajectories of F frontiers.

    Attributes:
        words: object words of the instruction.
        paths: (F, M) bool, the places of T' among the rows of the map.
        rows: (F,) rows of the frontiers.
        spectra: (M, K, S) spectra of the map's rows; rows on no T' are zero.
        areas: (M, K) areas of the categories, likewise.
    """

    words: InstructionWords
    paths: Tensor
    rows: Tensor
    spectra: Tensor
    areas: Tensor


@dataclass(frozen=True)
class FrontierContext:
    """All that rules may know about F unvisited places, from the agent's own map.

    Attributes:
        frontiers: (F,) place ids.
        distances: (F,) length of the shortest known way from here [m].
        start_distances: (F,) from the start of the episode [m].
        steps_back: (F,) how many visited places ago, at the least, the agent stood next to it: 0 if
            it is next to the present place.
        seen_from: (F,) number of visited places next to it.
        turn: (F,) angle between the way here from the start and the direction to it, [0, pi].
        logits: (F,) the explorer's logits of the coarse branch, zeros if it gave none.
        noise: (F,) uniform numbers for the rules that draw.
        scene: for the rules that look at masks, else None.
        goal_distances: (F,) true walking distance to the goal [m], None if not privileged.
        upper_bound: spectra of frontiers come from those places themselves.
    """

    frontiers: NDArray[np.int64]
    distances: Floats
    start_distances: Floats
    steps_back: NDArray[np.int64]
    seen_from: NDArray[np.int64]
    turn: Floats
    logits: Floats
    noise: Floats
    scene: FrontierScene | None = None
    goal_distances: Floats | None = None
    upper_bound: bool = False

    def __len__(self) -> int:
        return len(self.frontiers)


class FrontierScores(NamedTuple):
    """Values of the frontiers, higher is better, and which form of the rule made them.

    `branch` is "snav" or "fallback" for `sos` and `bag` ("mixed" if both occur), "cosine",
    "no_words" when the instruction names no object (all values are 0 then), else the rule's name;
    "+own_view" is added where frontiers were described from their own place.
    """

    values: Floats
    branch: str


def build_frontier_context(
    graph: ViewGraph,
    start: int,
    current: int,
    frontiers: list[int] | None = None,
    *,
    memory: SceneMemory | None = None,
    words: InstructionWords | None = None,
    logits: Mapping[int, float] | None = None,
    goal_distances: Mapping[int, float] | None = None,
    own: Mapping[int, NDArray[Any] | Tensor] | None = None,
    rng: np.random.Generator | None = None,
) -> FrontierContext:
    """Gather what rules need from an agent's map.

    Args:
        graph: the map.
        start: place where the episode began.
        current: place where the agent stands.
        frontiers: the F places to score, all unvisited ones if None.
        memory: masks of the visited places, for `SCENE_RULES`.
        words: of the instruction, for `SCENE_RULES`.
        logits: of the explorer by place.
        goal_distances: true distances by place [m], for `oracle` only.
        own: masks of frontiers from their own place: labels the scores an upper bound.
        rng: for `random`; a fixed one if None.

    Raises:
        ValueError: no frontier, a place that is not on the map, or masks missing.
    """
    places = graph.list_frontiers() if frontiers is None else list(frontiers)
    if not places:
        raise ValueError("no unvisited place to score: the map is fully explored")
    rows = np.array([graph.get_row(place) for place in places])
    here, origin = graph.get_row(current), graph.get_row(start)
    joined = graph.seen[:, rows]
    # Places in the order of their last visit, the present one first.
    rank = np.empty(len(graph), np.int64)
    rank[np.argsort(-np.where(np.arange(len(graph)) == here, np.inf, graph.last_visit))] = (
        np.arange(len(graph))
    )
    context = FrontierContext(
        frontiers=np.array(places, np.int64),
        distances=graph.distances[here, rows],
        start_distances=graph.distances[origin, rows],
        steps_back=np.where(joined, rank[:, None], len(graph)).min(axis=0),
        seen_from=joined.sum(axis=0),
        turn=_turn(graph.positions, origin, here, rows),
        logits=np.array([(logits or {}).get(place, 0.0) for place in places], np.float64),
        noise=(rng or np.random.default_rng(0)).random(len(places)),
        upper_bound=bool(own),
    )
    if goal_distances is not None:
        known = np.array([goal_distances[place] for place in places], np.float64)
        context = replace(context, goal_distances=known)
    if memory is None or words is None:
        return context
    paths = np.zeros((len(places), len(graph)), bool)
    for path, place in zip(paths, places, strict=True):
        path[[graph.get_row(step) for step in graph.find_path(start, place)]] = True
    used = np.flatnonzero(paths.any(axis=0))
    spectra, areas = memory.describe_rows(graph, used, own)
    scene = FrontierScene(
        words,
        torch.from_numpy(paths),
        torch.from_numpy(rows),
        _spread(spectra, used, len(graph)),
        _spread(areas, used, len(graph)),
    )
    return replace(context, scene=scene)


def score_frontiers(
    rule: str, context: FrontierContext, ranker: FrontierRanker | None = None
) -> FrontierScores:
    """Score the frontiers by a rule of `RULES`.

    Raises:
        ConfigError: an unknown rule, or a context without what the rule needs.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown local goal rule '{rule}'; {suggest_nearest(rule, RULES)}")
    if rule == "learned":
        if ranker is None:
            raise ConfigError(
                "local goal rule 'learned' needs a trained FrontierRanker: train the phase 'mode'"
            )
        with torch.no_grad():
            inputs = to_tensor_like(next(ranker.parameters()), compute_ranker_features(context))
            values = ranker(inputs).cpu().double().numpy()
        return _labelled(values, "learned", context)
    if rule == "oracle":
        if context.goal_distances is None:
            raise ConfigError(
                "local goal rule 'oracle' reads true distances: set config.privileged = True"
            )
        return FrontierScores(-(context.distances + context.goal_distances), "oracle")
    if rule == "random":
        return FrontierScores(context.noise, rule)
    if rule == "nearest":
        return FrontierScores(-context.distances, rule)
    if rule == "backtrack":
        return FrontierScores(_backtrack(context), rule)
    scene = _scene(context, rule)
    if rule in ("sos", "bag"):
        values, branch = _aligned(scene, spectral=rule == "sos")
    else:
        values = _cosines(scene, spectral=rule != "bag_cosine", along=rule != "goal_only")
        branch = "cosine" if len(scene.words) else "no_words"
    return _labelled(values, branch, context)


def choose_frontier(
    scores: FrontierScores, context: FrontierContext, allowed: NDArray[np.bool_] | None = None
) -> int:
    """Return the index of the best frontier; of equals within 1e-6 the nearest.

    Trajectories that share their only matching place have equal cosines, and without words all
    scores are equal: ties are common, and the shortest way is the cheapest guess.

    Args:
        scores: of these frontiers.
        context: of these frontiers.
        allowed: (F,) frontiers that may be chosen; all if None or if none is left.
    """
    may = np.ones(len(context), bool) if allowed is None or not allowed.any() else allowed
    values = np.where(may, scores.values, -np.inf)
    equal = values >= values.max() - TIE
    return int(np.argmin(np.where(equal, context.distances, np.inf)))


def compute_ranker_features(context: FrontierContext) -> NDArray[np.float32]:
    """Return the inputs of the ranker, (F, len(FEATURES)), columns `FEATURES`.

    Distances are in units of 10 m, steps back of 10 places, turns of pi; the explorer's
    probability is the softmax of its logits over these frontiers.
    """
    scene = _scene(context, "learned")
    logits = context.logits - context.logits.max()
    chances = np.exp(logits) / np.exp(logits).sum()
    columns = [
        _aligned(scene, True)[0],
        _cosines(scene, True, True),
        _cosines(scene, True, False),
        _aligned(scene, False)[0],
        _cosines(scene, False, True),
        _cosines(scene, False, False),
        logits / 10,
        chances,
        context.distances / 10,
        context.start_distances / 10,
        context.steps_back / 10,
        context.steps_back == 0,
        context.seen_from / 5,
        context.turn / np.pi,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


class FrontierRanker(nn.Module):
    """Scores frontiers from their features; trained by cross-entropy to the expert's frontier.

    Args:
        hidden: width of a hidden layer; 0: linear, w.[S_nav, goal score, logit, -distance, ...].
    """

    def __init__(self, hidden: int = 0) -> None:
        super().__init__()
        self.hidden = hidden
        count = len(FEATURES)
        if hidden:
            self.head: nn.Module = nn.Sequential(
                nn.Linear(count, hidden), nn.GELU(), nn.Linear(hidden, 1)
            )
        else:
            self.head = nn.Linear(count, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., F, len(FEATURES)) to values (..., F)."""
        return self.head(inputs).squeeze(-1)


def _scene(context: FrontierContext, rule: str) -> FrontierScene:
    if context.scene is None:
        raise ConfigError(
            f"local goal rule '{rule}' compares category masks with words, and the context has "
            "none: give frontier_context a memory and words (tasks: config.canvas = True)"
        )
    return context.scene


def _aligned(scene: FrontierScene, spectral: bool) -> tuple[Floats, str]:
    """S_nav along T', on spectra or areas."""
    words = scene.words
    if not len(words):
        return np.zeros(len(scene.paths)), "no_words"
    result = compute_s_nav(
        words.spectra if spectral else words.areas,
        scene.spectra if spectral else scene.areas,
        scene.paths,
        words.goal,
    )
    branches = set(result.branches)
    return result.values.double().numpy(), branches.pop() if len(branches) == 1 else "mixed"


def _cosines(scene: FrontierScene, spectral: bool, along: bool) -> Floats:
    """Cosine of the goal word with the frontier, or the largest along T'."""
    words = scene.words
    if not len(words):
        return np.zeros(len(scene.paths))
    goal = (words.spectra if spectral else words.areas)[words.goal][None]
    table = cosine_similarity(goal, scene.spectra if spectral else scene.areas)[0]
    if along:
        return torch.where(scene.paths, table, -torch.inf).max(dim=1).values.double().numpy()
    return table[scene.rows].double().numpy()


def _backtrack(context: FrontierContext) -> Floats:
    """Branch off at the latest place before the present one; among its branches the explorer's
    preference decides, or chance where it has none.
    """
    logits = context.logits
    taste = context.noise if np.ptp(logits) == 0 else (logits - logits.min()) / np.ptp(logits)
    back = np.where(context.steps_back == 0, context.steps_back.max() + 1, context.steps_back)
    return -back.astype(np.float64) + 0.5 * taste


def _turn(points: Floats, origin: int, here: int, rows: NDArray[np.int64]) -> Floats:
    way = (points[here] - points[origin])[[0, 2]]
    ahead = (points[rows] - points[here])[:, [0, 2]]
    norm = np.linalg.norm(way) * np.linalg.norm(ahead, axis=1)
    cos = np.where(norm > TIE, ahead @ way / np.maximum(norm, TIE), 1.0)
    return np.arccos(np.clip(cos, -1, 1))


def _spread(values: Tensor, rows: NDArray[np.int64], count: int) -> Tensor:
    full = values.new_zeros(count, *values.shape[1:])
    full[torch.from_numpy(rows)] = values
    return full


def _labelled(values: Floats, branch: str, context: FrontierContext) -> FrontierScores:
    return FrontierScores(values, f"{branch}+own_view" if context.upper_bound else branch)
