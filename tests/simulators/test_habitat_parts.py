"""The parts of the Habitat package that need neither habitat-lab nor habitat-sim."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embodied.categories import MPCAT40
from embodied.errors import MissingExtraError, NavigationError, SceneError, SensorError
from embodied.simulators.base import AgentSpec, CameraSpec
from embodied.simulators.embedded import World
from embodied.simulators.habitat import (
    HabitatSimMissingError,
    HabitatSimulator,
    convert,
    register_with_habitat,
)
from embodied.simulators.habitat.annotations import SemanticScene
from embodied.simulators.habitat.pathfinding import (
    GreedyFollower,
    GreedyFollowerError,
    HabitatPathFinder,
)
from embodied.simulators.habitat.sim import HabitatNavigation, convert_images
from embodied.simulators.houses import generate_house
from embodied.types import Pose
from tests.simulators.habitat_worlds import write_house

ROOT = Path(__file__).resolve().parents[2]


def sensor(kind: str = "HabitatSimRGBSensor", **fields: Any) -> SimpleNamespace:
    base = {"type": kind, "width": 32, "height": 24, "hfov": 79, "position": [0, 0.88, 0]}
    return SimpleNamespace(**{**base, "orientation": [0, 0, 0], **fields})


# --- errors ---


@pytest.mark.skipif(find_spec("habitat_sim") is not None, reason="habitat-sim is installed")
def test_without_habitat_sim_the_driver_says_how_to_get_it() -> None:
    with pytest.raises(HabitatSimMissingError, match="conda install habitat-sim") as caught:
        HabitatSimulator("house.glb")
    assert isinstance(caught.value, MissingExtraError)
    assert "pip install" not in str(caught.value)


@pytest.mark.skipif(find_spec("habitat") is not None, reason="habitat-lab is installed")
def test_without_habitat_lab_register_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"embodied-stack\[habitat\]"):
        register_with_habitat()


def test_importing_the_package_imports_nothing_foreign() -> None:
    program = (
        "import sys, embodied.simulators.habitat\n"
        "assert not {'habitat', 'habitat_sim', 'gym', 'magnum', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


# --- conversions ---


def test_agent_of_a_configuration() -> None:
    body = SimpleNamespace(radius=0.18, height=0.88, max_climb=0.2, max_slope=45.0)
    settings = SimpleNamespace(
        agents={"main_agent": body},
        agents_order=["main_agent"],
        forward_step_size=0.25,
        turn_angle=30,
        habitat_sim_v0=SimpleNamespace(allow_sliding=False),
    )
    spec = convert.read_agent_spec(settings)
    assert spec == AgentSpec(radius=0.18, height=0.88, sliding=False, navmesh="habitat")
    settings.agents_order = ["one", "two"]
    with pytest.raises(NavigationError, match="agents_order"):
        convert.read_agent_spec(settings)


def test_cameras_of_a_configuration() -> None:
    camera = convert.read_camera_spec(sensor("HabitatSimSemanticSensor"))
    assert (camera.outputs, camera.width, camera.height, camera.hfov) == (("instance",), 32, 24, 79)
    around = convert.read_camera_spec(sensor("HabitatSimEquirectangularDepthSensor"))
    assert around.projection == "equirectangular"
    noisy = sensor(noise_model="GaussianNoiseModel", noise_model_kwargs={"sigma": 0.5})
    assert convert.read_camera_spec(noisy).noise.rgb_sigma == pytest.approx(255 * 0.2 * 0.5)
    rough = sensor(
        "HabitatSimDepthSensor",
        noise_model="RedwoodDepthNoiseModel",
        noise_model_kwargs={"noise_multiplier": 2.0},
    )
    assert convert.read_camera_spec(rough).noise.depth_multiplier == 2.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (sensor("HabitatSimFisheyeRGBSensor"), "HabitatSimRGBSensor"),
        (sensor(sensor_subtype="ORTHOGRAPHIC"), "PINHOLE"),
        (sensor(noise_model="SpeckleNoiseModel"), "GaussianNoiseModel"),
    ],
)
def test_what_cannot_be_rendered_is_refused(wrong: SimpleNamespace, words: str) -> None:
    with pytest.raises(SensorError, match=words):
        convert.read_camera_spec(wrong)


def test_rotations() -> None:
    yaw = 0.7
    rotation = np.array(Pose.from_yaw((0.0, 0.0, 0.0), yaw).rotation)
    assert convert.compute_yaw(rotation) == pytest.approx(yaw)
    assert convert.compute_yaw(convert.turn_rotation(rotation, 0.2)) == pytest.approx(yaw + 0.2)
    body = convert.build_body_matrix(np.array([1.0, 2.0, 3.0]), rotation)
    assert np.allclose(body, Pose.from_yaw((1.0, 2.0, 3.0), yaw).matrix())
    assert np.allclose(np.abs(convert.matrix_to_xyzw(body)), np.abs(rotation))
    numpy_quaternion = SimpleNamespace(x=0.0, y=0.6, z=0.0, w=0.8, imag=np.array([0, 0.6, 0]))
    assert np.allclose(convert.to_xyzw(numpy_quaternion), [0, 0.6, 0, 0.8])
    assert np.allclose(convert.to_xyzw([0, 0, 0, 2]), [0, 0, 0, 1])
    for bad in ([0, 0, 0, 0], [0, 0, 1], [np.nan, 0, 0, 1]):
        with pytest.raises(NavigationError):
            convert.to_xyzw(bad)
    # A quarter turn about x, then y: the sensor's -z goes up, then stays up.
    mounted = convert.read_mount_pose(sensor(orientation=[np.pi / 2, np.pi / 2, 0]))
    assert np.allclose(mounted[:3, :3] @ [0, 0, -1], [0, 1, 0])
    assert np.allclose(mounted[:3, 3], [0, 0.88, 0])
    assert np.allclose(convert.build_tilt_matrix(np.pi / 2)[:3, :3] @ [0, 0, -1], [0, 1, 0])


def test_a_bare_stage_stands_on_z(tmp_path: Path) -> None:
    house = write_house(tmp_path / "house.glb", rooms=1)
    scene = convert.load_habitat_scene(str(tmp_path / "house.glb"))
    assert np.allclose(scene.bounds, house.bounds, atol=1e-4)
    with pytest.raises(SceneError, match="nowhere"):
        convert.load_habitat_scene(str(tmp_path / "nowhere.glb"))


def test_a_scene_by_its_name_in_a_dataset(tmp_path: Path) -> None:
    house = write_house(tmp_path / "stages" / "house.glb", rooms=1)
    dataset = tmp_path / "homes.scene_dataset_config.json"
    dataset.write_text(json.dumps({"stages": {"paths": {".glb": ["stages"]}}}))
    scene = convert.load_habitat_scene("house", str(dataset))
    assert np.allclose(scene.bounds, house.bounds, atol=1e-4)


# --- navigation ---


@pytest.fixture(scope="module")
def world() -> World:
    return World(generate_house(seed=5, rooms=4), AgentSpec(turn=10, navmesh="habitat"))


def test_path_finder_under_habitats_names(world: World) -> None:
    finder = HabitatPathFinder(world.pathfinder, np.random.default_rng(0))
    point = finder.get_random_navigable_point()
    finder.seed(4)
    drawn = finder.get_random_navigable_point()
    finder.seed(4)
    assert np.allclose(finder.get_random_navigable_point(), drawn)
    assert finder.is_navigable(point)
    assert not finder.is_navigable(point + [0, 0, 500])
    low, high = finder.get_bounds()
    assert (low < high).all()
    view = finder.get_topdown_view(meters_per_pixel=0.1, height=point[1])
    rows, columns = ((high - low)[[2, 0]] / 0.1).astype(int)
    assert view.shape == (rows, columns)
    assert view[int((point[2] - low[2]) / 0.1), int((point[0] - low[0]) / 0.1)]
    near = finder.get_random_navigable_point_near(point, 0.5)
    assert np.linalg.norm((near - point)[[0, 2]]) <= 0.55
    assert np.isnan(finder.get_random_navigable_point_near(point + [0, 0, 500], 0.5)).all()
    assert finder.get_island(point) >= 0
    assert finder.get_island(point + [0, 0, 500]) == -1
    assert finder.compute_distance_field([[500.0, 0, 0]]) is None
    assert np.allclose(finder.try_step([500.0, 0, 0], [501.0, 0, 0]), [500.0, 0, 0])
    far = finder.try_step(point, point + [100.0, 0, 0])
    assert finder.is_navigable(far)
    assert far[0] >= point[0]


class Walker:
    """A body that obeys the follower exactly."""

    def __init__(self, world: World, position: np.ndarray) -> None:
        self.agent_spec = world.agent
        self.pathfinder = HabitatPathFinder(world.pathfinder, np.random.default_rng(0))
        self.position, self.rotation = position, np.array([0.0, 0.0, 0.0, 1.0])
        self.walked = 0.0

    def get_agent_state(self, agent_id: int = 0) -> SimpleNamespace:
        return SimpleNamespace(position=self.position)

    def act(self, action: str) -> None:
        turn = np.deg2rad(self.agent_spec.turn)
        if action == "move_forward":
            yaw = convert.compute_yaw(self.rotation)
            ahead = self.agent_spec.forward * np.array([-np.sin(yaw), 0, -np.cos(yaw)])
            before = self.position
            end = before + ahead
            self.position = self.pathfinder.step(before, end, self.agent_spec.sliding)[0]
            self.walked += float(np.linalg.norm(self.position - before))
        else:
            self.rotation = convert.turn_rotation(
                self.rotation, turn if action == "turn_left" else -turn
            )


@pytest.mark.parametrize(("turn", "sliding"), [(10, True), (30, True), (30, False)])
def test_follower_reaches_every_goal_nearly_straight(turn: int, sliding: bool) -> None:
    spec = AgentSpec(turn=turn, sliding=sliding, navmesh="habitat")
    world = World(generate_house(seed=5, rooms=4), spec)
    finder, rng = world.pathfinder, np.random.default_rng(turn)
    ratios = []
    while len(ratios) < 8:
        start, goal = finder.sample_points(rng, 2, island=finder.largest_island)
        shortest = float(finder.geodesic_distance(start, goal[None])[0])
        if shortest < 1.0:
            continue
        walker = Walker(world, start)
        follower = GreedyFollower(walker, 0.2)
        for _ in range(400):
            action = follower.next_action_along(goal)
            if action is None:
                break
            walker.act(action)
        left = float(finder.geodesic_distance(walker.position, goal[None])[0])
        assert left <= 0.2
        ratios.append(walker.walked / shortest)
    assert max(ratios) < 1.25
    assert np.mean(ratios) < 1.1


def test_follower_refuses_a_goal_without_a_way(world: World) -> None:
    start = world.pathfinder.sample_points(
        np.random.default_rng(0), 1, island=world.pathfinder.largest_island
    )
    follower = GreedyFollower(Walker(world, start[0]))
    with pytest.raises(GreedyFollowerError, match="no way"):
        follower.next_action_along([500.0, 0.0, 0.0])


def test_annotations_mirror_the_scene(world: World) -> None:
    semantic = SemanticScene(world.scene)
    assert len(semantic.objects) == len(world.scene.objects)
    number = len(semantic.objects) - 1
    thing, source = semantic.objects[number], world.scene.objects[number]
    assert thing.category.index() == world.scene.categories.index(source.category)
    assert np.allclose(thing.aabb.center(), source.center)
    assert np.allclose(thing.aabb.sizes, source.size)
    assert sum(len(level.regions) for level in semantic.levels) == len(world.scene.rooms)
    inside = [o for region in semantic.regions for o in region.objects]
    assert len(inside) == sum(o.room is not None for o in world.scene.objects)


# --- the driver of habitat-sim ---


def test_images_of_habitat_sim_become_ours() -> None:
    camera = CameraSpec(outputs=("rgb", "depth", "semantic", "instance"), min_depth=1, max_depth=5)
    seen = {
        "rgb": np.arange(16, dtype=np.uint8).reshape(2, 2, 4),
        "depth": np.array([[0.0, 0.5], [3.0, 9.0]], np.float32),
        "instance": np.array([[0, 1], [2, 40]], np.uint32),
    }
    chair, unlabeled = MPCAT40.index("chair"), MPCAT40.index("unlabeled")
    images = convert_images(seen, camera, np.array([unlabeled, chair, chair], np.int32))
    assert images["rgb"].shape == (2, 2, 3)
    assert images["depth"].tolist() == [[0.0, 1.0], [3.0, 0.0]]
    assert images["instance"].tolist() == [[0, 1], [2, 40]]
    assert images["semantic"].tolist() == [[unlabeled, chair], [chair, unlabeled]]
    assert {i.dtype for i in images.values()} == {np.dtype(t) for t in ("u1", "f4", "i4")}


def test_driver_navigation_over_habitats_names_gives_our_answers(world: World) -> None:
    """Our path finder under habitat-sim's names, driven as habitat-sim is: a round trip."""
    ours, rng = world.pathfinder, np.random.default_rng(7)
    driven = HabitatNavigation(HabitatPathFinder(ours, rng))
    points = np.concatenate([ours.sample_points(rng, 20), rng.uniform(*ours.bounds, (20, 3))])
    points = points.astype(np.float32).astype(np.float64)
    assert driven.is_navigable(points).tolist() == ours.is_navigable(points).tolist()
    assert not driven.is_navigable([[np.nan, 0, 0]])[0]
    assert np.allclose(driven.snap_points(points), ours.snap_points(points), equal_nan=True)
    assert driven.get_island(points).tolist() == ours.get_island(points).tolist()
    assert np.allclose(driven.island_radius(points), ours.island_radius(points))
    assert np.allclose(
        driven.distance_to_closest_obstacle(points[:20]),
        ours.distance_to_closest_obstacle(points[:20]),
    )
    assert np.allclose(driven.bounds, ours.bounds)
    assert driven.num_islands == ours.num_islands
    assert driven.navigable_area == ours.navigable_area
    areas = [driven.finder.island_area(i) for i in range(driven.num_islands)]
    assert sum(areas) == pytest.approx(ours.navigable_area)
    assert areas[driven.largest_island] == max(areas)
    assert np.array_equal(driven.get_topdown_view(0.0, 0.1), ours.get_topdown_view(0.0, 0.1))
    start = points[:20]
    target = start + [0.0, 0.0, 0.25]
    for sliding in (True, False):
        places, collided = driven.step(start, target, sliding)
        expected, touched = ours.step(start, target, sliding)
        assert np.allclose(places, expected, atol=1e-5)
        assert np.mean(collided == touched) > 0.9
    drawn = driven.sample_points(np.random.default_rng(3), 5, island=ours.largest_island)
    assert np.array_equal(
        drawn, driven.sample_points(np.random.default_rng(3), 5, ours.largest_island)
    )
    assert (ours.get_island(drawn) == ours.largest_island).all()


