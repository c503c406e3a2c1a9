"""Imitation of an expert that labels what the student meets: DAgger (Ross et al. 2011).

The student drives (a shrinking share of environments is driven by the expert), every step carries
the expert's action, and the policy is trained on those labels with the losses of behaviour
cloning. The critic learns the student's returns meanwhile, so that PPO can take over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embodied.errors import ConfigError
from embodied.training.buffers import (
    RolloutBatch,
    RolloutBuffer,
    compute_advantages,
    iter_minibatches,
)
from embodied.training.learner import ActorCritic
from embodied.training.ppo import step_optimizer


@dataclass(frozen=True)
class ImitationConfig:
    """Settings of the imitation phase.

    Attributes:
        learning_rate: learning rate of Adam at the start of the phase.
        final_learning_rate: learning rate at its end; linear in between.
        expert_share: share of environments that the expert drives at the start.
        expert_until: share of the phase after which the student drives everywhere; linear until
            then.
        epochs: number of passes over a rollout.
        minibatches: number of minibatches per pass.
        sequence_length: number of steps that gradients reach back through time.
        stop_weight: weight of the steps where the expert stops, which are rare and decide success.
        value_weight: weight of the value loss, which trains the value head alone.
        gamma, gae_lambda: discount factor and lambda of the value targets; see `PPOConfig`.
        max_grad_norm: largest norm of the gradient; a longer one is scaled down to it.
    """

    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-4
    expert_share: float = 0.5
    expert_until: float = 0.2
    epochs: int = 2
    minibatches: int = 4
    sequence_length: int = 64
    stop_weight: float = 1.0
    value_weight: float = 0.5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.expert_share <= 1 or not 0 <= self.expert_until <= 1:
            raise ConfigError(
                f"imitation.expert_share {self.expert_share} and expert_until {self.expert_until} "
                "must lie in [0, 1]"
            )
        if min(self.epochs, self.minibatches, self.sequence_length) < 1:
            raise ConfigError("imitation.epochs, minibatches and sequence must be at least 1")

    def get_expert_share(self, progress: float) -> float:
        """Return the share of environments the expert drives at `progress` in [0, 1] of the
        phase.
        """
        if self.expert_until <= 0:
            return 0.0
        return self.expert_share * max(0.0, 1.0 - progress / self.expert_until)


def imitation_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollout: RolloutBuffer,
    config: ImitationConfig,
    progress: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Fit the expert's actions of one rollout; return the means of the losses.

    Raises:
        ConfigError: the environment gave no expert actions.
    """
    if rollout.expert_action is None:
        raise ConfigError(
            "imitation needs the observation 'expert_action': set task.expert=true, "
            "or train.imitation_steps=0 to train with PPO alone"
        )
    rate = config.learning_rate + progress * (config.final_learning_rate - config.learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = rate
    advantage, target = compute_advantages(rollout, config.gamma, config.gae_lambda)
    logs = []
    for _ in range(config.epochs):
        for batch in iter_minibatches(
            rollout, advantage, target, config.minibatches, config.sequence_length, rng,
            policy.device,
        ):  # fmt: skip
            loss, log = imitation_loss(policy, batch, config)
            step_optimizer(policy, optimizer, loss, config.max_grad_norm)
            logs.append(log)
    means = {key: float(np.mean([log[key] for log in logs])) for key in logs[0]}
    return means | {"learning_rate": rate, "expert_share": config.get_expert_share(progress)}


def imitation_loss(
    policy: ActorCritic, batch: RolloutBatch, config: ImitationConfig
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a minibatch and its parts."""
    distribution, values = policy.evaluate_sequences(
        batch.features, batch.state, batch.episode_start, detach_critic=True
    )
    mask = batch.valid.float()
    weight = mask * torch.where(batch.expert_action == 0, config.stop_weight, 1.0)
    total = mask.sum().clamp(min=1.0)
    cross_entropy = -distribution.log_prob(batch.expert_action)
    imitation = (cross_entropy * weight).sum() / weight.sum().clamp(min=1.0)
    value_loss = 0.5 * ((values - batch.value_target) ** 2 * mask).sum() / total
    agree = (distribution.mode() == batch.expert_action).float()
    return imitation + config.value_weight * value_loss, {
        "imitation_loss": imitation.item(),
        "agreement": ((agree * mask).sum() / total).item(),
        "value_loss": value_loss.item(),
    }
