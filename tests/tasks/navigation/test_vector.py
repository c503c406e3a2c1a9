from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import embodied  # noqa: F401
from embodied.errors import ConfigError, NavigationError
from embodied.simulators.base import CameraSpec, NoiseSpec
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.navigation.envs import NavigationEnv
from embodied.tasks.navigation.vector import NavigationVectorEnv
from embodied.tasks.registration import ENVIRONMENTS

CAMERA = CameraSpec(outputs=("rgb", "depth"), width=24, height=24)
HOUSES = SceneSource(split="val", count=4, rooms=(2, 5), episodes_per_scene=2)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_vector_equals_singles(name: str) -> None:
    """Every number of a batch is the number the single environment with that seed gives."""
    count = 3
    noise = NoiseSpec(rgb_sigma=2.0, depth="redwood")
    camera = CameraSpec(outputs=("rgb", "depth"), width=24, height=24, noise=noise)
    settings = {"scene": HOUSES, "camera": camera, "max_steps": 12}
    batch = gymnasium.make_vec(
        name, num_envs=count, vectorization_mode="vector_entry_point", **settings
    )
    singles = [gymnasium.make(name, **settings) for _ in range(count)]
    assert batch.single_observation_space == singles[0].observation_space
    together, _ = batch.reset(seed=10)
    alone = [env.reset(seed=10 + i)[0] for i, env in enumerate(singles)]
    rng = np.random.default_rng(0)
    for _ in range(40):
        for i in range(count):
            for key, value in alone[i].items():
                np.testing.assert_array_equal(together[key][i], value)
        actions = rng.choice([0, 1, 1, 1, 2, 3], count, p=[0.05, 0.25, 0.25, 0.25, 0.1, 0.1])
        together, rewards, done, cut, infos = batch.step(actions)
        for i, env in enumerate(singles):
            alone[i], reward, over, late, info = env.step(actions[i])
            assert (rewards[i], done[i], cut[i]) == (reward, over, late)
            if over or late:
                assert infos["_final_info"][i]
                for key, value in info.items():
                    assert infos["final_info"][key][i] == value
                for key, value in alone[i].items():
                    np.testing.assert_array_equal(infos["final_obs"][i][key], value)
                alone[i] = env.reset()[0]
    batch.close()
    for env in singles:
        env.close()


def test_spaces_hold_what_is_returned() -> None:
    env = NavigationVectorEnv(3, scene=HOUSES, camera=CAMERA, expert=True)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, reward, done, cut, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.shape == done.shape == cut.shape == (3,)
    env.close()


def test_observations_are_not_overwritten_later() -> None:
    env = NavigationVectorEnv(2, scene=HOUSES, camera=CAMERA, max_steps=3)
    first, _ = env.reset(seed=0)
    kept = {key: value.copy() for key, value in first.items()}
    for _ in range(5):
        env.step(np.array([1, 2]))
    for key, value in first.items():
        np.testing.assert_array_equal(value, kept[key])
    env.close()


def test_sequential_episodes_do_not_depend_on_batch_size_or_seed() -> None:
    source = SceneSource(split="test", count=3, rooms=(2, 4), sequential=True)

    def starts(count: int, seed: int) -> dict[int, tuple]:
        env = NavigationVectorEnv(count, scene=source, camera=CAMERA)
        env.reset(seed=seed)
        seen: dict[int, tuple] = {}
        while len(seen) < 6:
            for ready in env.batch.prepared_episodes:
                seen[ready.number] = ready.episode.start.position
            env.step(np.zeros(count, int))
        env.close()
        return {k: v for k, v in seen.items() if k < 6}

    alone = starts(1, 0)
    assert len(set(alone.values())) == 6
    assert alone == starts(2, 5) == starts(3, 9)


def test_prefetching_changes_nothing() -> None:
    def rewards(prefetch: bool) -> list[list[float]]:
        source = SceneSource(count=3, rooms=(2, 4), episodes_per_scene=1, prefetch=prefetch)
        env = NavigationVectorEnv(2, scene=source, camera=CAMERA, max_steps=4)
        env.reset(seed=3)
        values = [env.step(np.array([1, 1]))[1].tolist() for _ in range(16)]
        env.close()
        return values

    assert rewards(True) == rewards(False)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments(mode: str) -> None:
    env = gymnasium.make_vec(
        "embodied/PointNav-v0", num_envs=2, vectorization_mode=mode, scene=HOUSES, camera=CAMERA
    )
    native = NavigationVectorEnv(2, scene=HOUSES, camera=CAMERA)
    observation, _ = env.reset(seed=4)
    expected, _ = native.reset(seed=4)
    np.testing.assert_array_equal(observation["depth"], expected["depth"])
    np.testing.assert_array_equal(env.step([1, 2])[0]["depth"], native.step([1, 2])[0]["depth"])
    env.close()
    native.close()


def test_bad_actions_and_counts_are_named() -> None:
    with pytest.raises(ConfigError, match="number of environments"):
        NavigationVectorEnv(0)
    env = NavigationVectorEnv(2, scene=HOUSES, camera=CAMERA)
    env.reset(seed=0)
    for actions in ([0], [0, 9], [-1, 0], [1.5, 0.0], [np.nan, 0.0]):
        with pytest.raises(NavigationError, match="actions must be 2 integers"):
            env.step(np.array(actions))
    env.close()


def test_single_is_the_batch_of_one() -> None:
    env = NavigationEnv(scene=HOUSES, camera=CAMERA)
    env.reset(seed=0)
    assert env.batch.num_envs == 1
    env.close()
