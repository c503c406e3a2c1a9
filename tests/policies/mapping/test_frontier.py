"""The map policies in a small exact world, without the simulator."""

import time

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.policies.base import Policy
from embodied.policies.expert import ExpertPolicy
from embodied.policies.mapping.frontier import FrontierConfig, FrontierPolicy
from embodied.policies.mapping.map_planner import MapPlannerPolicy
from embodied.policies.mapping.mapper import BodyConfig, Mapper, compute_camera_pose
from embodied.policies.mapping.object_frontier import ObjectFrontierPolicy
from embodied.policies.random import RandomConfig, RandomPolicy
from embodied.types import FORWARD, LEFT, RIGHT, STOP
from tests.box_world import BoxWorld, WalkingAgent, camera

LOW, HIGH = (-5.02, 0, -3.02), (5.02, 2.6, 3.02)
# two rooms joined by a door at z in (0.5, 1.6), a table and a cupboard
HOUSE = [
    ((-0.05, 0, -3.02), (0.05, 2.6, 0.5)),
    ((-0.05, 0, 1.6), (0.05, 2.6, 3.02)),
    ((1.5, 0.7, -1.5), (3.0, 0.75, -0.5)),
    ((-4.9, 0, -2.9), (-4.3, 2.0, -1.0)),
]
START = (-2.5, 1.0)


def explored_share(agent, policy):
    """Share of the floor of both rooms the policy's map shows as free, sampled every 20 cm."""
    grid = policy.agents[0].mapper.grid
    xs, zs = np.meshgrid(np.arange(-4.9, 5.0, 0.2), np.arange(-2.9, 3.0, 0.2))
    points = np.stack([xs.ravel(), 0 * xs.ravel(), zs.ravel()], axis=1)
    walkable = np.array([not agent.world.blocked(p, 0.1) for p in points])
    local = points[walkable] - agent.start
    cos, sin = np.cos(agent.start_yaw), np.sin(agent.start_yaw)
    local[:, [0, 2]] = np.stack(
        [cos * local[:, 0] - sin * local[:, 2], sin * local[:, 0] + cos * local[:, 2]], axis=1
    )
    cells = grid.to_cell(local)
    inside = grid.contains(cells)
    seen = np.zeros(len(cells), bool)
    seen[inside] = grid.free[cells[inside, 0], cells[inside, 1]]
    return seen.mean()


def run(policy, agent, steps, extra=None):
    """Act until STOP; return the number of steps."""
    for k in range(steps):
        observation = agent.observe()
        if extra is not None:
            observation |= extra(agent)
        action = int(policy.act(observation, np.array([k == 0]))[0])
        if action == STOP:
            return k
        agent.step(action)
    return steps


@pytest.mark.parametrize("explorer", ["nearest", "largest", "information"])
@pytest.mark.parametrize("yaw", [0.0, 0.7])
def test_two_rooms_are_explored_and_the_agent_stops(explorer, yaw):
    agent = WalkingAgent(BoxWorld(LOW, HIGH, HOUSE), START, yaw)
    policy = FrontierPolicy(explorer)
    steps = run(policy, agent, 300)
    assert steps < 300, "the agent must stop when nothing is left"
    assert explored_share(agent, policy) >= 0.97
    assert agent.collisions <= 5
    assert policy.agents[0].finished
    assert policy.agents[0].target is None


def test_a_batch_acts_like_its_members():
    world = BoxWorld(LOW, HIGH, HOUSE)
    pair = [WalkingAgent(world, START, 0.3), WalkingAgent(world, (2.5, 2.0), -1.0)]
    alone = [WalkingAgent(world, START, 0.3), WalkingAgent(world, (2.5, 2.0), -1.0)]
    batch, single = FrontierPolicy(), [FrontierPolicy(), FrontierPolicy()]
    for k in range(40):
        seen = [a.observe() for a in pair]
        both = {key: np.concatenate([s[key] for s in seen]) for key in seen[0]}
        actions = batch.act(both, np.array([k == 0] * 2))
        assert actions.dtype == np.int64
        assert actions.shape == (2,)
        for agent, other, policy, action in zip(pair, alone, single, actions, strict=True):
            assert policy.act(other.observe(), np.array([k == 0]))[0] == action
            agent.step(action)
            other.step(action)


