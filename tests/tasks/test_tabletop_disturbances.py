"""Disturbances: what each does to the state, that a seed fixes it, and that it survives saving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.errors import ConfigError  # noqa: E402
from embodied.tasks.tabletop import (  # noqa: E402
    TASKS,
    TabletopEnv,
    TabletopVectorEnv,
    make_expert,
)
from embodied.tasks.tabletop.config import Disturbance  # noqa: E402
from embodied.tasks.tabletop.randomisation import Layout  # noqa: E402
from embodied.tasks.tabletop.workcell import Workcell  # noqa: E402

KINDS = [kind for kind in get_args(Disturbance) if kind != "none"]


def undisturbed(layout: Layout, nominal: Layout) -> Layout:
    """The layout with what disturbances may change taken from another one."""
    return replace(
        layout,
        mass_scale=nominal.mass_scale,
        view=nominal.view,
        jolt=nominal.jolt,
        delay_steps=nominal.delay_steps,
    )


def plain(layout: Layout) -> dict[str, Any]:
    """A layout as values that can be compared."""
    poses = {name: pose.tolist() for name, pose in layout.poses.items()}
    return vars(layout) | {"poses": poses, "joint_offsets": layout.joint_offsets.tolist()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_episode_stays_the_same_but_for_what_is_wrong(kind: str) -> None:
    nominal = TabletopEnv(task="pick", level=3)
    disturbed = TabletopEnv(task="pick", level=3, disturbance=kind)
    for seed in range(12):
        first, second, again = (
            env.batch.cells[0].draw_layout(seed) for env in (nominal, disturbed, disturbed)
        )
        assert plain(undisturbed(second, first)) == plain(first)
        assert repr(second) != repr(first)
        assert repr(second) == repr(again)
    nominal.close()
    disturbed.close()


def weight(env: TabletopEnv, name: str) -> float:
    """What a body that lies there presses on the table [N]."""
    cell, bullet = env.batch.cells[0], env.batch.cells[0].world.bullet
    cell.world.step(60)
    points = bullet.getContactPoints(
        cell.task.bodies[name], cell.table, physicsClientId=cell.world.client
    )
    return sum(point[9] for point in points)


@pytest.mark.parametrize(("task", "name"), [("pick", "cube"), ("peg_insert", "part")])
def test_heavier_things_weigh_a_fifth_more(task: str, name: str) -> None:
    weights = []
    for kind in ("none", "heavier"):
        env = TabletopEnv(task=task, disturbance=kind)
        env.reset(seed=0)
        weights.append(weight(env, name))
        env.close()
    assert weights[1] / weights[0] == pytest.approx(1.2, rel=0.02)
    assert weights[0] == pytest.approx(9.81 * {"cube": 0.08, "part": 0.06}[name], rel=0.02)


def test_a_heavier_drawer_is_slower_to_pull() -> None:
    gained = []
    for kind in ("none", "heavier"):
        env = TabletopEnv(task="drawer", disturbance=kind)
        env.reset(seed=0)
        cell = env.batch.cells[0]
        world, cabinet = cell.world, cell.task.bodies["cabinet"]
        force = -2.0 * np.array([np.cos(0), 0, 0])
        for _ in range(12):
            world.bullet.applyExternalForce(
                cabinet, 0, force, (0, 0, 0), world.bullet.LINK_FRAME, physicsClientId=world.client
            )
            world.step()
        gained.append(world.get_travel_speed(cabinet))
        env.close()
    # v = F t / m less a little for the damping.
    assert gained[0] / gained[1] == pytest.approx(1.2, rel=0.05)


def test_a_knocked_camera_shows_the_same_from_elsewhere() -> None:
    views = {}
    for kind in ("none", "camera"):
        env = TabletopVectorEnv(
            2, task="pick", observation="rgb", width=48, height=48, disturbance=kind
        )
        seen, _ = env.reset(seed=3)
        views[kind] = (
            seen,
            env.batch.views.camera_poses("front"),
            env.batch.views.camera_poses("wrist"),
        )
        env.close()
    (seen, front, wrist), (shifted, moved, same) = views["none"], views["camera"]
    way = np.linalg.norm(moved[:, :3, 3] - front[:, :3, 3], axis=1)
    np.testing.assert_allclose(way, 0.05, atol=1e-9)
    np.testing.assert_array_equal(wrist, same)
    np.testing.assert_array_equal(seen["wrist"], shifted["wrist"])
    np.testing.assert_array_equal(seen["state"], shifted["state"])
    assert (np.abs(seen["front"].astype(int) - shifted["front"]).mean(axis=(1, 2, 3)) > 3).all()


def tracks(env: TabletopEnv, actions: np.ndarray) -> np.ndarray:
    """Where the tool is after each action."""
    env.reset(seed=5)
    places = [env.batch.cells[0].hand.position.copy()]
    for action in actions:
        env.step(action)
        places.append(env.batch.cells[0].hand.position.copy())
    return np.array(places)


@pytest.mark.parametrize("control", ["ee_delta", "joint_position", "joint_velocity"])
def test_delayed_actions_come_whole_but_late(control: str) -> None:
    env = TabletopEnv(task="reach", control=control)
    late = TabletopEnv(task="reach", control=control, disturbance="delay")
    delay = late.batch.cells[0].draw_layout(5).delay_steps
    rng = np.random.default_rng(0)
    size = env.action_space.shape[0]
    actions = rng.uniform(-1, 1, (14, size)) * np.linspace(0, 1, 14)[:, None]
    if control == "joint_position":  # small steps about where it is
        cell = env.batch.cells[0]
        ready = 2 * (cell.rig.ready_joints - cell.rig.lower) / (cell.rig.upper - cell.rig.lower) - 1
        actions = np.append(ready, 1.0) + 0.05 * actions
        actions[:, -1] = 1.0
    first, second = tracks(env, actions), tracks(late, actions)
    assert np.abs(first[-1] - first[0]).max() > 0.01
    np.testing.assert_allclose(second[:delay], np.tile(first[0], (delay, 1)), atol=1e-3)
    np.testing.assert_allclose(second[delay:], first[: len(first) - delay], atol=1.5e-3)
    env.close()
    late.close()


def test_delays_are_one_or_two_steps() -> None:
    env = TabletopEnv(task="pick", disturbance="delay")
    delays = [env.batch.cells[0].draw_layout(seed).delay_steps for seed in range(60)]
    assert set(delays) == {1, 2}
    assert 0.25 < np.mean(np.array(delays) == 1) < 0.75
    env.close()


def shove(env: TabletopVectorEnv) -> tuple[int, Workcell, np.ndarray, np.ndarray]:
    """Play the expert until the thing is shoved; say when, and where it was and is."""
    expert, cell = make_expert(env.config.task), env.batch.cells[0]
    env.reset(seed=2)
    assert cell.layout is not None
    assert cell.layout.jolt is not None
    for step in range(60):
        before = cell.task.get_position(cell.task.subject).copy()
        env.step(expert.act(env))
        if cell.layout.jolt is None:
            return step, cell, before, cell.task.get_position(cell.task.subject)
    raise AssertionError("it was never shoved")


@pytest.mark.parametrize("task", TASKS)
def test_a_thing_is_shoved_aside_while_the_arm_works(task: str) -> None:
    env = TabletopVectorEnv(1, task=task, disturbance="moved", privileged=True)
    step, cell, before, after = shove(env)
    assert step >= 1
    way = after - before
    assert 0.035 < np.linalg.norm(way[:2]) < 0.065
    assert way[2] == pytest.approx(0.0, abs=2e-3)
    assert way[:2] @ (before - cell.hand.position)[:2] > -5e-4  # away from the hand
    assert not cell.task.is_held(cell.task.subject)
    if task in ("reach", "drawer"):  # the goal goes along
        goal = env.batch.observe()["objects"][0][-7:] if task == "reach" else cell.task.goal
        assert cell.layout is not None
        np.testing.assert_allclose(goal, cell.layout.poses["goal"], atol=1e-6)
    others = [n for n in cell.task.bodies if n not in (cell.task.subject, "goal")]
    for name in others:
        gap = np.linalg.norm(cell.task.get_position(name)[:2] - after[:2])
        assert gap > 0.04, name
    env.close()


@pytest.mark.parametrize("task", ["reach", "pick", "drawer"])
def test_an_expert_notices_and_copes(task: str) -> None:
    env = TabletopVectorEnv(4, task=task, disturbance="moved")
    expert = make_expert(task)
    env.reset(seed=0)
    done: dict[int, bool] = {}
    for _ in range(env.batch.cells[0].max_steps):
        _, _, ended, cut, infos = env.step(expert.act(env))
        for row in np.flatnonzero(ended | cut):
            done.setdefault(int(row), bool(infos["final_info"]["success"][row]))
    assert len(done) == 4
    assert sum(done.values()) >= 3
    env.close()


@pytest.mark.parametrize("kind", ["moved", "delay"])
def test_a_saved_state_holds_the_disturbance(kind: str) -> None:
    env = TabletopVectorEnv(2, task="pick", disturbance=kind, privileged=True)
    expert = make_expert("pick")
    env.reset(seed=0)
    for _ in range(6):  # before it is shoved, with actions on their way
        env.step(expert.act(env))
    state = env.save_state(0)

    def play(row: int) -> list[np.ndarray]:
        track = []
        for _ in range(24):
            observation, *_ = env.step(np.repeat(expert.act(env)[row : row + 1], 2, axis=0))
            track.append(np.append(observation["state"][row], observation["objects"][row]))
        return track

    env.restore_state(0, state)
    first = play(0)
    env.restore_state(1, state)
    np.testing.assert_array_equal(play(1), first)
    if kind == "moved":
        assert env.batch.cells[0].layout.jolt is None
        late = env.save_state(0)
        env.restore_state(1, late)
        assert env.batch.cells[1].layout.jolt is None
    env.close()


def test_what_cannot_be_disturbed_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'heavier'"):
        TabletopEnv(task="pick", disturbance="heavy")
    with pytest.raises(ConfigError, match="nothing is lifted in the task 'reach'"):
        TabletopEnv(task="reach", disturbance="heavier")
