"""Small charts as inline SVG: sharp at any size, coloured by the page's light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

WIDTH, WIDE, HEIGHT = 640, 1030, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 16, 44


@dataclass(frozen=True)
class Series:
    """One line of a chart; `low` and `high` draw a band around it.

    Attributes:
        label: name in the legend.
        x, y: (N,) each.
        low, high: (N,) each, or empty.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike = ()
    high: ArrayLike = ()


@dataclass(frozen=True)
class Bar:
    """One horizontal bar with its 95 % interval; `strong` ones are coloured, the others grey."""

    label: str
    value: float
    low: float
    high: float
    strong: bool = True


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    y_range: tuple[float, float] | None = None,
    percent: bool = False,
    dots: bool = False,
    wide: bool = False,
) -> str:
    """Draw lines over a common axis.

    Args:
        series: at least one, with at least one point.
        x_label: title of the horizontal axis, with its unit.
        y_label: title of the vertical axis, with its unit.
        y_range: fixed limits; else those of the data, rounded.
        percent: label the y axis in percent of 1.
        dots: mark every point.
        wide: as wide as the page instead of half of it.

    Raises:
        ValueError: nothing to draw.
    """
    if not any(np.size(s.x) for s in series):
        raise ValueError("a chart needs at least one point")
    width = WIDE if wide else WIDTH
    xs = np.concatenate([np.asarray(s.x, float) for s in series])
    values = [np.asarray(v, float) for s in series for v in (s.y, s.low, s.high) if np.size(v)]
    ys = np.concatenate(values)
    low, high = y_range or (float(ys.min()), float(ys.max()))
    x_ticks, y_ticks = compute_ticks(float(xs.min()), float(xs.max())), compute_ticks(low, high)
    x_low, x_high = min(x_ticks[0], float(xs.min())), max(float(xs.max()), x_ticks[0] + 1e-9)
    y_low, y_high = min(low, y_ticks[0]), max(high, y_ticks[-1])

    def place(x: ArrayLike, y: ArrayLike) -> list[tuple[float, float]]:
        u = (np.asarray(x, float) - x_low) / (x_high - x_low)
        v = (np.asarray(y, float) - y_low) / max(y_high - y_low, 1e-12)
        columns = LEFT + u * (width - LEFT - RIGHT)
        rows = HEIGHT - BOTTOM - np.clip(v, 0, 1) * (HEIGHT - TOP - BOTTOM)
        return list(zip(columns.tolist(), rows.tolist(), strict=True))

    parts = []
    for tick in y_ticks:
        (_, row), *_ = place([x_low], [tick])
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{row:.1f}" y2="{row:.1f}"/>'
        )
        label = f"{100 * tick:.0f}%" if percent else format_number(tick)
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{row + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for tick in x_ticks:
        if tick > x_high:
            continue
        (column, _), *_ = place([tick], [y_low])
        parts.append(
            f'<text class="tick" x="{column:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{format_number(tick)}</text>"
        )
    for index, s in enumerate(series):
        color = f"c{index % 5}"
        if np.size(s.low):
            outline = place(s.x, s.high) + place(s.x, s.low)[::-1]
            parts.append(f'<polygon class="band {color}" points="{_points(outline)}"/>')
        corners = place(s.x, s.y)
        parts.append(f'<polyline class="line {color}" points="{_points(corners)}"/>')
        if dots:
            parts += [
                f'<circle class="dot {color}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in corners
            ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="axis" x="{(LEFT + width - RIGHT) / 2}" y="{HEIGHT - 6}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    return _svg(width, HEIGHT, parts, y_label) + _legend([s.label for s in series])


def bar_chart(bars: Sequence[Bar], label: str, *, high: float = 1.0) -> str:
    """Draw horizontal bars with their intervals, in percent of 1 when `high` is 1.

    Raises:
        ValueError: nothing to draw.
    """
    if not bars:
        raise ValueError("a chart needs at least one bar")
    left, step = max(168, 20 + 7 * max(len(bar.label) for bar in bars)), 38
    height = TOP + step * len(bars) + 8
    scale = (WIDTH - left - 70) / high
    parts = []
    for index, bar in enumerate(bars):
        top = TOP + step * index
        middle = top + 11
        width = max(scale * bar.value, 1.5)
        color = "c0" if bar.strong else "plain"
        box = f'x="{left}" y="{top}" height="22" rx="4"'
        ends = [left + scale * min(max(x, 0.0), high) for x in (bar.low, bar.high)]
        text = f"{100 * bar.value:.0f}%" if high == 1.0 else format_number(bar.value)
        parts.append(
            f'<text class="name" x="{left - 12}" y="{middle + 4}" text-anchor="end">'
            f"{escape(bar.label)}</text>"
            f'<rect class="track" {box} width="{scale * high:.1f}"/>'
            f'<rect class="bar {color}" {box} width="{width:.1f}"/>'
            f'<path class="whisker" d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}'
            f'M{ends[0]:.1f} {middle - 5}v10M{ends[1]:.1f} {middle - 5}v10"/>'
            f'<text class="value" x="{left + scale * high + 10:.1f}" y="{middle + 4}">{text}</text>'
        )
    return _svg(WIDTH, height, parts, label)


def compute_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that span [low, high], about `count` of them."""
    span = max(high - low, 1e-9)
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def format_number(value: float) -> str:
    """Write a number shortly: 1.5M, 200k, 12, 0.25."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _points(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label, quote=True)}">{"".join(parts)}</svg>'
    )


def _legend(labels: Sequence[str]) -> str:
    if len(labels) < 2:
        return ""
    items = "".join(
        f'<span><i class="c{index % 5}"></i>{escape(label)}</span>'
        for index, label in enumerate(labels)
    )
    return f'<div class="legend">{items}</div>'
