"""`embodied view robot`: a page with an arm's readings and limits, nobody in command."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from embodied.errors import ConfigError

if TYPE_CHECKING:
    from embodied.viz.robot_view import RobotView
    from robots.bridge import Bridge

HELP = """
An arm's readings within its limits, in your browser, with nobody in command (Ctrl-C ends it). Look
at them before the first `embodied deploy`; that has the same page with --view:
  embodied view robot fr3_twin
  embodied view robot my_so101.yaml --port 8080 safety.workspace.floor=0.03
"""

PICTURE = (400, 300)  # a larger one of the twin would hold up its control loop


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
    from robots.bridge import Bridge
    from robots.cell import open_cell

    if not args.robot:
        raise ConfigError("view robot: which one? E.g. embodied view robot fr3_twin")
    cell = open_cell(args.robot, args.overrides)
    for number in (signal.SIGTERM, signal.SIGHUP):  # leave the arm in good order then, too
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            cell.arm() as arm,
            Bridge(arm, cell.model, cell.safety) as bridge,
            view(bridge, args.port),
        ):
            print(f"{args.robot} connected, nobody in command; Ctrl-C ends this", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("disconnected")
    return 0


@contextmanager
def view(bridge: Bridge, port: int) -> Iterator[RobotView]:
    """Serve the page of a running bridge and say where it is; with pictures where the arm has some.

    Raises:
        ConfigError: no such port, or it is taken.
    """
    from embodied.viz.robot_view import RobotView

    image = getattr(bridge.device, "image", None)
    camera = partial(image, *PICTURE) if image is not None else None
    with RobotView(bridge, port, camera) as served:
        print(f"live view: {served.url}", flush=True)
        yield served
