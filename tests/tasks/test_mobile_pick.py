"""Picking in a house: Gymnasium's contract, determinism, one scene for all cameras, collisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

import embodied  # noqa: E402, F401
from embodied.categories import MPCAT40  # noqa: E402
from embodied.errors import ConfigError, NavigationError  # noqa: E402
from embodied.simulators.base import AgentSpec, CameraSpec  # noqa: E402
from embodied.simulators.bullet import SimulationError  # noqa: E402
from embodied.tasks.mobile_pick import (  # noqa: E402
    ARM,
    CATEGORIES,
    DRIVE,
    MobilePickConfig,
    MobilePickEnv,
)
from embodied.tasks.mobile_pick.config import STAND_HALF_WIDTH, STAND_HEIGHT, DrivingConfig  # noqa: E402
from embodied.tasks.mobile_pick.frames import matrix_to_pose, pose_to_matrix, upright_pose  # noqa: E402
from embodied.tasks.navigation.config import SceneSource  # noqa: E402
from embodied.tasks.tabletop import TabletopConfig  # noqa: E402
from embodied.types import FORWARD, LEFT, STOP  # noqa: E402

IDLE = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
HOUSES = SceneSource(split="val", rooms=(2, 3), textures=False)


def mobile_config(**changes: Any) -> MobilePickConfig:
    """Small images of the base, the arm without cameras."""
    camera = replace(DrivingConfig().camera, outputs=("depth", "semantic"), width=96, height=96)
    driving = DrivingConfig(scene=HOUSES, camera=camera)
    return replace(
        MobilePickConfig(navigation=driving, arm=TabletopConfig(), expert=True), **changes
    )


def mobile_action(mode: int, base: int = STOP, arm: np.ndarray = IDLE) -> dict[str, Any]:
    return {"mode": mode, "base": base, "arm": arm}


def put_base(env: MobilePickEnv, ahead: float, turn: float = 0.0, aside: float = 0.0) -> None:
    """Put the base before the wanted cube's stand, on a side that is free."""
    cube = env.cubes["cube"][:3, 3]
    paths = env.episode_spec.world.pathfinder  # type: ignore[union-attr]
    for yaw in np.linspace(-np.pi, np.pi, 48):
        way, left = upright_pose(cube, yaw)[:3, 0], upright_pose(cube, yaw)[:3, 1]
        spot = cube - ahead * way - aside * left
        spot[1] = env.episode_spec.position[1]  # type: ignore[union-attr]
        back = spot - 0.4 * way
        if paths.is_navigable(np.stack([spot, back])).all():
            env.position, env.yaw = spot, float(yaw) + turn
            env.put_cube(cube)  # so that the base's new place is seen
            return
    raise AssertionError("no free place")


@pytest.fixture(scope="module")
def mobile_env() -> Iterator[MobilePickEnv]:
    env = MobilePickEnv(mobile_config())
    yield env
    env.close()


@pytest.mark.filterwarnings("error::UserWarning")
def test_gymnasium_finds_nothing_wrong() -> None:
    env = gymnasium.make("embodied/MobilePick-v0", config=mobile_config(), render_mode="rgb_array")
    check_env(env.unwrapped)
    observation, info = env.reset(seed=3)
    assert info["success"] is False
    assert info["episode_seed"] == 3
    assert CATEGORIES[int(observation["goal"])].split()[0] in observation["instruction"]
    assert "expert_action" in observation
    env.close()


def test_gymnasium_makes_several() -> None:
    several = gymnasium.make_vec(
        "embodied/MobilePick-v0", num_envs=2, vectorization_mode="sync", config=mobile_config()
    )
    observation, _ = several.reset(seed=5)
    assert observation["depth"].shape == (2, 96, 96)
    observation, *_ = several.step(
        {"mode": np.array([0, 1]), "base": np.array([2, 0]), "arm": np.stack([IDLE, IDLE])}
    )
    assert observation["mode"].tolist() == [DRIVE, ARM]
    several.close()


def test_the_same_seed_is_the_same_episode(mobile_env: MobilePickEnv) -> None:
    def play(env: MobilePickEnv, seed: int) -> list[np.ndarray]:
        seen, info = env.reset(seed=seed)
        rng, told = np.random.default_rng(0), []
        for mode in (DRIVE,) * 6 + (ARM,) * 6 + (DRIVE,) * 3:
            arm = rng.uniform(-1, 1, 7).astype(np.float32)
            seen, reward, *_, info = env.step(
                mobile_action(mode, int(rng.integers(FORWARD, 4)), arm)
            )
            told.append(np.concatenate([
                seen["pose"], seen["state"], [reward, info["seconds"], info["distance_to_goal"]],
                env.cubes["cube"].ravel(), seen["depth"].ravel(), seen["semantic"].ravel(),
            ]))  # fmt: skip
        return told

    first = play(mobile_env, 7)
    play(mobile_env, 8)
    other = MobilePickEnv(mobile_config())
    for one, two in zip(first, play(other, 7), strict=True):
        np.testing.assert_array_equal(one, two)
    other.close()
    assert not np.array_equal(first[0], play(mobile_env, 9)[0])


