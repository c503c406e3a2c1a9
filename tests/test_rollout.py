"""The loop that steps environments: vectors and single ones, both kinds of autoreset."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from embodied.errors import ConfigError
from embodied.rollout import (
    EpisodeMeter,
    Rollout,
    RolloutStep,
    evaluate_policy,
    final_metrics,
    play_episodes,
)

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP]


class Counter(gym.Env):
    """Episode k of an environment lasts 2 + (seed + k) % 3 steps; the observation tells which step
    of which it is.
    """

    observation_space = gym.spaces.Dict({"at": gym.spaces.Box(-1, 99, (2,))})
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.episode = seed if seed is not None else self.episode + 1
        self.count, self.actions = 0, []
        return self._observe(), {"success": False, "room": "hall", "kinds": {"hard": 0}}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        self.count += 1
        self.actions.append(action)
        ended = self.count >= 2 + self.episode % 3
        info = {"success": ended, "room": "hall", "kinds": {"hard": self.count}}
        return self._observe(), 1.0, ended, False, info

    def _observe(self) -> dict[str, Any]:
        return {"at": np.array([self.episode, self.count], np.float32)}


class Noting:
    """Does 1 and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def act(self, observations, first):
        self.asked.append((observations["at"].copy(), first.copy()))
        return np.ones(len(first), np.int64)


def counters(mode: AutoresetMode, count: int = 2) -> SyncVectorEnv:
    return SyncVectorEnv([Counter] * count, autoreset_mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_first_marks_exactly_the_first_observations_of_episodes(mode: AutoresetMode) -> None:
    policy = Noting()
    rollout = Rollout(counters(mode), policy)
    rollout.reset(seed=0)
    steps = list(rollout.play(12))
    for at, first in policy.asked[:1] if mode == AutoresetMode.NEXT_STEP else policy.asked:
        np.testing.assert_array_equal(at[:, 1] == 0, first)
    for step in steps:
        np.testing.assert_array_equal(step.first & step.valid, step.observations["at"][:, 1] == 0)
        lost = ~step.valid  # the action that an environment ignored while it reset itself
        assert (step.next_observations["at"][lost, 1] == 0).all()
    assert all(step.valid.all() for step in steps) == (mode == AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("mode", MODES)
def test_the_last_observation_and_info_of_an_episode_are_found(mode: AutoresetMode) -> None:
    rollout = Rollout(counters(mode), Noting())
    rollout.reset(seed=0)
    ends = 0
    for step in rollout.play(15):
        for row in np.flatnonzero(step.done):
            last = step.get_last_observations(np.array([row]))["at"][0]
            episode, length = step.observations["at"][row, 0], step.observations["at"][row, 1] + 1
            np.testing.assert_array_equal(last, (episode, length))
            info = step.get_info(row)
            assert info["success"] is True
            assert info["kinds"]["hard"] == length
            ends += 1
    assert ends > 4


def test_a_single_environment_is_a_batch_of_one_that_is_reset_when_it_goes_on() -> None:
    env, policy, seen = Counter(), Noting(), []
    rollout = Rollout(env, policy, callbacks=[seen.append])
    observations, infos = rollout.reset(seed=1)
    assert observations["at"].shape == (1, 2)
    assert infos["room"].tolist() == ["hall"]
    for step in rollout.play(3):
        assert isinstance(step, RolloutStep)
        assert step.get_info(0) == {
            "success": bool(step.done[0]), "room": "hall", "kinds": {"hard": env.count},
        }  # fmt: skip
        assert env.actions == [1] * env.count
    assert step.done[0]
    assert (env.episode, env.count) == (1, 3)  # as its episode left it
    rollout.play_step()
    assert (env.episode, env.count) == (2, 1)
    assert [bool(s.first[0]) for s in seen] == [True, False, False, True]


def test_actions_of_several_parts_reach_a_single_environment() -> None:
    class Both:
        def act(self, observations, first):
            return {"mode": np.zeros(1, np.int64), "arm": np.ones((1, 7))}

    env = Counter()
    Rollout(env, Both()).begin({"at": np.zeros((1, 2))})
    env.reset(seed=0)
    rollout = Rollout(env, Both())
    rollout.begin({"at": np.zeros((1, 2))})  # a state that somebody else has set up
    rollout.play_step()
    assert env.actions[0]["mode"] == 0
    assert env.actions[0]["arm"].shape == (7,)


@pytest.mark.parametrize("mode", MODES)
def test_one_episode_everywhere(mode: AutoresetMode) -> None:
    steps = list(play_episodes(counters(mode, 3), Noting(), seed=0))
    assert len(steps) == 4  # the longest lasts that long
    assert [len(list(play_episodes(Counter(), Noting(), seed=s))) for s in range(3)] == [2, 3, 4]


@pytest.mark.parametrize("mode", [*MODES, None])
def test_evaluation_plays_the_same_episodes_however_they_are_stepped(mode) -> None:
    env = Counter() if mode is None else counters(mode)
    ended: list[int] = []
    episodes = evaluate_policy(
        Noting(), env, 4, seed=0, progress=False,
        on_episode_end=lambda place, row, metrics: ended.append(place),
    )  # fmt: skip
    lengths = [2, 3, 4, 2] if mode is None else [2, 3, 3, 4]  # environment 1 begins with 1, 2
    assert [e["length"] for e in episodes] == lengths
    assert all(e["return"] == e["length"] == e["kinds_hard"] for e in episodes)
    assert all(e["success"] == 1.0 for e in episodes)
    assert sorted(ended) == [0, 1, 2, 3]


def test_callbacks_of_an_evaluation_see_every_step() -> None:
    seen: list[RolloutStep] = []
    episodes = evaluate_policy(Noting(), Counter(), 3, progress=False, callbacks=[seen.append])
    assert len(seen) == sum(e["length"] for e in episodes)


def test_final_metrics_come_from_the_ended_episode() -> None:
    infos = {
        "spl": np.array([0.1, 0.2]),
        "final_info": {
            "spl": np.array([0.8, 0.0]),
            "_spl": np.array([True, False]),
            "name": np.array(["a", "b"]),
        },
    }
    assert final_metrics(infos, 0) == {"spl": 0.8}
    assert final_metrics(infos, 1) == {}
    assert final_metrics({"success": np.array([0.0, 1.0])}, 1) == {"success": 1.0}


def test_a_meter_counts_what_is_valid_only() -> None:
    meter = EpisodeMeter(2)
    rollout = Rollout(counters(AutoresetMode.NEXT_STEP), Noting(), [])
    rollout.reset(seed=0)
    ended = [metrics for step in rollout.play(20) for _, metrics in meter.add_step(step)]
    assert [m["length"] for m in ended] == [m["kinds_hard"] for m in ended]


def test_environments_that_do_not_reset_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="does not reset itself"):
        Rollout(counters(AutoresetMode.DISABLED), Noting())


def test_evaluation_of_no_episodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one episode"):
        evaluate_policy(Noting(), Counter(), 0)
