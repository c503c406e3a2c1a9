"""Scripted experts do their tasks, also when they are disturbed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.errors import ConfigError  # noqa: E402
from embodied.simulators.bullet import RIGS  # noqa: E402
from embodied.tasks.tabletop import TASKS, TabletopExpert, TabletopVectorEnv, make_expert  # noqa: E402


def expert_success(
    env: TabletopVectorEnv, expert: TabletopExpert, episodes: int
) -> dict[int, bool]:
    """Play episodes 0, 1, ...; return whether each succeeded."""
    found: dict[int, bool] = {}
    env.reset(seed=0)
    expert.reset()
    while len(found) < episodes:
        _, _, terminated, truncated, infos = env.step(expert.act(env))
        done = np.flatnonzero(terminated | truncated)
        for row in done:
            seed = int(infos["final_info"]["episode_seed"][row])
            if seed < episodes:
                found[seed] = bool(terminated[row])
        expert.reset(done)
    env.close()
    return found


@pytest.mark.parametrize("task", TASKS)
def test_experts_succeed(task: str) -> None:
    found = expert_success(TabletopVectorEnv(2, task=task), make_expert(task), 4)
    assert all(found.values()), found


def test_noise_makes_the_hand_stray_and_the_label_stays_clean() -> None:
    env = TabletopVectorEnv(2, task="pick")
    expert, clean = make_expert("pick", noise=0.7, seed=1), make_expert("pick")
    env.reset(seed=0)
    strayed = []
    for _ in range(15):
        wanted = clean.act(env)
        acted = expert.act(env)
        np.testing.assert_array_equal(expert.intended_actions, wanted)
        np.testing.assert_array_equal(acted[:, 6], wanted[:, 6])
        strayed.append(acted - wanted)
        env.step(acted)
    off = np.abs(np.array(strayed)[..., :3]).max(axis=2)
    assert 0.1 < (off > 0).mean() < 0.8  # in bursts
    assert off.max() > 0.3
    env.close()
    found = expert_success(TabletopVectorEnv(2, task="pick"), make_expert("pick", noise=0.7), 6)
    assert sum(found.values()) >= 5, found


def test_an_expert_recovers_when_the_cube_is_taken_away() -> None:
    env = TabletopVectorEnv(1, task="pick")
    expert = make_expert("pick")
    env.reset(seed=2)
    cell = env.batch.cells[0]
    for _ in range(18):
        env.step(expert.act(env))
    assert cell.task.is_held("cube")
    moved = cell.layout.poses["cube"].copy()
    moved[:2] = 2 * np.array(cell.rig.spec.center) - moved[:2]
    cell.world.set_pose(cell.task.bodies["cube"], moved)
    for _ in range(70):
        _, _, terminated, _, _ = env.step(expert.act(env))
        if terminated[0]:
            break
    assert terminated[0]
    env.close()


def test_a_slow_expert_takes_longer() -> None:
    lengths = {}
    for speed in (1.0, 0.4):
        env, expert = TabletopVectorEnv(1, task="reach"), make_expert("reach", speed=speed)
        env.reset(seed=0)
        ended, lengths[speed] = False, 0
        while not ended:
            actions = expert.act(env)
            assert np.linalg.norm(actions[0, :3]) <= speed + 1e-6
            ended = bool(env.step(actions)[2][0])
            lengths[speed] += 1
        env.close()
    assert lengths[0.4] > 1.7 * lengths[1.0]


def test_experts_move_the_tool_only() -> None:
    env = TabletopVectorEnv(1, task="reach", control="joint_velocity")
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="ee_delta"):
        make_expert("reach").act(env)
    with pytest.raises(ConfigError, match="speed"):
        make_expert("reach", speed=0.0)
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_experts_succeed_95_times_in_100(task: str) -> None:
    found = expert_success(TabletopVectorEnv(4, task=task), make_expert(task), 100)
    assert np.mean(list(found.values())) >= 0.95, found


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("robot", [name for name in RIGS if name != "panda"])
def test_experts_know_the_other_arms(robot: str, task: str) -> None:
    found = expert_success(TabletopVectorEnv(4, task=task, robot=robot), make_expert(task), 12)
    assert sum(found.values()) >= 11, found
