"""Free rays, and agreement of the tracers with each other and with Open3D."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import RayCaster
from embodied.simulators.raycast import caster as caster_module
from tests.simulators.raycast_scenes import box_room, clutter, look, sphere_scene


def _rays(count, seed=0):
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return rng.uniform([-4, 0.2, -4], [4, 2.8, 4], (count, 3)), directions


@pytest.fixture(scope="module", params=["embree", "numba"])
def backend(request):
    if request.param == "embree":
        pytest.importorskip("embreex")
    return request.param


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_distances_to_a_box(backend, count):
    low, high = np.array([-5.0, 0.0, -5.0]), np.array([5.0, 3.0, 5.0])
    caster = RayCaster(box_room(low, high), backend=backend)
    origins, directions = _rays(count)
    hits = caster.cast_rays(origins, directions)
    wall = np.where(directions > 0, high, low)
    expected = ((wall - origins) / directions).min(axis=1) if count else np.zeros(0)
    np.testing.assert_allclose(hits.distance, expected, rtol=1e-4, atol=1e-5)
    side = 2 * np.argmin((wall - origins) / directions, axis=1) if count else np.zeros(0, int)
    rows = np.arange(count)
    side = side + (directions[rows, side // 2] > 0)
    np.testing.assert_array_equal(hits.face % 6, side)


def test_barycentric_coordinates_rebuild_the_point(backend):
    scene = clutter()
    origins, directions = _rays(500, 1)
    hits = RayCaster(scene, backend=backend).cast_rays(origins, directions)
    corner = scene.vertices[scene.faces[hits.face]].astype(float)
    u, v = hits.uv[:, :1], hits.uv[:, 1:]
    point = (1 - u - v) * corner[:, 0] + u * corner[:, 1] + v * corner[:, 2]
    np.testing.assert_allclose(point, origins + hits.distance[:, None] * directions, atol=1e-3)


def test_rays_into_nothing(backend):
    caster = RayCaster(sphere_scene(1.0, 2), backend=backend)
    hits = caster.cast_rays(
        np.array([[0, 0, 3.0], [0, 0, 3.0]]), np.array([[0, 0, 1.0], [0, 0, -2.0]])
    )
    assert hits.distance[0] == np.inf
    assert hits.face[0] == -1
    assert hits.distance[1] == pytest.approx(1.0, abs=0.01)  # 2 m in steps of 2 m


def test_axis_parallel_rays_on_box_edges(backend):
    """Directions with zero components and origins in the planes of the tree's boxes."""
    caster = RayCaster(box_room((-1, -1, -1), (1, 1, 1)), backend=backend)
    steps = np.linspace(-0.9, 0.9, 7)
    origins = np.array([[x, y, 0.0] for x in steps for y in steps])
    for direction in np.concatenate([np.eye(3), -np.eye(3)]):
        hits = caster.cast_rays(origins, np.tile(direction, (len(origins), 1)))
        axis = np.argmax(np.abs(direction))
        np.testing.assert_allclose(hits.distance, 1 - origins[:, axis] * direction[axis], atol=1e-5)


