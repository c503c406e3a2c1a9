from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh

from embodied.categories import MPCAT40
from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.embedded import World
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.episodes import Episode, build_distance_field, draw_episode
from embodied.tasks.navigation.goals import REACH, GoalIndex
from embodied.types import Pose


def draw(world: World, seed: int, **settings: object) -> Episode:
    config = NavigationConfig(**settings)  # type: ignore[arg-type]
    return draw_episode(world, config, GoalIndex(), np.random.default_rng(seed))[0]


def test_pointnav_starts_in_range_and_off_the_straight_line(flat: World) -> None:
    episodes = [draw(flat, seed, min_geodesic=3.0, max_geodesic=6.0) for seed in range(60)]
    for episode in episodes:
        assert 3.0 <= episode.geodesic_distance <= 6.0
        start = np.array(episode.start.position)
        exact = flat.pathfinder.geodesic_distance(start, episode.goals)[0]
        # The field is grown from the goal, the query from the start.
        assert episode.geodesic_distance == pytest.approx(exact, rel=0.03, abs=0.05)
    straight = [np.linalg.norm(e.goals[0] - e.start.position) for e in episodes]
    bent = np.mean(
        [e.geodesic_distance / s >= 1.1 for e, s in zip(episodes, straight, strict=True)]
    )
    open_rule = [draw(flat, seed, min_geodesic=3.0, min_ratio=0.0) for seed in range(60)]
    bent_open = np.mean(
        [
            e.geodesic_distance / np.linalg.norm(e.goals[0] - e.start.position) >= 1.1
            for e in open_rule
        ]
    )
    assert bent > bent_open


def test_same_seed_same_episode(flat: World) -> None:
    first, again, other = draw(flat, 3), draw(flat, 3), draw(flat, 4)
    assert first.start == again.start
    assert (first.goals == again.goals).all()
    assert first.start != other.start


def test_objectnav_goals_see_the_object_within_a_metre(flat: World) -> None:
    index = GoalIndex()
    for name in ("chair", "bed"):
        points = index.find_view_points(flat, MPCAT40.index(name))
        item = next(o for o in flat.scene.objects if o.category == name)
        gap = np.maximum(np.abs(points - item.center) - np.array(item.size) / 2, 0)[:, [0, 2]]
        assert len(points) > 50
        assert np.hypot(*gap.T).max() <= REACH + 0.05
        assert flat.pathfinder.is_navigable(points).all()
    assert len(index.find_view_points(flat, MPCAT40.index("toilet"))) == 0


def test_objectnav_without_the_class_says_so(flat: World) -> None:
    with pytest.raises(NavigationError, match="toilet"):
        draw(flat, 0, task="objectnav", categories=("toilet",))


def test_a_range_no_start_meets_says_so(flat: World) -> None:
    with pytest.raises(NavigationError, match="50"):
        draw(flat, 0, min_geodesic=50.0, max_geodesic=60.0)


def test_agents_live_under_the_roof_not_on_it(flat: World) -> None:
    roof = trimesh.creation.box((9.0, 0.1, 5.0))
    roof.apply_translation((0, 2.55, 0))
    scene, count = flat.scene, len(flat.scene.vertices)
    closed = World(
        dataclasses.replace(
            scene,
            vertices=np.concatenate([scene.vertices, roof.vertices]).astype(np.float32),
            faces=np.concatenate([scene.faces, roof.faces + count]).astype(np.int32),
            face_object=np.append(scene.face_object, np.zeros(12, np.int32)),
            face_material=np.append(scene.face_material, np.zeros(12, np.int32)),
        )
    )
    heights = closed.pathfinder.sample_points(np.random.default_rng(0), 500)[:, 1]
    assert (heights > 2.5).mean() > 0.5  # most of the walkable surface is the roof
    for seed in range(10):
        assert abs(draw(closed, seed).start.position[1]) < 0.1


def test_start_inside_a_wall_names_the_nearest_point(flat: World) -> None:
    episode = Episode("flat", Pose((0.0, 0.0, -1.0)), np.array([[2.0, 0.0, 0.0]]), name="7")
    with pytest.raises(NavigationError, match=r"episode '7'.*nearest navigable"):
        build_distance_field(flat, episode)


def test_goal_on_another_island_says_so(flat: World) -> None:
    wide = World(flat.scene, AgentSpec(radius=0.62))  # too wide for the door
    assert wide.pathfinder.num_islands == 2
    episode = Episode("flat", Pose((-2.0, 0.0, 0.0)), np.array([[2.0, 0.0, 0.6]]), name="7")
    with pytest.raises(NavigationError, match="another island"):
        build_distance_field(wide, episode)
    assert build_distance_field(flat, episode) is not None
