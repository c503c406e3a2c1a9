"""A bridge, and the policy that drives it, in a process of its own: to be frozen or killed.

`python -m benchmarks._rig_process RECIPE LOG` is that process; what it does is read from its log.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rigs import ROOT, Rig
from embodied.policies.chunk.reach import ReachPolicy
from robots.arm import ArmState
from robots.bridge import Bridge
from robots.robot_config import load_robot
from robots.rollout import RolloutConfig, run_policy


class Lines:
    """A log of JSON lines in a file; `robots.bridge.EventLog`."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1, encoding="utf-8")

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        """Write one."""
        self._file.write(json.dumps({"kind": kind, "stamp": stamp, **fields}) + "\n")


class Process:
    """A bridge, and the policy that drives it, in a process of their own.

    Args:
        rig: the arm.
        log: file of its `Lines`; must not exist.
    """

    def __init__(self, rig: Rig, log: Path) -> None:
        self.rig, self._log, self._read = rig, log, 0
        self.rows: dict[str, list[dict[str, Any]]] = {"state": [], "setpoint": [], "event": []}
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "benchmarks._rig_process", str(rig.recipe), str(log)], cwd=ROOT
        )

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    def close(self) -> None:
        """End it by force."""
        self._child.kill()
        self._child.wait()

    def look(self) -> None:
        """Read what it wrote since."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                row = json.loads(line)
                self.rows.get(row["kind"], []).append(row)

    @property
    def state(self) -> str:
        """The bridge's, as it last said."""
        self.look()
        return str(self.rows["state"][-1]["bridge"]) if self.rows["state"] else ""

    @property
    def speed(self) -> float:
        """Of the fastest joint [rad/s]."""
        self.look()
        if not self.rows["state"]:
            return nan
        row = self.rows["state"][-1]
        arrays = np.array(row["positions"]), np.array(row["velocities"])
        return self.rig.speed(ArmState(row["stamp"], *arrays))

    def fault(self) -> dict[str, Any] | None:
        """Return the event of its fault, if there was one."""
        self.look()
        return next((row for row in self.rows["event"] if row["event"] == "fault"), None)


def main() -> None:
    """Drive an arm until killed; in fault, go on watching it."""
    recipe, log = sys.argv[1:]
    cell = load_robot(recipe)
    policy = ReachPolicy(cell.model.home)

    def infer(observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        return policy.infer(observation)

    config = RolloutConfig(action_size=len(cell.model.joints))
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety, Lines(Path(log))) as bridge:
        run_policy(bridge, infer, config, 600.0)
        signal.pause()


if __name__ == "__main__":
    main()