def test_first_clears_what_came_before():
    world = BoxWorld(LOW, HIGH, HOUSE)
    used, fresh = FrontierPolicy(), FrontierPolicy()
    run(used, WalkingAgent(world, START), 60)
    a, b = WalkingAgent(world, (2.5, 2.0)), WalkingAgent(world, (2.5, 2.0))
    for k in range(30):
        first = np.array([k == 0])
        action = used.act(a.observe(), first)[0]
        assert action == fresh.act(b.observe(), first)[0]
        a.step(action)
        b.step(action)


def test_invisible_obstacles_are_noticed_and_walked_round():
    # glass: blocks the body, not the eye
    glass = ((-2.0, 0, -1.5), (-1.9, 1.5, 1.6))
    agent = WalkingAgent(BoxWorld(LOW, HIGH, [*HOUSE, glass]), START)
    seen = BoxWorld(LOW, HIGH, HOUSE)
    policy = MapPlannerPolicy()
    agent_observe = agent.observe

    def observe():
        pose = camera(agent.position[0], agent.position[2], agent.yaw)
        return agent_observe() | {"depth": seen.depth(pose, 96)[None]}

    agent.observe = observe
    steps = run(policy, agent, 200, polar((3.0, 2.0)))
    assert steps < 200
    assert np.hypot(agent.position[0] - 3.0, agent.position[2] - 2.0) <= 0.2
    assert agent.collisions > 0


def polar(goal):
    """The PointNav goal observation for a world point (x, z)."""

    def sense(agent):
        dx, dz = goal[0] - agent.position[0], goal[1] - agent.position[2]
        angle = (np.arctan2(-dx, -dz) - agent.yaw + np.pi) % (2 * np.pi) - np.pi
        return {"goal": np.array([[np.hypot(dx, dz), angle]], np.float32)}

    return sense


@pytest.mark.parametrize(("start", "goal"), [(START, (3.5, -2.0)), ((4.0, -2.5), (-3.8, -2.0))])
def test_map_planner_reaches_points_in_the_other_room(start, goal):
    agent = WalkingAgent(BoxWorld(LOW, HIGH, HOUSE), start, 0.4)
    steps = run(MapPlannerPolicy(), agent, 150, polar(goal))
    assert steps < 150
    assert np.hypot(agent.position[0] - goal[0], agent.position[2] - goal[1]) <= 0.2


def labelled(boxes):
    """Semantic images: class ids of boxes by index in the world."""

    def sense(agent):
        pose = camera(agent.position[0], agent.position[2], agent.yaw)
        depth = agent.world.depth(pose, agent.size)
        labels = np.ones_like(depth, np.int32)
        for index, name in boxes.items():
            rest = np.delete(agent.world.boxes, index, axis=0)
            without = BoxWorld(LOW, HIGH, rest).depth(pose, agent.size)
            labels[depth < without - 1e-4] = name
        return {"semantic": labels[None], "goal": np.array([5])}

    return sense


def test_an_object_in_the_other_room_is_found():
    agent = WalkingAgent(BoxWorld(LOW, HIGH, HOUSE), START, 1.0)
    steps = run(ObjectFrontierPolicy(), agent, 250, labelled({2: 5, 3: 11}))
    assert steps < 250
    x, _, z = agent.position
    gap = np.hypot(max(1.5 - x, x - 3.0, 0), max(-1.5 - z, z + 0.5, 0))
    assert gap <= 1.0
    assert abs(policy_bearing(agent, (2.25, -1.0))) < np.deg2rad(60)


