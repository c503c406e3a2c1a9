from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import embodied  # noqa: F401
from embodied.errors import ConfigError, NavigationError
from embodied.tasks.vln import continuous
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.continuous import ContinuousBatch, find_visible
from embodied.tasks.vln.continuous_env import ContinuousVectorEnv
from embodied.tasks.vln.continuous_task import (
    ContinuousSource,
    ContinuousTaskConfig,
    load_continuous_source,
)
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.types import FORWARD, LEFT, STOP


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ContinuousTaskConfig:
    houses = HousesConfig(
        count=2, rooms=(3, 4), episodes=3, min_hops=2, textures=False,
        cache=str(tmp_path_factory.mktemp("houses")),
    )  # fmt: skip
    return ContinuousTaskConfig(task=VLNConfig(dataset="houses", split="val_unseen", houses=houses))


@pytest.fixture(scope="module")
def source(task: ContinuousTaskConfig) -> ContinuousSource:
    return load_continuous_source(task)


def test_the_expert_scores_one(task: ContinuousTaskConfig, source: ContinuousSource) -> None:
    env = ContinuousVectorEnv(3, task, source=source, expert=True)
    observation, _ = env.reset(seed=0)
    finished: dict[int, dict[str, float]] = {}
    while len(finished) < 3:
        observation, _, ended, cut, infos = env.step(observation["expert_action"])
        for row in np.flatnonzero(ended | cut):
            final = infos["final_info"]
            number = int(final["episode"][row])
            finished[number] = {k: final[k][row] for k in final if k[0] != "_"}
    for scores in finished.values():
        assert scores["success"] == scores["oracle_success"] == 1.0
        assert scores["spl"] > 0.97
        assert scores["ndtw"] > 0.6
        assert scores["distance_to_goal"] < 0.5
    env.close()


def test_single_environment_and_spaces(
    task: ContinuousTaskConfig, source: ContinuousSource
) -> None:
    env = gymnasium.make(
        "embodied/VLNCE-Houses-v0", config=task, source=source, max_steps=7, expert=True,
        render_mode="rgb_array", disable_env_checker=True,
    )  # fmt: skip
    observation, info = env.reset(seed=3, options={"episode": 1})
    assert env.observation_space.contains(observation)
    assert info["episode"] == 1
    assert observation["position"].tolist() == [0.0, 0.0, 0.0]
    assert env.render().shape == observation["rgb"].shape
    for step in range(7):
        observation, _, ended, cut, info = env.step(LEFT)
        assert cut == (step == 6)
    assert not ended
    assert info["steps"] == 7
    assert env.observation_space.contains(observation)
    env.close()


def test_panoramas_keep_north_in_the_middle(
    task: ContinuousTaskConfig, source: ContinuousSource
) -> None:
    batch = ContinuousBatch(task, 1, source)
    batch.begin_episodes([0], [0])
    before = batch.observe()
    batch.step(np.array([LEFT]))
    after = batch.observe()
    assert (before["rgb"] == after["rgb"]).all()
    turned = (before["heading"] - after["heading"]) % (2 * np.pi)
    assert turned == pytest.approx(np.deg2rad(15), abs=1e-5)  # left is against the clock


def test_semantics_are_canvas_rows_and_names(
    task: ContinuousTaskConfig, source: ContinuousSource
) -> None:
    from embodied.categories import SOS_CATEGORIES

    batch = ContinuousBatch(task, 1, source)
    batch.begin_episodes([0], [0])
    seen = batch.observe()
    scene = source.scene(batch.episodes[0].world)
    for number in np.unique(seen["instance"][0])[1:]:
        category = scene.objects[number].category
        rows = np.unique(seen["semantic"][0][seen["instance"][0] == number])
        wanted = SOS_CATEGORIES.index(category) if category in SOS_CATEGORIES else -1
        assert rows.tolist() == [wanted]
        assert bool(seen["instance_names"][0][number]) == (
            category not in ("wall", "floor", "ceiling")
        )


