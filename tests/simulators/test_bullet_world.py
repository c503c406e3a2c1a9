"""Worlds, arms and what goes wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.simulators.bullet import (  # noqa: E402
    RIGS,
    BodyBox,
    BulletWorld,
    Rig,
    SimulationError,
    SlidingPart,
    TableArm,
)
from embodied.simulators.bullet.world import TIMESTEP  # noqa: E402
from robots.arm_urdf import read_arm_urdf  # noqa: E402
from robots.errors import ModelError  # noqa: E402
from robots.urdf import find_urdf  # noqa: E402

CUBE = (BodyBox((0.02, 0.02, 0.02)),)


def bullet_pose(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z, 0, 0, 0, 1.0])


def test_a_body_falls_as_galilei_says() -> None:
    world = BulletWorld()
    cube = world.add_body(CUBE, mass=0.1)
    world.set_pose(cube, bullet_pose(0, 0, 5))
    count = 60
    world.step(count)
    # Semi-implicit Euler: the way is the sum of g dt^2 over 1..n; air takes 1 % (damping 0.04/s).
    fallen = 9.81 * TIMESTEP**2 * count * (count + 1) / 2
    assert world.get_pose(cube)[2] == pytest.approx(5 - fallen, abs=0.01 * fallen)


def test_friction_holds_a_cube_up_to_its_angle() -> None:
    slid = {}
    for angle in (0.4, 0.7):  # the coefficients multiply: tan 0.57 = 0.64
        world = BulletWorld()
        plate = world.add_body((BodyBox((0.5, 0.5, 0.02)),), friction=0.8)
        cube = world.add_body(CUBE, mass=0.1, friction=0.8)
        turned = np.array([0, 0, 0, 0, np.sin(angle / 2), 0, np.cos(angle / 2)])
        world.set_pose(plate, turned)
        up = 0.0402 * np.array([np.sin(angle), 0, np.cos(angle)])
        world.set_pose(cube, np.concatenate([up, turned[3:]]))
        world.step(120)
        slid[angle] = float(np.linalg.norm(world.get_pose(cube)[:3] - up))
    assert slid[0.4] < 2e-3
    assert slid[0.7] > 0.03


def test_a_slide_comes_out_only_as_far_as_it_may() -> None:
    world = BulletWorld()
    slide = SlidingPart((BodyBox((0.05, 0.1, 0.02), (0.05, 0, 0.03)),), 0.3, 0.1)
    shell = world.add_body((BodyBox((0.1, 0.1, 0.005), (0.1, 0, 0)),), slide=slide)
    world.set_travel(shell, 0.03)
    assert world.get_travel(shell) == pytest.approx(0.03)
    world.bullet.resetJointState(shell, 0, 0.03, 1.0, physicsClientId=world.client)
    world.step(240)
    assert 0.05 < world.get_travel(shell) < 0.105


def test_a_saved_state_continues_the_same_in_any_world_built_alike() -> None:
    rig = Rig("panda")

    def build() -> tuple[BulletWorld, TableArm, int]:
        world = BulletWorld()
        world.add_body((BodyBox((0.6, 0.6, 0.02)),), position=(0.5, 0, -0.02))
        arm = TableArm(world, rig)
        cube = world.add_body(CUBE, mass=0.1, position=(0.5, 0.0, 0.1))
        arm.reset_joints(rig.ready_joints, 0.5)
        return world, arm, cube

    def play(world: BulletWorld, arm: TableArm, cube: int) -> list[np.ndarray]:
        seen = []
        for tick in range(30):
            arm.set_joint_targets(rig.ready_joints + 0.3 * np.sin(tick / 6 + np.arange(7)), 0.2)
            world.step(12)
            seen.append(np.concatenate([*arm.read_joints()[:2], world.get_pose(cube)]))
        return seen

    world, arm, cube = build()
    play(world, arm, cube)
    state, number = world.export_state(), world.save_snapshot()
    first = play(world, arm, cube)
    world.import_state(state)
    np.testing.assert_array_equal(play(world, arm, cube), first)
    world.restore_snapshot(number)
    np.testing.assert_array_equal(play(world, arm, cube), first)
    other, other_arm, other_cube = build()
    other.import_state(state)
    np.testing.assert_array_equal(play(other, other_arm, other_cube), first)


def test_a_state_of_another_world_is_refused() -> None:
    world, other = BulletWorld(), BulletWorld()
    world.add_body(CUBE, mass=0.1)
    world.add_body(CUBE, mass=0.1)
    with pytest.raises(SimulationError, match="does not fit"):
        other.import_state(world.export_state())


@pytest.mark.parametrize("name", RIGS)
def test_fingers_close_on_a_cube_and_hold_it_up(name: str) -> None:
    rig = Rig(name)
    world = BulletWorld()
    arm = TableArm(world, rig)
    size = 0.02 * rig.spec.scale
    cube = world.add_body(
        (BodyBox((size, size, size)),), mass=0.08 * rig.spec.scale**3, friction=0.9
    )
    arm.reset_joints(rig.ready_joints)
    tcp = rig.compute_tcp_poses(rig.ready_joints)
    world.set_pose(cube, bullet_pose(*tcp[:3, 3]))
    assert arm.read_joints()[2] == pytest.approx(1.0, abs=0.02)
    assert not arm.is_holding(cube)
    for _ in range(4):  # nothing lies under it: it starts to fall as the fingers close
        world.set_pose(cube, bullet_pose(*tcp[:3, 3]))
        arm.set_joint_targets(rig.ready_joints, 0.0)
        world.step(12)
    arm.set_joint_targets(rig.ready_joints, 0.0)
    world.step(240)
    assert arm.is_holding(cube)
    assert np.linalg.norm(world.get_pose(cube)[:3] - tcp[:3, 3]) < 0.015
    assert 0.05 < arm.read_joints()[2] < 0.95
    assert arm.measure_contact_force() < 5.0  # what the fingers squeeze cancels; the weight is left


def test_pressing_on_the_table_is_felt() -> None:
    rig = Rig("panda")
    world = BulletWorld()
    arm = TableArm(world, rig)
    arm.reset_joints(rig.ready_joints)
    assert arm.measure_contact_force() == 0.0
    pose = rig.compute_tcp_poses(rig.ready_joints)
    world.add_body((BodyBox((0.3, 0.3, 0.1)),), position=(0.5, 0.0, pose[2, 3] - 0.105))
    pose[2, 3] -= 0.01
    arm.set_joint_targets(rig.solve_ik(pose[None], rig.ready_joints[None])[0], 1.0)
    world.step(60)
    assert arm.measure_contact_force() > 20.0


def test_diverged_physics_says_so() -> None:
    world = BulletWorld()
    cube = world.add_body(CUBE, mass=0.1)
    world.set_pose(cube, bullet_pose(0, 20, 5))
    assert world.get_pose(cube) == pytest.approx(bullet_pose(0, 10, 5))  # thrown, and lost
    world.set_pose(cube, bullet_pose(0, 0, 5000))
    with pytest.raises(SimulationError, match="diverged"):
        world.get_pose(cube)


def test_unknown_robots_and_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="did you mean 'panda'"):
        Rig("pandas")
    with pytest.raises(ModelError, match="no URDF"):
        Rig("panda", str(tmp_path / "absent.urdf"))
    with pytest.raises(ModelError, match="no link 'panda_hand'"):
        Rig("kuka", "pybullet_data:xarm/xarm6_robot.urdf")
    with pytest.raises(SimulationError, match="no gripper"):
        Rig("kuka", "pybullet_data:kuka_iiwa/model.urdf")


def test_another_number_of_joints_is_named(tmp_path: Path) -> None:
    text = find_urdf("pybullet_data:franka_panda/panda.urdf").read_text()
    stiff = tmp_path / "stiff.urdf"
    stiff.write_text(text.replace('"panda_joint7" type="revolute"', '"wrist" type="fixed"'))
    with pytest.raises(ModelError, match=r"no joint 'panda_joint7', and 6 moving joints"):
        Rig("panda", str(stiff))


def test_missing_meshes_are_named(tmp_path: Path) -> None:
    text = find_urdf("pybullet_data:franka_panda/panda.urdf").read_text()
    copied = tmp_path / "panda.urdf"
    copied.write_text(text)
    with pytest.raises(SimulationError, match=r"Missing beside or above it: .*link0\.obj"):
        TableArm(BulletWorld(), Rig("panda", str(copied)))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_collision_mesh_that_was_cut_short_is_named(tmp_path: Path, share: float) -> None:
    whole = find_urdf("pybullet_data:franka_panda/panda.urdf").parents[1]
    copied = shutil.copytree(whole / "franka_panda", tmp_path / "franka_panda")
    mesh = copied / "meshes" / "collision" / "hand.obj"
    mesh.write_bytes(mesh.read_bytes()[: int(share * mesh.stat().st_size)])
    with pytest.raises(ModelError, match=r"hand\.obj of link 'panda_hand' holds no shape"):
        TableArm(BulletWorld(), Rig("panda", str(copied / "panda.urdf")))


def test_limits_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    text = find_urdf("pybullet_data:franka_panda/panda.urdf").read_text()
    odd = tmp_path / "panda.urdf"
    odd.write_text(text.replace('upper="0.04"', 'upper="far"', 1))
    with pytest.raises(
        ModelError, match="'panda_finger_joint1': limit upper = 'far' must be a number"
    ):
        Rig("panda", str(odd))
    odd.write_text(text.replace('xyz="', 'xyz="far '))
    with pytest.raises(ModelError, match="= 'far .*must be 3 finite numbers"):
        read_arm_urdf(odd, "panda_link8", accelerations=1.0, jerks=1.0)
