"""Depth images against values recorded from habitat-sim."""

from __future__ import annotations

import pytest

from embodied.errors import SceneError
from embodied.simulators.parity import SCENES, measure_depth_parity


def test_depth_agrees_with_habitat(shared_data):
    report = measure_depth_parity(shared_data("habitat_reference"))
    assert report["within_1cm"] > 0.99
    assert report["median_error"] < 0.001
    for name in SCENES:
        assert report[f"{name}.within_1cm"] > 0.99
        assert report[f"{name}.median_error"] < 0.001
    assert report["pixels"] > 300_000  # silhouettes must not swallow the images


def test_missing_reference(tmp_path):
    with pytest.raises(SceneError, match="no recorded values"):
        measure_depth_parity(tmp_path)
