"""The ray caster sees what PyBullet's own renderer sees."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.simulators.base import CameraSpec  # noqa: E402
from embodied.simulators.bullet import BodyBox, BulletWorld, Rig, SlidingPart, TableArm  # noqa: E402
from embodied.simulators.bullet.cameras import BulletCameras, look_at  # noqa: E402
from embodied.simulators.bullet.points import build_point_cloud, unproject_depth  # noqa: E402

SIZE, FIELD = 128, 50.0
EYE, TARGET = np.array([1.05, -0.55, 0.6]), np.array([0.4, 0.0, 0.15])
CAMERA = CameraSpec(
    outputs=("rgb", "depth", "semantic"), width=SIZE, height=SIZE, hfov=FIELD, max_depth=5.0
)


def camera_world(name: str, visuals: bool = True) -> tuple[BulletWorld, dict[str, int], TableArm]:
    """A table with an arm, a cube, a compound, a slide that is out, a ball and a disc."""
    rig = Rig(name)
    world = BulletWorld(visuals)
    table = world.add_body((BodyBox((0.6, 0.6, 0.02)),), position=(0.5, 0, -0.02))
    arm = TableArm(world, rig)
    cube = world.add_body((BodyBox((0.04, 0.04, 0.04), color=(0.9, 0.1, 0.1)),), mass=0.1)
    blocks = (BodyBox((0.05, 0.02, 0.01)), BodyBox((0.01, 0.02, 0.05), (0.04, 0, 0.06)))
    compound = world.add_body(blocks, mass=0.1)
    drawer = SlidingPart((BodyBox((0.05, 0.05, 0.02), (0.05, 0, 0.04)),), 0.2, 0.1)
    chest = world.add_body((BodyBox((0.06, 0.06, 0.01), (0.06, 0, 0.01)),), slide=drawer)
    ball, disc = world.add_marker(0.05, (0, 1, 0)), world.add_marker(0.06, (0, 0, 1), flat=True)
    arm.reset_joints(rig.ready_joints + 0.1)
    turned = np.array([0.2, -0.3, 0.4, 0.8])
    turned /= np.linalg.norm(turned)
    world.set_pose(cube, np.array([0.6, -0.2, 0.1, *turned]))
    world.set_pose(compound, np.array([0.65, 0.15, 0.2, *turned[::-1]]))
    world.set_pose(chest, np.array([0.5, 0.2, 0.0, 0, 0, np.sin(0.3), np.cos(0.3)]))
    world.set_travel(chest, 0.08)
    world.set_pose(ball, np.array([0.35, -0.25, 0.2, 0, 0, 0, 1]))
    world.set_pose(disc, np.array([0.75, 0.0, 0.002, 0, 0, 0, 1]))
    bodies = {
        "table": table, "robot": arm.body, "cube": cube, "compound": compound, "chest": chest,
        "ball": ball, "disc": disc,
    }  # fmt: skip
    return world, bodies, arm


def tiny_images(world: BulletWorld) -> tuple[np.ndarray, np.ndarray]:
    """Depth [m] and body numbers by TinyRenderer."""
    near, far, bullet = 0.1, 4.0, world.bullet
    view = bullet.computeViewMatrix(EYE, TARGET, (0, 0, 1))
    lens = list(bullet.computeProjectionMatrixFOV(FIELD, 1, near, far))
    # TinyRenderer samples a pixel at its corner, the ray caster in its middle.
    lens[8] += 1 / SIZE
    lens[9] += 1 / SIZE
    taken = bullet.getCameraImage(
        SIZE, SIZE, view, lens, renderer=bullet.ER_TINY_RENDERER, physicsClientId=world.client
    )
    buffer = np.array(taken[3]).reshape(SIZE, SIZE)
    return far * near / (far - (far - near) * buffer), np.array(taken[4]).reshape(SIZE, SIZE)


@pytest.mark.parametrize("name", ["panda", "kuka", "xarm6", "so101"])
def test_depth_and_segments_are_tiny_renderers(name: str) -> None:
    world, bodies, _ = camera_world(name)
    cameras = BulletCameras(world, [world], bodies)
    cameras.update_poses()
    seen = cameras.render(CAMERA, look_at(EYE, TARGET)[None])
    depth, labels = tiny_images(world)
    both = (seen["depth"][0] > 0) & (labels >= 0)
    error = np.abs(seen["depth"][0] - depth)[both]
    assert np.median(error) < 2e-3
    assert np.percentile(error, 95) < 5e-3
    shared = total = 0
    for index, label in enumerate(cameras.labels):
        ours = seen["semantic"][0] == index
        theirs = labels < 0 if index == 0 else labels == bodies[label]
        assert theirs.any(), label
        shared += (ours & theirs).sum()
        total += (ours | theirs).sum()
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9, label
    assert shared / total > 0.98


def test_worlds_without_visuals_are_seen_through_a_template() -> None:
    template, bodies, _ = camera_world("panda")
    world, same, arm = camera_world("panda", visuals=False)
    assert same == bodies
    cameras = BulletCameras(template, [template, world], bodies)
    eyes = np.repeat(look_at(EYE, TARGET)[None], 2, axis=0)
    cameras.update_poses()
    first = cameras.render(CAMERA, eyes)
    for name in CAMERA.outputs:
        np.testing.assert_array_equal(first[name][0], first[name][1])
    arm.reset_joints(Rig("panda").ready_joints - 0.2)
    cameras.set_body_colors(1, {"cube": (1.0, 1.0, 0.0)})
    cameras.update_poses()
    second = cameras.render(CAMERA, eyes)
    np.testing.assert_array_equal(first["rgb"][0], second["rgb"][0])
    cube = cameras.labels.index("cube")
    yellow = second["rgb"][1][second["semantic"][1] == cube]
    assert (yellow[:, 2] == 0).all()
    moved = second["semantic"][1] == cameras.labels.index("robot")
    assert (moved != (first["semantic"][1] == cameras.labels.index("robot"))).sum() > 100


def test_light_changes_colours_but_nothing_else() -> None:
    world, bodies, _ = camera_world("panda")
    cameras = BulletCameras(world, [world], bodies)
    eye = look_at(EYE, TARGET)[None]
    cameras.update_poses()
    plain = cameras.render(CAMERA, eye)
    cameras.set_light(0, (0.5, 1.0, 1.0))
    red = cameras.render(CAMERA, eye)
    off = red["rgb"][..., 0].astype(float) - plain["rgb"][..., 0] / 2
    assert np.abs(off).max() <= 1
    np.testing.assert_array_equal(red["rgb"][..., 1:], plain["rgb"][..., 1:])
    cameras.set_light(0, turn=2.0)
    cameras.update_poses()
    turned = cameras.render(CAMERA, eye)
    assert (turned["semantic"] != plain["semantic"]).mean() < 1e-3
    assert np.median(np.abs(turned["depth"] - plain["depth"])) < 1e-4
    assert np.abs(turned["rgb"].astype(int) - plain["rgb"]).mean() > 1


def test_pixels_of_the_table_lie_on_the_table() -> None:
    world, bodies, _ = camera_world("panda")
    cameras = BulletCameras(world, [world], bodies)
    pose = look_at(EYE, TARGET)
    cameras.update_poses()
    seen = cameras.render(CAMERA, pose[None])
    points, which = unproject_depth(seen["depth"][0], CAMERA, pose)
    table = seen["semantic"][0][which] == cameras.labels.index("table")
    assert table.sum() > 1000
    assert np.abs(points[table, 2]).max() < 1e-3
    ball = points[seen["semantic"][0][which] == cameras.labels.index("ball")]
    np.testing.assert_allclose(np.linalg.norm(ball - [0.35, -0.25, 0.2], axis=1), 0.05, atol=1e-3)


def test_points_become_a_cloud() -> None:
    pytest.importorskip("open3d", reason="open3d is not installed (extra 'bench')")
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    cloud = build_point_cloud(points, np.full((20, 3), 51, np.uint8))
    np.testing.assert_array_equal(np.asarray(cloud.points), points)
    np.testing.assert_allclose(np.asarray(cloud.colors), 0.2)