def policy_bearing(agent, point):
    dx, dz = point[0] - agent.position[0], point[1] - agent.position[2]
    return (np.arctan2(-dx, -dz) - agent.yaw + np.pi) % (2 * np.pi) - np.pi


def test_an_absent_object_ends_the_search_after_all_is_seen():
    agent = WalkingAgent(BoxWorld(LOW, HIGH, HOUSE), START)
    policy = ObjectFrontierPolicy()
    assert run(policy, agent, 400, labelled({})) < 400
    assert not policy.agents[0].approaching
    assert policy.agents[0].explorer.finished


def test_another_storey_gets_a_map_of_its_own():
    mapper = Mapper(BodyConfig())
    depth = BoxWorld(LOW, HIGH).depth(camera(0, 0, 0), 64)
    mapper.observe(depth, np.array([0, 0, 0, 0], np.float32))
    ground = mapper.grid
    mapper.observe(depth, np.array([0, 0.5, 0, 0], np.float32))
    assert mapper.grid is ground
    mapper.observe(depth, np.array([0, 2.8, 0, 0], np.float32))
    assert mapper.grid is not ground
    assert mapper.grid.floor == pytest.approx(2.8)
    assert mapper.grid.free.any()
    mapper.observe(depth, np.array([0, 0.1, 0, 0], np.float32))
    assert mapper.grid is ground


def test_camera_pose_follows_the_conventions():
    body = BodyConfig(camera_position=(0.1, 1.2, -0.3), pitch=-30.0)
    pose = compute_camera_pose(body, [1.0, 0.5, 2.0], np.pi / 2)
    # facing -x: the lens is 0.3 ahead (towards -x) and 0.1 to the right (towards -z)
    assert pose[:3, 3] == pytest.approx([0.7, 1.7, 1.9])
    assert -pose[:3, 2] == pytest.approx([-np.cos(np.pi / 6), -0.5, 0.0], abs=1e-9)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3))


def test_one_action_is_cheap():
    agent = WalkingAgent(BoxWorld(LOW, HIGH, HOUSE), START, size=128)
    policy = FrontierPolicy()
    times = []
    for k in range(60):
        observation = agent.observe()
        start = time.process_time()
        action = int(policy.act(observation, np.array([k == 0]))[0])
        times.append(time.process_time() - start)
        agent.step(action)
    assert np.median(times) < 10e-3  # twice the target: machines differ


def test_random_is_seeded_and_keeps_its_shares():
    nothing = np.zeros(4000, bool)
    actions = RandomPolicy(seed=1).act({}, nothing)
    assert np.array_equal(actions, RandomPolicy(seed=1).act({}, nothing))
    assert np.mean(actions == FORWARD) == pytest.approx(0.5, abs=0.05)
    assert {int(a) for a in actions} <= {STOP, FORWARD, LEFT, RIGHT}
    with pytest.raises(ConfigError, match="sum 1"):
        RandomConfig((0.5, 0.5, 0.5, 0.5))


def test_expert_repeats_the_expert():
    actions = ExpertPolicy().act({"expert_action": np.array([1, 3, 0])}, np.zeros(3, bool))
    assert actions.tolist() == [1, 3, 0]
    assert actions.dtype == np.int64


@pytest.mark.parametrize(
    "policy", [FrontierPolicy(), ObjectFrontierPolicy(), MapPlannerPolicy(), ExpertPolicy()]
)
def test_a_missing_observation_is_named(policy):
    assert isinstance(policy, Policy)
    with pytest.raises(ConfigError, match="pose|expert_action"):
        policy.act({"depth": np.zeros((1, 4, 4), np.float32)}, np.ones(1, bool))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FrontierConfig(explorer="nearst"), "did you mean 'nearest'"),
        (lambda: FrontierConfig(replan_interval=0), "replan"),
        (lambda: BodyConfig(hfov=180), "hfov"),
        (lambda: BodyConfig(radius=0), "radius"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
