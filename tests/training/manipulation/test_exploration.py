"""What is written into the replay: the next action of the base, ends, rewards, violations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pybullet", reason="the tasks need pybullet")

from embodied.policies.chunk.residual import ResidualConfig, ResidualPolicy  # noqa: E402
from embodied.tasks.tabletop import SafetyLimits, make_expert  # noqa: E402
from embodied.training.manipulation.exploration import RefinementCollector, relative_objects  # noqa: E402
from embodied.training.manipulation.refinement import summarise_episodes  # noqa: E402
from embodied.training.manipulation.refinement_config import RefinementLoop  # noqa: E402
from embodied.training.replay import ReplayBuffer  # noqa: E402
from tests.training.manipulation.miniature import TASK  # noqa: E402
from tests.training.manipulation.scripted import Scripted, told  # noqa: E402

LOOP = RefinementLoop(
    guidance="none", privileged=False, envs=2, steps=2, log_every=2, validate_every=2
)
COLUMNS = {"observation": 0, "action": 7, "reward": 1, "next_observation": 0, "terminated": 1,
           "guidance": 1}  # fmt: skip


def explore(policy, task=TASK, loop=LOOP, steps: int = 14, seed: int = 0):
    """Play; return the replay's columns by environment, (steps, N, ...), and the episodes."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    explorer = RefinementCollector(policy, task, loop, 5)
    sizes = dict.fromkeys(("observation", "next_observation"), explorer.observation_size)
    replay = ReplayBuffer(steps * loop.envs, COLUMNS | sizes)
    explorer.begin_episodes(seed, seed)
    episodes = [episode for _ in range(steps) for episode in explorer.collect_step(replay)]
    explorer.close()
    kept = {
        name: values.reshape(steps, loop.envs, -1).numpy()
        for name, values in replay.state_dict().items()
        if name != "added"
    }
    return kept, episodes


def residual(base=None, amplitude: float = 0.0, **changes) -> ResidualPolicy:
    policy = ResidualPolicy(base or Scripted(), ResidualConfig(width=8, **changes))
    policy.amplitude = amplitude
    return policy


@pytest.mark.parametrize("limit", [6, 7])
def test_the_next_action_of_the_base_is_the_one_that_is_played_next(limit: int) -> None:
    """Chunks of 4, 3 of them played: replans, and the clock running out between and at them."""
    policy = residual()
    kept, episodes = explore(policy, replace(TASK, task="pick", max_steps=limit), steps=3 * limit)
    assert [row for row, _ in episodes] == [0, 1] * 3
    assert not kept["terminated"].any()
    columns = policy.base_columns
    for row in range(2):
        played = told(kept["action"][:, row])
        now = told(kept["observation"][:, row, columns])
        following = told(kept["next_observation"][:, row, columns])
        assert now == played  # the amplitude is 0
        for step in range(3 * limit - 1):
            age = step % limit
            if age < limit - 1:
                assert following[step] == played[step + 1]
            else:  # cut off: the chunk would have gone on, or a new one of this episode come
                chunk, place = played[step]
                if limit % 3:
                    assert following[step] == (chunk, place + 1)
                else:
                    assert following[step][1] == 0
                    assert following[step][0] not in {c for c, _ in played}
                assert played[step + 1][1] == 0  # the next episode begins with a chunk of its own
            assert played[step][1] == age % 3


def test_what_follows_a_cut_is_the_last_state_and_not_the_next_episode() -> None:
    policy = residual(Scripted(n_action_steps=4))
    kept, _ = explore(policy, replace(TASK, max_steps=5), steps=10)
    state = slice(0, 3)
    for step in range(9):
        here, there = (
            kept["next_observation"][step, :, state],
            kept["observation"][step + 1, :, state],
        )
        if step == 4:
            assert np.abs(here - kept["observation"][step, :, state]).max() < 1e-3
            assert np.abs(there - kept["observation"][0, :, state]).max() < 1e-6
            assert (here != there).any()
        else:
            assert np.array_equal(here, there)


