"""`embodied eval`: measure a policy on scenes it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import (
    JSON_HELP,
    OVERRIDES_HELP,
    command,
    command_line,
    print_table,
    require_json,
    require_scene,
)

TEXT = """\
Measure a policy: a recipe (nav/explore) or the run folder of a trained one. Prints each figure with
its 95 % confidence interval. Learned policies are judged in houses they were not trained in.

examples:
  embodied eval runs/pointnav_ppo                            a trained policy
  embodied eval runs/pointnav_ppo evaluation.episodes=500
  embodied eval nav/explore --scene flat.glb --json flat.json
  embodied eval nav/objectnav_frontier task.scene.rooms='[3, 6]'"""

SHOWN = (
    "success",
    "spl",
    "soft_spl",
    "coverage",
    "distance_to_goal",
    "path_length",
    "collisions",
    "steps",
)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "eval", "measure a policy on unseen scenes", TEXT, run)
    parser.add_argument("what", metavar="RECIPE|RUN", help="recipe, or folder of a trained policy")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=OVERRIDES_HELP
    )
    parser.add_argument("--scene", type=Path, metavar="PATH", help="a scene instead of houses")
    parser.add_argument("--json", type=Path, metavar="FILE", help=JSON_HELP)
    parser.add_argument("--key", metavar="NAME", help="start of the names in the JSON file")
    parser.add_argument(
        "--which", choices=("latest", "best"), default="latest", help="checkpoint of a run folder"
    )


def run(args: argparse.Namespace) -> int:
    """Play the episodes, print the table, write the figures."""
    from embodied import config
    from embodied.cli.evaluation import load_settings, make_policy, play, summarise, with_scene
    from embodied.results import write_results

    settings = load_settings(args.what, args.overrides, args.which)
    if args.scene:
        require_scene(args.scene)
        chosen = any(o.startswith("evaluation.episodes=") for o in args.overrides)
        settings = with_scene(settings, args.scene, 10**9 if chosen else 10)
    if args.json:
        require_json(args.json)  # before the work, not after it
    episodes = play(settings, make_policy(settings, args.which))
    line = command_line(args, "--json")
    metrics = summarise(episodes, line)
    shown = [name for name in SHOWN if name in metrics]
    rows = [
        (name, f"{m.value:.3f}", f"[{m.ci95[0]:.3f}, {m.ci95[1]:.3f}]", str(m.n))
        for name, m in ((name, metrics[name]) for name in shown)
    ]
    print_table(("metric", "mean", "95 % interval", "episodes"), rows)
    if args.json:
        prefix = args.key or settings.key
        named = {f"{prefix}.{name}" if prefix else name: m for name, m in metrics.items()}
        seeds, digest = [settings.evaluation.seed], config.digest(settings)
        write_results(args.json, named, seeds=seeds, config_digest=digest)
        print(f"figures written to {args.json}")
    return 0
