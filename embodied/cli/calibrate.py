"""`embodied calibrate`: find a servo arm's zero angles, and lay it down safely."""

from __future__ import annotations

import argparse
import select
import sys
from pathlib import Path
from typing import Any

from embodied.cli.options import add_command

TEXT = """\
Calibrate an arm of bus servos (SO-100, SO-101): you move it by hand; the ranges are noted, stored
in the servos and written to a file that LeRobot reads, too. Other arms need none.

examples:
  embodied calibrate my_so101.yaml --out so101.json
  embodied calibrate my_so101.yaml --install ~/.cache/huggingface/lerobot/.../arm.json
  embodied calibrate my_so101.yaml --rest     move to the rest pose of the recipe, then let go"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "calibrate", "calibrate a servo arm, lay it down", TEXT, run)
    parser.add_argument("robot", metavar="NAME|FILE", help="recipe of the arm")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="laid over the recipe"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="FILE", help="calibrate and write this file")
    what.add_argument("--install", type=Path, metavar="FILE", help="store a file in the servos")
    what.add_argument("--rest", action="store_true", help="move to the rest pose, then let go")


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    from embodied.errors import ConfigError
    from embodied.files import require_writable
    from robots.calibration import (
        calibrate_servos,
        install_calibration,
        load_calibration,
        save_calibration,
    )
    from robots.feetech import FeetechArm
    from robots.robot_config import load_robot

    cell = load_robot(args.robot, args.overrides)
    with cell.open_arm() as arm:
        if not isinstance(arm, FeetechArm):
            raise ConfigError(
                f"{args.robot} is driven by '{cell.config.driver}', which needs no calibration; "
                "only arms of the driver 'feetech' do"
            )
        if args.rest:
            return _rest(cell, arm)
        if args.out:
            require_writable(args.out.parent)
        known = load_calibration(args.install) if args.install else {}
        arm.bus.open()
        try:
            if known:
                install_calibration(arm.bus, known, _ask)
                print("stored in the servos")
            else:
                save_calibration(args.out, calibrate_servos(arm.bus, _ask, _entered))
                print(f"stored in the servos and in {args.out}; name that file in the recipe")
        finally:
            arm.bus.close()
    return 0


def _rest(cell: Any, arm: Any) -> int:
    """Lay the arm down through the bridge, like any other motion."""
    import numpy as np

    from embodied.errors import ConfigError
    from robots.bridge import Bridge
    from robots.calibration import move_to_rest
    from robots.rollout import move_to_joints

    if not arm.options.rest:
        raise ConfigError(
            "options.rest is empty: put the joint angles at which the arm lies by itself into the "
            "recipe; embodied view robot shows them"
        )
    with Bridge(arm, cell.model, cell.safety) as bridge:
        move_to_rest(
            lambda pose: move_to_joints(bridge, pose),
            lambda: np.array(arm.state().positions),
            np.array(arm.options.rest),
        )
        bridge.close()
        arm.disable_torque()
    print("at rest; the torque is off")
    return 0


def _ask(text: str) -> None:
    input(f"{text} [Enter] ")


def _entered() -> bool:
    """Whether Enter was pressed."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and sys.stdin.readline() is not None
