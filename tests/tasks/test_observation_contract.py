"""Every observation is what `embodied.types` says of it: key, shape and kind of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest
from gymnasium import spaces

from embodied.simulators.base import CameraSpec
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.observations import observation_space as navigation_space
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.observations import observation_space as place_space
from embodied.types import (
    ARM_KEYS,
    GOAL_KEYS,
    NAVIGATION_KEYS,
    PLACE_KEYS,
    ObservationKey,
)

CAMERA = CameraSpec(outputs=("rgb", "depth", "semantic", "instance"), width=12, height=10)


def describe(space: spaces.Space) -> tuple[str, tuple[int, ...]]:
    """Return dtype and shape; of a sequence, those of an entry and one axis."""
    if isinstance(space, spaces.Text):
        return "str", ()
    if isinstance(space, spaces.Sequence):
        dtype, shape = describe(space.feature_space)
        return dtype, (0, *shape)
    return str(np.dtype(space.dtype)), tuple(space.shape or ())


def require_contract(space: spaces.Dict, keys: Mapping[str, ObservationKey]) -> None:
    sizes: dict[str, int] = {}
    for name, entry in space.spaces.items():
        wanted = keys[name]
        dtype, shape = describe(entry)
        assert dtype == wanted.dtype, name
        letters = re.findall(r"\w+", wanted.shape)
        assert len(letters) == len(shape), name
        for letter, size in zip(letters, shape, strict=True):
            if letter.isdigit():
                assert size == int(letter), name
            elif size:
                assert sizes.setdefault(letter, size) == size, name


@pytest.mark.parametrize("task", ["pointnav", "objectnav", "imagenav", "explore"])
def test_navigation_observes_what_is_written_down(task: str) -> None:
    config = NavigationConfig(task=task, camera=CAMERA, expert=task != "explore")
    goal = {"goal": GOAL_KEYS[task]} if task in GOAL_KEYS else {}
    space = navigation_space(config)
    privileged = set() if config.expert else {"expert_action"}
    assert set(space.spaces) == (set(NAVIGATION_KEYS) | set(goal)) - privileged
    require_contract(space, {**NAVIGATION_KEYS, **goal})


def test_places_are_observed_as_written_down() -> None:
    config = VLNConfig(canvas=True, oracle_canvas=True, privileged=True)
    space = place_space(config, view_size=7)
    assert set(space.spaces) == set(PLACE_KEYS)
    require_contract(space, PLACE_KEYS)


def test_a_body_observes_panoramas_as_written_down(tmp_path) -> None:
    from embodied.tasks.vln.continuous import ContinuousBatch
    from embodied.tasks.vln.continuous_task import ContinuousTaskConfig
    from embodied.tasks.vln.houses import HousesConfig
    from embodied.types import PANORAMA_KEYS

    houses = HousesConfig(
        count=1, rooms=(2, 3), episodes=1, min_hops=2, textures=False, cache=str(tmp_path)
    )
    task = ContinuousTaskConfig(VLNConfig(dataset="houses", houses=houses, episodes=1), expert=True)
    space = ContinuousBatch(task, 1).observation_space
    assert set(space.spaces) == set(PANORAMA_KEYS)
    require_contract(space, PANORAMA_KEYS)


def test_an_arm_observes_what_is_written_down() -> None:
    pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")
    from embodied.tasks.tabletop import TabletopConfig
    from embodied.tasks.tabletop.batch import TabletopBatch

    batch = TabletopBatch(TabletopConfig(observation="rgb", privileged=True), 1)
    assert set(batch.observation_space.spaces) == set(ARM_KEYS)
    require_contract(batch.observation_space, ARM_KEYS)
    batch.close()


def test_a_driving_arm_observes_what_is_written_down() -> None:
    pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")
    from embodied.tasks.mobile_pick import MobilePickConfig, MobilePickEnv
    from embodied.types import MOBILE_PICK_KEYS

    env = MobilePickEnv(MobilePickConfig(expert=True))
    assert set(env.observation_space.spaces) <= set(MOBILE_PICK_KEYS)
    require_contract(env.observation_space, MOBILE_PICK_KEYS)
    env.close()
