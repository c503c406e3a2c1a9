"""A dense reward from where the gripper should be next (SC-VLA, arXiv 2602.21633, section 3.3).

    r = r_env - 1 + w k(p) cos(x' - x, g - x)

x and x' are where the gripper was before and after the step, g is where it should be a few steps
after the last replanning and stays the same until the next; p is the imagined progress. Minus one
per step buys speed; the guidance fades as the task's own reward begins to say more.

Ours: w falls to 0 in the course of the training. Guidance makes for a quick start, but it pays for
the pace and the ways of the base, and in the end for nothing that is wanted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embodied.rollout import Rollout
from embodied.tasks.tabletop import TabletopConfig, TabletopEnv, TabletopVectorEnv, make_expert
from embodied.types import Observations

Array = NDArray[np.floating]

GUIDANCES = ("none", "imagined", "no_decay", "oracle")
"""Where g comes from: nowhere (w = 0), the policy's imagination with and without the decay k, or
what the scripted expert would really do next.
"""

LEAST_MOVE = 1e-4
"""A gripper that moved less has not moved in any direction [m]."""

_FADES_FROM, _FADES_OVER, _FADES_BY, _FADED = 0.5, 0.4, 0.8, 0.1


def compute_direction_cosine(before: Array, after: Array, goal: Array) -> NDArray[np.float64]:
    """Return the cosine (N,) between where the gripper went and where it should have gone.

    Args:
        before: (N, 3) where it was [m].
        after: (N, 3) where it is [m].
        goal: (N, 3) [m].

    Returns:
        In [-1, 1]; 0 where it moved less than `LEAST_MOVE`, or was as near to the goal.
    """
    went, wanted = np.asarray(after - before, np.float64), np.asarray(goal - before, np.float64)
    moved, left = np.linalg.norm(went, axis=1), np.linalg.norm(wanted, axis=1)
    counted = (moved >= LEAST_MOVE) & (left >= LEAST_MOVE)
    cosine = (went * wanted).sum(1) / np.where(counted, moved * left, 1.0)
    return np.where(counted, cosine, 0.0)


def guidance_decay(progress: Array) -> NDArray[np.float64]:
    """Return k(p): 1 up to p = 0.5, then falling by 0.8 over the next 0.4, never below 0.1."""
    over = np.maximum(np.asarray(progress, np.float64) - _FADES_FROM, 0.0)
    return np.maximum(1.0 - _FADES_BY * over / _FADES_OVER, _FADED)


class GuidanceOracle:
    """Tells where the gripper would be if the expert took over for some steps.

    The expert plays on in a workcell of its own from a copy of the state, so that the episodes
    themselves are not touched.

    Args:
        task: of the environments.
        steps: how many.
    """

    def __init__(self, task: TabletopConfig, steps: int) -> None:
        endless = replace(task, observation="state", privileged=False, max_steps=sys.maxsize)
        self._env = TabletopEnv(endless)  # it may look beyond the end of an episode
        self._expert, self._steps = make_expert(task.task), steps
        self._rollout = Rollout(self._env, self)

    def predict_positions(self, env: TabletopVectorEnv, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return where the grippers of some environments would be, (M, 3) [m]."""
        found = np.zeros((len(rows), 3))
        for place, row in zip(found, rows, strict=True):
            self._env.restore_state(env.save_state(row))
            self._rollout.begin({})
            for step in self._rollout.play(self._steps):
                if step.terminated[0]:
                    break
            place[:] = self._env.batch.cells[0].hand.position
        return found

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the expert's action (1, 7): it looks at the workcell itself."""
        return self._expert.act(self._env)

    def close(self) -> None:
        """Close the workcell."""
        self._env.close()
