"""Tabletop environments: Gymnasium's contract, determinism, saved states, safety, bad input."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

import embodied  # noqa: E402, F401
from embodied.errors import ConfigError, SensorError  # noqa: E402
from embodied.simulators.bullet import SimulationError  # noqa: E402
from embodied.tasks.registration import ARMS, TABLETOP  # noqa: E402
from embodied.tasks.tabletop import (  # noqa: E402
    TASKS,
    SafetyLimits,
    TabletopConfig,
    TabletopEnv,
    TabletopVectorEnv,
    make_expert,
)
from embodied.tasks.tabletop.randomisation import LayoutSampler  # noqa: E402


def tabletop_numbers(observation: dict[str, Any]) -> np.ndarray:
    """State and objects of one environment as one array."""
    return np.concatenate([observation["state"], observation["objects"]])


def tabletop_actions(steps: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, count, 7)).astype(np.float32)


def test_ids_and_tasks_agree() -> None:
    assert tuple(TABLETOP.values()) == TASKS
    for arm in ARMS:
        for title in TABLETOP:
            assert f"embodied/{arm}{title}-v0" in gymnasium.registry


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("title", TABLETOP)
def test_gymnasium_finds_nothing_wrong(title: str) -> None:
    env = gymnasium.make(f"embodied/Panda{title}-v0", privileged=True, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=True)
    observation, info = env.reset(seed=3)
    assert info["success"] is False
    assert info["is_success"] is False
    assert info["episode_seed"] == 3
    assert set(info["violations"]) == {"force", "workspace", "velocity"}
    assert isinstance(observation["instruction"], str)
    # The gripper starts wide open, straight down above the middle of the table.
    np.testing.assert_allclose(observation["state"], [0.5, 0, 0.22, 0, 0, 0, 1, 1], atol=2e-3)
    env.close()


@pytest.mark.parametrize(
    ("arm", "control"), [("Kuka", "joint_position"), ("XArm6", "joint_velocity")]
)
def test_other_arms_and_controls(arm: str, control: str) -> None:
    env = gymnasium.make(f"embodied/{arm}Reach-v0", control=control)
    joints = {"Kuka": 7, "XArm6": 6}[arm]
    assert env.action_space.shape == (joints + 1,)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    cell = env.unwrapped.batch.cells[0]
    before = cell.positions
    if control == "joint_velocity":
        action = np.zeros(joints + 1, np.float32)
        action[0] = 0.5
        for _ in range(10):
            env.step(action)
        turned = cell.positions - before
        assert turned[0] == pytest.approx(0.5 * cell.rig.velocity[0] * 0.5, rel=0.1)
        assert np.abs(turned[1:]).max() < 0.02
    else:
        wanted = before + 0.1
        low, high = cell.rig.lower, cell.rig.upper
        action = np.append(2 * (wanted - low) / (high - low) - 1, 1.0).astype(np.float32)
        for _ in range(15):
            env.step(action)
        np.testing.assert_allclose(cell.positions, wanted, atol=0.01)
    env.close()


def test_actions_move_the_tool_by_what_they_say() -> None:
    env = TabletopEnv(task="reach")
    env.reset(seed=0)
    cell = env.batch.cells[0]
    begun = cell.hand.pose.copy()
    action = np.array([0.5, -0.5, 0.25, 0, 0, 0.5, -1], np.float32)
    for _ in range(8):
        observation, *_ = env.step(action)
    for _ in range(4):
        observation, *_ = env.step(np.array([0, 0, 0, 0, 0, 0, -1], np.float32))
    way = 8 * env.config.position_step * action[:3]
    np.testing.assert_allclose(cell.hand.position - begun[:3, 3], way, atol=2e-3)
    half = 8 * env.config.rotation_step * 0.5 / 2
    np.testing.assert_allclose(
        observation["state"][3:7], [0, 0, np.sin(half), np.cos(half)], atol=5e-3
    )
    assert observation["state"][7] < 0.05
    env.close()


@pytest.mark.parametrize("task", ["pick", "drawer"])
def test_a_seed_fixes_an_episode_wherever_it_is_played(task: str) -> None:
    actions = tabletop_actions(12, 2)
    many = TabletopVectorEnv(2, task=task, level=3, privileged=True)
    one = TabletopEnv(task=task, level=3, privileged=True)
    first, infos = many.reset(seed=20)
    assert infos["episode_seed"].tolist() == [20, 21]
    tracks = [[tabletop_numbers({k: v[row] for k, v in first.items()})] for row in range(2)]
    for action in actions:
        seen, *_ = many.step(action)
        for row in range(2):
            tracks[row].append(tabletop_numbers({k: v[row] for k, v in seen.items()}))
    for row in (1, 0):  # another order, after other episodes, and each twice
        for _ in range(2):
            observation, _ = one.reset(seed=20 + row)
            assert observation["instruction"] == first["instruction"][row]
            track = [tabletop_numbers(observation)]
            track += [tabletop_numbers(one.step(action[row])[0]) for action in actions]
            np.testing.assert_array_equal(track, tracks[row])
    many.close()
    one.close()


def test_episodes_are_numbered_over_the_vector() -> None:
    env = TabletopVectorEnv(2, task="reach", max_steps=3)
    env.reset(seed=5)
    seeds = []
    for action in 0 * tabletop_actions(9, 2):
        _, _, terminated, truncated, infos = env.step(action)
        if (terminated | truncated).any():
            final = infos["final_info"]
            seeds += final["episode_seed"][infos["_final_info"]].tolist()
            assert infos["final_obs"][0]["state"].shape == (8,)
    assert seeds == [5, 6, 7, 8, 9, 10]
    env.close()


def test_a_saved_state_continues_the_same_in_any_row() -> None:
    env = TabletopVectorEnv(2, task="pick", level=2, privileged=True)
    expert = make_expert("pick")
    env.reset(seed=0)
    for _ in range(16):  # the cube is between the fingers
        observation, *_ = env.step(expert.act(env))
    state = env.save_state(0)
    actions = tabletop_actions(10, 2)

    def play(row: int) -> list[np.ndarray]:
        track = []
        for action in actions:
            both = np.repeat(action[:1], 2, axis=0)
            seen, *_ = env.step(both)
            track.append(tabletop_numbers({k: v[row] for k, v in seen.items()}))
        return track

    first = play(0)
    for row in (0, 1):
        env.restore_state(row, state)
        again = env.batch.observe()
        assert again["instruction"][row] == observation["instruction"][0]
        np.testing.assert_array_equal(again["state"][row], observation["state"][0])
        np.testing.assert_array_equal(play(row), first)
    env.close()


def test_a_state_of_another_task_is_refused() -> None:
    env, other = TabletopEnv(task="reach"), TabletopEnv(task="pick")
    with pytest.raises(ConfigError, match="reset the environment first"):
        env.save_state()
    env.reset(seed=0)
    other.reset(seed=0)
    with pytest.raises(SimulationError, match=r"'reach'.* does not fit .*'pick'"):
        other.restore_state(env.save_state())
    env.close()
    other.close()


def test_levels_add_to_each_other() -> None:
    env = {level: TabletopEnv(task="pick", level=level) for level in range(4)}
    layouts = {
        level: [e.batch.cells[0].draw_layout(seed) for seed in range(20)]
        for level, e in env.items()
    }
    places = {k: np.array([x.poses["cube"][:2] for x in v]) for k, v in layouts.items()}
    assert np.ptp(places[0], axis=0).max() < 0.03
    assert np.ptp(places[1], axis=0).min() > 0.15
    for level in (2, 3):
        np.testing.assert_array_equal(places[level], places[1])
    words = {k: {x.instruction for x in v} for k, v in layouts.items()}
    assert len(words[0]) == len(words[1]) == 1
    assert len(words[2]) > 10
    assert {x.friction for x in layouts[1]} == {0.9}
    assert len({x.friction for x in layouts[2]}) == 20
    for plain, named in zip(layouts[1], layouts[2], strict=True):
        assert set(named.poses) - set(plain.poses) == {"distractor_0", "distractor_1"}
        cube, lies = named.poses["cube"][:2], named.poses["distractor_0"][:2]
        assert np.linalg.norm(cube - lies) > 0.05
        assert len({named.colors[n] for n in ("cube", "goal", "distractor_0")}) == 3
    assert all(x.view.turn == 0 and not x.joint_offsets.any() for x in layouts[2])
    assert len({x.view.eye for x in layouts[3]}) == 20
    assert all(x.joint_offsets.any() for x in layouts[3])
    for e in env.values():
        e.close()


def test_things_do_not_lie_on_each_other() -> None:
    for seed in range(60):
        draw = LayoutSampler(seed, 2, (0.5, 0.0))
        spots = np.array([draw.sample_place((0.12, 0.18)) for _ in range(4)])
        gaps = np.linalg.norm(spots[:, None] - spots[None], axis=-1)[np.triu_indices(4, 1)]
        assert gaps.min() > 0.06


def test_images_show_the_scene_and_follow_the_level() -> None:
    env = TabletopVectorEnv(2, task="stack", level=3, observation="rgb", width=64, height=48)
    seen, _ = env.reset(seed=1)
    assert seen["front"].shape == (2, 48, 64, 3)
    assert seen["wrist"].shape == (2, 48, 64, 3)
    assert env.observation_space.contains(seen)
    assert np.abs(seen["front"][0].astype(int) - seen["front"][1]).mean() > 3
    images = env.batch.views.render_images(("front", "wrist"), ("semantic", "depth"))
    labels = env.batch.views.labels
    for name in ("cube", "base", "robot", "table"):
        assert (images["front"]["semantic"] == labels.index(name)).any(axis=(1, 2)).all(), name
    assert (images["wrist"]["semantic"] == labels.index("robot")).any(axis=(1, 2)).all()
    points, colors = env.batch.views.compute_points(0)
    assert points.shape == colors.shape
    assert points[:, 2].min() > -0.002
    with pytest.raises(SensorError, match="did you mean 'front'"):
        env.batch.views.render_images(("frond",))
    env.close()


def test_rewards_lie_in_range_and_success_ends() -> None:
    dense = TabletopVectorEnv(1, task="pick")
    sparse = TabletopVectorEnv(1, task="pick", reward="sparse")
    expert = make_expert("pick")
    for env in (dense, sparse):
        env.reset(seed=4)
        rewards, ended = [], False
        while not ended:
            _, reward, terminated, truncated, infos = env.step(expert.act(env))
            rewards.append(float(reward[0]))
            ended = bool(terminated[0] | truncated[0])
        assert infos["final_info"]["success"][0]
        assert rewards[-1] == 1.0
        if env is dense:
            assert min(rewards) > 0
            assert max(rewards[:-1]) < 1
            assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.3
        else:
            assert set(rewards[:-1]) == {0.0}
        env.close()


def test_violations_are_counted_and_commands_held_back() -> None:
    env = TabletopEnv(task="reach", position_step=0.05, safety=SafetyLimits(force=30.0))
    env.reset(seed=0)
    down = np.array([0, 0, -1, 0, 0, 0, 1], np.float32)
    for _ in range(14):
        *_, info = env.step(down)
    assert info["violations"]["workspace"] > 3
    cell = env.batch.cells[0]
    assert cell.target[2, 3] >= 0.0
    assert cell.hand.position[2] > -0.005
    env.reset(seed=0)
    assert not cell.violations.any()
    env.close()


def test_joints_keep_their_greatest_velocity_and_the_working_space_is_watched() -> None:
    env = TabletopEnv(task="reach", control="joint_position")
    env.reset(seed=0)
    cell, rig = env.batch.cells[0], env.batch.rig
    action = np.append(2 * (rig.ready_joints - rig.lower) / (rig.upper - rig.lower) - 1, 1.0)
    fastest = 0.0
    for sign in (1, -1, 1):
        action[0] = sign  # the base turns from one end towards the other
        for _ in range(8):
            *_, info = env.step(action.astype(np.float32))
            fastest = max(fastest, float((np.abs(cell.velocities) / rig.velocity).max()))
    assert info["violations"]["velocity"] == 24
    assert info["violations"]["workspace"] > 0
    assert 0.8 < fastest < 1.15
    env.close()


def test_pressing_hard_is_a_violation() -> None:
    env = TabletopEnv(task="drawer", safety=SafetyLimits(force=30.0))
    env.reset(seed=0)
    cell = env.batch.cells[0]
    # Down on the cabinet's top, well above the limits of the working space.
    top = cell.layout.poses["cabinet"][:3] + [0.08, 0.0, 0.0]
    for _ in range(60):
        way = np.clip((top - cell.hand.position) / env.config.position_step, -1, 1)
        way[2] = -1.0 if np.abs(way[:2]).max() < 0.3 else 0.3
        *_, info = env.step(np.array([*way, 0, 0, 0, -1], np.float32))
    assert info["violations"]["force"] > 0
    env.close()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"task": "pik"}, "did you mean 'pick'"),
        ({"levle": 2}, "did you mean 'level'"),
        ({"level": 4}, "0, 1, 2 and 3"),
        ({"control": "torque"}, "unknown control"),
        ({"max_steps": -1}, "negative"),
        ({"position_step": 0.0}, "above 0"),
        ({"robot": "pandu"}, "did you mean 'panda'"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], match: str) -> None:
    with pytest.raises((ConfigError, SimulationError), match=match):
        TabletopEnv(TabletopConfig(), **settings)


def test_bad_actions_move_nothing() -> None:
    env = TabletopVectorEnv(2, task="reach")
    env.reset(seed=0)
    before = [cell.positions.copy() for cell in env.batch.cells]
    bad = np.zeros((2, 7), np.float32)
    bad[1, 3] = np.nan
    with pytest.raises(SimulationError, match="environment 1 holds NaN"):
        env.step(bad)
    with pytest.raises(SimulationError, match=r"\(2, 6\).*\(2, 7\)"):
        env.step(bad[:, :6])
    for cell, positions in zip(env.batch.cells, before, strict=True):
        np.testing.assert_array_equal(cell.positions, positions)
        assert cell.steps == 0
    with pytest.raises(ConfigError, match="did you mean 'stack'"):
        make_expert("stak")
    env.close()
