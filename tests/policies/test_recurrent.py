from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.policies.base import Policy
from embodied.policies.recurrent import GoalPlane, RecurrentConfig, RecurrentPolicy
from embodied.policies.recurrent_features import FeatureConfig, Featurizer, PolicyInputs

DEPTH = PolicyInputs({"depth": (24, 32), "pose": (4,), "goal": (2,)}, {}, 4)
FULL = RecurrentConfig(
    features=FeatureConfig(images=("depth",), map_cells=(0.1, 0.3), map_size=16, path_ring=12),
    channels=(4, 8),
    width=16,
    hidden_size=16,
)


def observe(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "depth": rng.uniform(0.5, 5, (count, 24, 32)).astype(np.float32),
        "pose": rng.uniform(-1, 1, (count, 4)).astype(np.float32),
        "goal": rng.uniform(0.2, 3, (count, 2)).astype(np.float32),
    }


def lively(config: RecurrentConfig = FULL, inputs: PolicyInputs = DEPTH) -> RecurrentPolicy:
    """A policy whose untrained action scores differ clearly."""
    policy = RecurrentPolicy(inputs, config, seed=2)
    with torch.no_grad():
        policy.network.actor.weight.normal_(generator=torch.Generator().manual_seed(0))
    return policy


def rows(observations: dict[str, np.ndarray], which: slice) -> dict[str, np.ndarray]:
    return {key: value[which] for key, value in observations.items()}


def test_it_is_a_policy() -> None:
    policy = lively()
    assert isinstance(policy, Policy)
    actions = policy.act(observe(5, 0), np.ones(5, bool))
    assert actions.shape == (5,)
    assert actions.dtype == np.int64
    assert set(actions) <= {0, 1, 2, 3}


def test_agents_of_a_batch_do_not_influence_each_other() -> None:
    together, alone = lively(), lively()
    for t in range(4):
        observations = observe(3, t)
        first = np.full(3, t == 0)
        both = together.sample_actions(observations, first, temperature=0.0)
        one = alone.sample_actions(rows(observations, slice(1, 2)), first[1:2], temperature=0.0)
        np.testing.assert_allclose(both.value[1:2], one.value, atol=1e-5)
        assert both.action[1] == one.action[0]


def test_a_new_episode_forgets_the_old_one() -> None:
    fresh, used = lively(), lively()
    for t in range(3):
        used.sample_actions(observe(2, t), np.full(2, t == 0), temperature=0.0)
    a = fresh.sample_actions(observe(2, 9), np.ones(2, bool), temperature=0.0)
    b = used.sample_actions(observe(2, 9), np.ones(2, bool), temperature=0.0)
    np.testing.assert_allclose(a.value, b.value, atol=1e-6)
    for key in a.features:
        np.testing.assert_array_equal(a.features[key], b.features[key])
    assert not b.state.any()


def test_what_was_seen_before_matters_within_an_episode() -> None:
    fresh, used = lively(), lively()
    used.sample_actions(observe(2, 0), np.ones(2, bool), temperature=0.0)
    a = fresh.sample_actions(observe(2, 9), np.ones(2, bool), temperature=0.0)
    b = used.sample_actions(observe(2, 9), np.zeros(2, bool), temperature=0.0)
    assert np.abs(a.value - b.value).max() > 1e-4


def test_temperature_decides_between_the_likeliest_and_a_draw() -> None:
    policy = lively()
    observations, first = observe(400, 1), np.ones(400, bool)
    best = policy.sample_actions(observations, first, temperature=0.0)
    again = policy.sample_actions(observations, first, temperature=0.0)
    np.testing.assert_array_equal(best.action, again.action)
    shares = [
        (policy.sample_actions(observations, first, temperature=t).action == best.action).mean()
        for t in (1.0, 0.3)
    ]
    assert shares[0] < shares[1] < 1.0
    assert (best.log_prob >= np.log(1 / 4)).all()


