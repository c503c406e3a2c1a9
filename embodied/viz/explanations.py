"""Why an agent went where it went, as a page: the way, the corrections, every decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from embodied.policies.vln.trace import END, EXPLOIT, EXPLORE, JUMP, RETURN, START
from embodied.viz.decisions import COLORS, NODE, draw_choice, draw_spectra, draw_way, format_short
from embodied.viz.report import Figure, Report, Section, Table
from embodied.viz.topdown import FloorPlan
from embodied.viz.traces import ExplainedDecision, Explanation

WORDS = {
    START: "start",
    EXPLORE: "explore: one step of the explorer",
    EXPLOIT: "exploit: correction towards a local goal",
    JUMP: "jump of the global planner",
    RETURN: "back to the best place to stop",
    END: "stop",
}


def build_sections(
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
    caption = "The way; the arrow is where it ended. " if modes else "It stopped where it began. "
    caption += (
        "Numbers: the decisions of the table below, where they were made. Filled: visited places; "
        "hollow: seen but not entered; ring with a dot: goal."
    )
    paired = bool(names) and any(c.spectrum is not None for c in explanation.corrections[:most])
    # A map and its spectrum share a row; the way then has one of its own.
    figures = [Figure(caption, draw_way(explanation, plan), svg=_legend(modes), wide=paired)]
    for choice in explanation.corrections[:most]:
        number = 1 + next(i for i, c in enumerate(explanation.decisions) if c is choice)
        asked = f", p = {choice.p_exploit:.2f}" if math.isfinite(choice.p_exploit) else ""
        caption = (
            f"Decision {number}, a correction after {choice.moves} moves{asked}. Discs: unvisited "
            f"places, the greener the better, with their scores by {_rule(choice)}; the ring marks "
            "the winner."
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


def build_explanation_page(
    explanations: Sequence[Explanation],
    title: str,
    *,
    plans: Mapping[str, FloorPlan] | None = None,
    reference: Mapping[str, NDArray[np.floating]] | None = None,
    names: Sequence[str] = (),
    facts: Sequence[tuple[str, str]] = (),
    of: Sequence[Explanation] = (),
) -> Report:
    """Make a page of several episodes.

    Args:
        explanations: those drawn.
        title: of the page.
        plans: picture of the storey, by world.
        reference: spectrum of the words looked for, by episode name.
        names: K categories of the spectra.
        facts: how to make the page again.
        of: all episodes played, which the figures above are of; empty: those drawn.
    """
    played = of or explanations
    done = [e.metrics["success"] for e in played if "success" in e.metrics]
    moved = [mode for e in played for mode, walk in e.segments for _ in walk[1:]]
    drawn = f"episodes, {len(explanations)} drawn" if of else "episodes explained"
    tiles = [(str(len(played)), drawn)]
    if done:
        tiles.append((f"{sum(v > 0 for v in done)} of {len(done)}", "successful"))
    if moved:
        share = moved.count(EXPLOIT) / len(moved)
        tiles.append((f"{100 * share:.0f} %", "of the moves belong to a correction"))
    parts = [
        section
        for e in explanations
        for section in build_sections(
            e, (plans or {}).get(e.world), (reference or {}).get(e.name), names
        )
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
    for number, choice in enumerate(explanation.decisions):
        best = (
            choice.scores[choice.candidates.index(choice.chosen)]
            if (choice.chosen in choice.candidates and len(choice.scores) == len(choice.candidates))
            else math.nan
        )
        rows.append(
            (
                f"{number + 1}. {choice.mode}",
                format_short(choice.p_exploit),
                format_short(choice.p_stop),
                _rule(choice),
                str(len(choice.candidates)),
                format_short(best),
                _aim(explanation, choice),
            )
        )
    header = ("decision", "p(exploit)", "p(stop)", "scored by", "compared", "score", "goes")
    text = "Score: of what was chosen, among so many compared. A dash: not asked at this decision."
    return Table(header, rows, text)


def _rule(choice: ExplainedDecision) -> str:
    return f"{choice.rule} ({choice.branch})" if choice.branch else choice.rule


def _aim(explanation: Explanation, choice: ExplainedDecision) -> str:
    """Where a decision leads, as a distance: places have no names a reader knows."""
    if choice.chosen not in explanation.places:
        return "nowhere: stops"
    ends = explanation.get_positions((choice.place, choice.chosen))
    return f"{np.linalg.norm(ends[1] - ends[0]):.1f} m away"


def _legend(modes: Sequence[str]) -> str:
    """Return the colours of the way as markup."""
    items = "".join(
        f'<span><i style="color:rgb{COLORS.get(mode, NODE)}"></i>'
        f"{escape(WORDS.get(mode, mode))}</span>"
        for mode in modes
    )
    return f'<div class="legend way">{items}</div>' if items else ""
