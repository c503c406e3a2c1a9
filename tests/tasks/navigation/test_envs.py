from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import embodied  # noqa: F401
from embodied.errors import ConfigError, NavigationError, SceneError
from embodied.simulators.base import AgentSpec, CameraSpec, NoiseSpec
from embodied.tasks.navigation.config import NavigationConfig, SceneSource
from embodied.tasks.registration import ENVIRONMENTS
from embodied.types import FORWARD, LEFT, LOOK_UP, RIGHT, STOP

CAMERA = CameraSpec(outputs=("rgb", "depth", "semantic", "instance"), width=32, height=24)
HOUSES = SceneSource(split="val", count=3, rooms=(3, 5))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasium_finds_nothing_to_complain_about(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array", scene=HOUSES, camera=CAMERA, max_steps=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    assert env.unwrapped.render().shape == (24, 32, 3)
    env.close()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_same_seed_same_episodes(name: str) -> None:
    def play(seed: int) -> tuple[list[dict], list[float]]:
        env = gymnasium.make(name, scene=HOUSES, camera=CAMERA, max_steps=15)
        frames, rewards = [env.reset(seed=seed)[0]], []
        rng = np.random.default_rng(0)
        for _ in range(40):
            observation, reward, done, truncated, _ = env.step(rng.choice([FORWARD, LEFT, RIGHT]))
            frames.append(observation)
            rewards.append(reward)
            if done or truncated:
                frames.append(env.reset()[0])
        env.close()
        return frames, rewards

    (frames, rewards), (again, same), (others, _) = play(5), play(5), play(6)
    assert rewards == same
    for left, right in zip(frames, again, strict=True):
        for key in left:
            np.testing.assert_array_equal(left[key], right[key])
    assert any((a["depth"] != b["depth"]).any() for a, b in zip(frames, others, strict=True))


def test_rewards_and_observations_in_a_known_room(flat_file: str) -> None:
    config = NavigationConfig(
        scene=SceneSource(files=(flat_file,)),
        camera=CameraSpec(outputs=("depth",), width=16, height=16),
        step_penalty=0.01,
        min_geodesic=2.0,
    )
    env = gymnasium.make("embodied/PointNav-v0", config=config)
    observation, info = env.reset(seed=1)
    assert observation["pose"].tolist() == [0, 0, 0, 0]
    turned = env.step(LEFT)[0]
    assert turned["pose"][3] == pytest.approx(np.deg2rad(30))
    angle = observation["goal"][1] - turned["goal"][1]
    assert angle % (2 * np.pi) == pytest.approx(np.deg2rad(30), abs=1e-5)
    before = info["distance_to_goal"]
    observation, reward, _, _, info = env.step(FORWARD)
    assert reward == pytest.approx(before - info["distance_to_goal"] - 0.01)
    walked = np.linalg.norm(observation["pose"][:3])
    assert info["path_length"] == pytest.approx(walked, abs=1e-5)
    if not info["collided"]:
        # 30 degrees left of -z.
        step = [-0.25 * np.sin(np.pi / 6), 0, -0.25 * np.cos(np.pi / 6)]
        assert observation["pose"][:3] == pytest.approx(step, abs=1e-5)
    _, reward, done, truncated, info = env.step(STOP)
    assert (done, truncated, info["success"], info["spl"]) == (True, False, 0.0, 0.0)
    env.close()


def test_truncation_is_not_success(flat_file: str) -> None:
    env = gymnasium.make(
        "embodied/PointNav-v0",
        scene=SceneSource(files=(flat_file,)),
        camera=CAMERA,
        max_steps=3,
        success_distance=40.0,
    )
    env.reset(seed=0)
    ends = [env.step(LEFT)[2:] for _ in range(3)]
    assert [e[:2] for e in ends] == [(False, False), (False, False), (False, True)]
    assert ends[-1][2]["success"] == 0
    env.reset()
    assert env.step(STOP)[4]["success"] == 1
    env.close()


@pytest.mark.parametrize("name", ["PointNav", "ObjectNav", "ImageNav"])
def test_expert_reaches_the_goal(name: str) -> None:
    source = SceneSource(split="val", count=12, rooms=(2, 10), sequential=True)
    camera = CameraSpec(outputs=("depth",), width=8, height=8)
    env = gymnasium.make(f"embodied/{name}-v0", scene=source, camera=camera, expert=True)
    success, spl = [], []
    for _ in range(12):
        observation, info = env.reset()
        done = truncated = False
        while not (done or truncated):
            observation, _, done, truncated, info = env.step(observation["expert_action"])
        success.append(info["success"])
        spl.append(info["spl"])
    env.close()
    assert np.mean(success) == 1
    assert np.mean(spl) > 0.93


def test_expert_with_small_turns_and_without_sliding(flat_file: str) -> None:
    agent = AgentSpec(turn=10.0, sliding=False)
    env = gymnasium.make(
        "embodied/PointNav-v0",
        scene=SceneSource(files=(flat_file,)),
        camera=CameraSpec(outputs=("depth",), width=8, height=8),
        agent=agent,
        expert=True,
    )
    for seed in range(10):
        observation, info = env.reset(seed=seed)
        done = truncated = False
        while not (done or truncated):
            observation, _, done, truncated, info = env.step(observation["expert_action"])
        assert info["success"] == 1
        assert info["spl"] > 0.9
    env.close()


def test_exploring_rewards_new_floor(flat_file: str) -> None:
    env = gymnasium.make(
        "embodied/Explore-v0",
        scene=SceneSource(files=(flat_file,)),
        camera=CameraSpec(outputs=("rgb",), width=64, height=64),
        step_penalty=0.0,
    )
    observation, info = env.reset(seed=0)
    assert set(observation) == {"rgb", "pose"}  # depth is used inside, not shown
    first, total = info["coverage"], 0.0
    assert 0 < first < 0.9
    for _ in range(12):
        _, reward, _, _, info = env.step(LEFT)
        total += reward
    assert info["coverage"] > first
    assert total == pytest.approx(10 * (info["coverage"] - first))
    env.close()


def test_noise_is_seeded_and_changes_the_image() -> None:
    def first(noise: NoiseSpec) -> np.ndarray:
        camera = CameraSpec(outputs=("depth",), width=32, height=32, noise=noise)
        env = gymnasium.make("embodied/PointNav-v0", scene=HOUSES, camera=camera)
        depth = env.reset(seed=0)[0]["depth"]
        env.close()
        return depth

    clean, noisy = first(NoiseSpec()), first(NoiseSpec(depth="redwood"))
    assert (clean != noisy).any()
    np.testing.assert_array_equal(noisy, first(NoiseSpec(depth="redwood")))


def test_looking_is_for_objectnav_only(flat_file: str) -> None:
    env = gymnasium.make(
        "embodied/PointNav-v0", scene=SceneSource(files=(flat_file,)), camera=CAMERA
    )
    env.reset(seed=0)
    assert env.action_space.n == 4
    with pytest.raises(NavigationError, match=r"0\.\.3"):
        env.unwrapped.step(LOOK_UP)
    env.close()
    env = gymnasium.make("embodied/ObjectNav-v0", scene=HOUSES, camera=CAMERA)
    observation, _ = env.reset(seed=0)
    up = env.step(LOOK_UP)[0]
    assert env.action_space.n == 6
    assert (up["depth"] != observation["depth"]).any()
    env.close()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"max_step": 10}, "did you mean 'max_steps'"),
        ({"max_steps": 0}, "max_steps"),
        ({"success_distance": -1.0}, "success_distance"),
        ({"min_geodesic": 5.0, "max_geodesic": 2.0}, "geodesic range"),
        ({"categories": ("chairs",)}, "did you mean 'chair'"),
    ],
)
def test_unusable_settings_are_named(settings: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        gymnasium.make("embodied/PointNav-v0", **settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"split": "dev"}, "unknown split"),
        ({"rooms": (4, 2)}, "rooms"),
        ({"count": 0}, "count"),
        ({"offset": -1}, "offset"),
    ],
)
def test_unusable_scene_sources_are_named(settings: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        SceneSource(**settings)


def test_exploring_has_no_expert() -> None:
    with pytest.raises(ConfigError, match="no expert"):
        gymnasium.make("embodied/Explore-v0", expert=True)


def test_a_missing_scene_file_is_reported_at_reset() -> None:
    env = gymnasium.make("embodied/PointNav-v0", scene=SceneSource(files=("nowhere.glb",)))
    with pytest.raises(SceneError, match=r"nowhere\.glb"):
        env.reset(seed=0)
    env.close()


def test_importing_is_light() -> None:
    code = "import sys, embodied; print({'torch', 'numba', 'trimesh'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("prefetch", [True, False])
def test_an_episode_that_fails_is_named_and_then_skipped(flat_file: str, prefetch: bool) -> None:
    source = SceneSource(
        files=(flat_file, "nowhere.glb", flat_file), sequential=True, prefetch=prefetch
    )
    env = gymnasium.make("embodied/PointNav-v0", scene=source, camera=CAMERA)
    assert env.reset(seed=0)[1]["episode"] == 0
    with pytest.raises(SceneError, match=r"nowhere\.glb"):
        env.reset()
    assert env.reset()[1]["episode"] == 2
    env.close()
