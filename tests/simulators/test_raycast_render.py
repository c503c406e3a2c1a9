"""Images against closed forms: distances, angles, labels, textures, batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from embodied.categories import MPCAT40
from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import (
    RayCaster,
    compute_camera_poses,
    compute_panorama_poses,
    render_many,
)
from tests.simulators.raycast_scenes import box_room, clutter, look, picture_scene, sphere_scene

EVERYTHING = ("rgb", "depth", "semantic", "instance")


@pytest.fixture(scope="module", params=["embree", "numba"])
def backend(request):
    if request.param == "embree":
        pytest.importorskip("embreex")
    return request.param


@pytest.fixture(scope="module")
def room(backend):
    return RayCaster(box_room(), backend=backend)


def test_depth_is_measured_along_the_optical_axis(room):
    camera = CameraSpec(("depth",), 32, 24, 60.0)
    depth = room.render(camera, look())["depth"][0]
    np.testing.assert_allclose(depth, 3.0, atol=1e-5)  # the wall z = -3 fills a 60 degree view


def test_depth_of_walls_and_floor_by_hand(room):
    camera = CameraSpec(("depth",), 64, 64, 90.0)
    depth = room.render(camera, look())["depth"][0].astype(float)
    offset = (np.arange(64) + 0.5) / 32 - 1  # tangent of each column's and row's angle
    right, down = np.abs(offset)[None, :], offset[:, None]
    with np.errstate(divide="ignore"):
        floor_or_ceiling = np.where(down > 0, 1.25 / down, -1.25 / np.minimum(down, -1e-9))
        expected = np.minimum(np.minimum(3.0, 2.0 / right), floor_or_ceiling)
    np.testing.assert_allclose(depth, expected, atol=1e-4)


@pytest.mark.parametrize("hfov", [30.0, 79.0, 120.0])
def test_hfov_sets_the_columns_where_the_view_ends(room, hfov):
    camera = CameraSpec(("instance",), 200, 20, hfov)
    seen = room.render(camera, look(z=-2.0))["instance"][0, 10]
    column = (np.arange(200) + 0.5) / 100 - 1
    ahead = (
        np.abs(column * np.tan(np.deg2rad(hfov / 2))) < 2.0
    )  # wall z = -3 is 4 m wide, 1 m ahead
    np.testing.assert_array_equal(seen == 5, ahead)
    if hfov == 120.0:
        assert 0.5 < ahead.mean() < 1.0 or ahead.all()


def test_vertical_view_follows_the_aspect_ratio(room):
    camera = CameraSpec(("instance",), 40, 80, 60.0)
    rows = room.render(camera, look())["instance"][0, :, 20]
    tangent = ((np.arange(80) + 0.5) / 40 - 1) * np.tan(np.deg2rad(30)) * 2
    np.testing.assert_array_equal(rows == 3, tangent > 1.25 / 3)  # floor, seen at the bottom
    np.testing.assert_array_equal(rows == 4, tangent < -1.25 / 3)


def test_labels_name_the_object_and_its_class(room):
    camera = CameraSpec(("semantic", "instance"), 8, 8, 20.0)
    poses = np.concatenate(
        [look(), look(yaw=np.pi / 2), look(yaw=-np.pi / 2), look(yaw=np.pi)]
        + [look(pitch=-np.pi / 2), look(pitch=np.pi / 2)]
    )
    images = room.render(camera, poses)
    expected = [5, 1, 2, 6, 3, 4]  # ahead -z, left -x, right +x, behind +z, down, up
    for i, side in enumerate(expected):
        assert (images["instance"][i] == side).all()
    names = ["wall"] * 4 + ["floor", "ceiling"]
    for i, name in enumerate(names):
        assert (images["semantic"][i] == MPCAT40.index(name)).all()


def test_sphere_depth(backend):
    caster = RayCaster(sphere_scene(1.0), backend=backend)
    camera = CameraSpec(("depth", "semantic", "instance", "rgb"), 65, 65, 60.0)
    images = caster.render(camera, look(y=0.0, z=3.0))
    depth = images["depth"][0]
    axis = ((np.arange(65) + 0.5) / 32.5 - 1) * np.tan(np.deg2rad(30))
    x, y = np.meshgrid(axis, -axis)
    a = 1 + x**2 + y**2
    root = 9 - a * 8  # |o + t d|^2 = 1 with o = (0, 0, 3), d = (x, y, -1)
    inside = root > 0.02
    expected = (3 - np.sqrt(np.maximum(root, 0))) / a
    np.testing.assert_allclose(depth[inside], expected[inside], atol=5e-3)
    outside = root < -0.02
    assert (depth[outside] == 0).all()
    assert (images["semantic"][0][outside] == 0).all()
    assert (images["instance"][0][outside] == 0).all()
    top, bottom = images["rgb"][0, 0, 32].astype(int), images["rgb"][0, -1, 32].astype(int)
    assert top[2] - top[0] > bottom[2] - bottom[0] + 10  # the sky is bluer than the ground haze


def test_depth_range(room):
    near = room.render(CameraSpec(("depth",), 16, 16, 30.0, min_depth=3.5), look())["depth"]
    np.testing.assert_allclose(near, 3.5)
    far = room.render(CameraSpec(("depth",), 16, 16, 30.0, max_depth=2.9), look())["depth"]
    np.testing.assert_array_equal(far, 0.0)


def test_equirectangular_covers_the_sphere(room):
    camera = CameraSpec(("depth", "instance"), 360, 180, projection="equirectangular")
    images = room.render(camera, look())
    depth, side = images["depth"][0], images["instance"][0]
    assert side[90, 180] == 5  # centre: ahead
    assert side[90, 90] == 1  # a quarter to the left
    assert side[90, 270] == 2
    assert side[90, 0] == 6  # the seam: behind
    assert side[90, 359] == 6
    assert (side[0] == 4).all()
    assert (side[-1] == 3).all()
    longitude = (np.arange(360) + 0.5 - 180) * np.pi / 180
    latitude = -0.5 * np.pi / 180
    flat = np.minimum(
        2.0 / np.maximum(np.abs(np.sin(longitude)), 1e-9),
        np.where(np.cos(longitude) > 0, 3.0, 1.0) / np.maximum(np.abs(np.cos(longitude)), 1e-9),
    )
    np.testing.assert_allclose(depth[90], flat / np.cos(latitude), rtol=1e-4)  # length of the ray


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 2), (9, 9), (130, 66)])
def test_any_image_size(backend, size):
    caster = RayCaster(clutter(), backend=backend)
    camera = CameraSpec(EVERYTHING, *size, 70.0)
    whole = caster.render(camera, look(y=1.5))
    assert whole["rgb"].shape == (1, size[1], size[0], 3)
    assert whole["depth"].shape == (1, size[1], size[0])
    assert (whole["depth"] > 0).all()  # inside a closed room
    double = CameraSpec(("depth",), 3 * size[0], 3 * size[1], 70.0)
    fine = caster.render(double, look(y=1.5))["depth"][:, 1::3, 1::3]
    np.testing.assert_allclose(whole["depth"], fine, rtol=1e-4, atol=1e-4)


def test_outputs_do_not_depend_on_each_other(backend):
    caster = RayCaster(clutter(), backend=backend)
    together = caster.render(CameraSpec(EVERYTHING, 40, 40), look(y=1.5))
    assert together["rgb"].dtype == np.uint8
    assert together["depth"].dtype == np.float32
    for name in EVERYTHING:
        alone = caster.render(CameraSpec((name,), 40, 40), look(y=1.5))
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], together[name])


def _poses(count, seed=3):
    rng = np.random.default_rng(seed)
    feet = rng.uniform([-4, 0, -4], [4, 0.5, 4], (count, 3))
    camera = CameraSpec(pitch=-10.0)
    return compute_camera_poses(
        feet, rng.uniform(-4, 4, count), camera, rng.uniform(-0.5, 0.5, count)
    )


def test_batch_equals_single_and_threads_change_nothing(backend):
    scene, camera, poses = clutter(), CameraSpec(EVERYTHING, 33, 31), _poses(7)
    caster = RayCaster(scene, backend=backend)
    batch = caster.render(camera, poses)
    threaded = RayCaster(scene, threads=3, backend=backend).render(camera, poses)
    for name in EVERYTHING:
        singles = [caster.render(camera, pose[None])[name] for pose in poses]
        np.testing.assert_array_equal(batch[name], np.concatenate(singles))
        np.testing.assert_array_equal(batch[name], threaded[name])


def test_render_many_over_different_scenes(backend):
    scenes = [clutter(0), clutter(1), box_room()]
    casters = [RayCaster(scene, backend=backend) for scene in scenes]
    order, poses = [2, 0, 1, 0, 1, 2], _poses(6)
    camera = CameraSpec(EVERYTHING, 24, 20)
    together = render_many([casters[i] for i in order], camera, poses)
    for slot, i in enumerate(order):
        alone = casters[i].render(camera, poses[slot : slot + 1])
        for name in EVERYTHING:
            np.testing.assert_array_equal(together[name][slot], alone[name][0])


def test_render_many_wants_one_caster_per_pose(room):
    with pytest.raises(SensorError, match="2 ray casters for 3 poses"):
        render_many([room, room], CameraSpec(), _poses(3))


def test_no_poses_gives_empty_images(room):
    images = room.render(CameraSpec(EVERYTHING, 5, 4), np.zeros((0, 4, 4)))
    assert images["rgb"].shape == (0, 4, 5, 3)
    assert images["depth"].shape == (0, 4, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pose_that_is_not_finite_is_an_error(room, bad):
    poses = _poses(4)
    poses[2, 0, 3] = bad
    with pytest.raises(SensorError, match="camera pose 2 of 4"):
        room.render(CameraSpec(), poses)
    with pytest.raises(SensorError, match="camera pose 2 of 4"):
        render_many([room] * 4, CameraSpec(), poses)


def test_a_pose_of_another_shape_is_an_error(room):
    with pytest.raises(SensorError, match=r"\(4, 4\); give \(N, 4, 4\)"):
        room.render(CameraSpec(), np.eye(4))


def test_unknown_backend_and_threads():
    with pytest.raises(SensorError, match="did you mean 'numba'"):
        RayCaster(box_room(), backend="numbs")
    with pytest.raises(SensorError, match="threads = 0"):
        RayCaster(box_room(), threads=0)


def test_a_caster_travels_between_processes(room):
    twin = copy.deepcopy(room)  # what sending it to another process does
    camera = CameraSpec(EVERYTHING, 16, 16)
    for name in EVERYTHING:
        np.testing.assert_array_equal(
            twin.render(camera, look())[name], room.render(camera, look())[name]
        )


# ---- colours


def _corner_picture(size=64):
    """Red top-left, green top-right, blue bottom-left, white bottom-right."""
    image = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    image[:half, :half, 0] = 255
    image[:half, half:, 1] = 255
    image[half:, :half, 2] = 255
    image[half:, half:] = 255
    return image


def test_texture_is_upright(backend):
    caster = RayCaster(picture_scene(_corner_picture()), backend=backend)
    rgb = caster.render(CameraSpec(("rgb",), 64, 64, 90.0), look(y=0.0))["rgb"][0].astype(int)
    for (row, column), channels in (
        ((16, 16), [1, 0, 0]),
        ((16, 48), [0, 1, 0]),
        ((48, 16), [0, 0, 1]),
        ((48, 48), [1, 1, 1]),
    ):
        lit = rgb[row, column] > 120
        np.testing.assert_array_equal(lit, np.array(channels, bool))
        assert (rgb[row, column][~lit] < 10).all()


def test_texture_repeats(backend):
    once = RayCaster(picture_scene(_corner_picture()), backend=backend)
    twice = RayCaster(picture_scene(_corner_picture(), repeat=2.0), backend=backend)
    one = once.render(CameraSpec(("semantic", "rgb"), 64, 64), look(y=0.0))["rgb"][0]
    two = twice.render(CameraSpec(("rgb",), 64, 64), look(y=0.0))["rgb"][0]
    assert np.argmax(one[8, 24]) == 0  # still in the left half
    assert np.argmax(two[8, 24]) == 1  # already in the right half of the first copy
    assert np.argmax(two[8, 40]) == 0  # second copy


def test_far_textures_use_coarse_mips(backend):
    checks = ((np.indices((256, 256)).sum(axis=0) % 2) * 255).astype(np.uint8)
    caster = RayCaster(picture_scene(np.repeat(checks[..., None], 3, axis=2)), backend=backend)
    far = caster.render(CameraSpec(("rgb",), 32, 32, 4.0), look(y=0.0, z=24.0))["rgb"][0]
    assert far.std() < 6  # one-texel checks melt into grey, no aliasing
    near = caster.render(CameraSpec(("rgb",), 64, 64, 2.0), look(y=0.0))["rgb"][0]
    assert near.std() > 30


def test_material_tints_texture_and_vertex_colours(backend):
    white = np.full((4, 4, 3), 255, np.uint8)
    plain = RayCaster(picture_scene(white), backend=backend)
    tinted = RayCaster(picture_scene(white, color=(1.0, 0.5, 0.0)), backend=backend)
    camera = CameraSpec(("rgb",), 8, 8, 40.0)
    a = plain.render(camera, look(y=0.0))["rgb"].astype(float)
    b = tinted.render(camera, look(y=0.0))["rgb"].astype(float)
    np.testing.assert_allclose(b[..., 0], a[..., 0], atol=1)
    np.testing.assert_allclose(b[..., 1], a[..., 1] / 2, atol=2)
    np.testing.assert_array_equal(b[..., 2], 0)


def test_vertex_colours_blend_across_a_face(backend):
    from dataclasses import replace

    scene = picture_scene(None)
    corner = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 0], [0, 255, 0]], np.uint8)
    caster = RayCaster(replace(scene, uv=None, colors=corner), backend=backend)
    rgb = caster.render(CameraSpec(("rgb",), 65, 65), look(y=0.0))["rgb"][0].astype(float)
    across = rgb[32, :, 0]
    assert (np.diff(across) > -1).all()  # red grows to the right
    assert across[-1] > 150 > across[32] > 60 > across[0]
    assert rgb[0, 32, 1] > 150 > rgb[64, 32, 1]  # green grows upwards


def test_light_tells_surfaces_apart(backend):
    """Faces of one colour that meet at an edge must differ in brightness, whatever side is seen."""
    from dataclasses import replace

    from embodied.simulators.base import Material

    scene = replace(box_room(), materials=[Material((0.8, 0.8, 0.8))] * 5)
    caster = RayCaster(scene, backend=backend)
    camera = CameraSpec(("rgb",), 9, 9, 20.0)
    poses = np.concatenate(
        [look(yaw=np.pi / 4), look(yaw=-np.pi / 4), look(pitch=-0.8), look(pitch=0.8)]
    )
    views = caster.render(CameraSpec(("rgb", "instance"), 64, 64), poses)
    for image, side in zip(views["rgb"], views["instance"], strict=True):
        assert len(np.unique(side)) >= 2
        gray = image[..., 0].astype(int)
        for a, b, c, d in (
            (gray[:, 1:], gray[:, :-1], side[:, 1:], side[:, :-1]),
            (gray[1:], gray[:-1], side[1:], side[:-1]),
        ):
            edge = c != d
            if edge.any():
                assert np.median(np.abs(a - b)[edge]) > 4
    assert caster.render(camera, look())["rgb"].min() > 60  # no wall is black


# ---- camera geometry


def test_camera_poses_stand_on_the_agent():
    camera = CameraSpec(position=(0.1, 1.25, -0.2), pitch=30.0)
    feet, yaw = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([np.pi / 2, 0.0])
    poses = compute_camera_poses(feet, yaw, camera)
    np.testing.assert_allclose(poses[0, :3, 3], [1 - 0.2, 3.25, 3 - 0.1], atol=1e-12)
    np.testing.assert_allclose(poses[1, :3, 3], [0.1, 1.25, -0.2], atol=1e-12)
    np.testing.assert_allclose(
        -poses[0, :3, 2], [-np.cos(np.pi / 6), 0.5, 0.0], atol=1e-12
    )  # yaw 90 degrees looks along -x, pitch up
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)


def test_panorama_turns_right_in_three_rings():
    start = look(1.0, 2.0, 3.0, yaw=0.7)[0]
    poses = compute_panorama_poses(start)
    assert poses.shape == (36, 4, 4)
    np.testing.assert_allclose(poses[12], start, atol=1e-12)  # middle ring starts at the pose
    np.testing.assert_allclose(poses[13], look(1.0, 2.0, 3.0, yaw=0.7 - np.pi / 6)[0], atol=1e-12)
    np.testing.assert_allclose(-poses[:12, 1, 2], -0.5, atol=1e-12)
    np.testing.assert_allclose(-poses[24:, 1, 2], 0.5, atol=1e-12)
    np.testing.assert_allclose(poses[:, :3, 3], np.tile([1.0, 2.0, 3.0], (36, 1)))
