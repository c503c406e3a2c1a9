"""The guidance: cosines, its fading, and what the expert would do next."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="the tasks need pybullet")

from embodied.tasks.tabletop import TabletopConfig, TabletopVectorEnv, make_expert  # noqa: E402
from embodied.training.manipulation.guidance import (  # noqa: E402
    GuidanceOracle,
    compute_direction_cosine,
    guidance_decay,
)

TASK = TabletopConfig(task="pick", level=1)


def test_the_guidance_is_the_cosine_of_the_way_taken_and_the_way_wanted() -> None:
    before = np.zeros((5, 3))
    after = np.array([[0.01, 0, 0], [-0.01, 0, 0], [0, 0.02, 0], [0.01, 0.01, 0], [0.003, 0, 0]])
    goal = np.array([[0.1, 0, 0]] * 5)
    found = compute_direction_cosine(before, after, goal)
    assert found == pytest.approx([1.0, -1.0, 0.0, np.sqrt(0.5), 1.0])


def test_a_gripper_that_stands_is_paid_nothing() -> None:
    before = np.array([[0.5, 0.1, 0.2]] * 3)
    after = before + [[0.9e-4, 0, 0], [1.1e-4, 0, 0], [0.01, 0, 0]]
    goal = np.array([[1.0, 0.1, 0.2], [1.0, 0.1, 0.2], [0.5, 0.1, 0.2]])  # the last is there
    assert compute_direction_cosine(before, after, goal) == pytest.approx([0.0, 1.0, 0.0])


def test_the_guidance_fades_with_progress() -> None:
    progress = np.array([0.0, 0.5, 0.7, 0.9, 0.95, 1.0])
    assert guidance_decay(progress) == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.1, 0.1])


def test_the_oracle_says_where_the_expert_goes_and_touches_nothing() -> None:
    env = TabletopVectorEnv(2, TASK)
    oracle, expert = GuidanceOracle(TASK, 5), make_expert("pick")
    observation, _ = env.reset(seed=3)
    for _ in range(12):
        observation, *_ = env.step(expert.act(env))
    said = oracle.predict_positions(env, [1, 0])
    assert np.array_equal(env.batch.observe()["state"], observation["state"])
    for _ in range(5):
        observation, *_ = env.step(expert.act(env))
    assert said[::-1] == pytest.approx(observation["state"][:, :3], abs=1e-6)
    oracle.close()
    env.close()
