from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from toy import cart_poles, planes

from embodied.policies.recurrent import RecurrentConfig, RecurrentPolicy
from embodied.policies.recurrent_features import PolicyInputs
from embodied.rollout import evaluate_policy
from embodied.training.navigation.config import LoopConfig, TrainConfig
from embodied.training.rollout import RolloutCollector

SMALL = RecurrentConfig(width=16, hidden_size=16)
CONFIG = TrainConfig(policy=SMALL, train=LoopConfig(envs=4))
MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP]


def make_policy(env) -> RecurrentPolicy:
    inputs = PolicyInputs.from_spaces(env.single_observation_space, env.single_action_space)
    return RecurrentPolicy(inputs, SMALL, seed=3)


@pytest.mark.parametrize("mode", MODES)
def test_learning_sees_exactly_what_acting_saw(mode: AutoresetMode) -> None:
    env = cart_poles(CONFIG, False, mode)
    policy = make_policy(env)
    collector = RolloutCollector(env, policy)
    collector.reset(0)
    for _ in range(2):  # the second rollout begins in the middle of episodes
        rollout, _ = collector.collect_rollout(40)
        features = {key: torch.from_numpy(value) for key, value in rollout.features.items()}
        with torch.no_grad():
            logits, values, _ = policy.network(
                features,
                torch.from_numpy(rollout.states[0]),
                torch.from_numpy(rollout.episode_start),
            )
        chosen = torch.log_softmax(logits, -1).gather(
            -1, torch.from_numpy(rollout.action)[..., None]
        )
        np.testing.assert_allclose(chosen[..., 0], rollout.log_prob, atol=1e-5)
        np.testing.assert_allclose(values, rollout.value, atol=1e-5)
    assert rollout.done.any()


@pytest.mark.parametrize("mode", MODES)
def test_episodes_have_their_true_length_and_return(mode: AutoresetMode) -> None:
    env = cart_poles(CONFIG, False, mode)
    collector = RolloutCollector(env, make_policy(env))
    collector.reset(0)
    rollout, episodes = collector.collect_rollout(120)
    assert len(episodes) == rollout.done.sum() > 5
    assert all(e["return"] == e["length"] for e in episodes)  # CartPole pays 1 per step
    if mode == AutoresetMode.NEXT_STEP:
        np.testing.assert_array_equal(~rollout.valid[1:], rollout.done[:-1])
        np.testing.assert_array_equal(rollout.episode_start[2:], ~rollout.valid[1:-1])
    else:
        assert rollout.valid.all()
        np.testing.assert_array_equal(rollout.episode_start[1:], rollout.done[:-1])


def test_terminal_steps_have_no_future_and_others_the_next_value() -> None:
    env = cart_poles(CONFIG, False)
    collector = RolloutCollector(env, make_policy(env))
    collector.reset(0)
    rollout, _ = collector.collect_rollout(40)
    assert (rollout.next_value[rollout.done] == 0).all()
    going = ~rollout.done[:-1]
    np.testing.assert_array_equal(rollout.next_value[:-1][going], rollout.value[1:][going])


def test_peeking_at_the_next_value_changes_nothing() -> None:
    env = cart_poles(CONFIG, False)
    collector = RolloutCollector(env, make_policy(env))
    collector.reset(0)
    first, _ = collector.collect_rollout(5)
    second, _ = collector.collect_rollout(1)
    going = ~first.done[-1]
    np.testing.assert_allclose(first.next_value[-1][going], second.value[0][going], atol=1e-6)


def test_imitation_obeys_the_expert_about_stopping() -> None:
    env = planes(CONFIG, True)
    collector = RolloutCollector(env, make_policy(env))
    collector.reset(0)
    rollout, episodes = collector.collect_rollout(60, expert_share=0.0)
    assert rollout.expert_action is not None
    assert (rollout.expert_action[rollout.action == 0] == 0).all()
    driven, episodes = collector.collect_rollout(60, expert_share=1.0)
    np.testing.assert_array_equal(driven.action, driven.expert_action)
    assert np.mean([e["success"] for e in episodes[4:]]) == 1.0


def test_the_same_seed_gives_the_same_rollout() -> None:
    rollouts = []
    for _ in range(2):
        env = planes(CONFIG, True)
        collector = RolloutCollector(env, make_policy(env))
        collector.reset(5)
        rollouts.append(collector.collect_rollout(30, expert_share=0.5)[0])
    np.testing.assert_array_equal(rollouts[0].action, rollouts[1].action)
    np.testing.assert_array_equal(rollouts[0].reward, rollouts[1].reward)


class Rightwards:
    """Pushes the cart right: every episode lasts 8 to 11 steps."""

    def act(self, observations, first):
        return np.ones(len(first), np.int64)


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_gives_every_environment_its_share(mode: AutoresetMode) -> None:
    env = cart_poles(CONFIG, False, mode)
    episodes = evaluate_policy(Rightwards(), env, 10, seed=1, progress=False)
    assert len(episodes) == 10
    assert all(8 <= e["length"] <= 11 for e in episodes)
    again = evaluate_policy(Rightwards(), env, 10, seed=1, progress=False)
    assert episodes == again
