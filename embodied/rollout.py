"""The one loop that steps environments with a policy.

Collecting for training, evaluating, recording and filming all take their steps from here, so each
of them says only what it does with a step: either in a callback, or by going through `play`.

>>> rollout = Rollout(env, policy)
>>> observations, infos = rollout.reset(seed=0)
>>> for step in rollout.play(steps=64):
...     buffer.add(step.observations, step.actions, step.reward)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from tqdm import tqdm

from embodied.errors import ConfigError
from embodied.policies.base import Policy

EpisodeMetrics = dict[str, float]


@dataclass(frozen=True)
class RolloutStep:
    """One step of N environments; a single environment is a batch of one.

    Attributes:
        observations: (N, ...) each, what the policy acted on.
        first: (N,) bool, an episode begins with that observation.
        valid: (N,) bool, false where an environment only reset itself and ignored the action.
        actions: (N, ...) what was done, or a mapping of such arrays.
        next_observations: (N, ...) each, what is acted on next. Where an environment resets itself
            within the step, that is the first observation of its next episode; see
            `get_last_observations`.
        reward: (N,).
        terminated: (N,) bool, nothing follows.
        truncated: (N,) bool, the episode was cut off.
        infos: as a vector environment gives them.
    """

    observations: Mapping[str, Any]
    first: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    actions: Any
    next_observations: Mapping[str, Any]
    reward: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    infos: Mapping[str, Any]

    @property
    def done(self) -> NDArray[np.bool_]:
        """Whose episode ended with this step, (N,)."""
        return self.terminated | self.truncated

    def get_info(self, row: int) -> dict[str, Any]:
        """Return how environment `row` stood after the step and before any reset, as a single
        environment says it.
        """
        ended = self.done[row] and "final_info" in self.infos
        info: dict[str, Any] = get_row(self.infos["final_info"] if ended else self.infos, row)
        return info

    def get_last_observations(self, rows: NDArray[np.integer]) -> dict[str, Any]:
        """Return the last observations, (M, ...) each, of M episodes that ended with this step."""
        if "final_obs" not in self.infos:
            return {
                name: values[rows] if isinstance(values, np.ndarray) else [values[r] for r in rows]
                for name, values in self.next_observations.items()
            }
        last = self.infos["final_obs"][rows]
        return {
            name: np.stack([one[name] for one in last])
            if isinstance(value, np.ndarray)
            else [one[name] for one in last]
            for name, value in last[0].items()
        }


Callback = Callable[[RolloutStep], None]
"""Called after every step, before the policy acts again: draws a frame, fills a buffer."""


class Rollout:
    """Steps N environments with one policy, across episodes.

    Args:
        env: a vector environment that resets itself, or a single environment: that one is shown to
            the policy as a batch of one and is reset here once its episode has ended.
        policy: acts; `first` tells it where to forget what came before.
        callbacks: called after every step.

    Attributes:
        num_envs: N.
        observations: (N, ...) each, what is acted on next.
        first: (N,) bool, an episode begins with them.

    Raises:
        ConfigError: a vector environment that does not reset itself.
    """

    def __init__(
        self, env: gymnasium.Env | VectorEnv, policy: Policy, callbacks: Sequence[Callback] = ()
    ) -> None:
        self._single = not isinstance(env, VectorEnv)
        self.env: Any = env if isinstance(env, VectorEnv) else _BatchOfOne(env)
        self.policy, self.callbacks = policy, callbacks
        self.num_envs = self.env.num_envs
        mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode == AutoresetMode.DISABLED:
            raise ConfigError(
                f"{env} does not reset itself: build it with autoreset_mode "
                "AutoresetMode.NEXT_STEP or SAME_STEP"
            )
        self._next_step = mode == AutoresetMode.NEXT_STEP
        self.begin({})

    def reset(self, seed: int | None = None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Begin new episodes everywhere and return observations (N, ...) and infos.

        Args:
            seed: of the environments; None goes on with their own.
        """
        observations, infos = self.env.reset(seed=seed)
        self.begin(observations)
        return observations, infos

    def begin(self, observations: Mapping[str, Any]) -> None:
        """Take the environments as they stand, set up by somebody else, for begun episodes.

        Args:
            observations: (N, ...) each, of that state; may be empty for a policy that looks at the
                environment itself.
        """
        self.observations: Mapping[str, Any] = observations
        self.first = np.ones(self.num_envs, bool)
        self._valid = np.ones(self.num_envs, bool)
        self._ended = False

    def play(self, steps: int | None = None) -> Iterator[RolloutStep]:
        """Play steps, yielding each after its callbacks; for ever without a number."""
        for _ in range(steps) if steps is not None else count():
            yield self.play_step()

    def play_step(self) -> RolloutStep:
        """Let the policy act and the environments step once."""
        if self._ended:
            self.reset()
        observations, first, valid = self.observations, self.first, self._valid
        actions = self.policy.act(observations, first)
        following, reward, terminated, truncated, infos = self.env.step(actions)
        step = RolloutStep(
            observations=observations, first=first, valid=valid, actions=actions,
            next_observations=following, reward=np.asarray(reward),
            terminated=np.asarray(terminated), truncated=np.asarray(truncated), infos=infos,
        )  # fmt: skip
        self.observations = following
        self.first = ~valid if self._next_step else step.done
        self._valid = ~step.done if self._next_step else np.ones(self.num_envs, bool)
        self._ended = self._single and bool(step.done[0])
        for callback in self.callbacks:
            callback(step)
        return step


