from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.tasks.navigation import metrics

LENGTH = st.floats(0, 100)


@pytest.mark.parametrize(
    ("good", "shortest", "travelled", "expected"),
    [
        (1, 10.0, 10.0, 1.0),
        (1, 10.0, 20.0, 0.5),
        (1, 10.0, 8.0, 1.0),  # stopping at the rim of the goal is no bonus
        (0, 10.0, 10.0, 0.0),
        (1, 0.0, 0.0, 1.0),  # began at the goal
        (1, 0.0, 3.0, 0.0),
        (1, np.inf, 5.0, 0.0),  # unreachable
        (1, np.nan, 5.0, 0.0),
    ],
)
def test_spl_closed_forms(good: int, shortest: float, travelled: float, expected: float) -> None:
    assert metrics.spl(good, shortest, travelled) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("distance", "shortest", "travelled", "expected"),
    [
        (0.0, 10.0, 10.0, 1.0),
        (5.0, 10.0, 10.0, 0.5),
        (5.0, 10.0, 20.0, 0.25),
        (15.0, 10.0, 10.0, 0.0),  # ended farther away than it began
        (10.0, 10.0, 0.0, 0.0),  # never moved
        (0.0, 0.0, 0.0, 1.0),
        (1.0, 0.0, 1.0, 0.0),
        (np.inf, 10.0, 10.0, 0.0),
        (np.inf, np.inf, 10.0, 0.0),
    ],
)
def test_soft_spl_closed_forms(
    distance: float, shortest: float, travelled: float, expected: float
) -> None:
    assert metrics.soft_spl(distance, shortest, travelled) == pytest.approx(expected)


@given(LENGTH, LENGTH, LENGTH)
def test_ratios_stay_between_zero_and_one(distance: float, shortest: float, walked: float) -> None:
    for value in (metrics.spl(1, shortest, walked), metrics.soft_spl(distance, shortest, walked)):
        assert 0 <= value <= 1


def test_success_needs_stop_and_nearness() -> None:
    stopped = np.array([True, True, False, True, True])
    distance = np.array([0.2, 0.21, 0.0, np.inf, np.nan])
    assert metrics.is_success(stopped, distance, 0.2).tolist() == [True, False, False, False, False]


def test_path_length_of_a_known_polyline() -> None:
    assert metrics.path_length([[0, 0, 0], [3, 0, 4], [3, 2, 4]]) == pytest.approx(7.0)
    assert metrics.path_length([[1, 2, 3]]) == 0
    assert metrics.path_length(np.zeros((0, 3))) == 0


def test_coverage_of_nothing_is_complete() -> None:
    assert metrics.coverage_share([5, 0, 0], [10, 10, 0]).tolist() == [0.5, 0.0, 1.0]
