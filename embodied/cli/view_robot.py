"""`embodied view robot`: a page with an arm's readings and limits, nobody in command."""

from __future__ import annotations

import argparse
import signal
import time

from embodied.errors import ConfigError

HELP = """
An arm's readings within its limits, in your browser, with nobody in command (Ctrl-C ends it). Look
at them before the first `embodied deploy`; that has the same page with --view:
  embodied view robot fr3_twin
  embodied view robot my_so101.yaml --port 8080 safety.workspace.floor=0.03
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `view robot` reads."""
    group = parser.add_argument_group("for robot")
    group.add_argument("robot", nargs="?", metavar="NAME|FILE", help="recipe of the arm")
    group.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="laid over the recipe"
    )
    group.add_argument("--port", type=int, default=0, metavar="PORT", help="default: a free one")


def run(args: argparse.Namespace) -> int:
    """Connect and serve the page until Ctrl-C."""
    from embodied.viz.robot_twin import serve_view
    from robots.bridge import Bridge
    from robots.robot_config import load_robot

    if not args.robot:
        raise ConfigError("view robot: which one? E.g. embodied view robot fr3_twin")
    cell = load_robot(args.robot, args.overrides)
    for number in (signal.SIGTERM, signal.SIGHUP):  # leave the arm in good order then, too
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            cell.open_arm() as arm,
            Bridge(arm, cell.model, cell.safety) as bridge,
            serve_view(bridge, cell, args.port) as page,
        ):
            print(f"live view: {page.url}", flush=True)
            print(f"{args.robot} connected, nobody in command; Ctrl-C ends this", flush=True)
            while True:  # in slices: a signal just before an endless wait would not end it
                time.sleep(0.5)
    except KeyboardInterrupt:
        print("disconnected")
    return 0
