from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.continuous import ContinuousConfig, ContinuousPolicy, PlaceWalker
from embodied.policies.vln.dual_scale import DualScaleInputs
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.policies.vln.live_places import LiveGraph, LiveGraphConfig, PanoramaMapper
from embodied.simulators.base import AgentSpec, CameraSpec
from embodied.simulators.embedded import World, apply_actions
from embodied.simulators.raycast import compute_camera_poses
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.types import FORWARD, LEFT, RIGHT, STOP
from maps.graph.waypoints import WaypointProposalSpec, propose_waypoints, thin_points
from tests.tasks.conftest import build_flat

CAMERA = CameraSpec(
    outputs=("rgb", "depth", "semantic", "instance"), width=192, height=96,
    position=(0.0, 1.4, 0.0), projection="equirectangular",
)  # fmt: skip
AGENT = AgentSpec(turn=15.0)


class Flat:
    """The two rooms with a body in them, seen through the sensors only."""

    def __init__(self, start: tuple[float, float, float] = (-3.0, 0.0, 1.0)) -> None:
        self.world = World(build_flat(), AGENT)
        self.start = np.array([start])
        self.positions, self.yaw = self.start.copy(), np.zeros(1)
        self.steps = 0

    def sense(self) -> dict[str, Any]:
        pose = compute_camera_poses(self.positions, np.zeros(1), CAMERA)
        images = self.world.caster.render(CAMERA, pose)
        names = [o.name if o.category in ("chair", "bed") else "" for o in self.world.scene.objects]
        rows = np.where(np.isin(images["instance"], [7, 8]), images["instance"], -1)
        return {
            "instruction": ("go to the bed",),
            "position": (self.positions - self.start).astype(np.float32),
            "heading": (-self.yaw).astype(np.float32) % (2 * np.pi),
            "rgb": images["rgb"],
            "depth": images["depth"],
            "semantic": rows,
            "instance": images["instance"],
            "instance_names": (tuple(names),),
        }

    def step(self, action: int) -> bool:
        self.steps += 1
        paths = [self.world.pathfinder]
        touched = apply_actions(
            paths, AGENT, self.positions, self.yaw, np.zeros(1), np.array([action])
        )
        return bool(touched[0])


class Homing:
    """A graph policy that knows where the goal lies: walks to the candidate nearest to it."""

    def __init__(self, goal: tuple[float, float, float]) -> None:
        self.goal = np.array(goal)
        self.seen: list[dict[str, Any]] = []
        self.walked: set[int] = set()

    def act(self, observations: Mapping[str, Any], first: np.ndarray) -> np.ndarray:
        self.seen.append({k: v[0] for k, v in observations.items()})
        self.first = bool(first[0])
        self.walked.add(int(observations["place"][0]))
        if np.linalg.norm(observations["position"][0] - self.goal) < 1.2:
            return np.array([[0, 0]])
        ids = observations["candidates"][0]
        gaps = np.linalg.norm(observations["candidate_positions"][0] - self.goal, axis=1)
        gaps[[i < 0 or i in self.walked for i in ids.tolist()]] = np.inf
        return np.array([[1 + int(gaps.argmin()), 0]])


def drive(flat: Flat, policy: ContinuousPolicy, most: int = 300) -> bool:
    """Play one episode; whether it stopped by itself."""
    for step in range(most):
        (action,) = policy.act(flat.sense(), np.array([step == 0]))
        if action == STOP:
            return True
        flat.step(int(action))
    return False


def mapped(flat: Flat) -> PanoramaMapper:
    mapper = PanoramaMapper(ContinuousConfig().body)
    seen = flat.sense()
    mapper.observe(seen["depth"][0], np.array([*seen["position"][0], flat.yaw[0]]))
    return mapper


# -- map and ghosts ---


def test_one_panorama_maps_the_room() -> None:
    """Free floor and walls of the west room, in metres from the start at (-3, 1)."""
    grid = mapped(Flat()).grid

    def at(x: float, z: float) -> tuple[int, int]:
        row, column = grid.to_cell([x, 0.0, z])
        return int(row), int(column)

    for x, z in ((0.5, 0.5), (2.0, 0.5), (2.0, -1.5), (0.0, -0.9)):
        assert grid.free[at(x, z)], (x, z)
    walls = grid.inflate_obstacles(0.1)
    for x, z in ((-1.0, 0.0), (0.0, 1.0), (0.0, -3.0), (2.95, -1.0), (-0.6, -2.35)):
        assert walls[at(x, z)], (x, z)  # the last one is the chair
    assert not grid.explored[at(5.0, -2.0)]  # hidden behind the middle wall


