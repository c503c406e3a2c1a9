from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy import cart_poles

from embodied.errors import ConfigError
from embodied.policies.recurrent import RecurrentConfig, RecurrentPolicy
from embodied.policies.recurrent_features import PolicyInputs
from embodied.rollout import evaluate_policy
from embodied.training.buffers import compute_advantages, iter_minibatches
from embodied.training.checkpoint import load_policy
from embodied.training.navigation.config import LoopConfig, TrainConfig
from embodied.training.navigation.trainer import train
from embodied.training.ppo import PPOConfig, ppo_loss, ppo_update
from embodied.training.rollout import RolloutCollector

LOOP = LoopConfig(
    steps=14_000, imitation_steps=0, envs=16, ppo_rollout=32, checkpoint_every=100, score="return"
)
PPO = PPOConfig(
    learning_rate=2e-3, final_learning_rate=5e-4, gamma=0.98, epochs=6, sequence_length=16,
    value_weight=0.01, target_kl=0.05,
)  # fmt: skip
CONFIG = TrainConfig(train=LOOP, ppo=PPO, policy=RecurrentConfig(width=64, hidden_size=32))


@pytest.fixture
def played():
    env = cart_poles(CONFIG, False)
    inputs = PolicyInputs.from_spaces(env.single_observation_space, env.single_action_space)
    policy = RecurrentPolicy(inputs, CONFIG.policy)
    collector = RolloutCollector(env, policy)
    collector.reset(0)
    rollout, _ = collector.collect_rollout(64)
    return policy, rollout


def one_batch(rollout, sign: float = 1.0):
    advantage, target = compute_advantages(rollout, 0.98, 0.95)
    advantage = np.full_like(advantage, sign)
    return next(iter_minibatches(rollout, advantage, target, 1, 64, np.random.default_rng(0)))


def test_before_the_first_step_nothing_has_diverged(played) -> None:
    policy, rollout = played
    _, log = ppo_loss(policy, one_batch(rollout), PPO)
    assert abs(log["divergence"]) < 1e-6
    assert log["clipped"] == 0
    assert log["policy_loss"] == pytest.approx(-1.0, abs=1e-5)  # -mean(ratio * A), ratio = A = 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_ratio_beyond_the_clip_gives_no_gradient(played, sign: float) -> None:
    policy, rollout = played
    batch = one_batch(rollout, sign)
    moved = dataclasses.replace(batch, log_prob=batch.log_prob - sign)  # ratio e or 1/e
    settings = dataclasses.replace(PPO, entropy_weight=0.0, value_weight=0.0)
    loss, log = ppo_loss(policy, moved, settings)
    loss.backward()
    assert log["clipped"] == 1.0
    assert all(p.grad is None or not p.grad.any() for p in policy.network.parameters())


def test_training_only_the_critic_leaves_the_actor_alone(played) -> None:
    policy, rollout = played
    before = {k: v.clone() for k, v in policy.network.state_dict().items()}
    optimizer = torch.optim.Adam(policy.network.parameters())
    ppo_update(policy, optimizer, rollout, PPO, 0.0, np.random.default_rng(0), critic_only=True)
    changed = {k for k, v in policy.network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(key.startswith("critic.") for key in changed)


def test_divergence_ends_an_update_early(played) -> None:
    policy, rollout = played
    optimizer = torch.optim.Adam(policy.network.parameters())
    settings = dataclasses.replace(
        PPO, learning_rate=0.05, epochs=10, minibatches=4, target_kl=0.01
    )
    log = ppo_update(policy, optimizer, rollout, settings, 0.0, np.random.default_rng(0))
    assert log["minibatch_steps"] < 40


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="gamma"):
        PPOConfig(gamma=1.5)
    with pytest.raises(ConfigError, match="epochs"):
        PPOConfig(epochs=0)


def test_ppo_learns_to_balance_a_pole(tmp_path) -> None:
    train(CONFIG, tmp_path, make_env=cart_poles, quiet=True)
    episodes = evaluate_policy(load_policy(tmp_path), cart_poles(CONFIG, False), 16, seed=9)
    assert np.mean([e["return"] for e in episodes]) > 80  # a random policy holds it for about 22
