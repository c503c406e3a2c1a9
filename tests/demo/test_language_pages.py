"""What the demo's report says about instructions, from figures and traces made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.demo import language_page as language_pages
from embodied.demo.language import (
    COMPARED,
    LanguageConfig,
    LanguageOutcome,
    choose_episodes,
    compute_reference_spectrum,
)
from embodied.policies.vln.trace import EXPLOIT, EXPLORE
from embodied.results import build_metric
from embodied.viz.report import Report, render_report
from embodied.viz.traces import Explanation, parse_trace
from tests.viz.test_explanations import trace


def played() -> LanguageOutcome:
    rng = np.random.default_rng(0)
    outcome = LanguageOutcome(shown=[parse_trace(trace())])
    for share, name in enumerate(COMPARED):
        won = (rng.random(40) < 0.2 * share).astype(float)
        figures = {"success": won, "spl": 0.5 * won, "path_length": won + 9, "steps": won + 6}
        outcome.scores[name] = {k: build_metric(v, "embodied demo") for k, v in figures.items()}
    outcome.curve = [
        {"step": i, "sample_explore_right": 0.5, "sample_arrived": 0.8, "cpu_seconds": 6.0 * i}
        for i in range(1, 11)
    ]
    return outcome


def test_figures_decisions_and_curve_are_on_the_page() -> None:
    outcome = played()
    parts = language_pages.build_sections(LanguageConfig(), outcome)
    assert [p.title for p in parts] == [
        "Following instructions",
        "“go to the bed & stop”",
        "Learning to follow instructions",
    ]
    text = render_report(Report("t", "l", language_pages.build_tiles(outcome), parts))
    best = outcome.scores["meta_explore"]["success"]
    assert f"<b>{100 * best.value:.0f} %</b>" in text
    for word in ("nearest frontier + detector", "explore only", "67 %", "1.0 CPU minutes", "snav"):
        assert word in text


def test_without_a_curve_the_section_is_left_out() -> None:
    outcome = played()
    outcome.curve = outcome.curve[:1]
    titles = [p.title for p in language_pages.build_sections(LanguageConfig(), outcome)]
    assert "Learning to follow instructions" not in titles


def test_corrected_successes_of_different_houses_are_shown_first() -> None:
    base = parse_trace(trace())

    def one(name: str, world: str, success: float, mode: str) -> Explanation:
        segments = [(mode, (0, 1))]
        return replace(
            base, name=name, world=world, metrics={"success": success}, segments=segments
        )

    told = [
        one("plain", "a", 1.0, EXPLORE),
        one("corrected", "b", 1.0, EXPLOIT),
        one("again", "b", 1.0, EXPLOIT),
        one("lost", "c", 0.0, EXPLOIT),
    ]
    assert [e.name for e in choose_episodes(told, 3)] == ["corrected", "lost", "plain"]
    assert [e.name for e in choose_episodes(told, 4)][-1] == "again"


def test_the_reference_holds_the_words_of_the_instruction() -> None:
    wanted = compute_reference_spectrum("Go to the bed next to the chair.")
    assert wanted.shape[0] == len(SOS_CATEGORIES)
    rows = set(np.flatnonzero(wanted.sum(axis=1)).tolist())
    assert rows == {SOS_INDEX["bed"], SOS_INDEX["chair"]}
    assert compute_reference_spectrum("Wait here.").sum() == 0
