"""The demo's report: which pictures, charts and sentences go on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.demo import language_page as language_pages
from embodied.demo.outcome import DemoConfig, DemoOutcome, SearchResult
from embodied.viz.charts import Bar, Series, bar_chart, line_chart
from embodied.viz.live import FilmedEpisode
from embodied.viz.report import Figure, Report, Section, Table
from embodied.viz.report_text import format_interval, list_facts
from embodied.viz.topdown import FloorPlan, render_floor_plan
from maps.grid.occupancy import OccupancyMap

NAMES = {
    "random": "random walk",
    "recurrent": "trained policy",
    "map_planner": "map planner",
    "expert": "shortest-path expert",
}
SIMPLE = {"tv_monitor": "TV", "chest_of_drawers": "chest of drawers"}
MOMENTS = 3
CURVES = (("success", "success"), ("SPL", "spl"))


def label_category(category: str) -> str:
    """Return a class name as people write it."""
    return SIMPLE.get(category, category.replace("_", " "))


def build_demo_page(
    settings: DemoConfig,
    outcome: DemoOutcome,
    out: Path,
    scene: Path | None,
    line: str,
    minutes: float,
) -> Report:
    """Lay out the page."""
    explored = outcome.exploration
    if explored is None:
        raise ValueError("the report needs an exploration")
    plan = render_floor_plan(explored.world.scene, float(explored.path[0, 1]))
    place = scene.name if scene else "a generated house"
    sections = [_film(out), _exploration(explored, plan)]
    if outcome.searches:
        sections.append(_searches(outcome.searches, plan))
    if outcome.language is not None:
        sections += language_pages.build_sections(settings.language, outcome.language)
    if outcome.scores:
        sections += [_comparison(settings, outcome), _learning(settings, outcome)]
    return Report(
        title="An agent in a house it has never seen",
        lead=f"It explores {place} with a depth camera and a map it draws itself"
        + (", then finds what it is asked for" if outcome.searches else "")
        + (
            ". Two more, trained in a few minutes, are tested in houses they have not met: one "
            "reaches points, the other follows instructions and explains its decisions."
            if outcome.scores
            else "."
        ),
        tiles=_tiles(outcome, explored),
        sections=sections,
        facts=_facts(settings, line, minutes),
    )


def _tiles(outcome: DemoOutcome, explored: FilmedEpisode) -> list[tuple[str, str]]:
    seen = explored.info["coverage"]
    tiles = [(f"{100 * seen:.0f} %", f"of the floor seen in {explored.info['steps']} steps")]
    if outcome.searches:
        good = sum(f.success for f in outcome.searches)
        tiles.append((f"{good} of {len(outcome.searches)}", "things found"))
    if outcome.scores:
        trained = outcome.scores["recurrent"]
        success, spl = trained["success"], trained["spl"]
        tiles += [
            (
                f"{100 * success.value:.0f} %",
                f"trained policy: success in {success.n} unseen houses",
            ),
            (f"{spl.value:.2f}", "trained policy: success weighted by path length (SPL)"),
        ]
    if outcome.language is not None:
        tiles += language_pages.build_tiles(outcome.language)
    return tiles


def _film(out: Path) -> Section:
    return Section(
        "The film",
        film=out / "episode.mp4",
        film_caption="Left: what the camera sees. Middle: depth. Right: the map drawn from depth "
        "and pose: white is known floor, dark are obstacles, green are frontiers (borders to the "
        "unknown), blue is the path, orange the agent.",
    )


def _exploration(explored: FilmedEpisode, plan: FloorPlan) -> Section:
    figures = []
    for step, seen in _moments(explored):
        share = 100 * explored.metric_curve[step]["coverage"]
        path = explored.path[: step + 1]
        image = plan.draw_overlay(seen=seen, path=path, agent=(path[-1], explored.headings[step]))
        figures.append(Figure(f"Step {step}: {share:.0f} % of the floor seen.", image))
    steps = [c["steps"] for c in explored.metric_curve]
    chart = line_chart(
        [Series("coverage", steps, [c["coverage"] for c in explored.metric_curve])],
        "steps",
        "floor seen",
        y_range=(0.0, 1.0),
        percent=True,
        wide=True,
    )
    text = "Share of the reachable floor seen after each step."
    figures.append(Figure(text, svg=chart, wide=True))
    return Section(
        "Exploring",
        "The agent knows nothing of the house. It keeps a map, lists the frontiers between known "
        "and unknown, and walks to the one that promises most for its way. Grey is what it has "
        "not seen yet.",
        figures,
        columns=MOMENTS,
    )


def _moments(explored: FilmedEpisode) -> list[tuple[int, OccupancyMap]]:
    """Choose moments whose coverage is spread evenly, the last one included."""
    moments = [*explored.map_snapshots, (len(explored.path) - 1, explored.final_map)]
    shares = np.array([explored.metric_curve[step]["coverage"] for step, _ in moments])
    wanted = np.linspace(shares[0], shares[-1], MOMENTS + 1)[1:]
    chosen = sorted({int(np.searchsorted(shares, w - 1e-9)) for w in wanted[:-1]})
    return [moments[i] for i in chosen] + [moments[-1]]


def _searches(found: Sequence[SearchResult], plan: FloorPlan) -> Section:
    figures = []
    for search in found:
        episode, name = search.episode, label_category(search.category)
        what = f"Where it stopped after {episode.info['steps']} steps"
        badge = "found" if search.success else "not found"
        image = draw_outline(episode, search.category)
        figures.append(
            Figure(f"“Find: {name}.” {what}.", image, badge=badge, good=search.success, photo=True)
        )
    for search in found:
        episode = search.episode
        image = plan.draw_overlay(
            seen=episode.final_map,
            path=episode.path,
            agent=(episode.path[-1], episode.headings[-1]),
        )
        info = episode.info
        text = f"Its way: {info['path_length']:.1f} m; shortest: {info['geodesic']:.1f} m."
        figures.append(Figure(f"{label_category(search.category).capitalize()}. {text}", image))
    return Section(
        "Finding things",
        "Each search starts somewhere else with an empty map. The agent explores until its "
        "semantic camera shows the class it was asked for, walks up to it and stops; the outline "
        "marks it.",
        figures,
        columns=max(2, len(found)),
    )


def draw_outline(episode: FilmedEpisode, thing: str) -> NDArray[np.uint8]:
    """Return the episode's last camera image with the pixels of a class outlined."""
    image = episode.last_images["rgb"].copy()
    number = list(episode.world.scene.categories).index(thing)
    mask = (episode.last_images["semantic"] == number).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for color, width in (((255, 255, 255), 6), ((226, 62, 87), 3)):
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)
    return image


