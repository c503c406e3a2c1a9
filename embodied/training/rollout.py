"""Run a policy in vectorised environments and keep what training needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.policies.actor_critic import ActionSample
from embodied.rollout import EpisodeMeter, EpisodeMetrics, Rollout
from embodied.training.buffers import RolloutBuffer
from embodied.training.learner import ActorCritic


class RolloutCollector:
    """Steps one vector environment with one policy, across rollouts.

    Args:
        env: any vector environment with Dict observations and discrete actions.
        policy: acts and is told the executed actions.
        stop_action: in imitation, this action of the student is only carried out where the expert
            agrees, because a premature STOP would end the episode and hide everything behind it.
            None: no such action.

    Raises:
        ConfigError: other observations, or an environment that does not reset itself.
    """

    def __init__(self, env: VectorEnv, policy: ActorCritic, stop_action: int | None = 0) -> None:
        if not isinstance(env.single_observation_space, gym.spaces.Dict):
            raise ConfigError(
                "training needs Dict observations, the environment gives "
                f"{env.single_observation_space}"
            )
        self.policy = policy
        self._driver = _Driver(policy, stop_action)
        self._rollout = Rollout(env, self._driver)
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._next_step = mode == AutoresetMode.NEXT_STEP

    def reset(self, seed: int) -> None:
        """Begin new episodes everywhere; `seed` fixes all that follows."""
        self._rollout.reset(seed)
        self._meter = EpisodeMeter(self._rollout.num_envs)
        self._rng = np.random.default_rng([seed, 1])
        self.policy.seed(seed)

    def collect_rollout(
        self, steps: int, expert_share: float | None = None
    ) -> tuple[RolloutBuffer, list[EpisodeMetrics]]:
        """Play `steps` steps and return them with the metrics of the episodes that ended.

        Args:
            steps: T.
            expert_share: probability that the expert, not the policy, drives an environment
                during this rollout (DAgger's beta); None: the policy acts alone, STOP included.
        """
        driver, rollout = self._driver, self._rollout
        driven = self._rng.random(rollout.num_envs) < (expert_share or 0.0)
        driver.driven = None if expert_share is None else driven
        rows: dict[str, list[NDArray[Any]]] = {}
        features: dict[str, list[NDArray[Any]]] = {}
        episodes: list[EpisodeMetrics] = []
        for step in rollout.play(steps):
            episodes += [metrics for _, metrics in self._meter.add_step(step)]
            sample = driver.sample
            row = {
                "states": sample.state,
                "episode_start": step.first,
                "valid": step.valid,
                "action": step.actions,
                "log_prob": sample.log_prob,
                "value": sample.value,
                "reward": np.asarray(step.reward, np.float32),
                "done": step.done,
                "terminated": step.terminated,
            }
            if driver.expert_action is not None:
                row["expert_action"] = driver.expert_action
            for key, value in row.items():
                rows.setdefault(key, []).append(np.array(value))
            for key, value in sample.features.items():
                features.setdefault(key, []).append(value)
        stacked = {key: np.stack(values) for key, values in rows.items()}
        terminated = stacked.pop("terminated")
        last = self.policy.predict_values(rollout.observations, rollout.first)
        following = np.concatenate([stacked["value"][1:], last[None]])
        if not self._next_step:
            # The observation after a truncation belongs to the next episode: the last estimate
            # stands in.
            following = np.where(stacked["done"], stacked["value"], following)
        buffer = RolloutBuffer(
            features={key: np.stack(values) for key, values in features.items()},
            next_value=np.where(terminated, 0.0, following).astype(np.float32),
            **stacked,
        )
        return buffer, episodes


class _Driver:
    """Lets the policy act, or in imitation partly the expert, and keeps what was decided.

    Attributes:
        driven: (N,) bool, environments that the expert drives; None: the policy acts alone.
        sample: the policy's last decision.
        expert_action: (N,) the expert's for the same observation, None without one.
    """

    sample: ActionSample

    def __init__(self, policy: ActorCritic, stop_action: int | None) -> None:
        self._policy, self._stop_action = policy, stop_action
        self.driven: NDArray[np.bool_] | None = None
        self.expert_action: NDArray[np.int64] | None = None

    def act(
        self, observations: Mapping[str, NDArray[Any]], first: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        self.sample = self._policy.sample_actions(observations, first)
        action, expert = self.sample.action, observations.get("expert_action")
        self.expert_action = None if expert is None else np.asarray(expert, np.int64)
        if self.expert_action is None or self.driven is None:
            return action
        expert = self.expert_action
        premature = (action == self._stop_action) & (expert != self._stop_action)
        action = np.where(self.driven | premature, expert, action)
        self._policy.set_executed_actions(action)
        return action
