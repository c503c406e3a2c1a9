"""The registered environments of language-guided navigation: single, vectorised, evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tiny import make, walk_to

import embodied  # noqa: F401  (registers the environments)
from embodied.errors import ConfigError, NavigationError
from embodied.rollout import evaluate_policy
from embodied.tasks.registration import VLN_ENVIRONMENTS
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.env import ReverieEnv
from embodied.tasks.vln.source import load_source
from embodied.tasks.vln.submission import build_entry, write_submission
from embodied.tasks.vln.vector import VLNVectorEnv

DATA = [name for name, (_, dataset) in VLN_ENVIRONMENTS.items() if dataset != "houses"]


@pytest.mark.parametrize("name", DATA)
def test_the_environment_checker_is_content(tiny: Path, name: str) -> None:
    settings = {"canvas": True, "privileged": True, "oracle_canvas": True}
    env = gymnasium.make(name, data=str(tiny), **settings).unwrapped
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    check_env(env, skip_render_check=True)


def test_on_released_data_the_observation_is_in_its_space(
    shared_data: Callable[[str], Path],
) -> None:
    env = ReverieEnv(data=str(shared_data("reverie").parent), privileged=True)
    rng = np.random.default_rng(0)
    for seed in range(20):
        seen, _ = env.reset(seed=seed)
        for _ in range(10):
            assert env.observation_space.contains(seen)
            move = rng.integers(1, (seen["candidates"] >= 0).sum() + 1)
            seen, _, _, _, info = env.step(np.array([move, 0]))
        assert info["steps"] == 10


def test_a_chosen_episode_can_be_played(tiny: Path) -> None:
    env = gymnasium.make("embodied/VLN-R2R-v0", data=str(tiny))
    for number in (1, 0):
        seen, info = env.reset(options={"episode": number})
        assert info["episode"] == number
        assert seen["instruction"] == env.unwrapped.batch.episodes[number].instruction


def test_an_unknown_setting_names_the_nearest(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'spilt'.*'split'"):
        gymnasium.make("embodied/VLN-R2R-v0", data=str(tiny), spilt="train")


class FollowRandomly:
    """Acts by what it sees, the same in any batch; goes on for some steps, then stops."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    def act(self, seen: dict[str, Any], first: np.ndarray) -> np.ndarray:
        actions = np.zeros((len(first), 2), np.int64)
        for i, new in enumerate(first):
            self.steps[i] = 0 if new else self.steps[i] + 1
            if self.steps[i] < 2 + len(seen["instruction"][i]) % 4:
                near = int((seen["candidates"][i] >= 0).sum())
                actions[i, 0] = 1 + (int(seen["place"][i]) + self.steps[i]) % near
        return actions


def test_evaluation_plays_every_episode_once_and_in_order(
    shared_data: Callable[[str], Path],
) -> None:
    config = VLNConfig(data=str(shared_data("reverie").parent), split="val_seen", episodes=50)
    one, many = (
        evaluate_policy(FollowRandomly(), VLNVectorEnv(n, config), 50, progress=False)
        for n in (1, 8)
    )
    assert [e["episode"] for e in one] == list(range(50))
    assert [{k: v for k, v in e.items()} for e in one] == [dict(e) for e in many]
    assert {"success", "spl", "rgs", "rgspl_strict", "ndtw", "cls"} <= set(one[0])


def test_an_ended_episode_hands_over_its_last_observation(tiny: Path) -> None:
    env = gymnasium.make_vec("embodied/VLN-R2R-v0", num_envs=2, data=str(tiny))
    first, _ = env.reset(seed=0)
    assert first["instruction"] == ("Walk on, then turn left.", "Go to the middle.")
    env.step(np.array([[1, 0], [1, 0]]))
    seen, _, ended, _, infos = env.step(np.array([[0, 0], [1, 0]]))
    assert ended.tolist() == [True, False]
    last = infos["final_obs"][0]
    assert last["position"].tolist() == [3, 0, 0]
    assert last["instruction"] == first["instruction"][0]
    assert infos["final_info"]["distance_to_goal"][0] == 4
    assert infos["final_info"]["_success"].tolist() == [True, False]
    assert infos["final_info"]["episode"][0] == 0
    assert seen["position"][0].tolist() == [0, 0, 0]
    assert infos["episode"].tolist() == [0, 1]  # 2 mod 2: the list begins again
    assert env.observation_space.contains(seen)
    assert seen["position"] is not last["position"]


def test_trajectories_are_handed_in_as_the_servers_take_them(tiny: Path) -> None:
    env = gymnasium.make_vec("embodied/VLN-REVERIE-v0", num_envs=1, data=str(tiny), split="test")
    env.reset(seed=0)
    env.step(np.array([[1, 0]]))
    env.step(np.array([[2, 0]]))
    *_, infos = env.step(np.array([[0, 2]]))
    final, batch = infos["final_info"], env.unwrapped.batch
    one = build_entry(env.episodes[0], batch.worlds["tiny"], final["walk"][0], final["answer"][0])
    assert one == {
        "instr_id": "7_0", "predObjId": 2,
        "trajectory": [["a", 0.5, 0.0], ["b", 1.5708, 0.0], ["c", 1.5708, 0.0]],
    }  # fmt: skip
    write_submission(tiny / "out.json", [one])
    assert json.loads((tiny / "out.json").read_text()) == [one]
    with pytest.raises(NavigationError, match="two entries for instruction '7_0'"):
        write_submission(tiny / "out.json", [one, one])
    batch = make(tiny, "r2r")
    assert set(batch.build_submission(0)) == {"instr_id", "trajectory"}
    batch = make(tiny)
    walk_to(batch, "b")
    assert batch.build_submission(0)["predObjId"] is None
    with pytest.raises(NavigationError, match="jumps from 'a' to 'c'"):
        build_entry(batch.episodes[0], batch.worlds["tiny"], [0, 2])


def test_random_order_depends_on_the_seed_and_not_on_the_batch(
    shared_data: Callable[[str], Path],
) -> None:
    config = VLNConfig(data=str(shared_data("reverie").parent))
    source = load_source(config)
    orders = []
    for num, seed in ((2, 5), (3, 5), (2, 6)):
        env = VLNVectorEnv(num, config, sequential=False, source=source)
        env.reset(seed=seed)
        order = [env.batch.current[:2].tolist()]
        for _ in range(5):
            env.step(np.zeros((num, 2), np.int64))
            order.append(env.batch.current[:2].tolist())
        orders.append(order)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
