"""What decides the arm's demo, and what its stages leave for the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.base import Episodes
from embodied.results import Metric
from embodied.training.manipulation.config import ManipulationTraining

BEFORE, AFTER = "before", "after"
"""The refinement."""


@dataclass(frozen=True)
class ArmDemoConfig:
    """Everything that decides the demo.

    Attributes:
        seed: of both trainings.
        training: the policy that imitates, of one task; it also says what both are tested on.
        refinement: settings of the refinement laid over its own defaults; task and policy are the
            training's.
    """

    seed: int = 0
    training: ManipulationTraining = field(default_factory=ManipulationTraining)
    refinement: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.training.tasks) != 1:
            raise ConfigError(f"the demo shows one task, not {list(self.training.tasks)}")


@dataclass
class ArmDemoOutcome:
    """What the stages leave for the report.

    Attributes:
        episodes: of the policy before and after refinement, on the same initial states.
        scores: their means.
        gains: what was gained in each episode, averaged.
        training_rows, refinement_rows: rows of both trainings.
    """

    episodes: dict[str, Episodes] = field(default_factory=dict)
    scores: dict[str, dict[str, Metric]] = field(default_factory=dict)
    gains: dict[str, Metric] = field(default_factory=dict)
    training_rows: list[dict[str, Any]] = field(default_factory=list)
    refinement_rows: list[dict[str, Any]] = field(default_factory=list)
