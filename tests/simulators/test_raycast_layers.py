"""Layers look as one scene with all of it; scenes can be extended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec, Material, Scene, SceneObject
from embodied.simulators.embedded import World
from embodied.simulators.houses import generate_house
from embodied.simulators.raycast import MovingCaster, RayCaster, RigidMeshes, render_layers
from embodied.simulators.scenes.builder import SceneBuilder
from embodied.simulators.scenes.extend import extend_scene
from embodied.simulators.scenes.shapes import make_box
from tests.simulators.raycast_scenes import box_room

CAMERA = CameraSpec(outputs=("rgb", "depth", "semantic"), width=72, height=56, hfov=80)
SIZE, PLACE = (0.6, 0.5, 0.4), (0.3, 0.25, -1.0)


def layer_thing() -> Scene:
    """One red box in a frame of its own, of class 1 of its scene."""
    builder = SceneBuilder("thing")
    number = builder.add_object("table", "thing")
    builder.add_part(make_box(SIZE, material=Material((0.9, 0.1, 0.1))), number)
    return builder.build_scene()


def layer_poses() -> np.ndarray:
    poses = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    poses[:, :3, 3] = [[0.0, 0.6, 0.5], [0.8, 1.2, 0.6]]
    return poses


def test_layers_equal_one_scene() -> None:
    room = box_room()
    whole = extend_scene(
        room, [(SceneObject("table", "t"), make_box(SIZE, PLACE, Material((0.9, 0.1, 0.1))))]
    )
    moving = MovingCaster(RigidMeshes(layer_thing()))
    frames = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    frames[1, :3, 3] = PLACE
    moving.set_poses(frames)
    same = np.arange(len(room.categories), dtype=np.int32)
    poses = layer_poses()
    seen = render_layers([(RayCaster(room), same), (moving, same)], CAMERA, poses)
    one = RayCaster(whole).render(CAMERA, poses)
    assert (seen["semantic"] == room.categories.index("table")).any()
    for name in ("rgb", "semantic"):
        assert np.mean(seen[name] != one[name]) < 0.002  # rays along an edge
    np.testing.assert_allclose(seen["depth"], one["depth"], atol=1e-5)


def test_depth_is_cut_after_the_layers_are_joined() -> None:
    room, same = box_room(), np.arange(len(box_room().categories), dtype=np.int32)
    camera = replace(CAMERA, outputs=("depth",), min_depth=1.2, max_depth=3.0)
    layers = [(RayCaster(room), same)]
    seen = render_layers(layers, camera, layer_poses())
    assert list(seen) == ["depth"]
    np.testing.assert_array_equal(
        seen["depth"], RayCaster(room).render(camera, layer_poses())["depth"]
    )
    assert (seen["depth"] == 0).any()
    assert seen["depth"][seen["depth"] > 0].min() == np.float32(1.2)


def test_classes_of_a_layer_are_renamed() -> None:
    moving = MovingCaster(RigidMeshes(layer_thing()))
    frames = np.broadcast_to(np.eye(4), (2, 4, 4)).copy()
    frames[1, :3, 3] = PLACE
    moving.set_poses(frames)
    names = np.full(100, 77, np.int32)
    room, same = box_room(), np.arange(42, dtype=np.int32)
    seen = render_layers([(RayCaster(room), same), (moving, names)], CAMERA, layer_poses())
    assert (seen["semantic"] == 77).sum() > 50


def test_instances_and_no_layers_are_refused() -> None:
    same = np.arange(42, dtype=np.int32)
    with pytest.raises(SensorError, match="at least one layer"):
        render_layers([], CAMERA, layer_poses())
    camera = replace(CAMERA, outputs=("instance",))
    with pytest.raises(SensorError, match="instance"):
        render_layers([(RayCaster(box_room()), same)], camera, layer_poses())


def test_an_extended_scene_keeps_its_numbers_and_blocks_the_way() -> None:
    room = generate_house(4, rooms=1, textures=False)
    world = World(room)
    x, _, z = world.pathfinder.sample_points(
        np.random.default_rng(0), island=world.pathfinder.largest_island
    )[0].tolist()
    size, middle = (0.3, 0.45, 0.3), (x, 0.225, z)
    thing = SceneObject("table", "stand", middle, size)
    scene = extend_scene(room, [(thing, make_box(size, middle))])
    assert extend_scene(room, []) is room
    assert scene.objects == (*room.objects, thing)
    np.testing.assert_array_equal(scene.faces[: len(room.faces)], room.faces)
    assert (scene.face_object == len(room.objects)).sum() == 12
    spot = np.array([[x, 0.0, z]])
    assert world.pathfinder.is_navigable(spot).all()
    assert not World(scene).pathfinder.is_navigable(spot).any()
    colored = replace(room, colors=np.full((len(room.vertices), 3), 9, np.uint8),
                      uv=np.zeros((len(room.faces), 3, 2), np.float32))  # fmt: skip
    grown = extend_scene(colored, [(thing, make_box((0.5, 0.5, 0.5)))])
    assert grown.colors is not None
    assert grown.uv is not None
    assert len(grown.colors) == len(grown.vertices)
    assert len(grown.uv) == len(grown.faces)