def test_a_closed_mesh_has_no_cracks(backend):
    caster = RayCaster(sphere_scene(2.0, 4), backend=backend)
    camera = CameraSpec(("depth",), 512, 256, projection="equirectangular")
    depth = caster.render(camera, look(0.3, 0.1, -0.2))["depth"]
    assert (depth > 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_rays(backend, value):
    caster = RayCaster(box_room(), backend=backend)
    origins, directions = np.zeros((3, 3)), np.ones((3, 3))
    directions[1, 1] = value
    with pytest.raises(SensorError, match="NaN or infinity"):
        caster.cast_rays(origins, directions)
    with pytest.raises(SensorError, match=r"must both be \(N, 3\)"):
        caster.cast_rays(origins, np.ones((2, 3)))


def test_the_order_of_faces_does_not_matter(backend):
    """Tracers sort faces by object; hits and images must come back under the scene's numbers."""
    scene = clutter(3, 60)
    mix = np.random.default_rng(0).permutation(len(scene.faces))
    mixed = replace(
        scene,
        faces=scene.faces[mix],
        face_object=scene.face_object[mix],
        face_material=scene.face_material[mix],
        uv=None if scene.uv is None else scene.uv[mix],
    )
    assert (np.diff(mixed.face_object) < 0).any()
    a, b = RayCaster(scene, backend=backend), RayCaster(mixed, backend=backend)
    origins, directions = _rays(2000, 5)
    first, second = a.cast_rays(origins, directions), b.cast_rays(origins, directions)
    assert (first.face == mix[second.face]).mean() > 0.995  # the rest are ties where boxes touch
    camera = CameraSpec(("rgb", "semantic", "instance"), 64, 64)
    x, y = a.render(camera, look(y=1.4)), b.render(camera, look(y=1.4))
    for name in camera.outputs:
        assert (x[name] == y[name]).mean() > 0.995
    assert len(np.unique(y["instance"])) > 5


def test_a_miss_has_no_depth_even_without_a_limit(backend):
    caster = RayCaster(sphere_scene(1.0, 2), backend=backend)
    camera = CameraSpec(("depth", "semantic"), 9, 7, max_depth=np.inf)
    images = caster.render(camera, look(0.0, 0.0, 3.0))
    assert images["depth"][0, 0, 0] == 0.0
    assert images["semantic"][0, 0, 0] == 0
    assert images["depth"][0, 3, 4] == pytest.approx(2.0, abs=0.05)


def test_numba_agrees_with_embree():
    pytest.importorskip("embreex")
    scene = clutter(5, 200)
    native, own = RayCaster(scene, backend="embree"), RayCaster(scene, backend="numba")
    origins, directions = _rays(5000, 2)
    a, b = native.cast_rays(origins, directions), own.cast_rays(origins, directions)
    np.testing.assert_allclose(a.distance, b.distance, rtol=1e-4, atol=1e-4)
    assert (a.face == b.face).mean() > 0.995  # the rest are ties where boxes touch
    camera = CameraSpec(("rgb", "depth", "instance"), 96, 96)
    x, y = native.render(camera, look(y=1.4)), own.render(camera, look(y=1.4))
    np.testing.assert_allclose(x["depth"], y["depth"], rtol=1e-4)
    assert (x["instance"] == y["instance"]).mean() > 0.995
    assert (np.abs(x["rgb"].astype(int) - y["rgb"]).max(axis=-1) <= 1).mean() > 0.995


def test_the_fallback_is_chosen_where_embree_is_absent(monkeypatch):
    monkeypatch.setattr(caster_module.embree, "load_library", lambda: None)
    caster = RayCaster(box_room())
    assert caster.backend == "numba"
    depth = caster.render(CameraSpec(("depth",), 8, 8, 30.0), look())["depth"]
    np.testing.assert_allclose(depth, 3.0, atol=1e-5)


def test_coinciding_triangles_do_not_break_the_tree():
    """Hundreds of copies of one triangle have one centroid: no split can part them."""
    scene = box_room()
    many = replace(
        scene,
        faces=np.repeat(scene.faces[:1], 700, axis=0),
        face_object=np.zeros(700, np.int32),
        face_material=np.zeros(700, np.int32),
    )
    hits = RayCaster(many, backend="numba").cast_rays(
        np.array([[0.0, 0.5, -2.5]]), np.array([[-1.0, 0.0, 0.0]])
    )
    assert hits.distance[0] == pytest.approx(2.0)


def test_agrees_with_open3d():
    open3d = pytest.importorskip("open3d")
    scene = clutter(9, 150)
    other = open3d.t.geometry.RaycastingScene(nthreads=1)
    other.add_triangles(
        open3d.core.Tensor(scene.vertices.copy()),
        open3d.core.Tensor(scene.faces.astype(np.uint32)),
    )
    origins, directions = _rays(5000, 4)
    rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
    answer = other.cast_rays(open3d.core.Tensor(rays))
    hits = RayCaster(scene).cast_rays(origins, directions)
    np.testing.assert_allclose(hits.distance, answer["t_hit"].numpy(), rtol=1e-4, atol=1e-4)
    assert (hits.face == answer["primitive_ids"].numpy().astype(np.int64)).mean() > 0.995


def test_native_memory_is_freed_with_the_caster():
    pytest.importorskip("embreex")
    caster = RayCaster(box_room(), backend="embree")
    native = weakref.ref(caster._owned[1])
    release = caster._owned[1]._release
    assert release.alive
    del caster
    gc.collect()
    assert native() is None
    assert not release.alive


def _render_in_child(connection, caster, scene):
    camera = CameraSpec(("depth",), 32, 32)
    inherited = caster.render(camera, look(y=1.4))["depth"]
    fresh = RayCaster(scene, threads=2).render(camera, np.repeat(look(y=1.4), 2, axis=0))["depth"]
    connection.send((inherited, fresh))
    connection.close()


def test_works_in_a_forked_child():
    scene = clutter()
    caster = RayCaster(scene, threads=2)
    camera = CameraSpec(("depth",), 32, 32)
    expected = caster.render(camera, np.repeat(look(y=1.4), 2, axis=0))["depth"]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_render_in_child, args=(sender, caster, scene))
    child.start()
    assert receiver.poll(120), "the child did not answer"
    inherited, fresh = receiver.recv()
    child.join(30)
    assert child.exitcode == 0
    np.testing.assert_array_equal(inherited, expected[:1])
    np.testing.assert_array_equal(fresh, expected)
