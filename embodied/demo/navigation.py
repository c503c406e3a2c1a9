"""The demo: train, compare, explore, find, report. Each stage can be read on its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from embodied import config as configuration
from embodied.demo import language
from embodied.demo import page as pages
from embodied.demo.outcome import DemoConfig, DemoOutcome, SearchResult
from embodied.demo.progress import report_stage
from embodied.errors import NavigationError
from embodied.evaluation import navigation as evaluation
from embodied.evaluation.base import summarise_metrics
from embodied.evaluation.navigation import EvalConfig
from embodied.results import write_results
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.envs import ExploreEnv, ObjectNavEnv
from embodied.training.log import read_metrics
from embodied.training.navigation.trainer import train
from embodied.viz import report
from embodied.viz.live import FilmedEpisode, film_episode
from embodied.viz.recorder import RecordingWriter
from embodied.viz.video import VideoWriter

COMPARED = ("random", "recurrent", "map_planner", "expert")


def load_settings(recipe: str, overrides: Sequence[str]) -> DemoConfig:
    """Read the demo's recipe."""
    return configuration.load(DemoConfig, recipe, overrides)


def run_demo(settings: DemoConfig, out: Path, scene: Path | None, line: str) -> Path:
    """Run the demo into folder `out` and return the report's path.

    Args:
        settings: the recipe.
        out: writable folder, made if needed.
        scene: explore this scene instead of training and of a generated house.
        line: the command as typed, for the report.
    """
    begun = time.monotonic()
    outcome = DemoOutcome()
    if scene is None:
        folder = _train(settings, out, outcome)
        _compare(settings, folder, outcome, line)
        outcome.language = language.run_language_demo(settings.language, settings.seed, out, line)
        _publish(settings, outcome, out)
    _tour(settings, scene, outcome, out)
    configuration.save(settings, out / "config.yaml")  # so late: a scene that fails leaves nothing
    minutes = (time.monotonic() - begun) / 60
    page = pages.build_demo_page(settings, outcome, out, scene, line, minutes)
    return report.write_report(page, out / "report.html")


def _train(settings: DemoConfig, out: Path, outcome: DemoOutcome) -> Path:
    """Train, or take up a run of the same settings where it stopped."""
    training = replace(settings.training, seed=settings.seed)
    folder = out / f"training-{configuration.digest(training)[:8]}"
    with report_stage("Training a PointNav policy in procedural houses"):
        train(training, folder, resume=True)
    outcome.curve = read_metrics(folder)
    return folder


def _compare(settings: DemoConfig, folder: Path, outcome: DemoOutcome, line: str) -> None:
    """Test the trained policy and its rivals on the same episodes in unseen houses."""
    base = EvalConfig(
        checkpoint=str(folder), task=settings.training.task, evaluation=settings.evaluation
    )
    for name in COMPARED:
        with report_stage(
            f"Testing in {base.evaluation.episodes} unseen houses: {pages.NAMES[name]}"
        ):
            chosen = replace(base, policy=name)
            episodes = evaluation.play_episodes(chosen, evaluation.build_policy(chosen))
        outcome.scores[name] = summarise_metrics(episodes, line)


def _publish(settings: DemoConfig, outcome: DemoOutcome, out: Path) -> None:
    """Write every figure of the demo."""
    parts = {"demo": outcome.scores}
    if outcome.language is not None:
        parts["demo.language"] = outcome.language.scores
    published = {
        f"{start}.{name}.{key}": metric
        for start, scores in parts.items()
        for name, metrics in scores.items()
        for key, metric in metrics.items()
    }
    write_results(
        out / "results.json",
        published,
        seeds=[settings.seed, settings.evaluation.seed],
        config_digest=configuration.digest(settings),
    )


def _tour(settings: DemoConfig, scene: Path | None, outcome: DemoOutcome, out: Path) -> None:
    """Explore one house, then find things in it; film and record both."""
    source = replace(settings.tour.scene, offset=settings.house, count=1, cached_scenes=1)
    if scene is not None:
        source = replace(source, files=(str(scene),))
    task = replace(settings.tour, scene=source)
    info = {"scene": str(scene or f"house {settings.house} of the {source.split} split")}
    recorder = RecordingWriter(task.camera.hfov, info | {"seed": settings.seed})
    with VideoWriter(out / "episode.mp4", fps=14) as film:
        with report_stage("Exploring a house it has never seen"):
            outcome.exploration = _explore(task, settings, film, recorder)
        classes = {o.category for o in outcome.exploration.world.scene.objects[1:]}
        wanted = [t for t in settings.categories if t in classes]
        for number, thing in enumerate(wanted, start=1):
            if len(outcome.searches) == settings.num_searches:
                break
            try:
                with report_stage(f"Looking for: {pages.label_category(thing)}"):
                    search = _search(task, thing, settings.seed + number, film, recorder)
            except NavigationError:
                continue  # none of these can be reached: the next class will do
            outcome.searches.append(SearchResult(thing, search))
    recorder.save(out / "recording")


def _explore(
    task: NavigationConfig, settings: DemoConfig, film: VideoWriter, recorder: RecordingWriter
) -> FilmedEpisode:
    chosen = EvalConfig(policy="frontier", task=replace(task, task="explore"))
    env = ExploreEnv(chosen.task)
    with closing(env), _steps(task.max_steps) as progress:
        return film_episode(
            env,
            evaluation.build_policy(chosen),
            seed=settings.seed,
            title="Exploring an unknown house",
            note=lambda i: f"step {i['steps']}    floor seen {100 * i['coverage']:.0f} %",
            film=film,
            recorder=recorder,
            progress=progress,
        )


def _search(
    task: NavigationConfig, thing: str, seed: int, film: VideoWriter, recorder: RecordingWriter
) -> FilmedEpisode:
    task = replace(task, task="objectnav", categories=(thing,))
    chosen = EvalConfig(policy="objectnav_frontier", task=task)
    env = ObjectNavEnv(task)
    with closing(env), _steps(task.max_steps) as progress:
        return film_episode(
            env,
            evaluation.build_policy(chosen),
            seed=seed,
            title=f"Find: {pages.label_category(thing)}",
            note=lambda i: f"step {i['steps']}    {i['distance_to_goal']:.1f} m to go",
            film=film,
            recorder=recorder,
            hold=20,
            progress=progress,
        )


@contextmanager
def _steps(total: int) -> Iterator[Any]:
    with tqdm(total=total, unit="step", leave=False, disable=not sys.stderr.isatty()) as bar:

        def advance(info: Mapping[str, Any]) -> None:
            bar.update(int(np.asarray(info["steps"])) - bar.n)

        yield advance
