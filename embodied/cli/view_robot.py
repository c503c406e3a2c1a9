"""`embodied view robot`: a page with an arm's readings and limits, nobody in command."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, EmbodiedError

if TYPE_CHECKING:
    from embodied.viz.robot_view import RobotView
    from robots.bridge import Bridge
    from robots.model import ArmModel
    from robots.robot_config import RobotSetup

HELP = """
An arm's readings within its limits, in your browser, with nobody in command (Ctrl-C ends it). Look
at them before the first `embodied deploy`; that has the same page with --view:
  embodied view robot fr3_twin
  embodied view robot my_so101.yaml --port 8080 safety.workspace.floor=0.03
"""

PICTURE_SIZE = (480, 360)
STARTUP_TIMEOUT = (
    20.0  # with the drawing of the twin; the first picture comes after it has started [s]
)


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
            serve_view(bridge, cell, args.port),
        ):
            print(f"{args.robot} connected, nobody in command; Ctrl-C ends this", flush=True)
            while True:  # in slices: a signal just before an endless wait would not end it
                time.sleep(0.5)
    except KeyboardInterrupt:
        print("disconnected")
    return 0


@contextmanager
def serve_view(bridge: Bridge, cell: RobotSetup, port: int) -> Iterator[RobotView]:
    """Serve the page of a running bridge and say where it is; with pictures of the twin.

    Raises:
        ConfigError: no such port, or it is taken.
    """
    from embodied.viz.robot_view import RobotView

    with ExitStack() as stack:
        camera = None
        if cell.config.driver == "bullet":
            camera = stack.enter_context(_twin_camera(bridge, cell))
        served = stack.enter_context(RobotView(bridge, port, camera))
        print(f"live view: {served.url}", flush=True)
        yield served


@contextmanager
def _twin_camera(bridge: Bridge, cell: RobotSetup) -> Iterator[Callable[[], NDArray[np.uint8]]]:
    """Give pictures of the twin as it stands, by a second twin in a process of its own.

    While PyBullet draws, for 30 to 100 ms, no other thread of its process runs: the control loop
    would stand still, and the bridge fault.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    drawing = context.Process(
        target=_draw, args=(theirs, cell.model, cell.config.options), daemon=True
    )
    drawing.start()
    theirs.close()

    def picture() -> NDArray[np.uint8]:
        measured = bridge.get_status().arm_state
        if measured is None:
            raise EmbodiedError("nothing has been measured yet")
        opening = 1.0 if measured.gripper is None else measured.gripper
        try:
            ours.send_bytes(np.append(measured.positions, opening).astype(np.float64).tobytes())
            if not ours.poll(STARTUP_TIMEOUT):
                ours.close()  # its late answer would be taken for that to a later question
                raise EmbodiedError(f"the twin was not drawn within {STARTUP_TIMEOUT} s")
            width, height = PICTURE_SIZE
            return np.frombuffer(ours.recv_bytes(), np.uint8).reshape(height, width, 3)
        except (EOFError, OSError) as error:
            raise EmbodiedError("the process that draws the twin has ended") from error

    try:
        yield picture
    finally:
        ours.close()
        drawing.join(STARTUP_TIMEOUT / 10)
        if drawing.is_alive():
            drawing.terminate()


def _draw(line: Connection, model: ArmModel, options: Mapping[str, Any]) -> None:
    """Answer joint angles with pictures until the other end is closed."""
    from embodied import config as configuration
    from robots.arm import Setpoint
    from robots.bullet import BulletArm, BulletOptions

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that moves the arm
    os.nice(5)  # and so is the processor
    settle, now = 0.25, 0.0  # time for the motors to get there, in a world whose clock is this
    built = configuration.build(BulletOptions, options, source="options of 'bullet'")
    with BulletArm(model, replace(built, gui=False), lambda: now) as twin:
        while True:
            try:
                *positions, opening = np.frombuffer(line.recv_bytes())
            except EOFError:
                return
            still = np.zeros(len(positions))
            twin.command(Setpoint(np.array(positions), still, float(opening)))
            now += settle
            twin.state()
            line.send_bytes(twin.render_image(*PICTURE_SIZE).tobytes())
