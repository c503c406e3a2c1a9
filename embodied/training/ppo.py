"""Proximal policy optimisation (Schulman et al. 2017) for policies with discrete actions: the
whole learning step.

ratio = exp(log pi(a) - log pi_old(a))
policy loss = -mean(min(ratio * A, clip(ratio, 1 - c, 1 + c) * A))            (their eq. 7)
loss = policy loss + value_weight * value loss - entropy_weight * entropy     (their eq. 9)
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


@dataclass(frozen=True)
class PPOConfig:
    """Settings of one PPO update.

    Attributes:
        learning_rate: learning rate of Adam at the start of the PPO phase.
        final_learning_rate: learning rate at its end; linear in between.
        gamma: discount factor of rewards per step.
        gae_lambda: lambda of generalised advantage estimation: 0 trusts the critic, 1 the returns.
        clip_range: distance of the probability ratio from 1 beyond which it earns nothing more.
        clip_range_vf: distance from its old value beyond which a value is not pulled further, in
            units of the return; 0 switches this off.
        value_weight: weight of the value loss.
        entropy_weight: weight of the entropy bonus.
        epochs: number of passes over a rollout.
        minibatches: number of minibatches per pass.
        sequence_length: number of steps that gradients reach back through time.
        max_grad_norm: largest norm of the gradient; a longer one is scaled down to it.
        target_kl: mean divergence KL(old || new) beyond which the epochs of an update stop; 0:
            never.
        critic_updates: number of first updates that train the value head alone, so that a
            warm-started policy is not pushed around by an untrained critic.
    """

    learning_rate: float = 2.5e-4
    final_learning_rate: float = 2.5e-5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    clip_range_vf: float = 0.0
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    epochs: int = 2
    minibatches: int = 4
    sequence_length: int = 64
    max_grad_norm: float = 0.5
    target_kl: float = 0.03
    critic_updates: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1 or not 0 <= self.gae_lambda <= 1:
            raise ConfigError(
                f"ppo.gamma {self.gamma} must lie in (0, 1], ppo.gae_lambda {self.gae_lambda} in "
                f"[0, 1]"
            )
        if min(self.epochs, self.minibatches, self.sequence_length) < 1 or self.clip_range <= 0:
            raise ConfigError(
                "ppo.epochs, ppo.minibatches and ppo.sequence_length must be at least 1, "
                "clip_range > 0"
            )


def ppo_update(
    policy: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollout: RolloutBuffer,
    config: PPOConfig,
    progress: float,
    rng: np.random.Generator,
    critic_only: bool = False,
) -> dict[str, float]:
    """Improve the policy with one rollout of its own; return the means of the losses.

    Args:
        policy: changed in place.
        optimizer: of its parameters; the learning rate is set here.
        rollout: played by this policy with its present weights.
        config: settings.
        progress: share of the PPO phase done, in [0, 1].
        rng: order of the minibatches.
        critic_only: leave the actor as it is.
    """
    rate = config.learning_rate + progress * (config.final_learning_rate - config.learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = rate
    advantage, target = compute_advantages(rollout, config.gamma, config.gae_lambda)
    valid = advantage[rollout.valid]
    normalised = ((advantage - valid.mean()) / (valid.std() + 1e-8)).astype(np.float32)
    logs: list[dict[str, float]] = []
    stop = False
    for _ in range(config.epochs):
        for batch in iter_minibatches(
            rollout, normalised, target, config.minibatches, config.sequence_length, rng,
            policy.device,
        ):  # fmt: skip
            loss, log = ppo_loss(policy, batch, config, critic_only)
            if config.target_kl and log["divergence"] > config.target_kl:
                stop = True
                break
            step_optimizer(policy, optimizer, loss, config.max_grad_norm)
            logs.append(log)
        if stop:
            break
    means = {key: float(np.mean([log[key] for log in logs])) for key in logs[0]} if logs else {}
    unexplained = np.var((target - rollout.value)[rollout.valid])
    spread = np.var(target[rollout.valid])
    return means | {
        "learning_rate": rate,
        "minibatch_steps": float(len(logs)),
        "explained_variance": float(1 - unexplained / spread) if spread > 0 else 0.0,
    }


def ppo_loss(
    policy: ActorCritic, batch: RolloutBatch, config: PPOConfig, critic_only: bool = False
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a minibatch and its parts."""
    distribution, values = policy.evaluate_sequences(
        batch.features, batch.state, batch.episode_start, detach_critic=critic_only
    )
    mask = batch.valid.float()
    total = mask.sum().clamp(min=1.0)

    def mean(x: Tensor) -> Tensor:
        return (x * mask).sum() / total

    difference = distribution.log_prob(batch.action) - batch.log_prob
    ratio = difference.exp()
    clipped = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
    policy_loss = -mean(torch.minimum(ratio * batch.advantage, clipped * batch.advantage))
    error = (values - batch.value_target) ** 2
    if config.clip_range_vf > 0:
        near = batch.value + (values - batch.value).clamp(
            -config.clip_range_vf, config.clip_range_vf
        )
        error = torch.maximum(error, (near - batch.value_target) ** 2)
    value_loss = 0.5 * mean(error)
    entropy = mean(distribution.entropy())
    loss = config.value_weight * value_loss
    if not critic_only:
        loss = loss + policy_loss - config.entropy_weight * entropy
    return loss, {
        "policy_loss": policy_loss.item(),
        "value_loss": value_loss.item(),
        "entropy": entropy.item(),
        # Schulman's low-variance estimate of KL(old || new), http://joschu.net/blog/kl-approx.html
        "divergence": mean(ratio - 1 - difference).item(),
        "clipped": mean(((ratio - 1).abs() > config.clip_range).float()).item(),
    }


def step_optimizer(
    policy: ActorCritic, optimizer: torch.optim.Optimizer, loss: Tensor, max_grad_norm: float
) -> None:
    """Take one optimiser step on a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.network.parameters(), max_grad_norm)
    optimizer.step()
