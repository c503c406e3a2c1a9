"""`embodied ablate`: what each part of Meta-Explore is worth, on the same episodes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import (
    JSON_HELP,
    OVERRIDES_HELP,
    add_command,
    command_line,
    print_table,
    require_json,
)

TEXT = """\
Compare the variants of Meta-Explore that one trained agent can play: explore only (A0), corrections
by backtracking (A1), a random (A2) or the nearest place (A3), a bag of objects (A4), the scene
object spectra (A5 S_nav, A6 cosine), the oracle (A7), a trained ranker, the network's own logits;
each with the learned mode selector and with its label ("oracle", an upper bound); beside them the
global planner and an explorer that avoids loops. All play the same episodes; gains over explore
only come with the 95 % interval of a paired bootstrap.

examples:
  embodied ablate runs/meta_explore_houses
  embodied ablate runs/reverie --split val_seen --episodes 500 --json ablation.json
  embodied ablate runs/reverie_1 --episodes-to ablation/1       then: embodied compare ablation/*
  embodied ablate runs/reverie --variants A0,A3,A5,global task.max_steps=30 meta.threshold=0.4"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "ablate", "compare the variants of Meta-Explore", TEXT, run)
    parser.add_argument("what", metavar="RUN", help="folder of a trained agent")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=OVERRIDES_HELP
    )
    parser.add_argument("--split", default="val_unseen", help="episodes of this split")
    parser.add_argument(
        "--episodes", type=int, default=0, metavar="N", help="so many, spread evenly; 0: all"
    )
    parser.add_argument(
        "--variants", default="", metavar="A,B", help="only these (A0..A7 or names); default all"
    )
    parser.add_argument("--envs", type=int, default=32, metavar="N", help="played as one batch")
    parser.add_argument("--seed", type=int, default=0, help="of the rules that draw")
    parser.add_argument(
        "--episodes-to",
        type=Path,
        metavar="DIR",
        help="also write a file of single episodes per variant, for embodied compare",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help=JSON_HELP)
    parser.add_argument("--key", metavar="NAME", help="start of the names in the JSON file")
    parser.add_argument(
        "--which", choices=("latest", "best"), default="latest", help="checkpoint of the run folder"
    )


def run(args: argparse.Namespace) -> int:
    """Play all variants, print the table, write the figures."""
    from dataclasses import replace

    from embodied import config as configuration
    from embodied.evaluation.base import write_episodes
    from embodied.files import require_writable
    from embodied.results import write_results
    from embodied.tasks.vln.source import load_source
    from embodied.training.vln.ablation import (
        VariantOutcome,
        compute_figures,
        list_variants,
        open_agent,
        run_ablation,
        select_variants,
    )

    if args.json:
        require_json(args.json)
    if args.episodes_to:
        require_writable(args.episodes_to)
    network, settings = open_agent(args.what, args.which, args.overrides)
    task = replace(settings.task, split=args.split, episodes=args.episodes)
    known = list_variants(settings.meta)
    chosen = select_variants(args.variants, known) if args.variants else known
    outcomes: list[VariantOutcome] = []
    source = load_source(task)
    names = [episode.id for episode in source.episodes]
    for outcome in run_ablation(network, task, source, chosen, args.envs, args.seed):
        outcomes.append(outcome)
        if args.episodes_to:
            file = args.episodes_to / f"{outcome.name}.jsonl"
            write_episodes(file, names, [{**e, **outcome.costs} for e in outcome.episodes])
        print(f"{outcome.name}: success {outcome.get_values('success').mean():.3f}", flush=True)
    line = command_line(args, "--json", "--episodes-to")
    found = compute_figures(outcomes, line)
    _table(outcomes, found)
    if args.json:
        prefix = args.key or f"ablation.{task.dataset}.{args.split}"
        named = {f"{prefix}.{name}": item for name, item in found.items()}
        digest = configuration.digest(settings)
        write_results(args.json, named, seeds=[args.seed], config_digest=digest)
        print(f"figures written to {args.json}")
    return 0


def _table(outcomes: Any, found: Any) -> None:
    from embodied.training.vln.ablation import COMPARED, SHOWN
    from embodied.viz.report_text import format_gain

    def cell(name: str, form: str = ".3f") -> str:
        return format(found[name].value, form) if name in found else ""

    def gain(name: str) -> str:
        return format_gain(found[name], digits=3) if name in found else ""

    short = ("SR", "SPL", "OSR", "length", "moves")
    header = ("variant", *short, "gain in SR", "gain in SPL", "ms", "corrections", "AUC")
    rows = [
        (
            o.name,
            *(cell(f"{o.name}.{name}") for name in SHOWN),
            *(gain(f"{o.name}.gain.{name}") for name in COMPARED),
            cell(f"{o.name}.ms_per_decision", ".2f"),
            cell(f"{o.name}.exploit_share", ".2f"),
            cell(f"{o.name}.mode_auc"),
        )
        for o in outcomes
    ]
    print_table(header, rows)
