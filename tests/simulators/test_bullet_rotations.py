"""Rotations against SciPy's, and poses of many arms against the wanted ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embodied.simulators.bullet.rotations import (
    from_rotvec,
    to_quaternion,
    to_rotvec,
)
from embodied.types import quaternion_to_matrix

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.simulators.bullet import RIGS, Rig  # noqa: E402

_component = st.floats(-2.0, 2.0)


@given(st.tuples(_component, _component, _component))
@settings(max_examples=80, deadline=None)
def test_rotations_agree_with_scipy(vector: tuple[float, float, float]) -> None:
    turn = Rotation.from_rotvec(vector)
    matrix = turn.as_matrix()
    np.testing.assert_allclose(from_rotvec(np.array(vector)), matrix, atol=1e-9)
    np.testing.assert_allclose(quaternion_to_matrix(turn.as_quat()), matrix, atol=1e-9)
    np.testing.assert_allclose(quaternion_to_matrix(to_quaternion(matrix)), matrix, atol=1e-9)
    np.testing.assert_allclose(from_rotvec(to_rotvec(matrix)), matrix, atol=1e-7)
    assert to_quaternion(matrix)[3] >= 0


def test_half_turns_keep_their_angle() -> None:
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [0.6, 0, -0.8]])
    matrices = Rotation.from_rotvec(np.pi * axes).as_matrix()
    np.testing.assert_allclose(np.linalg.norm(to_rotvec(matrices), axis=1), np.pi, atol=1e-6)
    np.testing.assert_allclose(from_rotvec(to_rotvec(matrices)), matrices, atol=1e-6)


@pytest.mark.parametrize("name", RIGS)
def test_joints_follow_poses_of_many_arms(name: str) -> None:
    rig = Rig(name)
    start = rig.compute_tcp_poses(rig.ready_joints)
    # The tool starts above the middle of the space, pointing down as far as the arm can.
    assert np.abs(start[:2, 3] - rig.spec.center).max() < 0.01
    assert start[2, 2] > 0.97
    rng = np.random.default_rng(1)
    targets = np.repeat(start[None], 6, axis=0)
    targets[:, :3, 3] += rng.uniform(-1, 1, (6, 3)) * [0.06, 0.06, 0.03] * rig.spec.scale
    targets[:, 2, 3] -= 0.1 * rig.spec.scale
    targets[:, :3, :3] = from_rotvec(rng.uniform(-0.4, 0.4, (6, 1)) * [[0.0, 0.0, 1.0]])
    joints = np.repeat(rig.ready_joints[None], 6, axis=0)
    for share in np.linspace(0, 1, 25)[1:]:
        between = targets.copy()
        between[:, :3, 3] = start[:3, 3] + share * (targets[:, :3, 3] - start[:3, 3])
        joints = rig.solve_ik(between, joints)
    reached = rig.compute_tcp_poses(joints)
    np.testing.assert_allclose(reached[:, :3, 3], targets[:, :3, 3], atol=1e-3)
    turned = to_rotvec(reached[:, :3, :3] @ np.swapaxes(targets[:, :3, :3], 1, 2))
    assert np.abs(turned).max() < 0.02
    assert (joints >= rig.lower - 1e-9).all()
    assert (joints <= rig.upper + 1e-9).all()
