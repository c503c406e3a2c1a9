"""Score the unvisited places of a running episode: from the agent's memory to a rule's context."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError
from embodied.perception.sos import ReferenceSpectra
from embodied.policies.vln import local_goals
from embodied.policies.vln.dual_scale import Decision, DualScaleNetwork
from embodied.policies.vln.local_goals import (
    FrontierContext,
    FrontierRanker,
    build_frontier_context,
)
from embodied.policies.vln.meta_explore.config import CORRECTING, NETWORK, MetaExploreConfig
from embodied.policies.vln.meta_explore.episode import MetaExploreEpisode
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory
from maps.graph.viewgraph import ViewGraph


class LocalGoalChoice(NamedTuple):
    """What a rule says about F places.

    Attributes:
        best: index of the winner.
        values: (F,) higher is better.
        branch: which form of the rule was used.
        landmarks: words it looked for.
        spectrum: (K, W // 2 + 1) of the winner as far as it was seen, None for rules without.
    """

    best: int
    values: NDArray[np.float64]
    branch: str
    landmarks: tuple[str, ...]
    spectrum: NDArray[np.float32] | None


class LocalGoalSelector:
    """The rule of a configuration, with what it needs.

    Args:
        config: names the rule and its options.
        network: holds the trained ranker.

    Raises:
        ConfigError: the rule "learned" with a network that has no ranker.
    """

    def __init__(self, config: MetaExploreConfig, network: DualScaleNetwork) -> None:
        self.config = config
        self.uses_scenes = (
            config.local_goal in local_goals.SCENE_RULES and config.mode in CORRECTING
        )
        self.ranker: FrontierRanker | None = getattr(network, "ranker", None)
        if config.local_goal == "learned" and self.ranker is None:
            raise ConfigError(
                "meta.local_goal 'learned' needs a network with a ranker: train the phase 'mode'"
            )
        scale = config.scale
        self.references = (
            ReferenceSpectra.load(Path(config.references), scale=scale)
            if config.references
            else ReferenceSpectra(scale=scale)  # type: ignore[arg-type]
        )
        self._rng = np.random.default_rng(config.seed)
        self._words: dict[str, InstructionWords] = {}

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Observations the rule looks at besides the usual ones."""
        found: tuple[str, ...] = ("canvas",) if self.uses_scenes else ()
        return (
            (*found, "candidate_canvas") if self.uses_scenes and self.config.oracle_sos else found
        )

    def make_memory(self) -> SceneMemory | None:
        """Make what an episode remembers of the masks it saw; None if the rule needs none."""
        return SceneMemory(self.config.scale) if self.uses_scenes else None

    def score_places(
        self,
        graph: ViewGraph,
        episode: MetaExploreEpisode,
        places: list[int],
        decision: Decision,
        index: int,
    ) -> LocalGoalChoice:
        """Score F unvisited places of one episode."""
        if self.config.local_goal == NETWORK:
            values = _logits(decision, index, places)
            return LocalGoalChoice(int(np.argmax(values)), values, NETWORK, (), None)
        context = self.build_context(graph, episode, places, decision, index)
        scores = local_goals.score_frontiers(self.config.local_goal, context, self.ranker)
        best = local_goals.choose_frontier(scores, context)
        words: tuple[str, ...] = ()
        spectrum = None
        if context.scene is not None:
            words = context.scene.words.names
            spectrum = context.scene.spectra[context.scene.rows[best]].numpy()
        return LocalGoalChoice(best, scores.values, scores.branch, words, spectrum)

    def build_context(
        self,
        graph: ViewGraph,
        episode: MetaExploreEpisode,
        places: list[int],
        decision: Decision,
        index: int,
    ) -> FrontierContext:
        """Gather what rules may know about F unvisited places.

        True distances reach the rule "oracle" alone, masks of unvisited places only the labelled
        upper bound.
        """
        config = self.config
        oracle = config.local_goal == "oracle"
        own = None
        if config.oracle_sos and self.uses_scenes:
            own = {place: episode.oracle_canvases[place] for place in places}
        return build_frontier_context(
            graph,
            episode.trace.path[0][0],
            episode.place,
            places,
            memory=episode.memory,
            words=self._read(episode.trace.instruction) if self.uses_scenes else None,
            logits=dict(zip(places, _logits(decision, index, places).tolist(), strict=True)),
            goal_distances=episode.goal_distances if oracle else None,
            own=own,
            rng=self._rng,
        )

    def compute_ranker_inputs(self, context: FrontierContext) -> Tensor:
        """Return the ranker's inputs, (F, R)."""
        return torch.from_numpy(local_goals.compute_ranker_features(context))

    def _read(self, instruction: str) -> InstructionWords:
        if instruction not in self._words:
            if len(self._words) > 4096:
                self._words.clear()
            self._words[instruction] = InstructionWords.from_instruction(
                instruction, self.references
            )
        return self._words[instruction]


def _logits(decision: Decision, index: int, places: list[int]) -> NDArray[np.float64]:
    """The network's fused logits (F,) of F unvisited places.

    Of places that are not next to the agent it is the map's score plus one number common to them
    all (the score of going back), so it ranks them as the coarse branch does.
    """
    columns = [decision.find_column(index, place) for place in places]
    values = decision.fused[index].double().cpu().numpy()[columns]
    # A one-step network says nothing of places that are not next to it.
    return np.where(np.isfinite(values), values, 0.0)
