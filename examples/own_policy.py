r"""A navigation policy of your own, measured with `embodied eval` beside our map planner.

Takes half a minute. Run it where `own_policy` can be imported, as here, beside this file:

    python examples/own_policy.py

which is the same as, in this folder:

    embodied eval nav/pointnav_random policy=own_policy:BeeLinePolicy task.scene.rooms=[1,1] \
        policy_config.stop_distance=0.15
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.cli.main import main as run_embodied
from embodied.policies import require_observations
from embodied.types import FORWARD, LEFT, RIGHT, STOP, DiscreteActions, Observations


@dataclass(frozen=True)
class BeeLineConfig:
    """How to walk straight at a point.

    Attributes:
        stop_distance: distance to the goal at which to stop [m].
        tolerance: largest angle to the goal at which to walk instead of turning [rad].
    """

    stop_distance: float = 0.18
    tolerance: float = 0.27


class BeeLinePolicy:
    """Turn towards the goal and walk; what stands between is slid along."""

    config_class: ClassVar[type] = BeeLineConfig

    def __init__(self, config: BeeLineConfig) -> None:
        self.config = config

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose (N,) actions from the polar goals (N, 2): distance [m], angle [rad], left > 0."""
        (goal,) = require_observations(observations, "goal")
        distance, angle = goal.T
        actions = np.where(angle > 0, LEFT, RIGHT)
        actions[np.abs(angle) <= self.config.tolerance] = FORWARD
        actions[distance <= self.config.stop_distance] = STOP
        return actions


def main(argv: Sequence[str] = ("evaluation.episodes=20",)) -> dict[str, float]:
    """Evaluate both on the same episodes; return success rates. `argv`: more settings."""
    success = {}
    for name in ("own_policy:BeeLinePolicy", "map_planner"):
        file = f"{name.rpartition(':')[2]}.json"
        settings = [f"policy={name}", "key=pointnav", "task.scene.rooms=[1,1]", *argv]
        if run_embodied(["eval", "nav/pointnav_random", *settings, "--json", file]):
            raise SystemExit(1)
        figures = json.loads(Path(file).read_text(encoding="utf-8"))["metrics"]
        success[name] = figures["pointnav.success"]["value"]
    return success


if __name__ == "__main__":
    main()
