"""Scripted experts: they read the simulator's true state and correct themselves at every step.

An expert has no memory: what it does follows from where hand and objects are now, so that what it
demonstrates can be imitated, and it recovers from any disturbance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.simulators.bullet.rotations import from_rotvec, to_rotvec
from embodied.tasks.tabletop.batch import TabletopBatch
from embodied.tasks.tabletop.expert_targets import EXPERT_PLANNERS, ExpertTarget
from embodied.tasks.tabletop.task import Array, Hand

_BURSTS = 0.06  # chance per step that the hand begins to stray
_BURST = (4, 9)  # for how many steps, the last excluded
_GAIN = 0.6  # share of the error that a step corrects; more overshoots, as the arm lags


class TabletopExpert:
    """Plays one task in any number of environments.

    Args:
        advise: says where the hand should go, from a task's true state.
        noise: standard deviation of what is added to the action, in its units, for some steps in
            one direction, and then not for a while: the hand strays, and the expert recovers.
        seed: of the noise.
        speed: share of the greatest way and turn per step that it uses, in (0, 1].

    Attributes:
        intended_actions: (N, 7) what the last `act` would have done without noise: the label to
            learn.
    """

    def __init__(
        self,
        advise: Callable[[Any, Hand], ExpertTarget],
        noise: float = 0.0,
        seed: int = 0,
        speed: float = 1.0,
    ) -> None:
        if not 0 < speed <= 1 or noise < 0:
            raise ConfigError(f"speed = {speed} must lie in (0, 1], noise = {noise} be 0 or more")
        self._advise, self._noise, self._speed = advise, noise, speed
        self._rng = np.random.default_rng(seed)
        self._drift, self._left = np.zeros((0, 7)), np.zeros(0, np.int64)
        self.intended_actions = np.zeros((0, 7), np.float32)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Forget the noise of some environments; None means of all."""
        if len(self._left):  # there is none before the first action
            self._left[slice(None) if rows is None else list(rows)] = 0

    def act(self, env: Any) -> NDArray[np.float32]:
        """Return actions (N, 7) for an environment, single (N = 1) or vectorised.

        Raises:
            ConfigError: the environment's control is not "ee_delta".
        """
        batch: TabletopBatch = env.unwrapped.batch
        if batch.config.control != "ee_delta":
            raise ConfigError(
                f"experts move the tool: make the environment with control='ee_delta', not "
                f"'{batch.config.control}'"
            )
        actions = self._actions(batch)
        self.intended_actions = actions.astype(np.float32)
        if self._noise:
            actions = np.clip(actions + self._stray(len(actions)), -1.0, 1.0)
        return actions.astype(np.float32)

    def _stray(self, count: int) -> Array:
        """Return what is added to the actions, (N, 7): most of the time nothing."""
        if len(self._drift) != count:
            self._drift, self._left = np.zeros((count, 7)), np.zeros(count, np.int64)
        begins = (self._left == 0) & (self._rng.random(count) < _BURSTS)
        fresh = self._noise * self._rng.standard_normal((count, 7)) * [1, 1, 1, 0.5, 0.5, 0.5, 0]
        self._drift = np.where(begins[:, None], fresh, self._drift)
        self._left = np.where(begins, self._rng.integers(*_BURST, count), self._left)
        drift = self._drift * (self._left > 0)[:, None]
        self._left = np.maximum(self._left - 1, 0)
        return np.asarray(drift)

    def _actions(self, batch: TabletopBatch) -> Array:
        config = batch.config
        aims = [self._advise(cell.task, cell.hand) for cell in batch.cells]
        poses = np.stack([cell.hand.pose for cell in batch.cells])
        way = np.stack([aim.position for aim in aims]) - poses[:, :3, 3]
        yaws, pitches = (
            np.array([[0, 0, aim.yaw] for aim in aims]),
            np.array([[0, aim.pitch, 0] for aim in aims]),
        )
        wanted = from_rotvec(yaws) @ from_rotvec(pitches)
        turn = to_rotvec(wanted @ np.swapaxes(poses[:, :3, :3], 1, 2))
        return np.concatenate(
            [
                _shorten(_GAIN / config.position_step * way, self._speed),
                _shorten(_GAIN / config.rotation_step * turn, self._speed),
                [[2 * aim.opening - 1] for aim in aims],
            ],
            axis=1,
        )


def make_expert(task: str, noise: float = 0.0, seed: int = 0, speed: float = 1.0) -> TabletopExpert:
    """Return the expert of a task.

    Args:
        task: one of `TASKS`.
        noise: see `TabletopExpert`; 0.7 makes demonstrations that show how to recover.
        seed: of the noise.
        speed: see `TabletopExpert`; below 1 it demonstrates what can be done faster.

    Raises:
        ConfigError: unknown task, or speed or noise out of range.
    """
    if task not in EXPERT_PLANNERS:
        raise ConfigError(f"no expert for task '{task}': {suggest_nearest(task, EXPERT_PLANNERS)}")
    return TabletopExpert(EXPERT_PLANNERS[task], noise, seed, speed)


def _shorten(vectors: Array, most: float) -> Array:
    """Return vectors (N, 3) of that length at most."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1.0, most / np.maximum(lengths, 1e-12)))