def test_success_ends_and_pays() -> None:
    base = residual(Scripted(n_action_steps=1))
    torch.manual_seed(0)
    loop = replace(LOOP, reward="dense")
    explorer = RefinementCollector(base, replace(TASK, max_steps=0, level=1), loop, 5)
    expert = make_expert("reach")
    replay = ReplayBuffer(
        200, COLUMNS | dict.fromkeys(("observation", "next_observation"), explorer.observation_size)
    )
    explorer.begin_episodes(0, 0)
    episodes = []
    for _ in range(80):
        base._queue[:] = expert.act(explorer.env)[:, None]
        explorer._seen = explorer._view(explorer._rollout.observations)
        episodes += explorer.collect_step(replay)
    explorer.close()
    assert len(episodes) > 2
    assert all(episode["success"] for _, episode in episodes)
    kept = replay.state_dict()
    assert kept["terminated"].sum() == len(episodes)
    ends = kept["terminated"][:, 0] == 1
    assert (kept["reward"][ends, 0] == 0).all()  # 1 of the task less 1 for the step
    assert (kept["reward"][~ends, 0] < 0).all()
    assert sum(e["return"] for _, e in episodes) > len(episodes)  # the task's own reward is kept
    found = summarise_episodes([episode for _, episode in episodes])
    assert found["success"] == 1.0
    assert found["throughput"] == pytest.approx(1000 / found["steps_to_success"])


def test_the_residual_stays_within_its_bounds_and_moves_the_arm() -> None:
    policy = residual(amplitude=0.5, position_scale=0.4, rotation_scale=0.2, gripper_scale=0.1)
    kept, _ = explore(policy, steps=20)
    base = kept["observation"][..., policy.base_columns]
    change = np.abs(kept["action"] - base).max(axis=(0, 1))
    assert (change[:3] <= 0.2 + 1e-6).all()
    assert (change[3:6] <= 0.1 + 1e-6).all()
    assert change[6] <= 0.05 + 1e-6
    assert (change[:6] > 0.01).all()


def test_violations_are_counted_and_cost() -> None:
    task = replace(TASK, max_steps=10, safety=SafetyLimits(margin=1e-3, velocity=0.02))
    policy = residual(Scripted(), amplitude=1.0, position_scale=2.0)
    kept, episodes = explore(
        policy, task, replace(LOOP, reward="sparse", violation_penalty=0.5), steps=20
    )
    found = summarise_episodes([episode for _, episode in episodes])
    assert found["violations_velocity"] > 100
    assert found["violations_force"] == 0
    names = [name for name in found if name.startswith("violations_")]
    assert len(episodes) == 4
    assert not found["success"]
    total = sum(e[name] for _, e in episodes for name in names)
    assert -(kept["reward"] + 1).sum() == pytest.approx(0.5 * total)
    assert found["violations_velocity"] == pytest.approx(
        1000 * np.mean([e["violations_velocity"] for _, e in episodes]) / 10
    )


def test_critics_may_see_more_than_the_actor() -> None:
    policy = residual()
    kept, _ = explore(policy, loop=replace(LOOP, privileged=True), steps=4)
    assert kept["observation"].shape[-1] == policy.features_size + 7
    ball = kept["observation"][..., policy.features_size :]
    state = kept["observation"][..., :3]
    ways = ball[..., :3] / 10 + state  # the statistics of the scripted policy scale by 1
    assert np.ptp(ways, axis=0).max() < 1e-5  # the ball hangs still


def test_places_are_seen_from_the_gripper() -> None:
    objects = np.array([[1.0, 2, 3, 0, 0, 0, 1, 0.5]], np.float32)
    found = relative_objects(objects, np.array([[0.9, 2.0, 3.2]], np.float32))
    assert found[0] == pytest.approx([1.0, 0, -2.0, 0, 0, 0, 1, 0.5], abs=1e-5)
