"""The paired bootstrap against the normal theory and its refusals."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.evaluation.base import summarise_metrics
from embodied.results import ResultsError, paired_bootstrap, paired_metric, summarize


def test_the_interval_agrees_with_the_normal_one_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5.0, 800)  # what both share must cancel
    a, b = hard + rng.normal(0.1, 1.0, 800), hard + rng.normal(0.0, 1.0, 800)
    mean, (low, high), p_value = paired_bootstrap(a, b)
    error = (a - b).std(ddof=1) / np.sqrt(800)
    assert mean == pytest.approx((a - b).mean())
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.1 * error)
    assert 0 < p_value < 0.2
    unpaired = summarize(a)[1]
    assert high - low < 0.5 * (unpaired[1] - unpaired[0])


def test_two_flags_that_never_disagree_differ_by_nothing() -> None:
    flags = np.array([0.0, 1.0, 1.0, 0.0])
    assert paired_bootstrap(flags, flags) == (0.0, (0.0, 0.0), 1.0)


def test_always_better_is_as_significant_as_the_resamples_allow() -> None:
    mean, interval, p_value = paired_bootstrap(np.ones(50), np.zeros(50), resamples=999)
    assert (mean, interval, p_value) == (1.0, (1.0, 1.0), 1 / 1000)


def test_a_metric_carries_the_interval_and_the_command() -> None:
    made = paired_metric([1.0, 1.0, 0.0], [0.0, 1.0, 0.0], "embodied ablate")
    assert (made.n, made.command) == (3, "embodied ablate")
    assert made.value == pytest.approx(1 / 3)
    assert made.ci95[0] <= made.value <= made.ci95[1]


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], []), ([float("nan")], [1.0])])
def test_what_cannot_be_paired_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ResultsError, match="paired comparison"):
        paired_bootstrap(a, b)


def test_one_gain_of_a_hundred_is_no_certain_gain() -> None:
    gains = [{"success": float(number == 0)} for number in range(100)]
    gained = summarise_metrics(gains, "", "gain", differences=True)["gain.success"]
    assert gained.value == pytest.approx(0.01)
    assert gained.ci95[0] == 0
    flags = summarise_metrics(gains, "")["success"]
    assert flags.ci95[0] > 0  # Wilson: one success is one
