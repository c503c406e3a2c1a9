"""The arm's demo: record, imitate, refine online, and show both in one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embodied import config as configuration
from embodied.demo import manipulation_page as arm_pages
from embodied.demo.manipulation_outcome import AFTER, BEFORE, ArmDemoConfig, ArmDemoOutcome
from embodied.demo.progress import report_stage
from embodied.evaluation.base import summarise_metrics
from embodied.evaluation.manipulation import ManipulationEvaluator, RefinementEvaluator
from embodied.results import Metric, paired_metric, write_results
from embodied.training.log import read_metrics
from embodied.training.manipulation import refinement, trainer
from embodied.training.manipulation.config import ManipulationTraining
from embodied.training.manipulation.refinement_config import RefinementTraining
from embodied.viz import report


def load_settings(recipe: str, overrides: Sequence[str]) -> ArmDemoConfig:
    """Read the demo's recipe."""
    return configuration.load(ArmDemoConfig, recipe, overrides)


def run_arm_demo(settings: ArmDemoConfig, out: Path, line: str) -> Path:
    """Run the demo into folder `out` and return the report's path.

    Args:
        settings: the recipe.
        out: writable folder, made if needed.
        line: the command as typed, for the report.
    """
    begun, outcome = time.monotonic(), ArmDemoOutcome()
    training = replace(settings.training, seed=settings.seed)
    name = training.tasks[0]
    base = out / f"training-{configuration.digest(training)[:8]}"
    count = training.demonstrations.episodes
    with report_stage(f"Recording {count} demonstrations of '{name}' and imitating them"):
        trainer.train(training, base, resume=True)
    outcome.training_rows = read_metrics(base)
    refined = _refine(settings, base, out)
    outcome.refinement_rows = read_metrics(refined)
    tests = {BEFORE: (ManipulationEvaluator, base), AFTER: (RefinementEvaluator, refined)}
    for moment, (evaluator, folder) in tests.items():
        with report_stage(f"Testing and filming it {moment} the refinement"):
            test = evaluator(str(folder), _test(training, moment), "best")
            outcome.episodes[moment] = test.play_episodes()
            outcome.scores[moment] = summarise_metrics(outcome.episodes[moment], line)
            test.write_film(out / f"{moment}.mp4")
    _compare(outcome, line)
    write_results(
        out / "results.json", _published(outcome), seeds=[settings.seed, training.evaluation.seed],
        config_digest=configuration.digest(settings),
    )  # fmt: skip
    configuration.save(settings, out / "config.yaml")
    minutes = (time.monotonic() - begun) / 60
    page = arm_pages.build_arm_page(settings, outcome, out, line, minutes)
    return report.write_report(page, out / "report.html")


def _refine(settings: ArmDemoConfig, base: Path, out: Path) -> Path:
    """Refine the policy, or take up a run of the same settings where it stopped."""
    tree = refinement.complete_config({**settings.refinement, "base": str(base), "which": "best"})
    config = configuration.build(RefinementTraining, tree, source="refinement")
    config = replace(config, seed=settings.seed)
    folder = out / f"refinement-{configuration.digest(config)[:8]}"
    with report_stage(
        f"Refining it online: {config.refinement.steps:,} control steps of trial and error"
    ):
        refinement.train(config, folder, resume=True)
    return folder


def _test(training: ManipulationTraining, moment: str) -> list[str]:
    """Overrides of both evaluations: the same unseen initial states."""
    wanted = training.evaluation
    same = [f"evaluation.{name}={getattr(wanted, name)}"
            for name in ("episodes", "envs", "seed", "level")]  # fmt: skip
    return [*same, "evaluation.base=false"] if moment == AFTER else same


def _compare(outcome: ArmDemoOutcome, line: str) -> None:
    """Work out what every episode gained."""
    before, after = (outcome.episodes[moment] for moment in (BEFORE, AFTER))
    for name in arm_pages.FIGURES.values():
        now, then = (np.array([float(e[name]) for e in played]) for played in (after, before))
        outcome.gains[name] = paired_metric(now, then, line)


def _published(outcome: ArmDemoOutcome) -> dict[str, Metric]:
    parts: dict[str, Mapping[str, Metric]] = {**outcome.scores, "gain": outcome.gains}
    return {
        f"demo.manip.{part}.{name}": metric
        for part, metrics in parts.items()
        for name, metric in metrics.items()
    }