def play_episodes(
    env: gymnasium.Env | VectorEnv,
    policy: Policy,
    seed: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Iterator[RolloutStep]:
    """Play one episode in every environment, from its reset on; yield each step.

    Environments whose episode has ended play on until the last one's has.
    """
    rollout = Rollout(env, policy, callbacks)
    rollout.reset(seed)
    running = np.ones(rollout.num_envs, bool)
    for step in rollout.play():
        yield step
        running &= ~step.done
        if not running.any():
            return


def evaluate_policy(
    policy: Policy,
    env: gymnasium.Env | VectorEnv,
    episodes: int,
    seed: int = 0,
    progress: bool = True,
    on_episode_end: Callable[[int, int, EpisodeMetrics], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> list[EpisodeMetrics]:
    """Play `episodes` episodes and return their metrics ("success", "spl", ..., "return",
    "length").

    Environment i plays episodes i, i + N, i + 2N, ...: a fixed share each, because taking the
    first ones to finish would favour short episodes.

    Args:
        policy: acts on the observations; its state is cleared through `first`.
        env: a vector environment that resets itself, or a single one.
        episodes: number of episodes.
        seed: of the environments.
        progress: show a progress bar when a person watches.
        on_episode_end: called with (place of the episode in the result, environment, metrics) as
            soon as an episode ends and before the policy acts again, e.g. to save what it thought.
        callbacks: called after every step.

    Returns:
        One mapping per episode, ordered by round and environment.

    Raises:
        ConfigError: a number of episodes below 1.
    """
    if episodes < 1:
        raise ConfigError(f"episodes = {episodes}: evaluate at least one episode")
    rollout = Rollout(env, policy, callbacks)
    num = rollout.num_envs
    quota = np.array([len(range(i, episodes, num)) for i in range(num)])
    played = np.zeros(num, np.int64)
    results: dict[tuple[int, int], EpisodeMetrics] = {}
    meter = EpisodeMeter(num)
    hidden = not (progress and sys.stderr.isatty())
    rollout.reset(seed)
    with tqdm(total=episodes, unit="episode", disable=hidden) as bar:
        for step in rollout.play():
            for row, metrics in meter.add_step(step):
                if played[row] < quota[row]:
                    if on_episode_end is not None:
                        on_episode_end(int(played[row]) * num + row, row, metrics)
                    results[int(played[row]), row] = metrics
                    played[row] += 1
                    bar.update()
            if not (played < quota).any():
                break
    return [results[key] for key in sorted(results)]


class EpisodeMeter:
    """Add up return and length of running episodes and pick the metrics of finished ones.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        self._return = np.zeros(num_envs)
        self._length = np.zeros(num_envs, np.int64)

    def add_step(self, step: RolloutStep) -> list[tuple[int, EpisodeMetrics]]:
        """Count one step; return (environment, metrics) of the episodes that ended with it."""
        self._return += np.where(step.valid, step.reward, 0.0)
        self._length += step.valid
        finished = []
        for row in np.flatnonzero(step.done):
            episode = {"return": float(self._return[row]), "length": float(self._length[row])}
            finished.append((int(row), final_metrics(step.infos, int(row)) | episode))
        self._return[step.done] = 0.0
        self._length[step.done] = 0
        return finished


def final_metrics(infos: Mapping[str, Any], env: int) -> EpisodeMetrics:
    """Return the scalar metrics `infos` holds for environment `env` at the end of its episode.

    Same-step autoreset puts them under "final_info", next-step autoreset at the top. What a mapping
    holds is named after both: "violations_force".
    """
    source = infos.get("final_info", infos)
    metrics: EpisodeMetrics = {}
    for key, values in source.items():
        if isinstance(values, Mapping) and not key.startswith("_"):
            metrics |= {f"{key}_{name}": float(each[env]) for name, each in values.items()}
        if key.startswith("_") or not isinstance(values, np.ndarray) or values.ndim != 1:
            continue
        if values.dtype.kind in "bif" and source.get(f"_{key}", np.ones(len(values), bool))[env]:
            metrics[key] = float(values[env])
    return metrics


class _BatchOfOne:
    """A single environment in the shape of a vector of one; `Rollout` resets it."""

    num_envs = 1
    metadata: Mapping[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, env: gymnasium.Env) -> None:
        self._env = env

    def reset(self, seed: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        observation, info = self._env.reset(seed=seed)
        return _add_axis(observation), _add_axis(info)

    def step(
        self, actions: Any
    ) -> tuple[dict[str, Any], list[float], list[bool], list[bool], dict[str, Any]]:
        """Step with the first row of the actions."""
        observation, reward, ended, cut, info = self._env.step(get_row(actions, 0))
        return _add_axis(observation), [float(reward)], [ended], [cut], _add_axis(info)


def _add_axis(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one environment says as that of a batch of one."""
    batched: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            batched[name] = _add_axis(value)
        elif isinstance(value, str):
            batched[name] = np.array([value], dtype=object)
        else:
            batched[name] = np.asarray(value)[None]
    return batched


def get_row(values: Any, row: int) -> Any:
    """Return what a batch (a mapping of arrays (N, ...), or one) holds for one environment, without
    masks and what is kept at an end.
    """
    if isinstance(values, Mapping):
        return {
            name: get_row(value, row)
            for name, value in values.items()
            if not name.startswith("_") and name not in ("final_obs", "final_info")
        }
    one = values[row]
    return one.item() if isinstance(one, np.generic) else one
