"""The hand-over between navigation and manipulation, in houses: every way it can go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.errors import ConfigError  # noqa: E402
from embodied.evaluation.mobile_pick_episode import (  # noqa: E402
    MobilePickEvalConfig,
    PickStep,
    build_policy,
    iter_steps,
    task_of,
)
from embodied.policies.mapping.mobile_pick import (  # noqa: E402
    APPROACH,
    DOCK,
    DRIVE,
    FAILED,
    MANIPULATE,
    SEARCH,
    ExpertArmPolicy,
    MobilePickAgentConfig,
    MobilePickPolicy,
)
from embodied.tasks.mobile_pick import MobilePickConfig, MobilePickEnv  # noqa: E402
from embodied.tasks.mobile_pick.config import DrivingConfig  # noqa: E402
from embodied.tasks.navigation.config import SceneSource  # noqa: E402
from embodied.tasks.tabletop import TabletopConfig  # noqa: E402

FOUND = [(SEARCH, APPROACH), (APPROACH, DOCK), (DOCK, MANIPULATE)]
Meddler = Callable[[MobilePickEnv, PickStep], None]


def picking_settings(**agent: Any) -> MobilePickEvalConfig:
    driving = DrivingConfig()
    camera = replace(driving.camera, outputs=("depth", "semantic"))
    scene = SceneSource(rooms=(2, 3), textures=False)
    task = MobilePickConfig(replace(driving, camera=camera, scene=scene), TabletopConfig())
    return MobilePickEvalConfig(agent=MobilePickAgentConfig(**agent), task=task)


@pytest.fixture(scope="module")
def picking_env() -> Iterator[MobilePickEnv]:
    env = MobilePickEnv(task_of(picking_settings()))
    yield env
    env.close()


def play_errand(
    env: MobilePickEnv, policy: MobilePickPolicy, seed: int, meddle: Meddler | None = None
) -> PickStep:
    """Play an episode; `meddle` is called after every step. Return its end."""
    last = None
    for moment in iter_steps(env, policy, seed):
        if meddle is not None and not moment.done:
            meddle(env, moment)
        last = moment
    assert last is not None
    return last


def changes(moment: PickStep) -> list[tuple[str, str]]:
    return [(step.before, step.after) for step in moment.agent.trace]


class Clumsy:
    """Does nothing for some steps, then what the expert would; counts its beginnings."""

    def __init__(self, steps: int) -> None:
        self.left, self.begun = steps, 0
        self.begins: list[bool] = []

    def act(self, observations: Any, first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Choose one action."""
        self.begun += int(first[0])
        self.left -= 1
        if self.left >= 0:
            return np.array([[0, 0, 0, 0, 0, 0, 1]], np.float32)
        return ExpertArmPolicy().act(observations, first)


def with_arm(settings: MobilePickEvalConfig, arm: Any) -> MobilePickPolicy:
    made = build_policy(settings)
    return MobilePickPolicy(made.config, made._make_search, lambda: arm)


def test_it_is_found_reached_and_picked_up_in_most_houses(picking_env: MobilePickEnv) -> None:
    policy = build_policy(picking_settings())
    successes = 0
    for seed in range(3):
        end = play_errand(picking_env, policy, seed)
        successes += end.info["success"]
        trace = end.agent.trace
        assert all(step.reason for step in trace)
        assert [step.step for step in trace] == sorted(step.step for step in trace)
        if end.info["success"]:
            assert changes(end)[-3:] == FOUND
            assert end.agent.phase == MANIPULATE
            # It knows where the cube is, and the arm got it where it works well.
            true = np.array([end.info["dock_ahead"], end.info["dock_aside"]])
            assert np.linalg.norm(end.agent.docked - true) < 0.025
            assert abs(true[0]) < 0.12
            assert abs(true[1]) < 0.12
            assert end.info["spl"] > 0.2
    assert successes >= 2


def test_the_same_seed_is_played_the_same(picking_env: MobilePickEnv) -> None:
    one = play_errand(picking_env, build_policy(picking_settings()), 3)
    two = play_errand(picking_env, build_policy(picking_settings()), 3)
    assert one.agent.trace == two.agent.trace
    assert one.info == two.info