def test_ghosts_lie_on_free_floor_apart_and_lead_through_the_door() -> None:
    flat = Flat()
    places = LiveGraph(LiveGraphConfig())
    mapper = mapped(flat)
    assert places.visit_place(mapper) == 0
    ghosts = np.array([p for p, v in zip(places.positions, places.visited, strict=True) if not v])
    assert len(ghosts) >= 2
    assert flat.world.pathfinder.is_navigable(ghosts + flat.start[0]).all()
    gaps = np.linalg.norm(ghosts[:, None] - ghosts[None], axis=2)[np.triu_indices(len(ghosts), 1)]
    assert gaps.min() >= LiveGraphConfig().proposals.min_spacing - 0.1
    assert (ghosts[:, 0] > 2.2).any()  # at the door, 3 m to the east
    assert set(places.list_candidates()) == set(range(1, len(places.positions)))


def test_a_ghost_becomes_the_place_of_its_number_and_ways_stay() -> None:
    flat = Flat()
    places = LiveGraph(LiveGraphConfig())
    mapper = mapped(flat)
    places.visit_place(mapper)
    ghost = places.list_candidates()[0]
    there = places.positions[ghost].copy()
    mapper.position = there + np.array([0.1, 0.0, 0.0])
    assert places.visit_place(mapper, ghost) == ghost
    assert places.visited[ghost]
    assert places.positions[ghost] == pytest.approx(there + [0.1, 0.0, 0.0])
    assert 0 in places.list_candidates()
    before = set(places.list_candidates())
    mapper.position = there
    places.visit_place(mapper, ghost)
    assert before <= set(places.list_candidates())


def test_proposals_keep_what_a_wall_separates() -> None:
    """A known place suppresses proposals around it, but not behind a wall."""
    weight = np.ones((80, 80), np.uint8)
    clearance = np.full((80, 80), 1.0, np.float32)
    spec = WaypointProposalSpec(
        min_distance=1.0, max_distance=3.0, spacing=3.0, min_spacing=0.2, frontier_reach=0.3
    )
    known = [(40, 60)]
    freely = propose_waypoints(weight, clearance, (40, 20), 0.1, known, (), spec)
    assert all(np.hypot(r - 40, c - 60) >= 30 for r, c in freely)
    walled = weight.copy()
    walled[:70, 45] = 0
    behind = propose_waypoints(walled, clearance, (40, 20), 0.1, known, (), spec)
    near_wall = [c for _, c in behind if c > 35]
    assert near_wall
    border = propose_waypoints(weight, clearance, (40, 20), 0.1, known, [(40, 38)], spec)
    assert any(
        np.hypot(r - 40, c - 38) * 0.1 <= spec.frontier_reach for r, c in border[len(freely) :]
    )


def test_thin_drops_what_another_way_repeats() -> None:
    points = [[1.0, 0, 0], [2.0, 0, 0.1], [0.0, 0, 2.0]]
    assert thin_points([0.0, 0, 0], points) == [0, 2]


# -- walking ---


def test_a_graph_policy_walks_through_the_door_to_its_goal() -> None:
    flat, homing = Flat(), Homing((6.3, 0.0, -1.0))
    policy = ContinuousPolicy(lambda: homing)
    assert drive(flat, policy)
    assert np.linalg.norm(flat.positions[0] - [3.3, 0.0, 0.0]) < 1.3
    assert policy.count_decisions() == [len(homing.seen)]
    assert 3 <= len(homing.seen) <= 12
    assert flat.steps < 120
    places = [int(o["place"]) for o in homing.seen]
    assert places[0] == 0
    assert len(set(places)) == len(places)
    for before, after in zip(homing.seen, homing.seen[1:], strict=False):
        assert int(after["place"]) in before["candidates"]
        assert int(before["place"]) in after["candidates"]


def test_only_the_first_decision_begins_an_episode() -> None:
    flat, homing = Flat(), Homing((1.5, 0.0, 0.0))
    policy = ContinuousPolicy(lambda: homing)
    flags = []
    original = homing.act

    def noted(observations: Mapping[str, Any], first: np.ndarray) -> np.ndarray:
        flags.append(bool(first[0]))
        return original(observations, first)

    homing.act = noted  # type: ignore[method-assign]
    drive(flat, policy)
    flat.__init__()  # type: ignore[misc]
    homing.walked = set()
    drive(flat, policy)
    assert flags[0]
    assert sum(flags) == 2
    assert not flags[1]


def test_a_walk_without_headway_is_given_up_where_it_stands() -> None:
    """The sensors never move: the agent tries, then ends the walk and asks again."""
    flat = Flat()
    walker = PlaceWalker(ContinuousConfig())
    seen = flat.sense()
    pose = np.array([0.0, 0.0, 0.0, 0.0])
    walker.mapper.observe(seen["depth"][0], pose)
    walker.places.visit_place(walker.mapper)
    ghost = walker.places.list_candidates()[-1]
    walker.set_target(ghost)
    actions = []
    for _ in range(200):
        action = walker.act()
        if action is None:
            break
        actions.append(action)
        walker.mapper.observe(seen["depth"][0], pose)
    assert action is None
    assert walker.given_up == 1
    assert len(actions) < 60
    assert walker.places.visit_place(walker.mapper, walker.target) == ghost
    assert walker.places.positions[ghost].tolist() == [0.0, 0.0, 0.0]


