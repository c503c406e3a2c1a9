"""Forward kinematics against PyBullet, its Jacobian against differences, its inverse against it."""

from __future__ import annotations

import numpy as np
import pytest

from robots.kinematics import Kinematics
from robots.model import ArmModel, list_models, load_model
from robots.urdf import find_urdf

WITH_URDF = [name for name in list_models() if load_model(name).urdf]


def angles(model: ArmModel, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lower, upper = ([getattr(j, k) for j in model.joints] for k in ("lower", "upper"))
    return rng.uniform(lower, upper, (count, len(model.joints)))


@pytest.mark.parametrize("name", WITH_URDF)
def test_the_tool_is_where_pybullet_has_it(name: str) -> None:
    bullet = pytest.importorskip("pybullet", reason="the peer: pip install pybullet")
    model = load_model(name)
    client = bullet.connect(bullet.DIRECT)
    try:
        body = bullet.loadURDF(str(find_urdf(model.urdf)), useFixedBase=True)
        rows = [bullet.getJointInfo(body, i) for i in range(bullet.getNumJoints(body))]
        turning = [row[0] for row in rows if row[2] == bullet.JOINT_REVOLUTE][: len(model.joints)]
        tool = next(row[0] for row in rows if row[12].decode() == model.tool_link)
        for q in angles(model, 40):
            for joint, angle in zip(turning, q, strict=True):
                bullet.resetJointState(body, joint, angle)
            link = bullet.getLinkState(body, tool, computeForwardKinematics=True)
            pose = Kinematics(model).compute_tool_pose(q)
            turn = np.reshape(bullet.getMatrixFromQuaternion(link[5]), (3, 3))
            assert pose[:3, 3] == pytest.approx(np.array(link[4]), abs=1e-5)
            assert pose[:3, :3] == pytest.approx(turn, abs=1e-5)
    finally:
        bullet.disconnect(client)


@pytest.mark.parametrize("name", list_models())
def test_batches_tips_and_the_jacobian_agree_with_single_poses(name: str) -> None:
    model = load_model(name)
    kinematics, step = Kinematics(model), 1e-6
    q = angles(model, 12)
    poses = kinematics.compute_tool_pose(q)
    assert kinematics.compute_tip(q) == pytest.approx(poses[:, :3, 3], abs=1e-12)
    for one, pose in zip(q, poses, strict=True):
        assert kinematics.compute_tool_pose(one) == pytest.approx(pose, abs=1e-12)
        moved = one + step * np.eye(len(one))
        speed = (kinematics.compute_tip(moved) - pose[:3, 3]) / step
        spin = (kinematics.compute_tool_pose(moved)[:, :3, :3] @ pose[:3, :3].T - np.eye(3)) / step
        turning = np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]])
        jacobian = kinematics.compute_jacobian(one)
        assert jacobian[:3] == pytest.approx(speed.T, abs=1e-5)
        assert jacobian[3:] == pytest.approx(turning, abs=1e-5)


@pytest.mark.parametrize("name", ["fr3", "ur5e", "kuka_iiwa"])
def test_inverse_kinematics_returns_to_the_pose_and_stays_within_limits(name: str) -> None:
    model = load_model(name)
    kinematics = Kinematics(model)
    lower = np.array([joint.lower for joint in model.joints])
    upper = np.array([joint.upper for joint in model.joints])
    rng = np.random.default_rng(1)
    found = 0
    for q in angles(model, 40, seed=2):
        pose = kinematics.compute_tool_pose(q)
        seed = np.clip(q + rng.normal(0, 0.1, len(q)), lower, upper)
        solved = kinematics.solve_ik(pose, seed, lower, upper)
        if solved is None:
            continue
        found += 1
        assert (solved >= lower).all()
        assert (solved <= upper).all()
        assert kinematics.compute_tool_pose(solved) == pytest.approx(pose, abs=5e-4)
    assert found >= 36


def test_a_pose_out_of_reach_has_no_solution() -> None:
    model = load_model("fr3")
    pose = np.eye(4)
    pose[:3, 3] = 3.0
    wide = np.full(7, 2.0)
    assert Kinematics(model).solve_ik(pose, np.array(model.home), -wide, wide) is None