# Public names of habitat-sim 0.3 (Python package and bindings) that the driver may use.
HABITAT_SIM = {
    "module": {
        "AgentConfiguration", "CameraSensorSpec", "Configuration", "EquirectangularSensorSpec",
        "MultiGoalShortestPath", "NavMeshSettings", "SensorSubType", "SensorType", "ShortestPath",
        "Simulator", "SimulatorConfiguration",
    },
    "SimulatorConfiguration": {
        "scene_id", "scene_dataset_config_file", "random_seed", "gpu_device_id", "allow_sliding",
        "navmesh_settings",
    },
    "NavMeshSettings": {
        "set_defaults", "agent_radius", "agent_height", "agent_max_climb", "agent_max_slope",
        "cell_size", "cell_height",
    },
    "Configuration": {"sim_cfg", "agents"},
    "AgentConfiguration": {"height", "radius", "sensor_specifications", "action_space"},
    "SensorSpec": {
        "uuid", "sensor_type", "sensor_subtype", "position", "orientation", "resolution",
        "channels", "near", "far", "hfov",
    },
    "SensorType": {"COLOR", "DEPTH", "SEMANTIC", "PINHOLE"},
    "Simulator": {
        "close", "get_agent", "get_sensor_observations", "pathfinder", "semantic_scene",
    },
    "Agent": {"get_state", "set_state"},
    "AgentState": {"position", "rotation", "sensor_states"},
    "PathFinder": {
        "get_bounds", "seed", "get_topdown_view", "get_random_navigable_point", "find_path",
        "try_step", "try_step_no_sliding", "snap_point", "get_island", "island_radius",
        "num_islands", "navigable_area", "island_area", "distance_to_closest_obstacle",
        "is_navigable",
    },
    "ShortestPath": {
        "requested_start", "requested_end", "requested_ends", "points", "geodesic_distance",
    },
    "SemanticScene": {"objects"},
    "SemanticObject": {"semantic_id", "category"},
    "SemanticCategory": {"name"},
}  # fmt: skip

