"""Meta-Explore: explore one step at a time, or correct by walking to a local goal.

Hwang, Jeong, Kim, Oh and Oh, "Meta-Explore: Exploratory Hierarchical Vision-and-Language Navigation
Using Scene Object Spectrum Grounding" (CVPR 2023). At every decision a mode selector chooses:

* explore: the dual-scale network's one-step policy over STOP and all neighbours;
* exploit: a rule scores the places that were seen but not visited, the agent walks over visited
  places to the best of them.

Threshold, labels of the mode selector, stop rule and loop guard are our choices: the paper's could
not be read (see `MetaExploreConfig`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError
from embodied.policies.base import PolicyTask, require_observations
from embodied.policies.vln.dual_scale import Decision, DualScaleNetwork, DualScaleState
from embodied.policies.vln.meta_explore.config import CORRECTING, MetaExploreConfig
from embodied.policies.vln.meta_explore.counters import DecisionCounters
from embodied.policies.vln.meta_explore.decision_summary import DecisionSummary, summarize_decision
from embodied.policies.vln.meta_explore.episode import MetaExploreEpisode, should_exploit
from embodied.policies.vln.meta_explore.goals import LocalGoalSelector
from embodied.policies.vln.trace import (
    END,
    EXPLOIT,
    EXPLORE,
    JUMP,
    RETURN,
    DecisionRecord,
    EpisodeTrace,
)
from embodied.types import Observations, PlaceActions
from maps.graph.viewgraph import ViewGraph

PRIVILEGED = ("goal_distance", "candidate_goal_distances")


class MetaExplorePolicy:
    """Plays a batch of episodes; the network is asked once for all rows that have to decide.

    Args:
        network: trained explorer with mode selector.
        config: what decides.

    Attributes:
        counters: cost and share of corrections since the policy was made.
    """

    name = "meta_explore"
    config_class: ClassVar[type] = MetaExploreConfig

    def __init__(self, network: DualScaleNetwork, config: MetaExploreConfig | None = None) -> None:
        self.network = network.eval()
        self.config = config or MetaExploreConfig()
        self.goals = LocalGoalSelector(self.config, network)
        self.counters = DecisionCounters()
        self._episodes: list[MetaExploreEpisode] = []
        self._state: DualScaleState | None = None

    @classmethod
    def from_config(cls, config: MetaExploreConfig, task: PolicyTask) -> MetaExplorePolicy:
        """Build it on the task's trained network; the seeds of both add up.

        Raises:
            CheckpointError: the task has no network.
        """
        config = replace(config, seed=config.seed + task.seed)
        return cls(task.require_network(cls.name), config)

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Observations beyond the usual ones."""
        return (*self.goals.observation_keys, *(PRIVILEGED if self._privileged else ()))

    @property
    def _privileged(self) -> bool:
        config = self.config
        corrects = config.mode in CORRECTING
        reads = config.mode == "oracle" or (corrects and config.local_goal == "oracle")
        return reads or config.measure

    def _fresh(self) -> MetaExploreEpisode:
        return MetaExploreEpisode(self.goals.make_memory(), self._privileged)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> PlaceActions:
        """Choose one action per agent; see `Policy`.

        Returns:
            (N, 2): 0 to stop or the number of the candidate to walk to, and with a stop the number
            of the object that is named, 0 for none.

        Raises:
            ConfigError: an observation is missing.
        """
        require_observations(observations, "place", *self.observation_keys)
        state = self._open(len(first), observations, first)
        for row, episode in enumerate(self._episodes):
            episode.observe_place(observations, row)
        waiting = [
            row for row, e in enumerate(self._episodes) if not e.remaining_path and not e.ending
        ]
        if waiting:
            self._decide(state, np.array(waiting), observations)
        actions = np.zeros((len(first), 2), np.int64)
        for row, episode in enumerate(self._episodes):
            if episode.remaining_path:
                actions[row, 0] = episode.pop_candidate()
            else:
                actions[row, 1] = self._answer(episode, observations["objects"][row])
        return actions

    def get_traces(self) -> list[EpisodeTrace]:
        """Return the trace of each row's episode."""
        return [episode.trace for episode in self._episodes]

    def _open(
        self, count: int, observations: Observations, first: NDArray[np.bool_]
    ) -> DualScaleState:
        if self._state is None or len(self._episodes) != count:
            if not first.all():
                raise ConfigError(
                    f"the policy plays {len(self._episodes)} episodes and got observations of "
                    f"{count}: the number may only change when all of them begin"
                )
            self._state = DualScaleState(self.network, count)
            self._episodes = [self._fresh() for _ in range(count)]
        begun = np.flatnonzero(first)
        for row in begun:
            self._episodes[row] = self._fresh()
        with torch.no_grad():
            self._state.begin_episodes(begun, [observations["instruction"][row] for row in begun])
        return self._state

    # -- deciding ---

    @torch.no_grad()
    def _decide(
        self, state: DualScaleState, rows: NDArray[np.int64], observations: Observations
    ) -> None:
        started = time.perf_counter()
        state.observe(_rows(observations, rows), rows)
        decision = state.score_choices()
        explore = decision.explore.cpu().numpy()
        fused = decision.fused.cpu().numpy()
        answers = _likeliest(decision)
        for index, row in enumerate(rows.tolist()):
            episode = self._episodes[row]
            episode.remember_visit(self.config.memory_decay)
            episode.answers[episode.place] = answers[index]
            record = self.choose_record(
                index, decision, state.graphs[row], episode, explore[index], fused[index]
            )
            self._carry_out(state, row, record)
        self.counters.seconds += time.perf_counter() - started

    def choose_record(
        self,
        index: int,
        decision: Decision,
        graph: ViewGraph,
        episode: MetaExploreEpisode,
        explore: NDArray[np.float32],
        fused: NDArray[np.float32],
    ) -> DecisionRecord:
        """Decide one episode: who decides, and what. A subclass may decide otherwise.

        Args:
            index: row of `decision` that is the episode's.
            decision: what the network says of all that decide now.
            graph: places known so far.
            episode: changed in place.
            explore: logits of the neighbours, `fused` those of all unvisited places.
            fused: see `explore`.
        """
        config = self.config
        outlook = summarize_decision(index, decision, graph, episode, explore, fused, config)
        logits, rule, mode = outlook.logits, "explorer", EXPLORE
        if config.mode == "global":
            logits, rule, mode = fused, "global", JUMP
        p_exploit = float("nan")
        if config.mode == "learned" or config.measure:
            p_exploit = self._p_exploit(decision.stop_states[index], outlook)
        places = [-1, *decision.places[index]]
        columns = [column for column in range(len(places)) if np.isfinite(logits[column])]
        # Of all the explorer might do, so that a dead end does not look like a place to stop.
        stop = float(_softmax(fused if config.mode == "global" else explore)[0])
        episode.stop_probabilities[episode.place] = stop
        chosen = places[columns[int(np.argmax(logits[columns]))]]
        record = DecisionRecord(
            decision=episode.decisions,
            moves=episode.moves,
            place=episode.place,
            mode=END if chosen < 0 else mode,
            chosen=chosen,
            p_exploit=p_exploit,
            p_stop=stop,
            rule=rule,
            candidates=tuple(places[column] for column in columns),
            scores=tuple(float(logits[column]) for column in columns),
        )
        if config.measure:
            label = should_exploit(graph, episode.place, episode.goal_distances)
            self.counters.record_label(label, p_exploit)
        if self.is_last_decision(episode):
            return replace(record, mode=END, chosen=-1)
        likeliest = decision.find_place(index, int(np.argmax(fused)))
        if not self._exploits(graph, episode, p_exploit, likeliest):
            return record
        frontiers = (
            outlook.distant_frontiers
            if config.beyond
            else [*outlook.unvisited_neighbours, *outlook.distant_frontiers]
        )
        if not frontiers:
            return record
        scored = self.goals.score_places(graph, episode, frontiers, decision, index)
        self.counters.count_exploit(scored.branch)
        return replace(
            record,
            mode=EXPLOIT,
            chosen=frontiers[scored.best],
            rule=config.local_goal,
            branch=scored.branch,
            candidates=tuple(frontiers),
            scores=tuple(float(value) for value in scored.values),
            landmarks=scored.landmarks,
            spectrum=scored.spectrum,
        )

    def _p_exploit(self, states: Tensor, outlook: DecisionSummary) -> float:
        inputs = torch.cat([states.cpu(), torch.from_numpy(outlook.mode_features)])
        return float(torch.sigmoid(self.network.mode_head(inputs[None])))

    def _exploits(
        self, graph: ViewGraph, episode: MetaExploreEpisode, p_exploit: float, likeliest: int
    ) -> bool:
        mode = self.config.mode
        if mode == "fused":
            return likeliest >= 0 and likeliest not in graph.get_neighbours(episode.place)
        if mode == "learned":
            return 1 - p_exploit < self.config.threshold
        return mode == "oracle" and should_exploit(graph, episode.place, episode.goal_distances)

    def is_last_decision(self, episode: MetaExploreEpisode) -> bool:
        """Say whether an episode may not decide again."""
        config = self.config
        last = episode.decisions + 1 >= config.max_decisions
        return last or (config.max_moves > 0 and episode.moves >= config.max_moves)

    def _carry_out(self, state: DualScaleState, row: int, record: DecisionRecord) -> None:
        episode, graph = self._episodes[row], state.graphs[row]
        episode.decisions += 1
        self.counters.decisions += 1
        target = record.chosen
        if target < 0:
            episode.ending = True
            best = episode.find_best_stop() if self.config.stop == "best" else episode.place
            answer = episode.answers[best]
            if best != episode.place:
                record = replace(record, mode=RETURN, chosen=best)
                episode.start_walk(graph.find_path(episode.place, best), RETURN)
            record = replace(record, answer=answer)
        else:
            if record.mode == EXPLOIT:
                episode.tried_goals.add(target)
            episode.start_walk(graph.find_path(episode.place, target), record.mode)
        episode.trace.decisions.append(record)

    def _answer(self, episode: MetaExploreEpisode, objects: NDArray[np.int64]) -> int:
        """Number of the object to name at the place where the episode ends, 0 for none."""
        answer = episode.answers.get(episode.place, -1)
        found = np.flatnonzero(objects == answer)
        return int(found[0]) + 1 if answer >= 0 and len(found) else 0


def _rows(observations: Observations, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Cut observations to some rows; canvases and privileged ones stay behind."""
    kept: dict[str, Any] = {}
    for key, values in observations.items():
        if key in ("canvas", "candidate_canvas", "target", *PRIVILEGED):
            continue
        whole = isinstance(values, np.ndarray)
        kept[key] = values[rows] if whole else tuple(values[row] for row in rows.tolist())
    return kept


def _likeliest(decision: Decision) -> list[int]:
    """Identity of the likeliest object of each decision, -1 where there is none."""
    if not decision.object_ids.shape[1]:
        return [-1] * len(decision.rows)
    best = decision.objects.argmax(dim=1).cpu().numpy()
    found = np.take_along_axis(decision.object_ids, best[:, None], axis=1)[:, 0]
    return [int(identity) for identity in found]


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()