def test_what_was_moved_is_looked_for_and_found_elsewhere(picking_env: MobilePickEnv) -> None:
    policy = build_policy(picking_settings())
    moved: list[int] = []

    def meddle(env: MobilePickEnv, moment: PickStep) -> None:
        place = moment.agent.memory.find_best_sighting()
        if moved or moment.agent.phase != APPROACH or place is None:
            return
        if np.linalg.norm(place.position - moment.agent.mapper.position) < 1.6:
            assert env.episode_spec is not None
            other = env.episode_spec.stands[1]
            beside = np.sign(other - env.cubes["other"][:3, 3]) * [0.08, 0, 0.08]
            env.put_cube(other + beside + [0, 0.02, 0])
            moved.append(moment.agent.steps)

    end = play_errand(picking_env, policy, 1, meddle)
    assert moved
    back = [step for step in end.agent.trace if step.after == SEARCH]
    assert back
    assert back[0].step >= moved[0]
    assert back[0].reason == "not where it was seen any more"
    assert end.info["success"]
    assert changes(end)[-3:] == FOUND


def put_at_once(place: Callable[[MobilePickEnv], NDArray[np.float64]]) -> Meddler:
    """Move the cube after the first step."""

    def meddle(env: MobilePickEnv, moment: PickStep) -> None:
        if moment.agent.steps == 0:
            env.put_cube(place(env))

    return meddle


def reasons(moment: PickStep) -> list[tuple[str, str]]:
    return [(step.after, step.reason) for step in moment.agent.trace]


def test_what_is_never_found_is_given_up(picking_env: MobilePickEnv) -> None:
    policy = build_policy(picking_settings(searches=1))
    below = put_at_once(lambda env: np.array([0.0, -5.0, 0.0]))
    end = play_errand(picking_env, policy, 2, below)
    assert reasons(end) == [(FAILED, "never found")]
    assert end.info["docks"] == 0
    assert end.info["steps"] < picking_env.config.navigation.max_steps  # it stopped by itself


def test_what_lies_on_the_floor_is_out_of_reach(picking_env: MobilePickEnv) -> None:
    policy = build_policy(picking_settings(searches=1))
    floor = put_at_once(lambda env: env.position + [0.0, 0.02, 0.6])
    end = play_errand(picking_env, policy, 3, floor)
    assert reasons(end)[-1] == (FAILED, "found nowhere within reach")
    assert end.info["docks"] == 0


def test_where_the_base_cannot_stand_nothing_is_picked_up(picking_env: MobilePickEnv) -> None:
    made = build_policy(picking_settings(searches=1))
    # An arm so short that the base would have to stand where the stand is.
    short = replace(made.config, reach=0.1)
    policy = MobilePickPolicy(short, made._make_search, made._make_arm)
    end = play_errand(picking_env, policy, 3)
    assert (SEARCH, "no place beside it that the base can reach") in reasons(end)
    assert reasons(end)[-1] == (FAILED, "found nowhere within reach")
    assert end.info["docks"] == 0


def test_a_failed_attempt_is_repeated(picking_env: MobilePickEnv) -> None:
    settings = picking_settings(attempt_steps=40)
    arm = Clumsy(40)
    end = play_errand(picking_env, with_arm(settings, arm), 1)
    assert end.info["success"]
    assert arm.begun == 2
    assert end.info["docks"] == 2
    assert (MANIPULATE, APPROACH) in changes(end)
    failed = next(step for step in end.agent.trace if step.before == MANIPULATE)
    assert failed.reason == "attempt 1 failed: try again"
    assert changes(end)[-2:] == FOUND[-2:]


def test_attempts_come_to_an_end(picking_env: MobilePickEnv) -> None:
    settings = picking_settings(attempt_steps=10, attempts=2)
    end = play_errand(picking_env, with_arm(settings, Clumsy(10**6)), 1)
    assert not end.info["success"]
    assert end.info["docks"] == 2
    assert end.info["mode"] == DRIVE  # folded before it stops
    assert end.agent.trace[-1].after == FAILED
    assert end.agent.trace[-1].reason == "not picked up in 2 attempts"


def test_a_cube_that_was_knocked_aside_is_docked_to_anew(picking_env: MobilePickEnv) -> None:
    settings = picking_settings(attempt_steps=30)
    shoved: list[NDArray[np.float64]] = []

    def meddle(env: MobilePickEnv, moment: PickStep) -> None:
        if not shoved and moment.info["docks"] == 1 and moment.info["mode"] == DRIVE:
            assert env.episode_spec is not None
            cube, stand = env.cubes["cube"][:3, 3], env.episode_spec.stands[0]
            aside = np.where(cube < stand, 0.1, -0.1) * [1, 0, 1]
            shoved.append(stand + aside + [0, 0.02, 0])
            env.put_cube(shoved[0])

    end = play_errand(picking_env, with_arm(settings, Clumsy(30)), 1, meddle)
    assert shoved
    assert end.info["success"]
    assert end.info["docks"] == 2
    true = np.array([end.info["dock_ahead"], end.info["dock_aside"]])
    assert np.linalg.norm(end.agent.docked - true) < 0.025


