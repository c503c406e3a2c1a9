"""`embodied compare`: figures over several trainings, and differences on the same episodes."""

from __future__ import annotations

import argparse
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
    from embodied.evaluation.compare import (
        compute_figures,
        compute_gains,
        read_rivals,
        read_trainings,
        require_same_episodes,
    )
    from embodied.results import Metric, write_results

    if args.json:
        require_json(args.json)
    agents = read_trainings(args.files)
    rivals = read_rivals(args.against, agents, len(args.files))
    line = command_line(args, "--json")
    found: dict[str, Metric] = {}
    rows = []
    for name, tables in agents.items():
        require_same_episodes([*tables, *rivals])
        start = f"{name}." if name else ""
        own = compute_figures(tables, line, each=not name)
        if not rivals or name:
            found |= {f"{start}{metric}": figure for metric, figure in own.items()}
        gains = {}
        if rivals and tables is not rivals:
            gains = compute_gains(tables, rivals, line)
            kind = f"{start}gain." if name else ""
            found |= {f"{kind}{metric}": figure for metric, figure in gains.items()}
        cells = [f"{own[metric]}" if metric in own else "" for metric in SHOWN]
        rows.append((name or "all", *cells, *(_format_gain(gains.get(m)) for m in COMPARED)))
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


def _format_gain(figure: Any) -> str:
    from embodied.viz.report_text import format_gain

    return "" if figure is None else format_gain(figure, digits=3)
