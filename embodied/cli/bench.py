"""`embodied bench`: measure speed and accuracy against peers and limits."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embodied.cli.options import JSON_HELP, add_command, command_line, require_json
from embodied.errors import ConfigError, EmbodiedError, suggest_nearest
from embodied.results import Metric, write_results

TEXT = """\
Measure this machine. Each benchmark prints ratios against a peer or a limit, all in one run.

examples:
  embodied bench sim                     ray casting against bare Embree and Open3D
  embodied bench maps --quick            occupancy and frontiers, a short run
  embodied bench nav --json nav.json     path queries; figures also to a file
  embodied bench parity                  agreement with recorded habitat-sim values"""

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "bench", "measure speed against peers and limits", TEXT, run)
    parser.add_argument(
        "name",
        metavar="NAME",
        help="sim | maps | nav | step | parity | sos | local_goals | serving | robots | "
        "robot_faults | tabletop | house",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help=JSON_HELP)


def run(args: argparse.Namespace) -> int:
    """Load the benchmark by its file, run it, write its figures."""
    benchmark = _load(args.name)
    if args.json:
        require_json(args.json)
    measured = benchmark(quick=args.quick)
    if args.json:
        line = command_line(args, "--json")
        metrics = {key: _metric(value, line) for key, value in measured.items()}
        write_results(args.json, metrics)
        print(f"figures written to {args.json}")
    return 0


def _load(name: str) -> Callable[..., dict[str, Any]]:
    known = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))
    if not known:
        raise EmbodiedError(
            f"the benchmarks are not installed ({FOLDER} is missing): run this in a checkout "
            "of the repository"
        )
    if name not in known:
        raise ConfigError(f"unknown benchmark '{name}': {suggest_nearest(name, known)}")
    file = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"embodied_benchmark_{name}", file)
    if spec is None or spec.loader is None:
        raise EmbodiedError(f"cannot load the benchmark {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba's cache and dataclasses look their module up by name
    spec.loader.exec_module(module)
    run: Callable[..., dict[str, Any]] = module.run
    return run


def _metric(value: Any, line: str) -> Metric:
    """Accept what a benchmark returns: a Metric, a number, or (value, n, (low, high))."""
    if isinstance(value, Metric):
        return Metric(value.value, value.n, value.ci95, value.command or line)
    if isinstance(value, tuple):
        number, count, interval = value
        return Metric(float(number), int(count), (float(interval[0]), float(interval[1])), line)
    return Metric(float(value), 1, (float(value), float(value)), line)
