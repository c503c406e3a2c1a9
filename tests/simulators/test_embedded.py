from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from embodied.errors import NavigationError, SceneError, SensorError
from embodied.simulators.base import AgentSpec, CameraSpec, Scene, SceneObject
from embodied.simulators.embedded import Simulator, World, apply_actions
from embodied.types import FORWARD, LEFT, LOOK_DOWN, LOOK_UP, RIGHT, STOP

DEPTH = CameraSpec(outputs=("depth",), width=33, height=33)
SIDE = 6.0


def room_mesh() -> trimesh.Trimesh:
    """A closed room, 6 x 6 m and 2.5 m high, centred on the origin, floor at y = 0."""
    room = trimesh.creation.box((SIDE, 2.5, SIDE))
    room.apply_translation((0, 1.25, 0))
    room.invert()  # seen from inside
    return room


@pytest.fixture(scope="module")
def world() -> World:
    mesh = room_mesh()
    faces = np.asarray(mesh.faces, np.int32)
    zero = np.zeros(len(faces), np.int32)
    return World(
        Scene("room", np.asarray(mesh.vertices, np.float32), faces, zero, zero,
              objects=(SceneObject("unlabeled", "room"),))
    )  # fmt: skip


def test_forward_and_turns_follow_the_conventions(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0, 0, 0]], [0.0])
    assert not simulator.step([FORWARD])[0]
    assert simulator.positions[0] == pytest.approx([0, 0, -0.25], abs=1e-6)
    for _ in range(3):
        simulator.step([LEFT])
    assert simulator.yaw[0] == pytest.approx(np.pi / 2)
    simulator.step([FORWARD])
    assert simulator.positions[0] == pytest.approx([-0.25, 0, -0.25], abs=1e-6)
    simulator.step([RIGHT])
    assert simulator.yaw[0] == pytest.approx(np.pi / 3)
    before = simulator.positions.copy()
    simulator.step([STOP])
    assert (simulator.positions == before).all()


def test_a_full_turn_comes_back(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0.3, 0, 0.2]], [0.4])
    first = simulator.get_observations()["depth"]
    for _ in range(12):
        simulator.step([LEFT])
    assert simulator.yaw[0] == pytest.approx(0.4)
    np.testing.assert_allclose(simulator.get_observations()["depth"], first, atol=1e-4)


def test_looking_tilts_the_camera_and_stops_at_vertical(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0, 0, 0]], [0.0])
    simulator.step([LOOK_DOWN])
    assert simulator.pitch[0] == pytest.approx(-np.pi / 6)
    for _ in range(5):
        simulator.step([LOOK_UP])
    assert simulator.pitch[0] == pytest.approx(np.pi / 2)
    # Straight up: the ceiling at 2.5 m from a camera at 1.25 m.
    assert simulator.get_observations()["depth"][0, 16, 16] == pytest.approx(1.25, abs=1e-4)


def test_depth_is_the_distance_to_the_wall(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0, 0, 0.5], [1, 0, 0]], [0.0, -np.pi / 2])
    depth = simulator.get_observations()["depth"]
    assert depth.shape == (2, 33, 33)
    assert depth[0, 16, 16] == pytest.approx(SIDE / 2 + 0.5, abs=1e-4)  # along -z
    assert depth[1, 16, 16] == pytest.approx(SIDE / 2 - 1.0, abs=1e-4)  # along +x


@pytest.mark.parametrize("sliding", [True, False])
def test_walls_stop_or_deflect(sliding: bool, world: World) -> None:
    own = World(world.scene, AgentSpec(sliding=sliding))
    simulator = Simulator(own, DEPTH)
    simulator.place_agents([[0, 0, -2.6]], [np.pi / 4])  # ahead and left is (-x, -z)
    touched = [simulator.step([FORWARD])[0] for _ in range(4)]
    assert any(touched)
    x, _, z = simulator.positions[0]
    assert z > -SIDE / 2 + 0.1
    assert (x < -0.5) if sliding else (x > -0.5)
    assert own.pathfinder.is_navigable(simulator.positions).all()


def test_driving_an_arc(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0, 0, 1]], [0.0])
    assert not simulator.apply_velocities([0.5], [0.5], 1.0)[0]
    # Radius v / w = 1 m to the left: centre at (-1, 1).
    assert simulator.yaw[0] == pytest.approx(0.5)
    expected = [-1 + np.cos(0.5), 0, 1 - np.sin(0.5)]
    assert simulator.positions[0] == pytest.approx(expected, abs=2e-3)


