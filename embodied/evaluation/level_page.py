"""The page of an arm's evaluation: a film, and success by task and randomisation level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from embodied.evaluation.base import Episodes, summarise_metrics
from embodied.results import Metric
from embodied.viz.charts import Bar, bar_chart
from embodied.viz.manipulation import CAPTION
from embodied.viz.report import Figure, Report, Section, Table
from embodied.viz.report_text import format_interval

LEVELS = {
    0: "hardly anything differs",
    1: "poses and goals",
    2: "colours, wording, friction, masses, things that distract",
    3: "cameras, light and the arm's posture",
}
"""What differs between episodes at each level, in addition to the levels before."""
ALL = "all"
"""Column of all tasks together."""


def join_episodes(tasks: Mapping[str, Episodes]) -> Episodes:
    """Return the episodes of all tasks in a row."""
    return list(chain.from_iterable(tasks.values()))


def build_level_page(
    name: str, level: int, levels: Mapping[int, Mapping[str, Episodes]], film: Path,
    facts: list[tuple[str, str]],
) -> Report:  # fmt: skip
    """Lay out the page.

    Args:
        name: of the policy, for the title.
        level: that of the film.
        levels: level -> task -> figures of each episode.
        film: an MP4, which is laid into the page.
        facts: how to make the page again.
    """
    figures = {
        at: {
            name: summarise_metrics(played, "")
            for name, played in {**tasks, ALL: join_episodes(tasks)}.items()
        }
        for at, tasks in levels.items()
    }
    tasks = list(levels[level])
    columns = [*tasks, ALL] if len(tasks) > 1 else tasks
    successes = {at: of[ALL]["success"] for at, of in figures.items()}
    bars = [
        Bar(f"level {at}", one.value, *one.ci95, strong=at == level)
        for at, one in successes.items()
    ]
    caption = "Share of the episodes that end in success, with 95 % intervals."
    shown = figures[level][ALL]
    return Report(
        title=f"{name} at the table",
        lead="Every level adds to what differs between episodes at the levels before it; none of "
        "these episodes was seen in training.",
        tiles=[
            (f"{100 * shown['success'].value:.0f} %", f"success at level {level}"),
            (f"{shown['steps'].value:.0f}", "control steps, 20 Hz"),
        ],
        sections=[
            Section(
                f"Level {level}",
                film=film,
                film_caption=CAPTION,
            ),
            Section(
                "Success by level",
                figures=[Figure(caption, svg=bar_chart(bars, "success"), wide=True)],
                tables=[
                    _table("Success", "success", figures, columns),
                    _table("Control steps until success or the end", "steps", figures, columns),
                ],
            ),
        ],
        facts=facts,
    )


def _table(
    title: str, name: str, figures: Mapping[int, Mapping[str, Mapping[str, Metric]]],
    columns: Sequence[str],
) -> Table:  # fmt: skip
    rows = [
        (
            f"level {at}: {LEVELS[at]}",
            *(format_interval(of[column][name]) for column in columns),
        )
        for at, of in figures.items()
    ]
    return Table(("", *columns), rows, f"{title}, with 95 % intervals.")