@pytest.mark.slow
def test_it_works_in_larger_houses() -> None:
    settings = picking_settings()
    scene = replace(settings.task.navigation.scene, rooms=(4, 8))
    settings = replace(
        settings,
        task=replace(settings.task, navigation=replace(settings.task.navigation, scene=scene)),
    )
    env, policy = MobilePickEnv(task_of(settings)), build_policy(settings)
    ends = [play_errand(env, policy, seed) for seed in range(20)]
    assert np.mean([end.info["success"] for end in ends]) >= 0.9
    env.close()


def test_the_arms_policy_sees_what_it_sees_at_a_table() -> None:
    """A chunk policy made for the tabletop task plays its part with no adapter."""
    torch = pytest.importorskip("torch")
    from embodied.perception.vocabulary import Vocabulary
    from embodied.policies.chunk.backbones import BackboneConfig
    from embodied.policies.chunk.backbones.base import TinyConfig
    from embodied.policies.chunk.factory import VisuomotorConfig
    from embodied.policies.chunk.factory import make_policy as make_arm
    from embodied.policies.chunk.robot_inputs import RobotInputs

    torch.set_num_threads(1)
    words = Vocabulary.from_texts(("pick up the red cube and hold it at the green ball",)).words
    inputs = RobotInputs(("front", "wrist"), (32, 32), 8, 7, 3, 20, "ee_delta", words)
    tiny = BackboneConfig(tiny=TinyConfig(width=32, channels=(8, 16)))
    arm = make_arm(
        inputs, VisuomotorConfig(method="act", chunk_size=8, n_action_steps=4, backbone=tiny)
    )
    arm.normalization = {
        "observation.state": {"min": [-1.0] * 8, "max": [1.0] * 8},
        "action": {"min": [-1.0] * 7, "max": [1.0] * 7},
    }
    settings = picking_settings(attempt_steps=12, attempts=1)
    task = replace(
        settings.task, arm=TabletopConfig(observation="rgb", width=32, height=32), colors=("red",)
    )
    env = MobilePickEnv(task)
    asked: list[NDArray[np.float32]] = []
    played = arm.act

    def act(observations: Any, first: NDArray[np.bool_]) -> NDArray[np.float32]:
        assert np.asarray(observations["front"]).std() > 1
        asked.append(played(observations, first))
        return asked[-1]

    arm.act = act  # type: ignore[method-assign]
    end = play_errand(env, with_arm(replace(settings, task=task), arm), 3)
    assert len(asked) == 12
    assert np.ptp(np.concatenate(asked), axis=0).max() > 0.01
    assert end.agent.trace[-1].reason == "not picked up in 1 attempts"
    env.close()


def test_several_environments_have_agents_of_their_own() -> None:
    import gymnasium

    import embodied  # noqa: F401

    settings = picking_settings()
    several = gymnasium.make_vec(
        "embodied/MobilePick-v0", num_envs=2, vectorization_mode="sync", config=task_of(settings)
    )
    policy = build_policy(settings)
    observations, _ = several.reset(seed=2)
    first = np.ones(2, bool)
    for _ in range(30):
        actions = policy.act(observations, first)
        first = np.zeros(2, bool)
        observations, *_ = several.step(actions)
    alone = build_policy(settings)
    end = None
    for row, moment in enumerate(iter_steps(MobilePickEnv(task_of(settings)), alone, 2)):
        end = moment
        if row == 29:
            break
    assert end is not None
    assert policy.agents[0].trace == alone.agents[0].trace
    np.testing.assert_allclose(policy.agents[0].mapper.position, alone.agents[0].mapper.position)
    several.close()


def test_it_says_what_it_needs() -> None:
    policy = build_policy(picking_settings())
    with pytest.raises(ConfigError, match="semantic"):
        policy.act({"depth": np.zeros((1, 4, 4))}, np.ones(1, bool))
    with pytest.raises(ConfigError, match="attempts"):
        MobilePickAgentConfig(attempts=0)
    with pytest.raises(ConfigError, match="heights"):
        MobilePickAgentConfig(heights=(0.2, 0.1))
    with pytest.raises(ConfigError, match="expert"):
        ExpertArmPolicy().act({"state": np.zeros((1, 8))}, np.ones(1, bool))