def test_the_action_really_taken_is_what_it_remembers() -> None:
    a, b = lively(), lively()
    for policy, taken in ((a, 2), (b, 3)):
        policy.sample_actions(observe(1, 0), np.ones(1, bool))
        policy.set_executed_actions(np.array([taken]))
    left = a.sample_actions(observe(1, 1), np.zeros(1, bool)).features["vector"]
    right = b.sample_actions(observe(1, 1), np.zeros(1, bool)).features["vector"]
    np.testing.assert_array_equal(left[0, :5], [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(right[0, :5], [0, 0, 0, 1, 0])


def test_features_of_a_point_goal_and_depth() -> None:
    featurizer = Featurizer(DEPTH, FeatureConfig(images=("depth",)))
    observations = {
        "depth": np.full((1, 24, 32), 1.0, np.float32),
        "pose": np.array([[10.0, 0.0, -5.0, np.pi / 2]], np.float32),
        "goal": np.array([[0.3, np.pi / 2]], np.float32),
    }
    observations["depth"][0, 0, 0] = 0.0  # nothing seen there
    features = featurizer(observations, np.zeros(1, np.int64), np.ones(1, bool))
    assert features["depth"].shape == (1, 1, 24, 32)
    assert features["depth"][0, 0, 0, 0] == 0
    assert features["depth"][0, 0, 5, 5] == 127  # 255 / (1 + 1 m)
    vector = features["vector"][0]
    np.testing.assert_array_equal(vector[:5], [0, 0, 0, 0, 1])  # no action before the first
    np.testing.assert_allclose(vector[5:10], [1.0, -0.5, 1.0, 0.0, 0.0], atol=1e-6)
    near = [0.0, 1.0, np.log(1.3), np.exp(-0.6), 0.3]
    np.testing.assert_allclose(vector[10:15], near, atol=1e-6)


def test_discrete_goals_and_colour_are_understood() -> None:
    space = gym.spaces.Dict(
        {
            "rgb": gym.spaces.Box(0, 255, (16, 16, 3), np.uint8),
            "goal": gym.spaces.Discrete(5),
            "expert_action": gym.spaces.Discrete(4),
        }
    )
    inputs = PolicyInputs.from_spaces(space, gym.spaces.Discrete(6))
    assert "expert_action" not in inputs.shapes
    assert PolicyInputs.from_json(inputs.to_json()) == inputs
    policy = lively(RecurrentConfig(channels=(4, 8), width=8, hidden_size=8), inputs)
    observations = {"rgb": np.zeros((2, 16, 16, 3), np.uint8), "goal": np.array([0, 3])}
    step = policy.sample_actions(observations, np.ones(2, bool))
    np.testing.assert_array_equal(step.features["vector"][:, 7:], np.eye(5)[[0, 3]])


def test_a_map_without_depth_is_refused_with_the_way_out() -> None:
    inputs = PolicyInputs({"goal": (2,)}, {}, 4)
    with pytest.raises(ConfigError, match="'depth' and 'pose'.*Set them to"):
        RecurrentPolicy(inputs, FULL)
    no_goal = PolicyInputs({"depth": (24, 32), "pose": (4,)}, {"goal": 5}, 4)
    ring = dataclasses.replace(FULL, features=FeatureConfig(path_ring=12))
    with pytest.raises(ConfigError, match="needs a point goal"):
        RecurrentPolicy(no_goal, ring)
    with pytest.raises(ConfigError, match="Dict observation space"):
        PolicyInputs.from_spaces(gym.spaces.Box(0, 1, (3,)), gym.spaces.Discrete(2))


def test_the_goal_plane_rises_towards_the_goal() -> None:
    plane = GoalPlane(0.5, 8)(torch.tensor([[1.0, 0.0], [1.0, np.pi / 2]]))
    ahead, left = plane[0, 0].numpy(), plane[1, 0].numpy()
    assert plane.shape == (2, 1, 8, 8)
    assert ahead[1:3, 3:5].min() > ahead[3:5, 3:5].max() > ahead[5:7, 3:5].max()
    np.testing.assert_allclose(left, ahead.T, atol=1e-5)  # the same, turned to the left
