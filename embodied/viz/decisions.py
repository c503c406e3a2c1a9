"""Pictures of decisions: the way by mode, what was compared and how it scored, spectra.

Over a scene the way is drawn on the picture of the storey; without one (Matterport3D graphs) over
the agent's own map of places and ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.policies.vln.trace import EXPLOIT, EXPLORE, JUMP, RETURN
from embodied.viz.topdown import FloorPlan
from embodied.viz.traces import ExplainedDecision, Explanation
from maps.drawing import Color, Image, MapCanvas

COLORS: dict[str, Color] = {
    EXPLORE: (37, 84, 214),
    EXPLOIT: (226, 62, 87),
    JUMP: (138, 85, 215),
    RETURN: (245, 132, 31),
}
"""Colour of a stretch of the way by what led there."""

NODE: Color = (58, 66, 82)
WAY: Color = (150, 160, 176)
HALO: Color = (255, 255, 255)
LOW, HIGH = np.array([196, 203, 214.0]), np.array([20, 150, 132.0])
"""Colours of the worst and of the best score."""
SIZE = 720
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_way(explanation: Explanation, plan: FloorPlan | None = None, size: int = SIZE) -> Image:
    """Draw map, way by mode, start, end and goals of one episode; (S, S, 3) uint8."""
    canvas = _canvas(explanation, plan, size)
    _draw_map(canvas, explanation)
    _draw_legs(canvas, explanation)
    for goal in explanation.goals:
        canvas.draw_goal(explanation.get_position(goal))
    order = [p for _, walk in explanation.segments for p in walk] or list(explanation.places)[:1]
    _number(canvas, explanation)
    if order:
        _label(canvas, explanation.get_position(order[0]), "start", NODE, below=True)
        end = explanation.get_positions(order[-2:])
        ahead = end[-1] - end[0]
        yaw = math.atan2(-ahead[0], -ahead[2]) if np.hypot(ahead[0], ahead[2]) > 0 else 0.0
        canvas.draw_agent(end[-1], yaw)
    canvas.draw_scale_bar()
    return canvas.image


def draw_choice(
    explanation: Explanation,
    choice: ExplainedDecision,
    plan: FloorPlan | None = None,
    size: int = SIZE,
) -> Image:
    """Draw what was known and compared at one decision: candidates coloured and labelled by their
    score, the way so far thin.
    """
    canvas = _canvas(explanation, plan, size)
    before = explanation.truncate_at(choice.moves)
    _draw_map(canvas, before)
    _draw_legs(canvas, before, 0.4)
    compared = [
        (place, score)
        for place, score in zip(choice.candidates, choice.scores, strict=False)
        if place in explanation.places  # STOP lies nowhere
    ]
    scores = np.array([score for _, score in compared], np.float64)
    usable = np.isfinite(scores)
    low, high = (scores[usable].min(), scores[usable].max()) if usable.any() else (0.0, 1.0)
    taken: list[NDArray[np.float64]] = []
    for place, score in compared:
        share = (score - low) / (high - low) if high > low and math.isfinite(score) else 1.0
        share = share if math.isfinite(score) else 0.0
        red, green, blue = (LOW + share * (HIGH - LOW)).round().astype(int).tolist()
        _disc(canvas, explanation.get_position(place), 0.2, (red, green, blue))
    if choice.chosen in explanation.places:
        _ring(canvas, explanation.get_position(choice.chosen), COLORS.get(choice.mode, NODE))
    canvas.draw_agent(explanation.get_position(choice.place), 0.0)
    for place, score in compared:
        spot = canvas.to_pixels(explanation.get_position(place))
        if place == choice.chosen or all(np.abs(spot - t).max() > 26 for t in taken):
            taken.append(spot)
            aside = 14.0 if place == choice.chosen else 0.0  # beside the ring
            _label(canvas, explanation.get_position(place), format_short(score), NODE, aside=aside)
    canvas.draw_scale_bar()
    return canvas.image


def draw_spectra(
    winner: NDArray[np.floating],
    reference: NDArray[np.floating] | None,
    names: Sequence[str],
    count: int = 8,
    size: tuple[int, int] = (34, 620),
) -> Image:
    """Draw the strongest rows of a scene object spectrum as strips, over those of the reference.

    Args:
        winner: (K, F) spectrum of the chosen place.
        reference: (K, F) spectrum of the words looked for, or None.
        names: K categories.
        count: rows drawn: those of the reference first, then the winner's strongest.
        size: (height, width) of a strip [px].
    """
    rows = _rows(winner, reference, count)
    both = [("seen", np.asarray(winner, np.float64))]
    if reference is not None:
        both.append(("wanted", np.asarray(reference, np.float64)))
    height, width = size
    gutter, pad = 210, 8
    line = height * len(both) + pad
    image = np.full((max(1, len(rows)) * line + pad, gutter + width + pad, 3), 255, np.uint8)
    for number, row in enumerate(rows):
        top = pad + number * line
        cv2.putText(
            image,
            names[row].replace("_", " ")[:18],
            (10, top + 22),
            FONT,
            0.55,
            NODE,
            1,
            cv2.LINE_AA,
        )
        for k, (label, values) in enumerate(both):
            peak = max(float(values.max()), 1e-12)
            share = np.sqrt(np.clip(values[row] / peak, 0, 1))  # the low end shows
            color = np.array(COLORS[EXPLOIT] if k == 0 else COLORS[EXPLORE], np.float64)
            strip = 255 + share[:, None] * (color - 255)
            strip = cv2.resize(
                strip[None].astype(np.uint8), (width, height - 3), interpolation=cv2.INTER_NEAREST
            )
            at = top + k * height
            image[at : at + height - 3, gutter : gutter + width] = strip
            cv2.putText(image, label, (158, at + 22), FONT, 0.42, WAY, 1, cv2.LINE_AA)
    return image


def _rows(
    winner: NDArray[np.floating], reference: NDArray[np.floating] | None, count: int
) -> list[int]:
    """Categories to show: those looked for, then the strongest seen, without empty ones."""
    seen = np.square(np.asarray(winner, np.float64)).sum(axis=1)
    wanted = np.zeros_like(seen)
    if reference is not None:
        wanted = np.square(np.asarray(reference, np.float64)).sum(axis=1)
    order = np.lexsort((-seen, -wanted))
    return [int(k) for k in order if seen[k] > 0 or wanted[k] > 0][:count]


def _canvas(explanation: Explanation, plan: FloorPlan | None, size: int) -> MapCanvas:
    if plan is not None:
        canvas = MapCanvas(plan.low, plan.high, plan.image.shape[:2])
        pale = 0.55 * plan.image.astype(np.float32) + 0.45 * 255
        canvas.image = pale.astype(np.uint8)
        return canvas
    points = explanation.get_positions(explanation.places)[:, [0, 2]]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = max(float(np.ptp(points, axis=0).max()) / 2, 1.0) + 1.0
    low, high = (middle - half).tolist(), (middle + half).tolist()
    return MapCanvas((low[0], low[1]), (high[0], high[1]), (size, size))


def _draw_map(canvas: MapCanvas, explanation: Explanation) -> None:
    """Known ways, visited places filled, others hollow."""
    for a, b in explanation.edges:
        canvas.draw_polyline(explanation.get_positions((a, b)), WAY, WAY, 1)
    for place in explanation.places:
        inner = NODE if place in explanation.visited else HALO
        _disc(canvas, explanation.get_position(place), 0.1, NODE)
        _disc(canvas, explanation.get_position(place), 0.07, inner)


def _beside(ends: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Shift a leg (2, 3) to the right of its direction [m]: there and back stay apart."""
    x, _, z = ends[1] - ends[0]
    length = max(math.hypot(x, z), 1e-9)
    return ends + np.array([-z, 0.0, x]) * (shift / length)


