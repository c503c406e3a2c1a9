"""The report of the arm's demo: which films, charts and sentences go on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embodied.demo.manipulation_outcome import AFTER, BEFORE, ArmDemoConfig, ArmDemoOutcome
from embodied.viz.charts import Series, line_chart
from embodied.viz.manipulation import CAPTION
from embodied.viz.report import Figure, Report, Section, Table
from embodied.viz.report_text import format_gain, format_interval, list_facts

FIGURES = {
    "success": "success",
    "control steps": "steps",
    "too much force": "violations_force",
    "too much speed": "violations_velocity",
}
"""What is compared: its title, and its name among the figures of an episode."""


def build_arm_page(
    settings: ArmDemoConfig, outcome: ArmDemoOutcome, out: Path, line: str, minutes: float
) -> Report:
    """Lay out the page."""
    training = settings.training
    task, wanted = training.get_task_config(training.tasks[0]), training.evaluation
    before, after = (outcome.scores[moment] for moment in (BEFORE, AFTER))
    return Report(
        title="An arm that learns by watching, then by trying",
        lead=f"A {task.robot} learns the task “{task.task}” from "
        f"{training.demonstrations.episodes} demonstrations, camera images and words. Then a small "
        "correction is learned online, guided by what the policy itself imagines.",
        tiles=[
            (
                f"{100 * before['success'].value:.0f} %",
                f"before: of {wanted.episodes} unseen states",
            ),
            (f"{100 * after['success'].value:.0f} %", "after, from the same states"),
            (f"{before['steps'].value:.0f} → {after['steps'].value:.0f}", "control steps, 20 Hz"),
        ],
        sections=[_before(out), _after(outcome, out, wanted.episodes), _learning(outcome)],
        facts=list_facts(settings, line, minutes, f"{settings.seed}, evaluation {wanted.seed}"),
    )


def _before(out: Path) -> Section:
    return Section(
        "Before",
        "The policy has only imitated.",
        film=out / f"{BEFORE}.mp4",
        film_caption=CAPTION,
    )


def _after(outcome: ArmDemoOutcome, out: Path, episodes: int) -> Section:
    rows = [
        (
            title,
            *(format_interval(outcome.scores[moment][name]) for moment in (BEFORE, AFTER)),
            format_gain(outcome.gains[name]),
        )
        for title, name in FIGURES.items()
    ]
    caption = (
        f"Means over {episodes} episodes with 95 % intervals; the gain is paired. Force and speed: "
        "control steps per episode beyond a safety limit."
    )
    return Section(
        "After",
        "The same policy, frozen, with the correction that was learned on top of it.",
        film=out / f"{AFTER}.mp4",
        film_caption="The same initial states.",
        tables=[Table(("", "before", "after", "gain"), rows, caption)],
    )


def _learning(outcome: ArmDemoOutcome) -> Section:
    charts = (
        (outcome.training_rows, "loss", "gradient steps", "imitation: loss"),
        (
            outcome.refinement_rows,
            "success",
            "control steps",
            "refinement: episodes while exploring",
        ),
    )
    figures = [
        Figure(f"{label.capitalize()}.", svg=line_chart([_series(rows, name)], axis, label))
        for rows, name, axis, label in charts
        if any(row.get(name) is not None for row in rows)
    ]
    return Section("Learning", "Both trainings, one row of metrics.jsonl after the other.", figures)


def _series(rows: Sequence[dict[str, Any]], name: str) -> Series:
    kept = [row for row in rows if row.get(name) is not None]
    return Series(name, [row["step"] for row in kept], [row[name] for row in kept])
