"""`embodied demo`: the whole story in one report; `embodied demo manip`: that of an arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import OVERRIDES_HELP, add_command, command_line, require_scene

TEXT = """\
See everything at once, in eight to ten minutes on two cores: make houses, train a navigation policy
and an agent that follows instructions (Meta-Explore) for a few minutes each, test them in houses
they have never seen, explain some decisions, explore one house and find three things in it. Writes
report.html (open it in a browser) and episode.mp4.

examples:
  embodied demo
  embodied demo --out runs/second seed=1
  embodied demo --scene my_flat.glb        explore a mesh of your own instead (no training)
  embodied demo --quick                    a minute, to see that it runs; its figures mean little
  embodied demo manip                      an arm: record demonstrations, imitate them, refine the
                                           policy online, and film it before and after"""

ARM = "manip"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands, "demo", "train, test and show an agent, in one report", TEXT, run
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="manip|key=value",
        help=f"manip: the arm's story. {OVERRIDES_HELP}",
    )
    parser.add_argument("--scene", type=Path, metavar="PATH", help="explore this mesh or scene")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/demo, of the arm runs/demo_manip"
    )
    parser.add_argument("--quick", action="store_true", help="tiny training and few episodes")


def run(args: argparse.Namespace) -> int:
    """Run the demo and say where to look."""
    from embodied.errors import ConfigError
    from embodied.files import require_writable

    arm = args.overrides[:1] == [ARM]
    overrides = args.overrides[1:] if arm else args.overrides
    out: Path = args.out or Path("runs/demo_manip" if arm else "runs/demo")
    if args.scene:
        if arm:
            raise ConfigError(f"--scene {args.scene}: the arm plays on its own table")
        require_scene(args.scene)
    require_writable(out)
    recipe = f"{ARM if arm else 'nav'}/demo{'_quick' if args.quick else ''}"

    if arm:
        from embodied.demo import manipulation as showcase_arm

        report = showcase_arm.run_arm_demo(showcase_arm.load_settings(recipe, overrides), out,
                                  command_line(args))  # fmt: skip
        print(f"\nreport: {report}\nfilms:  {out / 'before.mp4'}, {out / 'after.mp4'}")
        return 0

    from embodied.demo import navigation as showcase

    settings = showcase.load_settings(recipe, overrides)
    report = showcase.run_demo(settings, out, args.scene, command_line(args))
    print(f"\nreport: {report}\nfilm:   {out / 'episode.mp4'}")
    return 0