def test_bumps_lead_to_a_try_out() -> None:
    """After a bump: turns to one side, two steps that way, then the plan again."""
    flat = Flat()
    walker = PlaceWalker(ContinuousConfig(tries=1))
    walker.mapper.observe(flat.sense()["depth"][0], np.zeros(4))
    walker.places.visit_place(walker.mapper)
    walker.set_target(walker.places.list_candidates()[-1])
    walker.mapper.bumped = True
    actions = [walker.act()]
    walker.mapper.bumped = False
    while walker._aside:
        actions.append(walker.act())
    turns, steps = actions[:-2], actions[-2:]
    assert steps == [FORWARD, FORWARD]
    assert set(turns) in ({LEFT}, {RIGHT})
    assert len(turns) in (2, 4, 6)  # 30, 60 or 90 degrees


def test_a_place_off_the_map_is_given_up_at_once() -> None:
    walker = PlaceWalker(ContinuousConfig())
    walker.mapper.observe(Flat().sense()["depth"][0], np.zeros(4))
    walker.places.visit_place(walker.mapper)
    walker.places.positions[1] = np.array([60.0, 0.0, 0.0])
    walker.set_target(1)
    assert walker.act() is None
    assert walker.given_up == 1


# -- what the graph policy sees ---


@pytest.fixture(scope="module")
def graph_task(tmp_path_factory: pytest.TempPathFactory) -> VLNBatch:
    houses = HousesConfig(
        count=1, rooms=(3, 4), episodes=2, min_hops=2, textures=False,
        cache=str(tmp_path_factory.mktemp("houses")),
    )  # fmt: skip
    return VLNBatch(VLNConfig(dataset="houses", canvas=True, houses=houses), 1)


def test_observations_are_those_of_the_graph_task(graph_task: VLNBatch) -> None:
    homing = Homing((1.5, 0.0, 0.0))
    policy = ContinuousPolicy(lambda: homing)
    policy.act(Flat().sense(), np.array([True]))
    mine = homing.seen[0]
    graph_task.begin_episodes([0], [0])
    theirs = {k: v[0] for k, v in graph_task.observe().items()}
    assert set(mine) == set(theirs)
    for name, value in theirs.items():
        if isinstance(value, (str, tuple)):
            assert type(mine[name]) is type(value)
        else:
            assert np.asarray(mine[name]).dtype == np.asarray(value).dtype, name
            assert np.shape(mine[name]) == np.shape(value), name


def test_percepts_equal_those_of_the_graph_task_at_the_same_spot(graph_task: VLNBatch) -> None:
    """Same house, same place: the live percept is the stored one."""
    from embodied.tasks.vln.continuous import ContinuousBatch
    from embodied.tasks.vln.continuous_task import ContinuousSource, ContinuousTaskConfig
    from embodied.tasks.vln.houses import list_house_sources

    config = graph_task.config
    scenes = {s.name: s.load for s in list_house_sources(config.houses, config.split)}
    source = ContinuousSource(graph_task.worlds, graph_task.episodes, lambda name: scenes[name]())
    body = ContinuousBatch(ContinuousTaskConfig(task=config), 1, source)
    body.begin_episodes([0], [0])
    graph_task.begin_episodes([0], [0])
    homing = Homing((99.0, 0.0, 0.0))
    ContinuousPolicy(lambda: homing).act(body.observe(), np.array([True]))
    mine, theirs = homing.seen[0], graph_task.observe()
    assert mine["objects"].tolist() == theirs["objects"][0].tolist()
    assert mine["object_names"] == theirs["object_names"][0]
    assert (mine["canvas"] == theirs["canvas"][0]).mean() > 0.999
    assert mine["views"] == pytest.approx(theirs["views"][0], abs=2e-3)  # stored in half precision
    assert mine["heading"] == pytest.approx(theirs["heading"][0] % (2 * np.pi), abs=1e-5)


def test_the_dual_scale_agent_drives(graph_task: VLNBatch) -> None:
    torch.manual_seed(0)
    inputs = DualScaleInputs.from_spaces(graph_task.observation_space)
    words = Vocabulary.from_texts(["go to the bed"], 1)
    graph = DualScalePolicy(inputs, words)
    flat = Flat()
    policy = ContinuousPolicy(lambda: DualScalePolicy(inputs, words, network=graph.network))
    assert drive(flat, policy, 500)
    assert 1 <= policy.count_decisions()[0] <= 60


def test_missing_sensors_are_named() -> None:
    seen = {k: v for k, v in Flat().sense().items() if k != "instance"}
    policy = ContinuousPolicy(lambda: Homing((1.0, 0.0, 0.0)))
    with pytest.raises(ConfigError, match="instance"):
        policy.act(seen, np.array([True]))
    with pytest.raises(ConfigError, match="patience"):
        ContinuousConfig(patience=0)
