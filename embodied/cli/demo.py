"""`embodied demo`: the whole story in one report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import OVERRIDES_HELP, command, command_line, require_scene

TEXT = """\
See everything at once, in eight to ten minutes on two cores: make houses, train a navigation policy
and an agent that follows instructions (Meta-Explore) for a few minutes each, test them in houses
they have never seen, explain some decisions, explore one house and find three things in it. Writes
report.html (open it in a browser) and episode.mp4.

examples:
  embodied demo
  embodied demo --out runs/second seed=1
  embodied demo --scene my_flat.glb        explore a mesh of your own instead (no training)
  embodied demo --quick                    a minute, to see that it runs; its figures mean little"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "demo", "train, test and show an agent, in one report", TEXT, run)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=OVERRIDES_HELP
    )
    parser.add_argument("--scene", type=Path, metavar="PATH", help="explore this mesh or scene")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default: runs/demo"
    )
    parser.add_argument("--quick", action="store_true", help="tiny training and few episodes")


def run(args: argparse.Namespace) -> int:
    """Run the demo and say where to look."""
    from embodied.files import require_writable

    if args.scene:
        require_scene(args.scene)
    require_writable(args.out)

    from embodied.cli import showcase

    recipe = "nav/demo_quick" if args.quick else "nav/demo"
    settings = showcase.load_settings(recipe, args.overrides)
    report = showcase.run(settings, args.out, args.scene, command_line(args))
    print(f"\nreport: {report}\nfilm:   {args.out / 'episode.mp4'}")
    return 0
