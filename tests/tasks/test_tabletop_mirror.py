"""A table in pictures only, around an arm that is somewhere else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.errors import ConfigError  # noqa: E402
from embodied.simulators.bullet import Rig  # noqa: E402
from embodied.tasks.tabletop import TabletopEnv  # noqa: E402
from embodied.tasks.tabletop.mirror import TableMirror, TableSensors  # noqa: E402
from embodied.tasks.tabletop.twin import TabletopTwin, TwinOptions  # noqa: E402
from robots.arm import ArmState  # noqa: E402
from robots.bullet import BulletArm  # noqa: E402
from robots.kinematics import Kinematics  # noqa: E402
from robots.model import load_model  # noqa: E402

FR3 = load_model("fr3")


def at(positions: np.ndarray, gripper: float | None = None) -> ArmState:
    return ArmState(0.0, positions, np.zeros(len(positions)), gripper=gripper)


def test_fr3_and_panda_are_the_same_chain() -> None:
    """What one learned at the table is about the same tool on the other."""
    lower, upper = ([getattr(joint, end) for joint in FR3.joints] for end in ("lower", "upper"))
    angles = np.random.default_rng(0).uniform(lower, upper, (1000, 7))
    panda = Kinematics(load_model("panda"))
    np.testing.assert_allclose(
        Kinematics(FR3).compute_tool_pose(angles), panda.compute_tool_pose(angles), atol=1e-9
    )
    np.testing.assert_allclose(Rig("fr3").ready_joints, Rig("panda").ready_joints, atol=1e-3)


def test_it_shows_what_the_environment_shows_wherever_the_arm_is() -> None:
    env = TabletopEnv(task="reach", observation="rgb", width=64, height=48)
    seen, _ = env.reset(seed=5)
    mirror = TableMirror(FR3, TwinOptions("reach", seed=5, width=64, height=48))
    assert mirror.instruction == env.batch.cells[0].layout.instruction
    for action in ([0.0] * 6 + [1.0], [1, 0.5, -1, 0, 0, 0.5, 1], [1, -1, 1, 0.5, 0, 0, -1]):
        for _ in range(4):
            seen, *_ = env.step(np.array(action, np.float32))
        cell = env.batch.cells[0]
        mirror.show_state(at(cell.positions, cell.hand.opening))
        assert mirror.verdict.reward == pytest.approx(cell.result.reward, abs=1e-6)
        for name, image in mirror.render_images().items():
            off = np.abs(image.astype(int) - seen[name])
            assert off.mean() < 0.5, (name, off.mean())
    env.close()


def test_the_ball_is_reached_by_an_arm_that_is_told_to_be_there() -> None:
    sensors = TableSensors(BulletArm(FR3), FR3, {"task": "reach", "seed": 2})
    rig, joints = Rig("fr3"), Rig("fr3").ready_joints[None]
    first = sensors(at(joints[0]))
    assert "not done" in sensors.verdict
    goal = rig.compute_tcp_poses(joints)
    goal[0, :3, 3] = sensors._table._cell.task.goal[:3]
    for _ in range(100):
        joints = rig.solve_ik(goal, joints)
    last = sensors(at(joints[0]))
    assert sensors.verdict == "move the gripper to the green ball: done"
    assert {name: image.shape for name, image in last.items()} == {
        "observation/front": (96, 96, 3), "observation/wrist": (96, 96, 3)
    }  # fmt: skip
    assert np.abs(last["observation/front"].astype(int) - first["observation/front"]).mean() > 1


def test_an_arm_that_stands_at_a_table_is_seen_there() -> None:
    panda = load_model("panda")
    with TabletopTwin(panda, TwinOptions("reach", width=32, height=32)) as twin:
        sensors = TableSensors(twin, panda, {})
        assert sensors(twin.state())["observation/wrist"].shape == (32, 32, 3)
        assert sensors.verdict.startswith("move the gripper to the green ball: not done")


def test_what_it_cannot_show_is_named() -> None:
    ur = load_model("ur5e")
    with pytest.raises(ConfigError, match="no table for 'ur5e'"):
        TableSensors(BulletArm(FR3), ur, {})
    with pytest.raises(ConfigError, match="tesk"):
        TableSensors(BulletArm(FR3), FR3, {"tesk": "reach"})
