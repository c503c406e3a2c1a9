"""Commands of every kind of badness; setpoints are checked by code that shares nothing with ours.

`embodied bench robots` throws a million of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.robots import PERIOD, SAFETY, Checker, fuzz
from robots.model import load_model

pytest.importorskip("pybullet", reason="the independent kinematics: pip install pybullet")


@pytest.mark.parametrize("name", ["fr3", "panda", "kuka_iiwa"])
def test_no_command_whatever_makes_a_setpoint_break_a_limit(name: str) -> None:
    found = fuzz(name, 12_000, seed=7)
    assert found["violations"] == 0, found
    # It was worth checking: commands were taken and the limits were used.
    assert found["taken_share"] > 0.2
    assert found["used.tool_speed"] > 0.6
    assert found["used.acceleration"] > 0.9
    assert found["used.workspace"] > 0.6


def test_the_independent_checker_sees_each_kind_of_violation() -> None:
    model = load_model("fr3")
    home = np.array(model.home)
    checker = Checker(model, SAFETY)
    try:
        still = np.tile(home, (10, 1))
        assert max(checker.worst(still, PERIOD).values()) < 1
        leap = still.copy()
        leap[5:, 6] += 0.05
        shares = checker.worst(leap, PERIOD)
        assert min(shares["velocity"], shares["acceleration"], shares["jerk"]) > 1
        fast = home + np.outer(np.arange(100) * PERIOD, [1.0, 0, 0, 0, 0, 0, 0])
        assert checker.worst(fast, PERIOD)["tool speed"] > 1
        low = np.tile([0.0, 1.6, 0.0, -1.0, 0.0, 1.5, 0.0], (3, 1))
        assert checker.worst(low, PERIOD)["workspace"] > 1
        beyond = still + [0, 0, 0, 0, 0, 0, 2.2]
        assert checker.worst(beyond, PERIOD)["position"] > 1
        assert checker.worst(still * np.nan, PERIOD) == {"finite": np.inf}
    finally:
        checker.close()
