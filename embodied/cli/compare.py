"""`embodied compare`: figures over several trainings, and differences on the same episodes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embodied.cli.options import JSON_HELP, add_command, command_line, print_table, require_json

TEXT = """\
Join what several trainings of one agent (seeds) did on the same episodes, and compare agents
episode by episode. Takes the files that `embodied eval --episodes FILE` writes, one per training,
or the folders of `embodied ablate --episodes-to DIR`, which hold one file per variant. The 95 %
intervals count both the luck of the seeds and that of the episodes. In the JSON file stand the
figures, with --against and files the differences, with folders both. Of an arm's episodes:
throughput, successes per 1,000 control steps, and the mean steps to success. The gain in throughput
is the share by which it is higher, the gain in steps the share by which those of the episodes that
both solve are fewer.

examples:
  embodied compare meta_0.jsonl meta_1.jsonl meta_2.jsonl
  embodied compare meta_*.jsonl --against duet_*.jsonl --json figures.json --key gain_over_duet
  embodied compare ablation/0 ablation/1 ablation/2 --against explore_only"""

SHOWN = (
    "success", "spl", "oracle_success", "ndtw", "rgs", "rgs_strict", "rgspl_strict",
    "throughput", "steps_to_success",
)  # fmt: skip
COMPARED = ("success", "spl", "throughput", "steps")
IDENTITIES = ("episode", "decisions")

Table = Mapping[str, Mapping[str, float]]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "compare", "join seeds, compare agents in pairs", TEXT, run)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE|DIR", help="one per training")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="FILE|VARIANT",
        help="files of another agent's trainings, or a variant's name where folders are given",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help=JSON_HELP)
    parser.add_argument("--key", default="compare", metavar="NAME", help="start of the names there")
    parser.add_argument("--published", action="store_true", help="call success sr, as tables do")


def run(args: argparse.Namespace) -> int:
    """Read the files, print the table, write the figures."""
    from embodied.results import Metric, write_results

    if args.json:
        require_json(args.json)
    agents = _read(args.files)
    rivals = _rivals(args, agents)
    line = command_line(args, "--json")
    found: dict[str, Metric] = {}
    rows = []
    for name, tables in agents.items():
        _require_same_episodes([*tables, *rivals])
        start = f"{name}." if name else ""
        own = _figures(tables, line, each=not name)
        if not rivals or name:
            found |= {f"{start}{metric}": figure for metric, figure in own.items()}
        gains = {}
        if rivals and tables is not rivals:
            gains = _gains(tables, rivals, line)
            kind = f"{start}gain." if name else ""
            found |= {f"{kind}{metric}": figure for metric, figure in gains.items()}
        cells = [f"{own[metric]}" if metric in own else "" for metric in SHOWN]
        rows.append((name or "all", *cells, *(_signed(gains.get(m)) for m in COMPARED)))
    used = [i for i in range(1, 1 + len(SHOWN) + len(COMPARED)) if any(row[i] for row in rows)]
    header = ("agent", *SHOWN, *(f"gain in {metric}" for metric in COMPARED))
    kept = [tuple(row[i] for i in (0, *used)) for row in (header, *rows)]
    print_table(kept[0], kept[1:])
    if args.json:
        called = {"success": "sr"} if args.published else {}
        named = {
            ".".join((args.key, *(called.get(part, part) for part in name.split(".")))): figure
            for name, figure in found.items()
        }
        write_results(args.json, named, seeds=range(len(args.files)))
        print(f"figures written to {args.json}")
    return 0


def _read(paths: Sequence[Path]) -> dict[str, list[Table]]:
    """Return the episodes of each training by agent; "" where files are given."""
    from embodied.errors import ConfigError
    from embodied.evaluation.base import read_episodes

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


def _rivals(args: argparse.Namespace, agents: Mapping[str, list[Table]]) -> list[Table]:
    from embodied.errors import ConfigError, suggest_nearest
    from embodied.evaluation.base import read_episodes

    if not args.against:
        return []
    if "" in agents:
        if len(args.against) != len(args.files):
            raise ConfigError(
                f"{len(args.files)} trainings against {len(args.against)}: give one file each"
            )
        return [read_episodes(path) for path in args.against]
    (name, *more) = args.against
    if more or name not in agents:
        raise ConfigError(f"--against {' '.join(args.against)}: {suggest_nearest(name, agents)}")
    return agents[name]


def _figures(tables: Sequence[Table], line: str, each: bool) -> dict[str, Any]:
    """Average every metric that is defined in all episodes of all trainings; and of each."""
    import numpy as np

    from embodied.results import seed_ratio

    found = {}
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


def _mean(values: Any, line: str) -> Any:
    """Average (S, N) over trainings and episodes; one training's as `embodied eval` does it."""
    from embodied.results import build_metric, seed_metric

    return build_metric(values[0], line) if len(values) == 1 else seed_metric(values, line)


def _gains(tables: Sequence[Table], rivals: Sequence[Table], line: str) -> dict[str, Any]:
    from embodied.results import seed_metric, seed_ratio

    gains: dict[str, Any] = {
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


def _often(success: Any) -> bool:
    """Whether every training succeeds so often that no resample is without a success."""
    return bool((success.sum(axis=1) >= 5).all())


def _metrics(tables: Sequence[Table]) -> list[str]:
    first = next(iter(tables[0].values()))
    return [name for name in sorted(first) if name not in IDENTITIES]


def _values(tables: Sequence[Table], metric: str, like: Table | None = None) -> Any:
    """Return (trainings, episodes) of one metric, the episodes in the order of `like`."""
    import numpy as np

    names = list(like or tables[0])
    return np.array([[table[name].get(metric, np.nan) for name in names] for table in tables])


def _require_same_episodes(tables: Sequence[Table]) -> None:
    """Check that all tables hold the same episodes.

    Raises:
        ConfigError: they do not; names one that differs.
    """
    from embodied.errors import ConfigError

    for table in tables:
        differing = sorted(table.keys() ^ tables[0].keys())
        if differing:
            raise ConfigError(
                f"{len(differing)} episodes are in one file and not in the other, e.g. "
                f"{differing[0]}: evaluate on the same split and episodes"
            )


def _signed(figure: Any) -> str:
    if figure is None:
        return ""
    low, high = figure.ci95
    return f"{figure.value:+.3f} [{low:+.3f}, {high:+.3f}]"
