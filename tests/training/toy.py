"""Small real environments for the training tests: a pole to balance and an empty plane to cross."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from embodied.training.navigation.config import TrainConfig

TURN = np.deg2rad(30.0)


class DictCartPole(gym.ObservationWrapper):
    """CartPole with its state under a key."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = gym.spaces.Dict({"state": self.env.observation_space})

    def observation(self, observation: Any) -> dict[str, Any]:
        return {"state": observation}


class Plane(gym.Env):
    """Point navigation without walls: stop within 0.4 m of a goal at most 3 m away."""

    def __init__(self, expert: bool = True) -> None:
        reach = np.array([10.0, 4.0], np.float32)
        spaces: dict[str, gym.Space] = {"goal": gym.spaces.Box(reach * (0, -1), reach)}
        if expert:
            spaces["expert_action"] = gym.spaces.Discrete(4)
        self.expert = expert
        self.observation_space = gym.spaces.Dict(spaces)
        self.action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        distance, angle = self.np_random.uniform(0.6, 3.0), self.np_random.uniform(-np.pi, np.pi)
        self.goal = np.array([np.cos(angle), np.sin(angle)]) * distance  # ahead, left
        self.steps = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        before = np.hypot(*self.goal)
        if action == 1:
            self.goal = self.goal - (0.25, 0.0)
        elif action in (2, 3):
            turn = TURN if action == 2 else -TURN
            c, s = np.cos(turn), np.sin(turn)
            self.goal = np.array([[c, s], [-s, c]]) @ self.goal
        self.steps += 1
        distance = np.hypot(*self.goal)
        success = bool(action == 0 and distance < 0.4)
        reward = before - distance - 0.01 + 2.0 * success
        cut = self.steps >= 50 and action != 0
        return self._observe(), float(reward), action == 0, cut, {"success": float(success)}

    def _observe(self) -> dict[str, Any]:
        distance, angle = np.hypot(*self.goal), np.arctan2(self.goal[1], self.goal[0])
        observation: dict[str, Any] = {"goal": np.array([distance, angle], np.float32)}
        if self.expert:
            forward = 1 if distance >= 0.4 else 0
            turn = 2 if angle > 0 else 3
            observation["expert_action"] = forward if abs(angle) <= TURN or not forward else turn
        return observation


def cart_poles(
    config: TrainConfig, expert: bool, mode: AutoresetMode = AutoresetMode.SAME_STEP
) -> SyncVectorEnv:
    """Vectorised CartPole."""
    return SyncVectorEnv([DictCartPole] * config.train.envs, autoreset_mode=mode)


def planes(
    config: TrainConfig, expert: bool, mode: AutoresetMode = AutoresetMode.SAME_STEP
) -> SyncVectorEnv:
    """Vectorised Plane."""
    return SyncVectorEnv([lambda: Plane(expert)] * config.train.envs, autoreset_mode=mode)
