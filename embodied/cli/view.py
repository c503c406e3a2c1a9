"""`embodied view`: open a recording in Rerun, draw what is seen from a place, or watch an arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli import view_robot, view_sos
from embodied.cli.options import add_command
from embodied.errors import ConfigError

TEXT = """\
Open a recording in the Rerun viewer: camera images, depth, the path and the growing map.
Needs the extra 'viz': pip install 'embodied-stack[viz]'

examples:
  embodied view runs/demo
  embodied view runs/demo --save demo.rrd      write a file for `rerun demo.rrd` instead
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    text = TEXT + view_sos.HELP + "\n" + view_robot.HELP
    parser = add_command(commands, "view", "open a recording in Rerun, or watch an arm", text, run)
    parser.add_argument(
        "run", metavar="RUN", help="folder of a demo or a recording, or: sos, robot"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write a .rrd file, open nothing")
    view_sos.add_options(parser)
    view_robot.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Load the recording and show or save it; a folder named sos or robot is ./sos, ./robot."""
    if args.run == "robot":
        return view_robot.run(args)
    if args.robot or args.overrides:
        extra = " ".join(word for word in (args.robot, *args.overrides) if word)
        raise ConfigError(f"'{extra}' is not understood; only `embodied view robot` takes more")
    if args.run == "sos":
        return view_sos.run(args)
    from embodied.viz.recorder import load_recording
    from embodied.viz.rerun import show_recording

    recording = load_recording(Path(args.run))
    show_recording(recording, args.save)
    if args.save:
        print(f"{len(recording)} steps written to {args.save}; open it with: rerun {args.save}")
    return 0
