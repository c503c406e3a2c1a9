"""Which rule finds the way back after wrong steps: `embodied bench local_goals`.

An agent walks some of the annotated path, then one to three steps away from the goal, and a rule
chooses among the unvisited places that are not next to it. A case counts when the best of all
unvisited places is one of those (the mode selector's label). `top1`: the best was chosen; `regret`:
metres walked more than over the best one. No network takes part, so the explorer's logits are
absent. The learned ranker sees cases of the training split; its targets are soft, exp(-regret /
1 m), so that a choice one metre longer is no plain mistake. Ground-truth objects; `own_view`
describes places by what is seen from themselves, which no agent can know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from embodied.perception.sos import ReferenceSpectra
from embodied.policies.vln.local_goals import (
    FEATURES,
    FrontierContext,
    FrontierRanker,
    build_frontier_context,
    choose_frontier,
    compute_ranker_features,
    score_frontiers,
)
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.tasks.vln.source import VLNSource, load_source
from maps.graph.viewgraph import ViewGraph

TASKS = {
    "reverie": {"dataset": "reverie"},
    "houses": {"dataset": "houses", "houses": HousesConfig(count=40)},
}
TEMPERATURE = 1.0
RULES = (
    "random",
    "backtrack",
    "nearest",
    "bag_cosine",
    "bag",
    "sos_cosine",
    "sos",
    "goal_only",
    "learned",
    "oracle",
)


class Case(NamedTuple):
    """One decision: contexts by name of the description, and extra metres (F,) of each choice."""

    contexts: dict[str, FrontierContext]
    regret: np.ndarray


def cases(
    source: VLNSource,
    count: int,
    references: dict[str, ReferenceSpectra],
    seed: int = 0,
    own: bool = True,
) -> Iterator[Case]:
    """Yield wrong turns on the episodes of a task, in random order, until there are enough."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        for index in rng.permutation(len(source.episodes)):
            episode = source.episodes[index]
            case = _case(source, episode, references, rng, own)
            if case is not None:
                yield case
                made += 1
                if made == count:
                    return


def _case(
    source: VLNSource,
    episode: Any,
    references: dict[str, ReferenceSpectra],
    rng: np.random.Generator,
    own: bool,
) -> Case | None:
    world = source.worlds[episode.world]
    away = world.distances[:, list(episode.goals)].min(axis=1)
    graph, walk = ViewGraph(), []
    memories = {name: SceneMemory(r.scale) for name, r in references.items()}

    def stand(place: int) -> None:
        near = world.neighbours[place]
        graph.visit_place(place, world.positions[place], near, world.positions[near])
        walk.append(place)

    for place in episode.path[: int(rng.integers(1, max(2, len(episode.path))))]:
        stand(place)
    for _ in range(int(rng.integers(1, 4))):
        here = walk[-1]
        worse = [n for n in world.neighbours[here] if away[n] > away[here] and n not in walk]
        if not worse:
            break
        stand(int(rng.choice(worse)))
    here = walk[-1]
    everywhere = np.array(graph.list_frontiers())
    near = world.neighbours[here]
    beyond = [int(f) for f in everywhere if f not in near]
    if len(beyond) < 2 or away[here] == 0 or not np.isfinite(away[here]):
        return None
    total = (
        graph.distances[graph.get_row(here), [graph.get_row(f) for f in everywhere]]
        + away[everywhere]
    )
    if int(everywhere[total.argmin()]) not in beyond:
        return None
    canvases = {place: world.observe_place(place).canvas for place in walk}
    contexts = {}
    own_views = {f: world.observe_place(f).canvas for f in beyond} if own else {}
    for name, reference in references.items():
        for place, canvas in canvases.items():
            memories[name].add_view(place, canvas)
        words = InstructionWords.from_instruction(episode.instruction, reference)
        common = {
            "memory": memories[name],
            "words": words,
            "goal_distances": dict(enumerate(away.tolist())),
            "rng": rng,
        }
        start = episode.start
        contexts[name] = build_frontier_context(graph, start, here, beyond, **common)
        if own:
            contexts[f"{name}+own_view"] = build_frontier_context(
                graph, start, here, beyond, own=own_views, **common
            )
    first = next(iter(contexts.values()))
    lengths = first.distances + away[beyond]
    return Case(contexts, lengths - lengths.min())


def train_ranker(examples: list[Case], name: str, hidden: int = 0) -> FrontierRanker:
    """Fit a ranker by cross-entropy to soft targets; rows are padded with places of no chance."""
    torch.manual_seed(0)
    ranker = FrontierRanker(hidden)
    width = max(len(case.regret) for case in examples)
    inputs = torch.zeros(len(examples), width, len(FEATURES))
    regret = torch.full((len(examples), width), torch.inf)
    for row, case in enumerate(examples):
        inputs[row, : len(case.regret)] = torch.from_numpy(
            compute_ranker_features(case.contexts[name])
        )
        regret[row, : len(case.regret)] = torch.from_numpy(case.regret)
    target, real = torch.softmax(-regret / TEMPERATURE, dim=1), regret.isfinite()
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(500):
        rows = torch.randint(len(examples), (256,))
        values = ranker(inputs[rows]).masked_fill(~real[rows], -1e9)
        loss = -(target[rows] * values.log_softmax(dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ranker


def evaluate(examples: list[Case], rankers: dict[str, FrontierRanker]) -> dict[str, np.ndarray]:
    """Return per rule and description the top-1 and the regret of every case, (N, 2)."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case in examples:
        for name, context in case.contexts.items():
            for rule in RULES:
                plain = rule in ("random", "backtrack", "nearest", "oracle")
                if plain and name != next(iter(case.contexts)):
                    continue
                if rule == "learned":
                    if name not in rankers:
                        continue
                    picked = choose_frontier(score_frontiers(rule, context, rankers[name]), context)
                else:
                    picked = choose_frontier(score_frontiers(rule, context), context)
                key = rule if plain else f"{rule} {name}"
                regret = float(case.regret[picked])
                found.setdefault(key, []).append((float(regret < 1e-6), regret))
    return {key: np.array(rows) for key, rows in found.items()}


def run(quick: bool = False) -> dict[str, Any]:
    """Measure on REVERIE's unseen scans and on unseen houses; prints a table."""
    count, learn = (60, 120) if quick else (500, 1000)
    references = {scale: ReferenceSpectra(scale=scale) for scale in ("lin", "log1p")}
    figures: dict[str, Any] = {}
    for task, options in TASKS.items():
        test = load_source(VLNConfig(split="val_unseen", **options))
        train = load_source(VLNConfig(split="train", **options))
        lin = {"lin": references["lin"]}
        ranker = train_ranker(list(cases(train, learn, lin, seed=1, own=False)), "lin")
        found = evaluate(list(cases(test, count, references)), {"lin": ranker})
        print(f"\n{count} wrong turns, {task} val_unseen")
        print(f"{'rule':28}{'top-1':>8}{'regret [m]':>16}")
        for key, rows in found.items():
            mean, error = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(len(rows))
            print(f"{key:28}{mean[0]:8.3f}{mean[1]:10.2f} +- {error[1]:.2f}")
            label = key.replace(" ", ".")
            for column, kind in enumerate(("top1", "regret")):
                around = (mean[column] - 1.96 * error[column], mean[column] + 1.96 * error[column])
                figures[f"local_goals.{task}.{label}.{kind}"] = (mean[column], len(rows), around)
    return figures
