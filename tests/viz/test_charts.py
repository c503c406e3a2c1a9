"""Charts: round ticks that span the data, valid markup, no way in for markup."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.viz.charts import Bar, Series, bar_chart, compute_ticks, format_number, line_chart

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_ticks_span_the_range_evenly(low: float, span: float) -> None:
    found = compute_ticks(low, low + span)
    slack = 1e-6 * max(abs(low), span)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack
    assert 2 <= len(found) <= 9
    steps = [b - a for a, b in zip(found[:-1], found[1:], strict=True)]
    assert max(steps) - min(steps) <= slack


@pytest.mark.parametrize(
    ("value", "text"), [(1_500_000, "1.5M"), (200_000, "200k"), (12, "12"), (0.25, "0.25")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert format_number(value) == text


def test_a_line_goes_where_its_values_are() -> None:
    page = line_chart([Series("a", [0, 10], [0.0, 1.0])], "x", "y", y_range=(0, 1))
    svg = ElementTree.fromstring(page)  # noqa: S314 - our own text
    line = next(e for e in svg if "line" in e.get("class", "").split())
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in line.get("points", "").split())
    assert x0 < x1
    assert y0 > y1  # a picture's rows run downwards


def test_a_bar_is_as_long_as_its_value() -> None:
    svg = ElementTree.fromstring(  # noqa: S314 - our own text
        bar_chart([Bar("half", 0.5, 0.4, 0.6), Bar("full", 1.0, 0.9, 1.0)], "success")
    )
    half, full = [float(e.get("width", 0)) for e in svg if "bar" in e.get("class", "").split()]
    assert full == pytest.approx(2 * half)


def test_labels_are_text_not_markup() -> None:
    page = line_chart([Series("<b>", [0], [0]), Series("x", [1], [1])], "<i>", "<u>", dots=True)
    assert "<b>" not in page
    assert "<i>" not in page.replace('<i class="', "")
    assert "&lt;u&gt;" in page


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        line_chart([], "x", "y")
    with pytest.raises(ValueError, match="at least one bar"):
        bar_chart([], "x")
