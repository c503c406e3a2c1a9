"""Figures with their uncertainty, and the one JSON schema every evaluation and benchmark writes."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.errors import EmbodiedError
from embodied.files import write_text

PACKAGES = (
    "embodied-stack",
    "torch",
    "numpy",
    "scipy",
    "numba",
    "opencv-python-headless",
    "gymnasium",
    "trimesh",
    "embreex",
    "open3d",
)
CONFIDENCE = 0.95
_BLOCK = 2_000_000  # numbers that a bootstrap draws at once


class ResultsError(EmbodiedError):
    """A results file that cannot be read or a figure that cannot be written."""


@dataclass(frozen=True)
class Metric:
    """One published figure.

    Attributes:
        value: the figure itself.
        n: how many independent samples (episodes, frames) it rests on.
        ci95: 95 % confidence interval (low, high).
        command: the command line that makes it again.
    """

    value: float
    n: int
    ci95: tuple[float, float]
    command: str = ""

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.ci95[0]:.3f}, {self.ci95[1]:.3f}]"


def summarize(
    values: ArrayLike, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return the mean of some samples and its 95 % confidence interval.

    Samples that are all 0 or 1 (success flags) get the Wilson score interval, which stays honest at
    0 % and 100 %; all else a seeded percentile bootstrap of the mean.

    Args:
        values: (N,) numbers, N >= 1, finite.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ResultsError: no samples, or a NaN or infinite one.
    """
    samples = np.asarray(values, np.float64).ravel()
    if samples.size == 0:
        raise ResultsError("no samples to summarise: run at least one episode")
    if not np.isfinite(samples).all():
        raise ResultsError(
            f"{int((~np.isfinite(samples)).sum())} of {samples.size} samples are NaN or infinite; "
            "decide what they count as before averaging"
        )
    mean = float(samples.mean())
    if np.isin(samples, (0.0, 1.0)).all():
        return mean, compute_wilson_interval(int(samples.sum()), samples.size)
    interval, _ = _bootstrap_mean(samples, resamples, seed)
    return mean, interval


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> tuple[float, tuple[float, float], float]:
    """Compare two methods on the same episodes: is the mean of a - b above 0?

    Whole episodes are drawn with replacement, so that what makes an episode hard for both cancels
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16).

    Args:
        a: (N,) one figure per episode, finite.
        b: (N,) the other method's, in the same order.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        The mean difference a - b, its 95 % percentile interval, and the one-sided p value of "a is
        not better": the share of resamples whose difference is 0 or less, itself counted once.

    Raises:
        ResultsError: different lengths, no episodes, or NaN or infinite values.
    """
    first, second = (np.asarray(x, np.float64).ravel() for x in (a, b))
    if first.size != second.size:
        raise ResultsError(
            f"paired comparison of {first.size} and {second.size} episodes: play the same ones"
        )
    difference = first - second
    if difference.size == 0 or not np.isfinite(difference).all():
        raise ResultsError("paired comparison needs at least one episode and finite values")
    interval, means = _bootstrap_mean(difference, resamples, seed)
    p_value = (1 + int((means <= 0).sum())) / (1 + resamples)
    return float(difference.mean()), interval, p_value


def paired_metric(a: ArrayLike, b: ArrayLike, command: str = "", *, seed: int = 0) -> Metric:
    """Publish the mean difference a - b over the same episodes with its paired interval."""
    mean, interval, _ = paired_bootstrap(a, b, seed=seed)
    return Metric(mean, int(np.size(a)), interval, command)


def seed_metric(
    samples: ArrayLike, command: str = "", *, resamples: int = 2000, seed: int = 0
) -> Metric:
    """Publish the mean over several trainings, each judged on the same episodes.

    The 95 % interval is that of a bootstrap over both: whole trainings and whole episodes are drawn
    with replacement, so that luck of the seed and of the episodes both count (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 3.8). For a comparison give differences.

    Args:
        samples: (S, N) one row a training, one column an episode, finite.
        command: the command line that makes it again.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ResultsError: another shape, no samples, or NaN or infinite ones.
    """
    size = np.size(samples)
    return seed_ratio(
        (samples,), lambda total: total / size, command, resamples=resamples, seed=seed
    )


