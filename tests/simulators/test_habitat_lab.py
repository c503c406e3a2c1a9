"""Stock habitat-lab on the embedded simulator: its tasks, measures, sensors and tools.

habitat-lab pins numpy 1.26 and lives in its own environment; test_habitat_venv.py makes one and
runs this file in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if find_spec("habitat") is None:
    pytest.skip(
        "habitat-lab is not installed here (it pins numpy 1.26); run "
        "`pytest -m slow tests/simulators/test_habitat_venv.py`",
        allow_module_level=True,
    )

from embodied.simulators.habitat import register_with_habitat

NAME = register_with_habitat()

import habitat  # noqa: E402
from habitat.config.default import get_config  # noqa: E402
from habitat.config.default_structured_configs import (  # noqa: E402
    CollisionsMeasurementConfig,
    FogOfWarConfig,
    TeleportActionConfig,
    TopDownMapMeasurementConfig,
    VelocityControlActionConfig,
)
from habitat.core.registry import registry  # noqa: E402
from habitat.tasks.nav.shortest_path_follower import ShortestPathFollower  # noqa: E402

from embodied.errors import SensorError  # noqa: E402
from embodied.simulators.base import AgentSpec  # noqa: E402
from tests.simulators import habitat_worlds as worlds  # noqa: E402

POINTNAV = "benchmark/nav/pointnav/pointnav_habitat_test.yaml"
OBJECTNAV = "benchmark/nav/objectnav/objectnav_mp3d.yaml"
IMAGENAV = "benchmark/nav/imagenav/imagenav_test.yaml"
CATEGORIES = ["bed", "sofa", "table", "toilet", "chair"]
SMALL = [
    f"habitat.simulator.agents.main_agent.sim_sensors.{sensor}.{side}={size}"
    for sensor in ("rgb_sensor", "depth_sensor")
    for side, size in (("width", 64), ("height", 48))
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = tmp_path_factory.mktemp("scenes") / "house.glb"
    worlds.write_house(scene)
    return scene


def config(recipe: str, data: Path, *overrides: str) -> Any:
    """A stock configuration with the simulator and the data replaced."""
    changes = [
        f"habitat.simulator.type={NAME}",
        f"habitat.dataset.data_path={data}",
        f"habitat.dataset.scenes_dir={data.parent}",
    ]
    return get_config(recipe, overrides=[*changes, *overrides])


def add_measures(settings: Any) -> None:
    with habitat.config.read_write(settings):
        settings.habitat.task.measurements.update(
            {
                "collisions": CollisionsMeasurementConfig(),
                "top_down_map": TopDownMapMeasurementConfig(
                    map_resolution=256,
                    draw_goal_aabbs=True,
                    fog_of_war=FogOfWarConfig(draw=True, visibility_dist=3.0, fov=90),
                ),
            }
        )


@pytest.fixture(scope="module")
def pointnav(house: Path) -> Path:
    data = house.parent / "pointnav" / "val.json.gz"
    worlds.write_pointnav(data, house, AgentSpec(radius=0.1, navmesh="habitat"), count=6)
    return data


@pytest.fixture
def env(pointnav: Path) -> Iterator[habitat.Env]:
    with habitat.Env(config=config(POINTNAV, pointnav, *SMALL)) as made:
        made.reset()
        yield made


def run(env: habitat.Env, goals: Callable[[Any], Any], radius: float) -> list[dict[str, Any]]:
    """Follow shortest paths through every episode."""
    follower = ShortestPathFollower(env.sim, radius, return_one_hot=False)
    results = []
    for _ in range(len(env.episodes)):
        env.reset()
        target = goals(env.current_episode)
        while not env.episode_over:
            env.step(follower.get_next_action(target))
        results.append(env.get_metrics())
    return results


def check_map(env: habitat.Env, metrics: dict[str, Any]) -> None:
    """The agent stands on a free cell of the map and has seen part of it."""
    chart, (cell, *_) = metrics["top_down_map"]["map"], metrics["top_down_map"]["agent_map_coord"]
    assert min(chart.shape) in (255, 256)
    assert chart[cell] != 0
    assert 0 < metrics["top_down_map"]["fog_of_war_mask"].mean() < 1


def test_stock_pointnav_in_a_generated_house(pointnav: Path) -> None:
    settings = config(POINTNAV, pointnav)
    add_measures(settings)
    with habitat.Env(config=settings) as env:
        first = env.reset()
        assert first["rgb"].shape == (256, 256, 3)
        assert first["rgb"].std() > 5
        assert first["depth"].dtype == np.float32
        assert 0 <= first["depth"].min() < first["depth"].max() <= 1
        results = run(env, lambda episode: episode.goals[0].position, 0.2)
        check_map(env, results[-1])
    assert [r["success"] for r in results] == [1.0] * 6
    assert min(r["spl"] for r in results) > 0.95, [r["spl"] for r in results]
    assert all(r["collisions"]["count"] <= 5 for r in results)


def test_stock_pointnav_in_habitats_own_room(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    scene = shared_data("habitat_reference") / "scenes" / "simple_room.glb"
    data = tmp_path / "val.json.gz"
    worlds.write_pointnav(data, scene, AgentSpec(radius=0.1, navmesh="habitat"), count=5)
    with habitat.Env(config=config(POINTNAV, data, *SMALL)) as env:
        results = run(env, lambda episode: episode.goals[0].position, 0.2)
    assert [r["success"] for r in results] == [1.0] * 5
    assert min(r["spl"] for r in results) > 0.95, [r["spl"] for r in results]


def view_points(episode: Any) -> list[Any]:
    return [v.agent_state.position for goal in episode.goals for v in goal.view_points]


def test_stock_objectnav_without_sliding(house: Path) -> None:
    data = house.parent / "objectnav" / "val.json.gz"
    assert worlds.write_objectnav(data, house, CATEGORIES, count=6) >= 3
    settings = config(OBJECTNAV, data, *SMALL)
    add_measures(settings)
    with habitat.Env(config=settings) as env:
        results = run(env, view_points, 0.1)
        check_map(env, results[-1])
        assert env.sim.agent_spec.sliding is False
        assert {e.object_category for e in env.episodes} <= set(CATEGORIES)
    assert [r["success"] for r in results] == [1.0] * 6
    assert min(r["spl"] for r in results) > 0.8, [r["spl"] for r in results]
    assert min(r["soft_spl"] for r in results) > 0.8


def test_looking_up_and_down_tilts_the_cameras_only(house: Path) -> None:
    data = house.parent / "look" / "val.json.gz"
    worlds.write_objectnav(data, house, CATEGORIES, count=1)
    with habitat.Env(config=config(OBJECTNAV, data, *SMALL)) as env:
        level = env.reset()["depth"]
        before = env.sim.get_agent_state()
        down = env.step("look_down")["depth"]
        sensor = env.sim.get_agent_state().sensor_states["depth"].rotation
        back = env.step("look_up")["depth"]
        after = env.sim.get_agent_state()
        env.step("look_up")
        assert np.allclose(env.reset()["depth"], level)
    assert np.abs(down - level).mean() > 0.02
    assert np.allclose(back, level, atol=1e-6)
    assert np.allclose(before.position, after.position)
    tilt = before.rotation.inverse() * sensor
    assert np.rad2deg(2 * np.arctan(tilt.x / tilt.w)) == pytest.approx(-30)


def test_image_goal_is_the_view_from_the_goal(pointnav: Path) -> None:
    with habitat.Env(config=config(IMAGENAV, pointnav)) as env:
        seen = env.reset()
        position = env.sim.get_agent_state().position
        goal = env.current_episode.goals[0].position
        assert seen["imagegoal"].shape == seen["rgb"].shape
        views = [
            env.sim.get_observations_at(goal, [0, np.sin(a / 2), 0, np.cos(a / 2)])["rgb"]
            for a in np.linspace(0, 2 * np.pi, 73)
        ]
        assert np.allclose(env.sim.get_agent_state().position, position)
    errors = [np.abs(v.astype(float) - seen["imagegoal"]).mean() for v in views]
    assert min(errors) < 0.5 * np.median(errors)


def test_driving_into_a_wall_is_counted_once_per_contact(env: habitat.Env) -> None:
    sim = env.sim
    hits = []
    for _ in range(60):
        before = sim.get_agent_state().position
        env.step("move_forward")
        moved = np.linalg.norm(sim.get_agent_state().position - before)
        hits.append(sim.previous_step_collided)
        assert sim.previous_step_collided == (moved < 0.25 - 1e-5)
    assert any(hits)
    env.step("turn_left")
    assert sim.previous_step_collided is False


def test_teleport_goes_only_where_one_can_stand(pointnav: Path) -> None:
    settings = config(POINTNAV, pointnav, *SMALL)
    with habitat.config.read_write(settings):
        settings.habitat.task.actions.teleport = TeleportActionConfig()
    with habitat.Env(config=settings) as env:
        env.reset()
        goal = env.current_episode.goals[0].position
        turn = [0.0, 1.0, 0.0, 0.0]
        env.step({"action": "teleport", "action_args": {"position": goal, "rotation": turn}})
        state = env.sim.get_agent_state()
        assert np.allclose(state.position, goal)
        assert abs(state.rotation.y) == pytest.approx(1)
        outside = {"position": [999.0, 0.0, 0.0], "rotation": turn}
        env.step({"action": "teleport", "action_args": outside})
        assert np.allclose(env.sim.get_agent_state().position, goal)


def clear_points(sim: Any, count: int) -> list[list[float]]:
    """Points with at least 30 cm around them."""
    drawn = [sim.sample_navigable_point() for _ in range(count)]
    return [p for p in drawn if sim.distance_to_closest_obstacle(p) > 0.3]


def test_velocities_move_then_turn(pointnav: Path) -> None:
    settings = config(POINTNAV, pointnav, *SMALL)
    with habitat.config.read_write(settings):
        settings.habitat.task.actions.velocity_control = VelocityControlActionConfig(
            lin_vel_range=[0.0, 0.25], ang_vel_range=[-10.0, 10.0], time_step=0.1
        )
    with habitat.Env(config=settings) as env:
        env.reset()
        env.sim.set_agent_state(clear_points(env.sim, 50)[0], [0.0, 0.0, 0.0, 1.0])
        start = env.sim.get_agent_state()
        drive = {"linear_velocity": np.array([1.0]), "angular_velocity": np.array([1.0])}
        env.step({"action": "velocity_control", "action_args": drive})
        after = env.sim.get_agent_state()
        assert np.linalg.norm(after.position - start.position) == pytest.approx(0.025, abs=1e-6)
        turn = start.rotation.inverse() * after.rotation
        assert np.rad2deg(2 * np.arctan(turn.y / turn.w)) == pytest.approx(1.0)
        assert not env.episode_over
        rest = {"linear_velocity": np.array([-1.0]), "angular_velocity": np.array([0.0])}
        env.step({"action": "velocity_control", "action_args": rest})
        assert env.episode_over


def test_depth_and_floor_agree_with_recorded_habitat_sim(
    shared_data: Callable[[str], Path], pointnav: Path
) -> None:
    folder = shared_data("habitat_reference")
    sensors = "habitat.simulator.agents.main_agent.sim_sensors"
    settings = config(
        POINTNAV,
        pointnav,
        f"habitat.simulator.scene={folder / 'scenes' / 'aws_house.glb'}",
        f"{sensors}.rgb_sensor.width=128",
        f"{sensors}.rgb_sensor.height=128",
        f"{sensors}.depth_sensor.width=128",
        f"{sensors}.depth_sensor.height=128",
        f"{sensors}.depth_sensor.max_depth=100",
        f"{sensors}.depth_sensor.normalize_depth=False",
        "habitat.simulator.agents.main_agent.radius=0.2",
    )
    sim = habitat.sims.make_sim(NAME, config=settings.habitat.simulator)
    with np.load(folder / "aws_house.npz", allow_pickle=False) as data:
        points, geodesic, pairs = data["points"], data["geodesic"], data["pairs"]
        poses, depth = data["camera_agent_pose"], data["depth"].astype(np.float32)
    assert np.mean([sim.is_navigable(p) for p in points]) > 0.95
    both = np.flatnonzero(np.isfinite(geodesic))[:20]
    mine = np.array([sim.geodesic_distance(points[a], points[b]) for a, b in pairs[both]])
    assert np.mean(np.abs(mine - geodesic[both]) <= 0.02 * geodesic[both] + 0.05) > 0.9
    for pose, expected in zip(poses[:6], depth[:6], strict=True):
        w, x, y, z = pose[3:]
        seen = sim.get_observations_at(pose[:3], [x, y, z, w])["depth"][..., 0]
        assert np.mean(np.abs(seen - expected) < 0.01 + 0.002 * expected) > 0.97


def test_semantic_images_show_the_annotated_objects(house: Path, pointnav: Path) -> None:
    settings = config(
        POINTNAV,
        pointnav,
        "+habitat/simulator/sim_sensors@habitat.simulator.agents.main_agent.sim_sensors."
        "semantic_sensor=semantic_sensor",
        *SMALL,
    )
    with habitat.Env(config=settings) as env:
        images = [env.reset()["semantic"], *(env.step("turn_left")["semantic"] for _ in range(35))]
        shown = np.unique(images)
        things = env.sim.semantic_annotations().objects
        assert len(shown) > 2
        assert shown.max() < len(things)
        assert {things[i].category.name() for i in shown} & {"wall", "floor", "ceiling"}
        thing = next(t for t in things if t.category.name() == "floor")
        assert int(thing.id.split("_")[-1]) == thing.semantic_id
        assert (thing.aabb.sizes > 0).sum() >= 2


def test_a_sensor_that_cannot_be_rendered_says_so(pointnav: Path) -> None:
    sensor = "habitat.simulator.agents.main_agent.sim_sensors.rgb_sensor"
    settings = config(POINTNAV, pointnav, f"{sensor}.sensor_subtype=ORTHOGRAPHIC")
    with pytest.raises(SensorError, match="ORTHOGRAPHIC"):
        habitat.Env(config=settings)


def test_stock_generator_makes_episodes(env: habitat.Env) -> None:
    from habitat.datasets.pointnav.pointnav_generator import generate_pointnav_episode

    env.seed(0)
    made = list(generate_pointnav_episode(env.sim, num_episodes=2))
    for episode in made:
        assert episode.info["geodesic_distance"] >= 1
        assert len(episode.shortest_paths[0]) > 2


def test_gym_environment_and_worker_processes(pointnav: Path) -> None:
    from habitat.gym import make_gym_from_config

    settings = config(POINTNAV, pointnav, *SMALL)
    gym_env = make_gym_from_config(settings)
    seen = gym_env.reset()
    assert gym_env.observation_space.contains(seen)
    assert gym_env.action_space.n == 4
    seen, reward, done, info = gym_env.step(1)
    assert np.isfinite(reward)
    assert "spl" in info
    gym_env.close()

    workers = habitat.VectorEnv(
        make_env_fn=make_gym_from_config,
        env_fn_args=((settings,), (settings,)),
        multiprocessing_start_method="fork",
    )
    try:
        workers.reset()
        results = workers.step([2, 3])
        assert [r[2] for r in results] == [False, False]
    finally:
        workers.close()


def test_the_guide_runs_from_top_to_bottom(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    guide = (repo / "docs" / "habitat.md").read_text(encoding="utf-8")
    session: dict[str, Any] = {}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", guide, re.DOTALL)):
        exec(compile(block, f"habitat.md, block {number + 1}", "exec"), session)  # noqa: S102
    assert capsys.readouterr().out.count("'success': 1.0") == 3


def test_real_habitat_sim_entries_are_untouched() -> None:
    assert registry.get_simulator("Sim-v0").__module__.startswith("habitat.")
    assert register_with_habitat() == NAME
    assert registry.get_simulator(NAME).__module__ == "embodied.simulators.habitat.lab"