def test_without_a_seed_the_next_number_is_played(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=11)
    assert mobile_env.reset()[1]["episode_seed"] == 12


def test_an_errand_can_be_run(mobile_env: MobilePickEnv) -> None:
    for seed in range(4):
        _, info = mobile_env.reset(seed=seed)
        errand = mobile_env.episode_spec
        assert errand is not None
        assert 2.0 <= info["geodesic"] <= 30.0
        assert errand.colors[0] != errand.colors[1]
        for stand, cube in zip(errand.stands, errand.cubes, strict=True):
            off = cube[:3, 3] - stand
            assert np.abs(off[[0, 2]]).max() < STAND_HALF_WIDTH
            assert off[1] == pytest.approx(0.02)
            assert not errand.world.pathfinder.is_navigable(
                stand[None] - [0, STAND_HEIGHT, 0]
            ).any()
        assert errand.world.pathfinder.is_navigable(errand.position[None]).all()


def test_frames_agree_with_the_agents() -> None:
    """An agent that looks along -z has things at +x on its right."""
    frame = upright_pose((1.0, 0.0, 2.0), 0.0)
    np.testing.assert_allclose(frame @ [1, 0, 0, 1], [1, 0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(frame @ [0, 1, 0, 1], [0, 0, 2, 1], atol=1e-12)
    np.testing.assert_allclose(frame @ [0, 0, 1, 1], [1, 1, 2, 1], atol=1e-12)
    for yaw in np.linspace(-3, 3, 7):
        pose = upright_pose((0.3, 0.4, 0.5), float(yaw))
        np.testing.assert_allclose(np.linalg.det(pose), 1.0)
        np.testing.assert_allclose(pose[:3, 0], [-np.sin(yaw), 0, -np.cos(yaw)])
        np.testing.assert_allclose(pose_to_matrix(matrix_to_pose(pose)), pose, atol=1e-9)


def test_every_camera_sees_house_stand_cube_and_arm(mobile_env: MobilePickEnv) -> None:
    observation, _ = mobile_env.reset(seed=1)
    put_base(mobile_env, 0.5)
    *_, info = mobile_env.step(mobile_action(ARM))
    assert abs(info["dock_ahead"]) < 1e-6
    wanted, misc = int(observation["goal"]), MPCAT40.index("misc")
    floor, table = MPCAT40.index("floor"), MPCAT40.index("table")
    outputs = ("semantic", "depth")
    images = mobile_env.batch.views.render_images(("front", "wrist"), outputs)
    for name, image in images.items():
        seen = set(np.unique(image["semantic"]).tolist())
        assert {wanted, misc, floor, table} <= seen, name
    # The wrist camera looks at the cube on the stand: no farther away than the stand around it.
    depth, label = images["wrist"]["depth"][0], images["wrist"]["semantic"][0]
    assert depth[label == wanted].max() <= depth[label == table].max()


def test_the_stowed_arm_is_out_of_the_bases_view(mobile_env: MobilePickEnv) -> None:
    observation, _ = mobile_env.reset(seed=1)
    assert not (observation["semantic"] == MPCAT40.index("misc")).any()
    put_base(mobile_env, 0.5)
    observation, *_ = mobile_env.step(mobile_action(DRIVE, LEFT))
    observation, *_ = mobile_env.step(mobile_action(DRIVE, 3))
    # Docked, the base still sees the cube at its feet, where its pose says that it is.
    assert (observation["semantic"] == int(observation["goal"])).sum() > 3


def test_cameras_of_the_half_that_rests_are_off() -> None:
    config = mobile_config(arm=TabletopConfig(observation="rgb", width=32, height=32))
    env = MobilePickEnv(config)
    observation, _ = env.reset(seed=1)
    assert observation["depth"].any()
    assert not observation["front"].any()
    observation, *_ = env.step(mobile_action(ARM))
    assert not observation["depth"].any()
    assert observation["front"].std() > 5
    assert observation["wrist"].std() > 5
    env.close()


def test_the_base_is_stopped_by_a_stand_and_may_not_pick_touching_it(
    mobile_env: MobilePickEnv,
) -> None:
    mobile_env.reset(seed=2)
    put_base(mobile_env, 0.6)
    errand = mobile_env.episode_spec
    assert errand is not None
    for _ in range(8):
        *_, info = mobile_env.step(mobile_action(DRIVE, FORWARD))
    assert info["collisions"] > 0
    assert info["collided"]
    gap = np.maximum(np.abs(mobile_env.position - errand.stands[0]) - STAND_HALF_WIDTH, 0)[[0, 2]]
    assert np.linalg.norm(gap) >= mobile_env.config.navigation.agent.radius - 0.05
    cube = mobile_env.cubes["cube"].copy()
    np.testing.assert_allclose(cube, errand.cubes[0])  # nothing was pushed
    put_base(mobile_env, 0.5)
    observation, *_, info = mobile_env.step(mobile_action(ARM))
    assert not info["docked"]
    for _ in range(60):
        observation, _, ended, _, info = mobile_env.step(
            mobile_action(ARM, arm=observation["expert_action"])
        )
        assert not ended
    assert mobile_env.batch.cells[0].result.success  # lifted, but it does not count
    assert not info["success"]


def test_the_expert_picks_from_a_docked_base(mobile_env: MobilePickEnv) -> None:
    for seed, aside in ((2, 0.0), (3, 0.1)):
        mobile_env.reset(seed=seed)
        put_base(mobile_env, 0.52, aside=aside)
        observation, *_, info = mobile_env.step(mobile_action(ARM))
        assert info["docked"]
        assert info["seconds"] > 0.5  # unfolding takes its time
        np.testing.assert_allclose(observation["state"], [0.5, 0, 0.22, 0, 0, 0, 1, 1], atol=5e-3)
        ended, total = False, 0.0
        for _ in range(80):
            observation, reward, ended, _, info = mobile_env.step(
                mobile_action(ARM, arm=observation["expert_action"])
            )
            total += reward
            if ended:
                break
        assert info["success"]
        assert total > 2.0
        assert info["violations"] == {"force": 0, "workspace": 0, "velocity": 0}


def test_what_the_arm_leaves_stays_where_it_is(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=2)
    put_base(mobile_env, 0.5)
    before = {name: cube.copy() for name, cube in mobile_env.cubes.items()}
    observation, *_ = mobile_env.step(mobile_action(ARM))
    for _ in range(14):  # it may well hold the cube by now
        observation, *_ = mobile_env.step(mobile_action(ARM, arm=observation["expert_action"]))
    place = mobile_env.position.copy()
    _, _, ended, _, info = mobile_env.step(mobile_action(DRIVE, FORWARD))
    assert not ended
    assert info["mode"] == DRIVE
    np.testing.assert_array_equal(mobile_env.position, place)  # folding is all it does
    cube, other = mobile_env.cubes["cube"], mobile_env.cubes["other"]
    assert np.linalg.norm(cube[:3, 3] - before["cube"][:3, 3]) < STAND_HALF_WIDTH
    assert cube[1, 3] == pytest.approx(STAND_HEIGHT + 0.02, abs=0.01)
    np.testing.assert_allclose(other, before["other"], atol=0.01)
    assert mobile_env.batch.cells[0].layout is not None


def test_a_cube_on_the_floor_is_found_there_again(mobile_env: MobilePickEnv) -> None:
    """The house is part of physics: what falls, falls on its floor."""
    mobile_env.reset(seed=2)
    put_base(mobile_env, 0.5)
    cube = mobile_env.cubes["cube"][:3, 3].copy()
    way = upright_pose(cube, mobile_env.yaw)[:3, 1]
    mobile_env.put_cube(cube + 0.4 * way)
    mobile_env.step(mobile_action(ARM))
    for _ in range(20):
        mobile_env.step(mobile_action(ARM))
    mobile_env.step(mobile_action(DRIVE))
    assert mobile_env.cubes["cube"][1, 3] == pytest.approx(0.02, abs=0.03)


def test_the_arm_does_not_pass_through_walls(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=2)
    errand = mobile_env.episode_spec
    assert errand is not None
    paths, caster = errand.world.pathfinder, errand.world.caster
    rng = np.random.default_rng(0)
    for spot in paths.sample_points(rng, 400, island=paths.largest_island):
        yaw = float(rng.uniform(-np.pi, np.pi))
        ahead = upright_pose(spot, yaw)[:3, 0]
        eyes = spot + np.array(
            [[0, STAND_HEIGHT + 0.1, 0], [0, STAND_HEIGHT + 0.4, 0], [0, STAND_HEIGHT + 0.7, 0]]
        )
        free = caster.cast_rays(eyes, np.repeat(ahead[None], 3, axis=0)).distance
        if free.max() < 0.4 and free.min() > 0.3:
            break
    else:
        raise AssertionError("no wall")
    mobile_env.position, mobile_env.yaw = spot, yaw
    observation, *_, info = mobile_env.step(mobile_action(ARM))
    assert observation["state"][0] < 0.45  # in the open it unfolds to 0.5 m ahead
    assert info["violations"]["force"] > 0


def test_far_from_the_cube_the_arm_just_waves(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=4)
    observation, *_, info = mobile_env.step(mobile_action(ARM))
    assert not info["docked"]
    observation, reward, ended, *_ = mobile_env.step(
        mobile_action(ARM, arm=np.array([0, 0, 0.5, 0, 0, 0, 1], np.float32))
    )
    assert not ended
    assert reward == pytest.approx(-mobile_env.config.navigation.step_penalty)


def test_stopping_gives_up(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=4)
    _, _, ended, cut, info = mobile_env.step(mobile_action(DRIVE, STOP))
    assert ended
    assert not cut
    assert not info["success"]


def test_an_episode_takes_no_more_than_its_steps() -> None:
    config = mobile_config()
    env = MobilePickEnv(replace(config, navigation=replace(config.navigation, max_steps=3)))
    env.reset(seed=0)
    cuts = [env.step(mobile_action(DRIVE, LEFT))[3] for _ in range(3)]
    assert cuts == [False, False, True]
    env.close()


def test_progress_is_rewarded(mobile_env: MobilePickEnv) -> None:
    _, info = mobile_env.reset(seed=6)
    total, begun = 0.0, info["distance_to_goal"]
    for _ in range(12):
        _, reward, *_, info = mobile_env.step(mobile_action(DRIVE, FORWARD))
        total += reward + mobile_env.config.navigation.step_penalty
    assert total == pytest.approx(begun - info["distance_to_goal"], abs=1e-6)


@pytest.mark.parametrize(
    "action",
    [
        {"mode": 2, "base": 1, "arm": IDLE},
        {"mode": 0, "base": 7, "arm": IDLE},
        {"mode": 0, "base": 1},
        {"mode": 0, "base": "left", "arm": IDLE},
    ],
)
def test_wrong_actions_are_refused(mobile_env: MobilePickEnv, action: dict[str, Any]) -> None:
    mobile_env.reset(seed=4)
    with pytest.raises(NavigationError, match="base"):
        mobile_env.step(action)


def test_nan_for_the_arm_is_refused_and_cubes_stay_while_it_works(
    mobile_env: MobilePickEnv,
) -> None:
    mobile_env.reset(seed=4)
    mobile_env.step(mobile_action(ARM))
    with pytest.raises(SimulationError, match="NaN"):
        mobile_env.step(mobile_action(ARM, arm=np.full(7, np.nan, np.float32)))
    with pytest.raises(SimulationError, match="fold the arm"):
        mobile_env.put_cube(np.zeros(3))


def test_stepping_before_the_first_reset_is_refused() -> None:
    env = MobilePickEnv(mobile_config())
    with pytest.raises(NavigationError, match="reset"):
        env.step(mobile_action(DRIVE, LEFT))
    env.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arm": TabletopConfig(task="stack")}, "pick"),
        ({"arm": TabletopConfig(robot="so101")}, "panda"),
        ({"arm": TabletopConfig(level=2)}, "levels"),
        ({"arm": TabletopConfig(privileged=True)}, "expert"),
        ({"colors": ()}, "at least one"),
        ({"colors": ("green",)}, "Allowed"),
        ({"base_seconds": 0.0}, "above 0"),
        ({"navigation": DrivingConfig(task="pointnav")}, "objectnav"),
        ({"navigation": DrivingConfig(camera=CameraSpec(outputs=("instance",)))}, "pinhole"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MobilePickConfig(**changes)


def test_a_house_without_room_says_so() -> None:
    wide = DrivingConfig(
        scene=replace(HOUSES, rooms=(1, 1), count=1), agent=AgentSpec(), min_geodesic=25.0
    )
    env = MobilePickEnv(mobile_config(navigation=wide))
    with pytest.raises(NavigationError, match="no room"):
        env.reset(seed=0)
    env.close()


def test_unknown_settings_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="expert"):
        MobilePickEnv(experts=True)


def test_a_world_that_diverged_is_built_anew(mobile_env: MobilePickEnv) -> None:
    mobile_env.reset(seed=2)
    put_base(mobile_env, 0.5)
    mobile_env.step(mobile_action(ARM))
    world = mobile_env.batch.cells[0].world
    world.set_pose(mobile_env.batch.cells[0].task.bodies["cube"], np.full(7, np.nan))
    with pytest.raises(SimulationError, match="diverged"):
        mobile_env.step(mobile_action(ARM))
    mobile_env.reset(seed=2)
    put_base(mobile_env, 0.5)
    observation, *_, info = mobile_env.step(mobile_action(ARM))
    assert info["docked"]
    for _ in range(80):
        observation, _, ended, _, info = mobile_env.step(
            mobile_action(ARM, arm=observation["expert_action"])
        )
        if ended:
            break
    assert info["success"]
