"""The demo's second agent: train Meta-Explore on instructions in houses, test it, explain it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied import config as configuration
from embodied.demo.progress import report_stage
from embodied.errors import ConfigError
from embodied.evaluation.base import summarise_metrics
from embodied.evaluation.explain import (
    choose_episodes,
    compute_reference_spectrum,
    draw_floor_plans,
)
from embodied.evaluation.vln import VLNEvaluator
from embodied.results import Metric
from embodied.tasks.vln.config import VLNConfig
from embodied.training.log import read_metrics
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.trainer import train
from embodied.viz.topdown import FloorPlan
from embodied.viz.traces import Explanation
from embodied.viz.traces import load_traces as load_traces

COMPARED: dict[str, tuple[str, ...]] = {
    "random": ("policy=random",),
    "detector": ("policy=detector",),
    "explore": ("policy=meta_explore", "meta.mode=never"),
    "meta_explore": ("policy=meta_explore",),
}
"""Who plays the same episodes: name in the results -> overrides of the evaluation."""


def _training() -> VLNTrainConfig:
    return VLNTrainConfig(task=VLNConfig(dataset="houses"))


@dataclass(frozen=True)
class LanguageConfig:
    """Everything that decides the language part of the demo.

    Attributes:
        training: the recipe that is trained and tested.
        split: of the test.
        houses: number of unseen houses.
        episodes: instructions given in them, in total.
        envs: played as one batch.
        shown: episodes explained in the report.
    """

    training: VLNTrainConfig = field(default_factory=_training)
    split: str = "val_unseen"
    houses: int = 10
    episodes: int = 60
    envs: int = 20
    shown: int = 3

    def __post_init__(self) -> None:
        for name in ("houses", "episodes", "envs", "shown"):
            if getattr(self, name) < 1:
                raise ConfigError(f"language.{name} = {getattr(self, name)} must be at least 1")


@dataclass
class LanguageOutcome:
    """What the language part leaves for the report.

    Attributes:
        scores: name in `COMPARED` -> metrics on unseen houses.
        curve: rows of the training run.
        shown: episodes of Meta-Explore, explained.
        plans: pictures of their houses.
        references: spectra of the words looked for, by episode.
    """

    scores: dict[str, dict[str, Metric]] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    shown: list[Explanation] = field(default_factory=list)
    plans: dict[str, FloorPlan] = field(default_factory=dict)
    references: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def run_language_demo(settings: LanguageConfig, seed: int, out: Path, line: str) -> LanguageOutcome:
    """Train (or take up a run of the same settings), test and explain.

    Args:
        settings: the recipe.
        seed: of training and testing.
        out: folder of the demo.
        line: the command as typed, for the results.
    """
    outcome = LanguageOutcome()
    training = replace(settings.training, seed=seed)
    folder = out / f"language-{configuration.digest(training)[:8]}"
    with report_stage("Training Meta-Explore on instructions in procedural houses"):
        train(training, folder, resume=True)
    outcome.curve = read_metrics(folder)
    traces = out / "traces"
    for old in traces.glob("*.json"):  # of other settings
        old.unlink()
    for name, overrides in COMPARED.items():
        with report_stage(f"Following {settings.episodes} instructions in unseen houses: {name}"):
            player = VLNEvaluator(str(folder), [*_test(settings, seed), *overrides], "latest")
            played = player.play_episodes(traces if name == "meta_explore" else None)
        outcome.scores[name] = summarise_metrics(played, line)
    with report_stage("Explaining what Meta-Explore did"):
        outcome.shown = choose_episodes(load_traces(traces), settings.shown)
        task = replace(player.settings.task, split=settings.split)
        outcome.plans = draw_floor_plans(outcome.shown, task)
        outcome.references = {
            e.name: compute_reference_spectrum(e.instruction) for e in outcome.shown
        }
    return outcome


def _test(settings: LanguageConfig, seed: int) -> list[str]:
    """Overrides of every evaluation: the same unseen houses and episodes."""
    per_house = -(-settings.episodes // settings.houses)
    return [
        f"evaluation.split={settings.split}",
        f"evaluation.episodes={settings.episodes}",
        f"evaluation.envs={settings.envs}",
        f"evaluation.seed={seed}",
        f"task.houses.count={settings.houses}",
        f"task.houses.episodes={per_house}",
        "task.houses.textures=true",
    ]
