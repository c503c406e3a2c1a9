"""How good the agent is on worlds held out of the training split."""

from __future__ import annotations

import numpy as np
import torch

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.base import Policy
from embodied.rollout import evaluate_policy
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.data import TrainingData


def validate_policy(config: VLNTrainConfig, policy: Policy, data: TrainingData) -> dict[str, float]:
    """Play the held-out episodes and return the mean of each metric.

    Raises:
        ConfigError: the metric that is to decide does not exist.
    """
    if data.validation is None:
        count = min(config.validation.envs, len(data.validation_source.episodes))
        data.validation = VLNVectorEnv(count, data.task, source=data.validation_source)
    with torch.no_grad():
        played = evaluate_policy(
            policy, data.validation, len(data.validation_source.episodes), seed=0, progress=False
        )
    keys = [key for key in played[0] if key not in ("episode", "return", "length")]
    means = {key: float(np.mean([episode[key] for episode in played])) for key in keys}
    if config.validation.score not in means:
        raise ConfigError(
            f"validation.score = '{config.validation.score}' is no metric of this task: "
            f"{suggest_nearest(config.validation.score, means)}"
        )
    return means
