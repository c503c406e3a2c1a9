"""The live page of an arm, with pictures of its simulated twin drawn in a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embodied import config as configuration
from embodied.errors import EmbodiedError
from embodied.viz.robot_view import RobotView

if TYPE_CHECKING:
    from robots.bridge import Bridge
    from robots.model import ArmModel
    from robots.robot_config import RobotSetup

PICTURE_SIZE = (480, 360)
"""Width and height of the pictures [px]."""

STARTUP_TIMEOUT = 20.0
"""For a picture; the first one comes after the process that draws has started [s]."""


@contextmanager
def serve_view(bridge: Bridge, cell: RobotSetup, port: int) -> Iterator[RobotView]:
    """Serve the page of a running bridge, with pictures of the arm where it is a twin.

    Raises:
        ConfigError: no such port, or it is taken.
    """
    with ExitStack() as stack:
        camera = None
        if cell.config.driver == "bullet":
            camera = stack.enter_context(_twin_camera(bridge, cell))
        yield stack.enter_context(RobotView(bridge, port, camera))


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
