"""Figures over several trainings (seeds), and differences between agents on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.evaluation.base import read_episodes
from embodied.results import Metric, build_metric, seed_metric, seed_ratio

Array = NDArray[np.float64]

IDENTITIES = ("episode", "decisions")
"""Among the figures of an episode, those that name or count and measure nothing."""

Table = Mapping[str, Mapping[str, float]]
"""The figures of each episode of a training, by the episode's name."""


def read_trainings(paths: Sequence[Path]) -> dict[str, list[Table]]:
    """Return the episodes of each training by agent; "" where files are given.

    Args:
        paths: files of `write_episodes`, one per training of one agent, or folders that hold a file
            per variant.

    Raises:
        ConfigError: both kinds, no such file, or folders without a variant in common.
    """
    folders = [path.is_dir() for path in paths]
    if not any(folders):
        return {"": [read_episodes(path) for path in paths]}
    if not all(folders):
        raise ConfigError(f"give files or folders, not both: {', '.join(map(str, paths))}")
    names = [{file.stem for file in path.glob("*.jsonl")} for path in paths]
    common = sorted(set.intersection(*names))
    if not common:
        raise ConfigError(
            f"{', '.join(map(str, paths))}: no variant has a .jsonl file in each of these folders; "
            "write them with embodied ablate RUN --episodes-to DIR"
        )
    return {name: [read_episodes(path / f"{name}.jsonl") for path in paths] for name in common}


def read_rivals(
    against: Sequence[str], agents: Mapping[str, list[Table]], trainings: int
) -> list[Table]:
    """Return the episodes of each training of the agent compared with; none without one.

    Args:
        against: its files, or the name of a variant in `agents`.
        agents: what `read_trainings` returned.
        trainings: number of trainings in `agents`.

    Raises:
        ConfigError: another number of files, or no such variant.
    """
    if not against:
        return []
    if "" in agents:
        if len(against) != trainings:
            raise ConfigError(f"{trainings} trainings against {len(against)}: give one file each")
        return [read_episodes(path) for path in against]
    (name, *more) = against
    if more or name not in agents:
        raise ConfigError(f"--against {' '.join(against)}: {suggest_nearest(name, agents)}")
    return agents[name]


def compute_figures(tables: Sequence[Table], line: str, each: bool) -> dict[str, Metric]:
    """Average every metric that is defined in all episodes of all trainings.

    Args:
        tables: of each training.
        line: the command that makes the figures again.
        each: also average over the episodes of each training alone.
    """
    found: dict[str, Metric] = {}
    for metric in _metrics(tables):
        values = _values(tables, metric)
        if np.isfinite(values).all():
            found[metric] = _mean(values, line)
            for number, row in enumerate(values if each else ()):
                found[f"{metric}.training_{number}"] = _mean(row[None], line)
    if _has_steps(tables):
        success, steps = (_values(tables, name) for name in ("success", "steps"))
        found["throughput"] = seed_ratio((success, steps), lambda s, t: 1000 * s / t, line)
        if _often(success):
            sums = success, success * steps
            found["steps_to_success"] = seed_ratio(sums, lambda s, t: t / s, line)
    return found


def _mean(values: Array, line: str) -> Metric:
    """Average (S, N) over trainings and episodes; one training's as `embodied eval` does it."""
    return build_metric(values[0], line) if len(values) == 1 else seed_metric(values, line)


def compute_gains(tables: Sequence[Table], rivals: Sequence[Table], line: str) -> dict[str, Metric]:
    """Return what the trainings of one agent gain over those of another in the same episodes."""
    gains: dict[str, Metric] = {
        metric: seed_metric(_values(tables, metric) - _values(rivals, metric, tables[0]), line)
        for metric in ("success", "spl")
        if metric in _metrics(tables)
    }
    if not (_has_steps(tables) and _has_steps(rivals)):
        return gains
    names = ("success", "steps")
    success, steps = (_values(tables, name) for name in names)
    others, longer = (_values(rivals, name, tables[0]) for name in names)
    if _often(others):
        sums = success, steps, others, longer
        gains["throughput"] = seed_ratio(sums, lambda s, t, o, u: s / t / (o / u) - 1, line)
    both = success * others
    if _often(both):
        gains["steps"] = seed_ratio((both * steps, both * longer), lambda t, u: 1 - t / u, line)
    return gains


def _has_steps(tables: Sequence[Table]) -> bool:
    """Whether these are an arm's episodes: how long they took counts, and no path does."""
    metrics = _metrics(tables)
    return "steps" in metrics and "success" in metrics and "spl" not in metrics


def _often(success: Array) -> bool:
    """Whether every training succeeds so often that no resample is without a success."""
    return bool((success.sum(axis=1) >= 5).all())


def _metrics(tables: Sequence[Table]) -> list[str]:
    first = next(iter(tables[0].values()))
    return [name for name in sorted(first) if name not in IDENTITIES]


def _values(tables: Sequence[Table], metric: str, like: Table | None = None) -> Array:
    """Return (trainings, episodes) of one metric, the episodes in the order of `like`."""
    names = list(like or tables[0])
    return np.array([[table[name].get(metric, np.nan) for name in names] for table in tables])


def require_same_episodes(tables: Sequence[Table]) -> None:
    """Check that all tables hold the same episodes.

    Raises:
        ConfigError: they do not; names one that differs.
    """
    for table in tables:
        differing = sorted(table.keys() ^ tables[0].keys())
        if differing:
            raise ConfigError(
                f"{len(differing)} episodes are in one file and not in the other, e.g. "
                f"{differing[0]}: evaluate on the same split and episodes"
            )
