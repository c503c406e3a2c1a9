"""Options of Meta-Explore and of the agents it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.vln.local_goals import RULES

NETWORK = "network"
"""Local goal by the network's own fused logits, without any rule or further training."""

MODES = ("learned", "oracle", "fused", "never", "global")
CORRECTING = ("learned", "oracle", "fused")
"""Modes in which a local goal can be chosen."""

STOPS = ("best", "here")


@dataclass(frozen=True)
class MetaExploreConfig:
    """What decides, and how a correction is made.

    Attributes:
        mode: who chooses between exploring and exploiting: "learned" (the network's mode selector),
            "oracle" (the label it is trained with; reads privileged observations: an upper bound),
            "fused" (no selector: exploit where the likeliest action of the fused logits is a place
            beyond the neighbours),
            "never" (explore only: ablation A0) or "global" (no modes: jump to the best of all
            unvisited places by the fused logits, the DUET-class baseline).
        local_goal: what scores the unvisited places when exploiting: a rule of `local_goals`
            ("oracle" reads privileged observations), or "network", its own fused logits.
        threshold: exploit if the probability of exploring is below it.
        steps_back: the explorer may also walk to neighbours that were visited. Off, it only goes
            where it has not been, and every way back is a correction's: our reading of the paper's
            division of labour.
        beyond: exploit considers only places that are not next to the agent; those next to it are
            the explorer's (a correction that is a single step would be no correction).
        scale: of the spectra, "lin" or "log1p".
        references: file of the usual sizes of each category, see `References.load`; "": 30 deg.
        oracle_sos: score unvisited places by their own true spectrum (needs "candidate_canvas"):
            an upper bound, never a result.
        max_decisions: the episode ends after so many; an exploit walk is one decision.
        max_moves: it also ends after so many moves, for comparisons at equal effort; 0: no limit.
        stop: at the end walk to the visited place with the highest remembered stop probability
            ("best", DUET's rule) or stay ("here").
        anti_loop: taken from an explorer's logit per remembered visit of the place it leads to: the
            control without any mode selector.
        memory_decay: what a visit counts for one decision later, two decisions later squared, ...
            1 never forgets a visit.
        measure: compare the mode selector with its label at every decision (`DecisionCounters`);
            reads privileged observations, and no decision depends on them.
        seed: of the rules that draw.
    """

    mode: str = "learned"
    local_goal: str = "learned"
    threshold: float = 0.5
    steps_back: bool = False
    beyond: bool = True
    scale: str = "lin"
    references: str = ""
    oracle_sos: bool = False
    max_decisions: int = 15
    max_moves: int = 0
    stop: str = "best"
    anti_loop: float = 0.0
    memory_decay: float = 1.0
    measure: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, MODES),
            ("local_goal", self.local_goal, (NETWORK, *RULES)),
            ("scale", self.scale, ("lin", "log1p")),
            ("stop", self.stop, STOPS),
        ):
            if value not in known:
                raise ConfigError(f"meta.{name} '{value}': {suggest_nearest(value, known)}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"meta.threshold = {self.threshold} must be a probability")
        if self.max_decisions < 1 or self.max_moves < 0:
            raise ConfigError(
                f"meta.max_decisions = {self.max_decisions} must be at least 1 and "
                f"meta.max_moves = {self.max_moves} not negative"
            )
        if self.anti_loop < 0 or not 0 <= self.memory_decay <= 1:
            raise ConfigError(
                f"meta.anti_loop = {self.anti_loop} must not be negative and meta.memory_decay = "
                f"{self.memory_decay} must lie in [0, 1]"
            )
