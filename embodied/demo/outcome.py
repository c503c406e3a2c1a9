"""What decides the demo of navigation and language, and what its stages leave for the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embodied.demo.language import LanguageConfig, LanguageOutcome
from embodied.results import Metric
from embodied.simulators.base import CameraSpec
from embodied.tasks.navigation.config import NavigationConfig, SceneSource
from embodied.training.navigation.config import TrainConfig
from embodied.training.navigation.evaluation_config import EvaluationConfig
from embodied.viz.live import FilmedEpisode


def _tour_task() -> NavigationConfig:
    return NavigationConfig(
        task="explore",
        camera=CameraSpec(outputs=("depth", "semantic")),
        scene=SceneSource(split="test", rooms=(5, 7)),
    )


@dataclass(frozen=True)
class DemoConfig:
    """Everything that decides the demo.

    Attributes:
        seed: of training and of the tour.
        training: the PointNav recipe that is trained and tested.
        evaluation: episodes each policy plays in unseen houses.
        tour: the house that is explored and searched, body, camera and steps.
        house: which house of the tour's split.
        categories: classes to look for, in order of preference.
        num_searches: how many of them.
        language: the agent that follows instructions.
    """

    seed: int = 0
    training: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tour: NavigationConfig = field(default_factory=_tour_task)
    house: int = 0
    categories: tuple[str, ...] = ("bed", "toilet", "sofa", "tv_monitor", "plant", "table", "chair")
    num_searches: int = 3
    language: LanguageConfig = field(default_factory=LanguageConfig)


@dataclass(frozen=True)
class SearchResult:
    """One search: what for, how it went."""

    category: str
    episode: FilmedEpisode

    @property
    def success(self) -> bool:
        """Whether the agent stopped at the thing."""
        return bool(self.episode.info["success"])


@dataclass
class DemoOutcome:
    """What the stages leave for the report.

    Attributes:
        scores: policy -> metrics on unseen houses; empty without training.
        curve: rows of the training run.
        exploration: the exploration.
        searches: the searches.
        language: the agent that follows instructions; None without training.
    """

    scores: dict[str, dict[str, Metric]] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    exploration: FilmedEpisode | None = None
    searches: list[SearchResult] = field(default_factory=list)
    language: LanguageOutcome | None = None