def test_stopping_elsewhere_fails(task: ContinuousTaskConfig, source: ContinuousSource) -> None:
    batch = ContinuousBatch(task, 1, source)
    batch.begin_episodes([0], [0])
    assert batch.distance[0] > task.goal_distance
    _, ended, _ = batch.step(np.array([STOP]))
    assert ended[0]
    assert batch.compute_metrics(0)["success"] == batch.compute_metrics(0)["spl"] == 0.0


def test_success_needs_a_goal_place_near_or_the_target_in_sight(
    task: ContinuousTaskConfig, source: ContinuousSource
) -> None:
    """Put the body on every place of the houses: all goals succeed, what is far does not."""
    batch = ContinuousBatch(task, 1, source)
    for number, episode in enumerate(batch.episodes):
        graph: Any = source.worlds[episode.world]
        for place in range(len(graph)):
            batch.begin_episodes([0], [number])
            batch.positions[0] = graph.floor_positions[place]
            batch.distance[0] = graph.distances[place, list(episode.goals)].min()
            batch._look(np.array([0]))
            batch.step(np.array([STOP]))
            near = batch.distance[0] <= task.goal_distance
            assert batch.check_success()[0] == (near or place in episode.goals)


def test_what_is_listed_is_in_sight() -> None:
    depth = np.full((4, 48, 96), 2.0, np.float32)
    instance = np.zeros((4, 48, 96), np.int32)
    instance[0, 20:28, 40:50] = 7  # seen
    instance[1, 20:28, 40:50] = 7
    depth[1] = 3.5  # too far
    instance[2, 24, 40] = 7  # too small
    instance[3, 45:48, :] = 7  # below what a place shows
    found = find_visible(depth, instance, np.array([7, 7, 7, 7]), 3.0)
    assert found.tolist() == [True, False, False, False]
    assert not find_visible(depth, instance, np.array([-1] * 4), 3.0).any()


def test_one_render_call_per_step(
    task: ContinuousTaskConfig, source: ContinuousSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ContinuousBatch(task, 3, source)
    batch.begin_episodes([0, 1, 2], [0, 1, 4])
    calls = []

    def counted(casters: list, camera: object, poses: np.ndarray) -> dict:
        calls.append(len(poses))
        return original(casters, camera, poses)

    original = continuous.render_many
    monkeypatch.setattr(continuous, "render_many", counted)
    batch.step(np.array([FORWARD, LEFT, FORWARD]))
    assert calls == [3]


def test_rows_do_not_depend_on_their_neighbours(
    task: ContinuousTaskConfig, source: ContinuousSource
) -> None:
    many, one = ContinuousBatch(task, 3, source), ContinuousBatch(task, 1, source)
    many.begin_episodes([0, 1, 2], [5, 2, 0])
    one.begin_episodes([0], [2])
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = rng.integers(1, 4, 3)
        many.step(actions)
        one.step(actions[1:2])
    a, b = many.observe([1]), one.observe()
    for name in ("position", "heading", "rgb", "depth", "semantic"):
        assert (a[name] == b[name]).all()
    assert many.compute_metrics(1) == one.compute_metrics(0)


def test_misuse_is_explained(task: ContinuousTaskConfig, source: ContinuousSource) -> None:
    batch = ContinuousBatch(task, 2, source)
    with pytest.raises(NavigationError, match="begin an episode"):
        batch.step(np.array([1, 1]))
    with pytest.raises(NavigationError, match=r"0\.\.5"):
        batch.begin_episodes([0], [6])
    batch.begin_episodes([0, 1], [0, 1])
    with pytest.raises(NavigationError, match=r"integers in 0\.\.3"):
        batch.step(np.array([4, 0]))
    with pytest.raises(ConfigError, match="no meshes"):
        ContinuousTaskConfig(task=VLNConfig(dataset="r2r"))
    with pytest.raises(ConfigError, match="max_steps"):
        ContinuousVectorEnv(1, task, source=source, steps=3)


def test_a_world_must_be_a_house(
    task: ContinuousTaskConfig, source: ContinuousSource, tmp_path: Path
) -> None:
    name = source.episodes[0].world
    wrong = ContinuousSource({name: object()}, source.episodes, source.scene)  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="a house is needed"):
        wrong.open_house(name, task.agent)
