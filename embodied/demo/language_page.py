"""The part of the demo's report about instructions: figures, decisions, learning curve."""

from __future__ import annotations

import numpy as np

from embodied.categories import SOS_CATEGORIES
from embodied.demo.language import LanguageConfig, LanguageOutcome
from embodied.policies.vln.meta_explore import MetaExploreConfig
from embodied.policies.vln.meta_explore.config import NETWORK
from embodied.policies.vln.trace import EXPLOIT
from embodied.viz import explanations
from embodied.viz.charts import Bar, Series, bar_chart, line_chart
from embodied.viz.report import Figure, Section, Table
from embodied.viz.report_text import format_interval

NAMES = {
    "random": "random walk",
    "detector": "nearest frontier + detector",
    "explore": "explore only",
    "meta_explore": "Meta-Explore",
}


def build_tiles(outcome: LanguageOutcome) -> list[tuple[str, str]]:
    """Return the figures shown large."""
    success = outcome.scores["meta_explore"]["success"]
    text = f"Meta-Explore: instructions followed to the end, of {success.n} in unseen houses"
    return [(f"{100 * success.value:.0f} %", text)]


def build_sections(settings: LanguageConfig, outcome: LanguageOutcome) -> list[Section]:
    """Return the sections about instructions."""
    parts = [_comparison(settings.training.meta, outcome)]
    for shown in outcome.shown:
        parts += explanations.build_sections(
            shown,
            outcome.plans.get(shown.world),
            outcome.references.get(shown.name),
            SOS_CATEGORIES,
            most=2,
        )
    curve = _curve(settings, outcome)
    return [*parts, curve] if curve is not None else parts


def _comparison(meta: MetaExploreConfig, outcome: LanguageOutcome) -> Section:
    scores = outcome.scores
    best = scores["meta_explore"]["success"]
    bars = [
        Bar(NAMES[name], s["success"].value, *s["success"].ci95, strong=name == "meta_explore")
        for name, s in scores.items()
    ]
    header = ("policy", "success", "SPL", "path", "moves")
    rows = [
        (
            NAMES[name],
            format_interval(s["success"]),
            format_interval(s["spl"]),
            f"{s['path_length'].value:.1f} m",
            f"{s['steps'].value:.0f}",
        )
        for name, s in scores.items()
    ]
    moves = [mode for e in outcome.shown for mode, walk in e.segments for _ in walk[1:]]
    share = moves.count(EXPLOIT) / len(moves) if moves else 0.0
    return Section(
        "Following instructions",
        "“Go to the kitchen and stop next to the red chair by the window.” Meta-Explore walks from "
        "place to place; at each it either explores (one step of its network) or, when "
        f"{_when(meta.mode)}, corrects itself: it walks {_where(meta.local_goal)}. All play the "
        f"same {best.n} instructions, in houses and wordings that training did not have. The agent "
        "is small and trained for minutes: this shows how it works, not how well it can. In the "
        f"episodes below, corrections make {100 * share:.0f} % of the moves.",
        [
            Figure(
                "Success: stopped at a place that sees the thing asked for within 3 m. Whiskers: "
                "95 % intervals.",
                svg=bar_chart(bars, "success"),
            )
        ],
        columns=1,
        tables=[
            Table(
                header,
                rows,
                "Mean with 95 % interval. The detector baseline walks to the nearest unknown until "
                "it sees the kind of thing the instruction names. Labels of objects are the "
                "simulator's own.",
                best=list(scores).index("meta_explore"),
            )
        ],
    )


def _when(mode: str) -> str:
    """Say what decides for a correction."""
    if mode == "fused":
        return "its map holds a place likelier than all neighbours"
    return "its mode selector says so"


def _where(rule: str) -> str:
    """Say where a correction leads."""
    if rule in ("sos", "sos_cosine"):
        return (
            "to the unvisited place whose surroundings, as scene object spectra, look most like "
            "what was asked for"
        )
    if rule == NETWORK:
        return "to the unvisited place that its network thinks likeliest, however far back"
    return f"to the unvisited place that the rule “{rule}” scores best"


def _curve(settings: LanguageConfig, outcome: LanguageOutcome) -> Section | None:
    rows = [r for r in outcome.curve if "sample_explore_right" in r]
    if len(rows) < 2:
        return None
    steps = np.array([r["step"] for r in rows], float)
    series = [
        Series(
            "decisions that agree with the expert", steps, _smooth(rows, "sample_explore_right")
        ),
        Series("walks that arrive", steps, _smooth(rows, "sample_arrived")),
    ]
    minutes = outcome.curve[-1]["cpu_seconds"] / 60
    mode = "mode" in settings.training.train.phases
    houses = settings.training.task.houses.count
    text = "On the agent's own walks through training houses, smoothed."
    chart = line_chart(series, "updates", "share", y_range=(0.0, 1.0), percent=True, wide=True)
    return Section(
        "Learning to follow instructions",
        f"{len(rows)} updates in {houses} houses, {minutes:.1f} CPU minutes: the agent walks, the "
        "shortest-path expert labels every decision (DAgger)"
        + ("; then the mode selector learns when the expert would turn back." if mode else "."),
        [Figure(text, svg=chart, wide=True)],
        columns=1,
    )


def _smooth(rows: list[dict[str, float]], key: str, span: int = 9) -> np.ndarray:
    values = np.array([r[key] for r in rows], float)
    kernel = np.ones(min(span, len(values)))
    weight = np.convolve(np.ones(len(values)), kernel, "same")
    smoothed: np.ndarray = np.convolve(values, kernel, "same") / weight
    return smoothed