def _comparison(settings: DemoConfig, outcome: DemoOutcome) -> Section:
    rows = []
    for name, scores in outcome.scores.items():
        cells = [format_interval(scores[key]) for key in ("success", "spl")]
        rows.append(
            (
                NAMES[name],
                *cells,
                f"{scores['path_length'].value:.1f} m",
                f"{scores['steps'].value:.0f}",
            )
        )
    bars = {
        key: [
            Bar(NAMES[name], s[key].value, *s[key].ci95, strong=name == "recurrent")
            for name, s in outcome.scores.items()
        ]
        for key in ("success", "spl")
    }
    count = settings.evaluation.episodes
    return Section(
        "Reaching a point in unseen houses",
        "PointNav: reach a point given as distance and direction, and stop. All four play the "
        f"same {count} episodes, each in a house that was not used for training.",
        [
            Figure(
                "Success: stopped within reach of the goal. Whiskers: 95 % intervals.",
                svg=bar_chart(bars["success"], "success"),
            ),
            Figure(
                "SPL: success times shortest over walked length.", svg=bar_chart(bars["spl"], "SPL")
            ),
        ],
        tables=[
            Table(
                ("policy", "success", "SPL", "path", "steps"),
                rows,
                "Mean with 95 % interval (Wilson for success, bootstrap for SPL). The expert knows "
                "the house. The others know only depth images, their own motion and the goal.",
                best=list(outcome.scores).index("recurrent"),
            )
        ],
    )


def _learning(settings: DemoConfig, outcome: DemoOutcome) -> Section:
    rows = [r for r in outcome.curve if r.get("episodes") and r.get("success") is not None]
    minutes = outcome.curve[-1]["cpu_seconds"] / 60 if outcome.curve else 0.0
    figures = []
    if rows:
        steps = np.array([r["step"] for r in rows], float)
        series = [
            Series(
                name, steps, smooth_values([r[key] for r in rows], [r["episodes"] for r in rows])
            )
            for name, key in CURVES
            if all(r.get(key) is not None for r in rows)
        ]
        chart = line_chart(
            series,
            "environment steps",
            "training episodes",
            y_range=(0.0, 1.0),
            percent=True,
            wide=True,
        )
        text = (
            "Episodes played while learning, smoothed. While imitating, the expert drives part of "
            "the first ones and stops that come too early are not carried out, so success here is "
            "optimistic; the honest figure is the one above."
        )
        figures = [Figure(text, svg=chart, wide=True)]
    total, warm = settings.training.train.steps, settings.training.train.imitation_steps
    return Section(
        "Learning curve",
        f"{total:,} steps in {settings.training.task.scene.count:,} houses, "
        f"{minutes:.1f} CPU minutes. The first {min(warm, total):,} steps imitate the "
        "shortest-path expert, the rest is reinforcement learning (PPO). The longer recipe is "
        "nav/pointnav_ppo.",
        figures,
        columns=1,
    )


def smooth_values(
    values: Sequence[float], weights: Sequence[float], span: int = 9
) -> NDArray[np.float64]:
    """Return the moving average of (N,) values with (N,) weights over `span` neighbours."""
    kernel = np.ones(min(span, len(values)))
    w = np.asarray(weights, float)
    total = np.convolve(np.asarray(values, float) * w, kernel, "same")
    return total / np.convolve(w, kernel, "same")


def _facts(settings: DemoConfig, line: str, minutes: float) -> list[tuple[str, str]]:
    seeds = f"{settings.seed}, evaluation {settings.evaluation.seed}"
    return list_facts(settings, line, minutes, seeds)
