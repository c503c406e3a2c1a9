"""`embodied eval vln/continuous_houses`: figures, decisions, explanations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.evaluation.base import open_evaluator
from embodied.viz.decisions import draw_way
from embodied.viz.traces import load_traces

RECIPE = "vln/continuous_houses"


def small(cache: Path) -> list[str]:
    return [
        "task.houses.count=1", "task.houses.rooms=[2,3]", "task.houses.episodes=2",
        "task.houses.min_hops=2", "task.houses.textures=false", f"task.houses.cache={cache}",
        "evaluation.episodes=2", "evaluation.envs=2", "max_steps=120",
    ]  # fmt: skip


def test_a_baseline_drives_and_explains(tmp_path: Path) -> None:
    evaluator = open_evaluator(RECIPE, [*small(tmp_path / "houses"), "policy=detector"])
    assert evaluator.key == "houses_continuous.frontier"
    played = evaluator.play_episodes(tmp_path / "traces")
    assert len(played) == len(evaluator.list_episode_names(2)) == 2
    for episode in played:
        assert set(evaluator.shown_metrics) <= set(episode)
        assert episode["decisions"] >= 1
        assert 0 < episode["steps"] <= 120
    told = load_traces(tmp_path / "traces")
    assert {one.name for one in told} == set(evaluator.list_episode_names(2))
    for one in told:
        assert one.path[0] == 0
        assert np.abs(one.get_position(0) - one.start).max() < 0.3
        assert draw_way(one, size=200).shape == (200, 200, 3)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown.*'polcy'.*'policy'"):
        open_evaluator(RECIPE, ["polcy=random"])