def seed_ratio(
    tables: Sequence[ArrayLike],
    of: Callable[..., Any],
    command: str = "",
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Metric:
    """Publish a figure made of sums over the same trainings and episodes, such as a rate.

    The interval is that of `seed_metric`: each resample sums every table over the same trainings
    and episodes.

    Args:
        tables: (S, N) each, one row a training, one column an episode, finite.
        of: takes the sum of each table, as numbers or as arrays of them, and returns the figure.
        command: the command line that makes it again.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ResultsError: other shapes, no samples, NaN or infinite ones, or a figure that is not finite
            in some resample, as a rate over episodes that all failed.
    """
    arrays = [np.asarray(table, np.float64) for table in tables]
    shape = arrays[0].shape
    if not all(
        a.ndim == 2 and a.size and a.shape == shape and np.isfinite(a).all() for a in arrays
    ):
        raise ResultsError(
            f"samples {[a.shape for a in arrays]} must be (trainings, episodes) and finite"
        )
    seeds, episodes = _resampled_counts(*shape, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = of(*(((seeds @ array) * episodes).sum(axis=1) for array in arrays))
        value = float(of(*(array.sum() for array in arrays)))
    if not np.isfinite(drawn).all():
        raise ResultsError("the figure is not defined in every resample: too few successes")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Metric(value, arrays[0].size, (float(low), float(high)), command)


def compute_wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a success rate (E. B. Wilson, 1927)."""
    from scipy.stats import binomtest  # takes a second

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def build_metric(values: ArrayLike, command: str = "", *, seed: int = 0) -> Metric:
    """Summarise samples into a `Metric`."""
    mean, interval = summarize(values, seed=seed)
    return Metric(mean, int(np.size(values)), interval, command)


def write_results(
    path: str | Path,
    metrics: Mapping[str, Metric],
    *,
    seeds: Sequence[int] = (),
    config_digest: str = "",
) -> None:
    """Write metrics under dotted keys, atomically; keys already in the file and not given stay.

    Seeds join those of the file; digest, versions and machine are those of this call.

    Raises:
        ResultsError: the existing file is not of this schema, or a value is not finite.
        UnwritableError: the folder cannot be written to.
    """
    file = Path(path)
    before = read_results(file) if file.exists() else {"metrics": {}}
    stored = before["metrics"]
    for key, item in metrics.items():
        numbers = (item.value, *item.ci95)
        if not all(math.isfinite(x) for x in numbers):
            raise ResultsError(f"metric '{key}' = {numbers} is not finite and is not published")
        stored[key] = {
            "value": float(item.value),
            "n": int(item.n),
            "ci95": [float(x) for x in item.ci95],
            "command": item.command,
        }
    content = {
        "metrics": dict(sorted(stored.items())),
        "seeds": sorted({int(s) for s in (*before.get("seeds", ()), *seeds)}),
        "config_digest": config_digest,
        "versions": get_package_versions(),
        "machine": describe_machine(),
    }
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read a results file.

    Raises:
        ResultsError: missing, not JSON, or without a `metrics` mapping.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read results from {path}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise ResultsError(f'{path} is not a results file: it has no "metrics" mapping')
    return content


def get_package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """Describe the machine: processor, usable cores, memory [GB], operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _processor(),
        "cores": cores,
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


@lru_cache(maxsize=4)
def _resampled_counts(
    trainings: int, episodes: int, resamples: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how often each resample holds each training (R, S) and each episode (R, N).

    The same for every metric of a table, and drawing them is what takes the time.
    """
    rng = np.random.default_rng(seed)
    counts = [
        rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float32)
        for size in (trainings, episodes)
    ]
    return counts[0], counts[1]


def _bootstrap_mean(
    samples: NDArray[np.float64], resamples: int, seed: int
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Return the 95 % percentile interval of the mean and the means (resamples,) it is made of.

    One sample has no spread.
    """
    if samples.size == 1:
        return (float(samples[0]), float(samples[0])), np.full(resamples, samples[0])
    from scipy.stats import bootstrap  # takes a second

    drawn = bootstrap(
        (samples,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BLOCK // samples.size),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = drawn.confidence_interval
    return (float(interval.low), float(interval.high)), drawn.bootstrap_distribution


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for line in lines:
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
