"""Play a fixed number of episodes with any policy and return the metrics of each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from tqdm import tqdm

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.base import Policy
from embodied.tasks.navigation.config import SPLITS
from embodied.training.rollout import EpisodeMeter, EpisodeMetrics


@dataclass(frozen=True)
class EvaluationConfig:
    """How a trained policy is evaluated.

    Attributes:
        split: houses of "val" or "test".
        episodes: how many; each in another house while the split's houses last.
        envs: environments stepped as one batch.
        seed: of the environments.
    """

    split: str = "val"
    episodes: int = 200
    envs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(
                f"unknown split '{self.split}': {suggest_nearest(self.split, SPLITS)}"
            )
        for name, least in (("episodes", 1), ("envs", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"evaluation.{name} = {getattr(self, name)} must be at least {least}"
                )


def evaluate_policy(
    policy: Policy,
    env: VectorEnv,
    episodes: int,
    seed: int = 0,
    progress: bool = True,
    on_episode_end: Callable[[int, int, EpisodeMetrics], None] | None = None,
) -> list[EpisodeMetrics]:
    """Play `episodes` episodes and return their metrics ("success", "spl", ..., "return",
    "length").

    Environment i plays episodes i, i + N, i + 2N, ...: a fixed share each, because taking the
    first ones to finish would favour short episodes.

    Args:
        policy: acts on the observations; its state is cleared through `first`.
        env: a vector environment that resets itself.
        episodes: how many episodes.
        seed: of the environments.
        progress: show a progress bar when a person watches.
        on_episode_end: called with (place of the episode in the result, environment, metrics) as
            soon as an episode ends and before the policy acts again, e.g. to save what it thought.

    Returns:
        One mapping per episode, ordered by round and environment.

    Raises:
        ConfigError: a number of episodes below 1.
    """
    if episodes < 1:
        raise ConfigError(f"episodes = {episodes}: evaluate at least one episode")
    count = env.num_envs
    next_step = env.metadata.get("autoreset_mode") == AutoresetMode.NEXT_STEP
    quota = np.array([len(range(i, episodes, count)) for i in range(count)])
    played = np.zeros(count, np.int64)
    results: dict[tuple[int, int], EpisodeMetrics] = {}
    meter = EpisodeMeter(count)
    observations, _ = env.reset(seed=seed)
    first, valid = np.ones(count, bool), np.ones(count, bool)
    hidden = not (progress and sys.stderr.isatty())
    with tqdm(total=episodes, unit="episode", disable=hidden) as bar:
        while (played < quota).any():
            actions = policy.act(observations, first)
            observations, reward, ended, cut, infos = env.step(actions)
            done = np.asarray(ended) | np.asarray(cut)
            for index, episode in meter.add_step(np.asarray(reward), done, infos, valid):
                if played[index] < quota[index]:
                    if on_episode_end is not None:
                        on_episode_end(int(played[index]) * count + index, index, episode)
                    results[int(played[index]), index] = episode
                    played[index] += 1
                    bar.update()
            first = ~valid if next_step else done
            valid = ~done if next_step else valid
    return [results[key] for key in sorted(results)]
