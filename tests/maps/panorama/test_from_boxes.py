"""Percepts made of annotated boxes."""

from __future__ import annotations

import numpy as np
import pytest

from maps.panorama.from_boxes import build_panorama_from_boxes
from maps.panorama.observation import OBJECT_FEATURES, VIEW_EXTRAS

AREA, ASPECT = OBJECT_FEATURES.index("log_area"), OBJECT_FEATURES.index("log_aspect")


def test_the_area_is_the_solid_angle_of_the_box() -> None:
    """A band from pole to pole of width w is w / 2 pi of the sphere's 4 pi."""
    boxes = [[1.0, 0.0, 0.5, np.pi], [1.0, 0.5, 0.2, 0.1]]
    seen = build_panorama_from_boxes([3, 4], ["door", "lamp"], [0, 1], boxes, 2)
    assert np.exp(seen.features[0, AREA]) == pytest.approx(0.5 * 2, rel=1e-6)
    exact = 0.2 * (np.sin(0.55) - np.sin(0.45))
    assert np.exp(seen.features[1, AREA]) == pytest.approx(exact, rel=1e-5)
    assert np.exp(seen.features[1, ASPECT]) == pytest.approx(2, rel=1e-6)
    assert not np.delete(seen.features, (AREA, ASPECT), axis=1).any()  # unknown stays 0


def test_views_hold_the_share_and_the_size_of_what_they_show() -> None:
    seen = build_panorama_from_boxes([3], ["door"], [1], [[np.pi / 2, 0, 0.4, 0.4]], 3)
    assert seen.views.shape == (36, 2 * 3 + len(VIEW_EXTRAS))
    shares, sizes = seen.views[:, :3], seen.views[:, 3:6]
    near = {v for v in range(36) if v % 12 in (2, 3, 4)}  # 60, 90, 120 deg clockwise
    assert set(np.flatnonzero(shares[:, 1])) == set(np.flatnonzero(sizes[:, 1])) == near
    # A square of 0.4 rad before a camera with a focal length of 415.69 px.
    side = 2 * 415.69 * np.tan(0.2)
    assert shares[15, 1] == pytest.approx(side**2 / (640 * 480), rel=0.15)
    assert sizes[15, 1] == pytest.approx(0.4, rel=1e-3)
    assert not shares[21].any()
    assert not shares[:, [0, 2]].any()
    assert not seen.views[:, 6:].any()


def test_a_canvas_known_better_is_taken() -> None:
    canvas = np.zeros((2, 32, 96), bool)
    canvas[1, 10:20, 0:8] = True
    seen = build_panorama_from_boxes([3], ["door"], [0], [[0, 0, 0.4, 0.4]], 2, canvas)
    assert (seen.canvas == canvas).all()
    assert seen.views[:, 1].any()
    assert not seen.views[:, 0].any()


@pytest.mark.parametrize("box", [[0, 0, np.nan, 1], [0, 0, 0, 1], [np.inf, 0, 1, 1], [0, 0, 1, -1]])
def test_a_box_that_is_none_is_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="box 0"):
        build_panorama_from_boxes([3], ["door"], [0], [box], 2)


def test_a_category_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="categories"):
        build_panorama_from_boxes([3], ["door"], [2], [[0, 0, 1, 1]], 2)