def test_driving_into_a_wall_is_reported(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    simulator.place_agents([[0, 0, 0]], [0.0])
    assert simulator.apply_velocities([1.0], [0.0], 10.0)[0]
    assert simulator.positions[0, 2] == pytest.approx(-SIDE / 2 + 0.25, abs=0.1)


def test_many_agents_move_as_each_alone(world: World) -> None:
    rng = np.random.default_rng(0)
    together = Simulator(world, DEPTH)
    together.place_randomly(8)
    start, yaw = together.positions.copy(), together.yaw.copy()
    actions = rng.integers(0, 6, (30, 8))
    alone = []
    for i in range(8):
        single = Simulator(world, DEPTH)
        single.place_agents(start[i : i + 1], yaw[i : i + 1])
        for row in actions:
            single.step(row[i : i + 1])
        alone.append(single)
    for row in actions:
        together.step(row)
    np.testing.assert_array_equal(together.positions, [s.positions[0] for s in alone])
    np.testing.assert_array_equal(together.yaw, [s.yaw[0] for s in alone])
    images = together.get_observations()["depth"]
    np.testing.assert_array_equal(images, [s.get_observations()["depth"][0] for s in alone])


def test_agents_of_different_scenes_in_one_call(world: World) -> None:
    other = World(world.scene)
    paths = [world.pathfinder, other.pathfinder, world.pathfinder]
    positions, yaw, pitch = np.zeros((3, 3)), np.array([0.0, 1.0, 2.0]), np.zeros(3)
    touched = apply_actions(
        paths, AgentSpec(), positions, yaw, pitch, np.array([FORWARD, FORWARD, LEFT])
    )
    assert not touched.any()
    assert positions[0] == pytest.approx([0, 0, -0.25], abs=1e-6)
    assert positions[1] == pytest.approx([-0.25 * np.sin(1), 0, -0.25 * np.cos(1)], abs=1e-6)
    assert positions[2].tolist() == [0, 0, 0]


def test_same_seed_same_places(world: World) -> None:
    places = []
    for seed in (1, 1, 2):
        simulator = Simulator(world, DEPTH, seed=seed)
        simulator.place_randomly(3)
        places.append(simulator.positions)
    np.testing.assert_array_equal(places[0], places[1])
    assert (places[0] != places[2]).any()


def test_several_named_cameras_and_free_poses(world: World) -> None:
    cameras = {"head": DEPTH, "foot": CameraSpec(outputs=("rgb",), width=8, height=6)}
    simulator = Simulator(world, cameras)
    simulator.place_agents([[0, 0, 0]])
    images = simulator.get_observations()
    assert {k: v.shape for k, v in images.items()} == {
        "head.depth": (1, 33, 33),
        "foot.rgb": (1, 6, 8, 3),
    }
    pose = np.eye(4)
    pose[:3, 3] = 0, 1.25, 1
    assert simulator.render("head", pose)["depth"][0, 16, 16] == pytest.approx(4, abs=1e-4)
    with pytest.raises(SensorError, match="did you mean 'head'"):
        simulator.render("heat", pose)
    with pytest.raises(SensorError, match=r"\(N, 4, 4\)"):
        simulator.render("head", np.eye(3))


def test_start_inside_a_wall_names_the_nearest_point(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    with pytest.raises(NavigationError, match=r"agent 1 .*nearest navigable point is \(2\.7"):
        simulator.place_agents([[0, 0, 0], [SIDE / 2 + 0.05, 0, 0]])
    with pytest.raises(NavigationError, match="draw one"):
        simulator.place_agents([[90, 0, 90]])
    with pytest.raises(NavigationError, match="finite"):
        simulator.place_agents([[np.nan, 0, 0]])


def test_misuse_is_explained(world: World) -> None:
    simulator = Simulator(world, DEPTH)
    with pytest.raises(NavigationError, match="place"):
        simulator.get_observations()
    with pytest.raises(NavigationError, match="place"):
        simulator.step([])
    simulator.place_agents([[0, 0, 0]])
    with pytest.raises(NavigationError, match="1 placed agents"):
        simulator.step([1, 1])
    with pytest.raises(NavigationError, match=r"0\.\.5"):
        simulator.step([7])
    with pytest.raises(NavigationError, match="dt positive"):
        simulator.apply_velocities([1.0], [0.0], 0.0)
    with pytest.raises(SensorError, match="at least one camera"):
        Simulator(world, {})


def test_any_mesh_file_is_a_scene(tmp_path: Path) -> None:
    room_mesh().export(tmp_path / "room.glb")
    simulator = Simulator(tmp_path / "room.glb", DEPTH)
    simulator.place_randomly(2)
    assert (simulator.get_observations()["depth"] > 0).all()
    with pytest.raises(SceneError, match="absent"):
        Simulator(tmp_path / "absent.glb")
