"""Intervals against closed forms; one schema on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.results import (
    Metric,
    ResultsError,
    build_metric,
    compute_wilson_interval,
    read_results,
    summarize,
    write_results,
)


def test_wilson_matches_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert compute_wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_rate(case: tuple[int, int]) -> None:
    low, high = compute_wilson_interval(*case)
    assert 0 <= low <= case[0] / case[1] <= high <= 1


def test_published_success_rates_keep_their_intervals() -> None:
    kept = 0  # the others are bootstrapped, or differences
    for file in (Path(__file__).parents[1] / "docs" / "results").glob("*.json"):
        for figure in read_results(file)["metrics"].values():
            value, trials = figure["value"], figure["n"]
            if (
                0 <= value <= 1
                and trials > 1
                and abs(value * trials - round(value * trials)) < 1e-6
            ):
                interval = compute_wilson_interval(round(value * trials), trials)
                kept += interval == pytest.approx(figure["ci95"], abs=1e-12)
    assert kept > 200


def test_flags_get_the_wilson_interval() -> None:
    mean, interval = summarize([True] * 9 + [False])
    assert mean == 0.9
    assert interval == compute_wilson_interval(9, 10)


def test_the_bootstrap_agrees_with_the_normal_interval_and_repeats() -> None:
    samples = np.random.default_rng(3).normal(5, 2, size=400)
    mean, (low, high) = summarize(samples)
    half = 1.96 * samples.std(ddof=1) / 20
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.1), pytest.approx(half, rel=0.1))
    assert summarize(samples) == (mean, (low, high))


def test_one_sample_has_no_spread() -> None:
    assert summarize([2.5]) == (2.5, (2.5, 2.5))


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_values_without_a_mean_are_refused(values: list[float]) -> None:
    with pytest.raises(ResultsError):
        summarize(values)


def test_the_schema_and_the_merge(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    write_results(
        file, {"a.b": build_metric([1, 0, 1, 1], "run a")}, seeds=[3, 1], config_digest="x"
    )
    write_results(file, {"c": Metric(2.0, 5, (1.5, 2.5), "run c")}, seeds=[2], config_digest="y")
    content = json.loads(file.read_text())
    assert set(content) == {"metrics", "seeds", "config_digest", "versions", "machine"}
    assert set(content["metrics"]) == {"a.b", "c"}
    assert content["metrics"]["c"] == {"value": 2.0, "n": 5, "ci95": [1.5, 2.5], "command": "run c"}
    assert content["metrics"]["a.b"]["n"] == 4
    assert content["seeds"] == [1, 2, 3]
    assert content["config_digest"] == "y"
    assert content["versions"]["numpy"] == np.__version__
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_gb"] > 0


def test_a_figure_that_is_not_finite_is_refused_and_nothing_written(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    with pytest.raises(ResultsError, match="not finite"):
        write_results(file, {"x": Metric(float("nan"), 1, (0.0, 1.0))})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["not json", "[]", '{"metrics": 3}'])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.json"
    file.write_text(text)
    with pytest.raises(ResultsError, match=r"notes\.json"):
        write_results(file, {"x": Metric(1.0, 1, (1.0, 1.0))})
    assert file.read_text() == text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"gone\.json"):
        read_results(tmp_path / "gone.json")
