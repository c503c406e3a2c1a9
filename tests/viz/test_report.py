"""The report: one file, everything in it, nothing fetched, nothing half-written."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from embodied.files import UnwritableError
from embodied.viz.charts import Bar, bar_chart
from embodied.viz.report import Figure, Report, Section, Table, render_report, write_report


def page(tmp_path: Path) -> Report:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"not really a film")
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :, 0] = 200  # red
    return Report(
        "Title <script>",
        "Lead",
        tiles=[("93 %", "of the floor")],
        sections=[
            Section("Film", film=film, film_caption="what it shows"),
            Section(
                "Pictures",
                "text",
                [Figure("drawn", image), Figure("found it", image, badge="found", photo=True)],
                tables=[Table(("policy", "success"), [("random", "0.1"), ("ours", "0.9")], best=1)],
            ),
            Section(
                "Chart", figures=[Figure("bars", svg=bar_chart([Bar("a", 0.5, 0.4, 0.6)], "s"))]
            ),
        ],
        facts=[("command", "embodied demo")],
    )


def test_everything_is_inside_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = render_report(page(tmp_path))
    assert "Title &lt;script&gt;" in text
    for word in (
        "93 %",
        "Lead",
        "drawn",
        "found it",
        "ours",
        "embodied demo",
        "<svg",
        "what it shows",
    ):
        assert word in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 3
    assert all(s.startswith("data:") for s in sources)
    assert not re.findall(r"https?://", text)
    assert "prefers-color-scheme: dark" in text


def test_pictures_keep_their_colours(tmp_path: Path) -> None:
    text = render_report(page(tmp_path))
    for kind in ("png", "jpeg"):
        found = re.search(rf"data:image/{kind};base64,([^\"]+)", text)
        assert found
        data = np.frombuffer(base64.b64decode(found[1]), np.uint8)
        blue, green, red = cv2.imdecode(data, cv2.IMREAD_COLOR)[4, 4]
        assert (int(red) > 180, int(green) < 20, int(blue) < 20) == (True, True, True)


def test_the_best_row_is_marked_once(tmp_path: Path) -> None:
    assert render_report(page(tmp_path)).count('class="best"') == 1


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError):
        write_report(page(tmp_path), tmp_path / "file" / "report.html")
