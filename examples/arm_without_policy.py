"""Move an arm from your own code, through the guard, and have the recording checked afterwards.

Takes 15 seconds; needs pip install "embodied-stack[bullet,record]". The arm is a Franka FR3 in
PyBullet; a recipe of your own (docs/robots.md) drives yours with the same lines.

    python examples/arm_without_policy.py
    python examples/arm_without_policy.py --joint 3 --degrees 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robots import (
    Bridge,
    Command,
    CommandKind,
    Recorder,
    audit_episode,
    load_robot,
    move_to_joints,
    read_episode,
)
from robots.episode import RecordingOrigin


def main(argv: Sequence[str] | None = None) -> bool:
    """Move one joint to and fro; return whether every limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robot", default="fr3_twin")
    parser.add_argument("--joint", type=int, default=0)
    parser.add_argument("--degrees", type=float, default=15.0)
    parser.add_argument("--record", type=Path, default=Path("runs/by_hand"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the recipe")
    args = parser.parse_args(argv)

    cell = load_robot(args.robot, args.overrides)
    origin = RecordingOrigin.describe_arm(args.robot, cell.model, cell.safety)
    there = np.array(cell.model.home)
    there[args.joint] += np.deg2rad(args.degrees)
    with (
        cell.open_arm() as arm,
        Recorder(args.record, origin) as recorder,
        Bridge(arm, cell.model, cell.safety, recorder) as bridge,
    ):
        move_to_joints(bridge, there)
        move_to_joints(bridge, np.array(cell.model.home))

        token = bridge.arm("me")  # single commands: what the guard says to one that is too far
        now = time.monotonic()
        verdict = bridge.submit_command(token, Command(CommandKind.POSITION, there + 2, now, now))
        print(f"a jump of 2 rad is {verdict.outcome.value}: {verdict.detail or verdict.reason}")
        bridge.disarm(token)
        rate = arm.features.rate
    report = audit_episode(read_episode(args.record), cell.model, cell.safety, rate)
    print(report)
    return not report.findings


if __name__ == "__main__":
    main()
