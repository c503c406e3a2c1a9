"""The path finder repeats what real habitat-sim 0.3.4 answered on three recorded scenes."""

from __future__ import annotations

from pathlib import Path

import pytest

from embodied.errors import SceneError
from embodied.simulators.parity_navigation import CHECKS, SCENES, measure_navigation_parity

LEAST = {
    "navigable": 0.97,
    "topdown": 0.97,
    "geodesic": 0.95,
    "reachability": 0.95,
    "rollout_heading": 1.0,
    "rollout_10cm": 0.95,
    "rollout_3cm": 0.75,
    "collided": 0.90,
}


@pytest.fixture(scope="module")
def parity() -> dict[str, float]:
    from tests.conftest import shared_data

    return measure_navigation_parity(shared_data("habitat_reference"))


@pytest.mark.parametrize("check", CHECKS)
def test_overall_fraction_agrees(parity: dict[str, float], check: str) -> None:
    assert parity[check] >= LEAST[check]
    assert parity[f"{check}.count"] >= 150


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("check", CHECKS)
def test_every_scene_agrees(parity: dict[str, float], scene: str, check: str) -> None:
    assert parity[f"{scene}.{check}"] >= LEAST[check]


def test_missing_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="simple_room.glb is missing"):
        measure_navigation_parity(tmp_path)
