"""The dual-scale agent as a policy: decides with the network, walks jumps hop by hop, goes back to
the place that looked most like the goal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.perception.vocabulary import Vocabulary
from embodied.policies.base import PolicyTask
from embodied.policies.vln.dual_scale.config import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.dual_scale.network import DualScaleNetwork
from embodied.policies.vln.dual_scale.state import Decision, DualScaleState
from embodied.policies.vln.trace import STOP_PLACE
from embodied.types import Observations, PlaceActions


class DualScalePolicy:
    """Policy protocol around `DualScaleNetwork` (DUET's inference, section 3.4 and its code).

    At a decision the likeliest of STOP and all unvisited places is chosen; the way there leads over
    visited places only, and the network rests until the end of it. At STOP, when nothing is left to
    visit, or after `max_decisions`, the agent goes to the visited place whose STOP probability was
    highest, and answers the object that scored best there.

    Args:
        inputs: widths of the observations.
        vocabulary: of the instructions.
        config: size and options.
        seed: of the weights and of sampled actions.
        network: use this one instead of new weights.
    """

    name = "dual_scale"
    config_class: ClassVar[type] = DualScaleConfig

    def __init__(
        self,
        inputs: DualScaleInputs,
        vocabulary: Vocabulary,
        config: DualScaleConfig | None = None,
        seed: int = 0,
        network: DualScaleNetwork | None = None,
    ) -> None:
        if network is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = DualScaleNetwork(config or DualScaleConfig(), vocabulary, inputs)
        self.network = network
        self.config = config or network.config
        self.inputs, self.vocabulary = network.inputs, network.vocabulary
        self.generator = torch.Generator().manual_seed(seed)
        self._resize(0)

    @classmethod
    def from_config(cls, config: DualScaleConfig, task: PolicyTask) -> DualScalePolicy:
        """Build it on the task's trained network.

        Raises:
            CheckpointError: the task has none.
        """
        network: DualScaleNetwork = task.require_network(cls.name).eval()
        return cls(network.inputs, network.vocabulary, config, task.seed, network)

    def _resize(self, count: int) -> None:
        self.state = DualScaleState(self.network, max(count, 1))
        self.remaining_path: list[list[int]] = [[] for _ in range(count)]
        """Places still to walk to, per episode."""
        self.ending = np.zeros(count, bool)
        """Whether the episode stops at the end of the way."""
        # Per episode: place -> (probability of STOP, best object) when it was last decided there.
        self.stop_memory: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]

    @torch.no_grad()
    def act(self, observations: Observations, first: NDArray[np.bool_]) -> PlaceActions:
        """Choose a move and an answer for N episodes.

        Args:
            observations: entries (N, ...) of a VLN task.
            first: (N,) whose episode begins.

        Returns:
            (N, 2): 0 to stop or 1 + i to walk to candidate i; 0 or 1 + j to answer object j.
        """
        first = np.asarray(first, bool)
        if len(self.remaining_path) != len(first):
            self._resize(len(first))
        training = self.network.training
        self.network.eval()
        try:
            self._begin(observations, np.flatnonzero(first))
            self._leave_lost_ways(observations)
            rows = np.array(
                [
                    row
                    for row, way in enumerate(self.remaining_path)
                    if not way and not self.ending[row]
                ],
                int,
            )
            if len(rows):
                self.state.observe(_rows(observations, rows), rows)
                self._decide(self.state.score_choices())
        finally:
            self.network.train(training)
        return self._actions(observations)

    def _begin(self, observations: Mapping[str, Any], rows: NDArray[np.int64]) -> None:
        for row in rows.tolist():
            self.remaining_path[row], self.stop_memory[row] = [], {}
        self.ending[rows] = False
        self.state.begin_episodes(rows, [observations["instruction"][row] for row in rows.tolist()])

    def _leave_lost_ways(self, observations: Mapping[str, Any]) -> None:
        """Decide anew where the next hop is not a neighbour after all (a robot that slipped)."""
        for row, way in enumerate(self.remaining_path):
            if way and way[0] not in observations["candidates"][row]:
                self.remaining_path[row], self.ending[row] = [], False

    def _decide(self, decision: Decision) -> None:
        stops = torch.softmax(decision.fused, dim=-1)[:, 0].tolist()
        best = choose_objects(decision)
        for b, (row, place) in enumerate(
            zip(decision.rows, self.choose_places(decision), strict=True)
        ):
            here = int(decision.current[b])
            self.stop_memory[row][here] = stops[b], best[b]
            over = self.state.decisions[row] >= self.config.max_decisions
            self.ending[row] = place == STOP_PLACE or over
            if self.ending[row]:
                place = self.choose_final_place(row, here)
            self.remaining_path[row] = self.state.graphs[row].find_path(here, place)[1:]

    def choose_places(self, decision: Decision) -> list[int]:
        """Return the place each of B episodes goes to next, `STOP_PLACE` to end it."""
        logits = decision.fused
        if self.config.temperature > 0:
            odds = torch.softmax(logits / self.config.temperature, dim=-1)
            columns = torch.multinomial(odds.cpu(), 1, generator=self.generator)[:, 0]
        else:
            columns = logits.argmax(dim=-1)
        return [decision.find_place(b, column) for b, column in enumerate(columns.tolist())]

    def choose_final_place(self, row: int, here: int) -> int:
        """Return where an episode ends: here, or where stopping looked best."""
        if not self.config.return_to_best:
            return here
        return max(self.stop_memory[row], key=lambda place: self.stop_memory[row][place][0])

    def _actions(self, observations: Mapping[str, Any]) -> NDArray[np.int64]:
        actions = np.zeros((len(self.remaining_path), 2), np.int64)
        for row, way in enumerate(self.remaining_path):
            if way:
                place = way.pop(0)
                slot = np.flatnonzero(observations["candidates"][row] == place)
                if not len(slot):
                    raise ConfigError(
                        f"episode {row}: place {place} is next on the way but not among the "
                        f"candidates at place {observations['place'][row]}; the map and the "
                        "observations disagree"
                    )
                actions[row, 0] = 1 + slot[0]
            else:
                answer = self.stop_memory[row].get(int(observations["place"][row]), (0.0, -1))[1]
                slot = np.flatnonzero(observations["objects"][row] == answer)
                if answer >= 0 and len(slot):
                    actions[row, 1] = 1 + slot[0]
        return actions


def choose_objects(decision: Decision) -> list[int]:
    """Return the id of the best object of each of B decisions, -1 where there is none."""
    if not decision.objects.shape[1]:
        return [-1] * len(decision.rows)
    best = decision.objects.argmax(dim=-1).tolist()
    return [int(decision.object_ids[b, column]) for b, column in enumerate(best)]


def _rows(observations: Mapping[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return some episodes' part of each observation."""
    if len(rows) == len(observations["place"]):
        return dict(observations)
    return {
        key: tuple(value[row] for row in rows.tolist())
        if isinstance(value, (tuple, list))
        else value[rows]
        for key, value in observations.items()
    }
