"""What the trainer of navigation policies is made of where nobody says otherwise."""

from __future__ import annotations

import dataclasses

from gymnasium.vector import VectorEnv

from embodied.policies.base import PolicyTask
from embodied.policies.recurrent import RecurrentPolicy
from embodied.training.navigation.config import TrainConfig


def make_navigation_env(config: TrainConfig, expert: bool) -> VectorEnv:
    """Build the training environments of a recipe, with or without the expert's labels."""
    from embodied.tasks.navigation.vector import NavigationVectorEnv

    return NavigationVectorEnv(config.train.envs, dataclasses.replace(config.task, expert=expert))


def make_recurrent_policy(config: TrainConfig, env: VectorEnv) -> RecurrentPolicy:
    """Build the recipe's policy with fresh weights for the spaces of an environment."""
    task = PolicyTask(
        seed=config.seed,
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
    )
    return RecurrentPolicy.from_config(config.policy, task)