# Variables of the driver that hold habitat-sim's objects, as they are written there.
VARIABLES = {
    "habitat_sim": "module", "_import()": "module", "world": "SimulatorConfiguration",
    "settings.sim_cfg": "SimulatorConfiguration", "navmesh": "NavMeshSettings",
    "settings": "Configuration", "body": "AgentConfiguration", "spec": "SensorSpec",
    "kinds": "SensorType", "habitat_sim.SensorSubType": "SensorType", "self.backend": "Simulator",
    "self._backend": "Simulator", "agent": "Agent", "state": "AgentState",
    "self.finder": "PathFinder", "self._finder": "PathFinder", "self._path": "ShortestPath",
    "path": "ShortestPath", "self._backend.semantic_scene": "SemanticScene",
    "thing": "SemanticObject", "thing.category": "SemanticCategory",
}  # fmt: skip


def test_the_driver_uses_only_public_names_of_habitat_sim() -> None:
    source = (ROOT / "embodied" / "simulators" / "habitat" / "sim.py").read_text(encoding="utf-8")
    ours = {"agent": set(AgentSpec.__dataclass_fields__)}  # the same word also names our AgentSpec
    used, seen = set(), set()
    for node in ast.walk(ast.parse(source)):
        owner = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
        if owner in VARIABLES:
            kind = VARIABLES[owner]
            allowed = HABITAT_SIM[kind] | ours.get(owner, set())
            assert node.attr in allowed, f"line {node.lineno}: {owner}.{node.attr}"
            used.add((kind, node.attr))
            seen.add(kind)
    assert seen == set(HABITAT_SIM)
    assert len(used) >= 50