def _draw_legs(canvas: MapCanvas, explanation: Explanation, share: float = 1.0) -> None:
    """Draw the way, `share` of the usual width."""
    width = share * max(3.0, 0.08 * canvas.scale)
    legs = [
        (
            COLORS.get(mode, NODE),
            _beside(explanation.get_positions(ends), 0.7 * width / canvas.scale),
        )
        for mode, walk in explanation.segments
        for ends in zip(walk, walk[1:], strict=False)
    ]
    for _, points in legs:
        canvas.draw_polyline(points, HALO, HALO, width + 3)
    for color, points in legs:
        canvas.draw_polyline(points, color, color, width)


def _disc(canvas: MapCanvas, point: ArrayLike, radius: float, color: Color) -> None:
    least = 7.0 if radius >= 0.2 else (4.5 if radius >= 0.1 else 3.0)
    canvas.draw_dots(np.asarray(point)[None], color, max(radius, least / canvas.scale))


def _ring(canvas: MapCanvas, point: ArrayLike, color: Color) -> None:
    x, y = canvas.to_pixels(point)
    radius = round(max(0.32 * canvas.scale, 12))
    for paint, width in ((HALO, 6), (color, 3)):
        cv2.circle(canvas.image, (round(x), round(y)), radius, paint, width, cv2.LINE_AA)


def _number(canvas: MapCanvas, explanation: Explanation) -> None:
    """Write beside each place the numbers of the decisions made there, in the colour of the last
    one's mode.
    """
    made: dict[int, list[int]] = {}
    for number, choice in enumerate(explanation.decisions, start=1):
        if choice.place in explanation.places:
            made.setdefault(choice.place, []).append(number)
    for place, numbers in made.items():
        color = COLORS.get(explanation.decisions[numbers[-1] - 1].mode, NODE)
        _label(canvas, explanation.get_position(place), ",".join(map(str, numbers)), color)


def _label(
    canvas: MapCanvas,
    point: ArrayLike,
    text: str,
    color: Color,
    *,
    below: bool = False,
    aside: float = 0.0,
) -> None:
    x, y = canvas.to_pixels(point) + (aside, 36 if below else 0)
    height, width = canvas.image.shape[:2]
    (w, h), _ = cv2.getTextSize(text, FONT, 0.5, 1)
    at = (int(np.clip(x + 16, 2, width - w - 2)), int(np.clip(y - 12, h + 2, height - 4)))
    for paint, thick in ((HALO, 5), (color, 1)):
        cv2.putText(canvas.image, text, at, FONT, 0.5, paint, thick, cv2.LINE_AA)


def format_short(value: float) -> str:
    """Write a number with two decimals, a small one with two digits; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2g}" if 0 < abs(value) < 0.095 else f"{value:.2f}"
