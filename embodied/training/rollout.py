"""Run a policy in vectorised environments and keep what training needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.recurrent import RecurrentPolicy
from embodied.training.buffers import Rollout

EpisodeMetrics = dict[str, float]


class EpisodeMeter:
    """Add up return and length of running episodes and pick the metrics of finished ones from
    `infos`.
    """

    def __init__(self, count: int) -> None:
        self._return = np.zeros(count)
        self._length = np.zeros(count, np.int64)

    def add_step(
        self,
        reward: NDArray[Any],
        done: NDArray[np.bool_],
        infos: Mapping[str, Any],
        counted: NDArray[np.bool_],
    ) -> list[tuple[int, EpisodeMetrics]]:
        """Count one step of the environments marked `counted`; return (env, metrics) of finished
        episodes.
        """
        self._return += np.where(counted, reward, 0.0)
        self._length += counted
        finished = []
        for env in np.flatnonzero(done):
            episode = {"return": float(self._return[env]), "length": float(self._length[env])}
            finished.append((int(env), final_metrics(infos, int(env)) | episode))
        self._return[done] = 0.0
        self._length[done] = 0
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


class RolloutCollector:
    """Steps one vector environment with one policy, across rollouts.

    Args:
        env: any vector environment with Dict observations and discrete actions.
        policy: acts and is told the executed actions.
        stop_action: in imitation, this action of the student is only carried out where the expert
            agrees, because a premature STOP would end the episode and hide everything behind it.
            None: no such action.
    """

    def __init__(
        self, env: VectorEnv, policy: RecurrentPolicy, stop_action: int | None = 0
    ) -> None:
        if not isinstance(env.single_observation_space, gym.spaces.Dict):
            raise ConfigError(
                "training needs Dict observations, the environment gives "
                f"{env.single_observation_space}"
            )
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode == AutoresetMode.DISABLED:
            raise ConfigError("training needs an environment that resets itself (autoreset)")
        self.env = env
        self.policy = policy
        self.stop_action = stop_action
        self._next_step = mode == AutoresetMode.NEXT_STEP

    def reset(self, seed: int) -> None:
        """Begin new episodes everywhere; `seed` fixes all that follows."""
        self._observations, _ = self.env.reset(seed=seed)
        self._first = np.ones(self.env.num_envs, bool)
        self._valid = np.ones(self.env.num_envs, bool)
        self._meter = EpisodeMeter(self.env.num_envs)
        self._rng = np.random.default_rng([seed, 1])
        self.policy.generator.manual_seed(seed)

    def collect_rollout(
        self, steps: int, expert_share: float | None = None
    ) -> tuple[Rollout, list[EpisodeMetrics]]:
        """Play `steps` steps and return them with the metrics of the episodes that ended.

        Args:
            steps: T.
            expert_share: probability that the expert, not the policy, drives an environment
                during this rollout (DAgger's beta); None: the policy acts alone, STOP included.
        """
        count = self.env.num_envs
        driven = self._rng.random(count) < (expert_share or 0.0)
        rows: dict[str, list[NDArray[Any]]] = {}
        features: dict[str, list[NDArray[Any]]] = {}
        episodes: list[EpisodeMetrics] = []
        for _ in range(steps):
            step = self.policy.step(self._observations, self._first)
            action = step.action
            expert = self._observations.get("expert_action")
            if expert is not None:
                expert = np.asarray(expert, np.int64)
                if expert_share is not None:
                    action = self._mix(action, expert, driven)
                    self.policy.set_executed_actions(action)
            observations, reward, ended, cut, infos = self.env.step(action)
            done = np.asarray(ended) | np.asarray(cut)
            first, valid = self._first, self._valid
            finished = self._meter.add_step(reward, done, infos, valid)
            episodes += [episode for _, episode in finished]
            row = {
                "states": step.state,
                "first": first,
                "valid": valid,
                "action": action,
                "log_prob": step.log_prob,
                "value": step.value,
                "reward": np.asarray(reward, np.float32),
                "done": done,
                "ended": np.asarray(ended),
            }
            if expert is not None:
                row["expert"] = expert
            for key, value in row.items():
                rows.setdefault(key, []).append(np.array(value))
            for key, value in step.features.items():
                features.setdefault(key, []).append(value)
            self._observations = observations
            self._first = ~valid if self._next_step else done
            self._valid = ~done if self._next_step else np.ones(count, bool)
        stacked = {key: np.stack(values) for key, values in rows.items()}
        ended = stacked.pop("ended")
        following = np.concatenate(
            [stacked["value"][1:], self.policy.peek_value(self._observations, self._first)[None]]
        )
        if not self._next_step:
            # The observation after a truncation belongs to the next episode: the last estimate
            # stands in.
            following = np.where(stacked["done"], stacked["value"], following)
        rollout = Rollout(
            features={key: np.stack(values) for key, values in features.items()},
            next_value=np.where(ended, 0.0, following).astype(np.float32),
            **stacked,
        )
        return rollout, episodes

    def _mix(
        self, own: NDArray[np.int64], expert: NDArray[np.int64], driven: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        premature = (own == self.stop_action) & (expert != self.stop_action)
        return np.where(driven | premature, expert, own)
