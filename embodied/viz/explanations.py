"""Why an agent went where it went, as a page: the way, the corrections, every decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.policies.trace import END, EXPLOIT, EXPLORE, JUMP, RETURN, START
from embodied.viz.decisions import draw_choice, draw_spectra, draw_way, short
from embodied.viz.report import Figure, Report, Section, Table
from embodied.viz.topdown import FloorPlan
from embodied.viz.traces import Explanation

WORDS = {
    START: "start",
    EXPLORE: "explore: one step of the explorer",
    EXPLOIT: "exploit: correction towards a local goal",
    JUMP: "jump of the global planner",
    RETURN: "back to the best place to stop",
    END: "stop",
}


def sections(
    explanation: Explanation,
    plan: FloorPlan | None = None,
    reference: NDArray[np.floating] | None = None,
    names: Sequence[str] = (),
    most: int = 4,
) -> list[Section]:
    """Lay out one episode: its way, what was compared at its corrections, all decisions.

    Args:
        explanation: the episode.
        plan: picture of the storey, for scenes.
        reference: (K, F) spectrum of the words looked for, drawn below the winner's.
        names: K categories of the spectra.
        most: corrections shown.
    """
    modes = list(dict.fromkeys(mode for mode, _ in explanation.segments))
    text = "; ".join(f"{_color_name(m)}: {WORDS.get(m, m)}" for m in modes)
    caption = f"The way. {text}." if text else "It stopped where it began."
    caption += " Filled: visited places; hollow: seen but not entered; red ring with dot: goal."
    figures = [Figure(caption, draw_way(explanation, plan))]
    for choice in explanation.corrections[:most]:
        caption = (
            f"Correction after {choice.moves} moves (p = {choice.p_exploit:.2f}): scores by "
            f"{choice.rule}{f' ({choice.branch})' if choice.branch else ''}; the ring marks the "
            "winner."
        )
        figures.append(Figure(caption, draw_choice(explanation, choice, plan)))
        if choice.spectrum is not None and names:
            words = ", ".join(choice.landmarks) or "no landmark"
            image = draw_spectra(choice.spectrum, reference, names)
            caption = f"Spectrum of the winner, looked for: {words}."
            figures.append(Figure(caption, image))
    return [
        Section(
            f"“{explanation.instruction}”",
            _summary(explanation),
            figures,
            tables=[_table(explanation)],
        )
    ]


def build(
    explanations: Sequence[Explanation],
    title: str,
    *,
    plans: Mapping[str, FloorPlan] | None = None,
    reference: Mapping[str, NDArray[np.floating]] | None = None,
    names: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
) -> Report:
    """Make a page of several episodes; `plans` by world and `reference` by episode name."""
    done = [e.metrics["success"] for e in explanations if "success" in e.metrics]
    moved = [mode for e in explanations for mode, walk in e.segments for _ in walk[1:]]
    tiles = [(str(len(explanations)), "episodes explained")]
    if done:
        tiles.append((f"{sum(v > 0 for v in done)} of {len(done)}", "successful"))
    if moved:
        share = moved.count(EXPLOIT) / len(moved)
        tiles.append((f"{100 * share:.0f} %", "of the moves belong to a correction"))
    parts = [
        section
        for e in explanations
        for section in sections(e, (plans or {}).get(e.world), (reference or {}).get(e.name), names)
    ]
    lead = "Each decision as the agent saw it: what it compared, what it chose and why."
    return Report(title, lead, tiles, parts, facts)


def _summary(explanation: Explanation) -> str:
    parts = [f"Episode {explanation.name}."] if explanation.name else []
    if explanation.world:
        parts.append(f"World {explanation.world}.")
    metrics = explanation.metrics
    if "success" in metrics:
        parts.append("Success." if metrics["success"] > 0 else "No success.")
    for key, text in (
        ("spl", "SPL {:.2f}."),
        ("distance_to_goal", "Ended {:.1f} m from the goal."),
    ):
        if key in metrics and math.isfinite(metrics[key]):
            parts.append(text.format(metrics[key]))
    return " ".join(parts)


def _table(explanation: Explanation) -> Table:
    rows = []
    for number, choice in enumerate(explanation.choices):
        best = (
            choice.scores[choice.candidates.index(choice.chosen)]
            if (choice.chosen in choice.candidates and len(choice.scores) == len(choice.candidates))
            else math.nan
        )
        rows.append(
            (
                f"{number + 1}. {choice.mode}",
                short(choice.p_exploit),
                short(choice.p_stop),
                f"{choice.rule} {choice.branch}".strip(),
                str(len(choice.candidates)),
                short(best),
                str(choice.chosen) if choice.chosen >= 0 else "here",
            )
        )
    header = ("decision", "p(exploit)", "p(stop)", "scored by", "compared", "score", "to")
    return Table(header, rows, "A dash: not asked at this decision.")


def _color_name(mode: str) -> str:
    names = {EXPLORE: "Blue", EXPLOIT: "Red", JUMP: "Violet", RETURN: "Orange"}
    return names.get(mode, "Dark")
