"""A policy of a user's own: its settings come from YAML and overrides as ours do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embodied.cli.main import main
from embodied.errors import ConfigError
from embodied.evaluation.navigation import EvalConfig, build_policy, load_settings

MODULE = '''
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Settings:
    """How it walks.

    Attributes:
        action: what it does all the time.
        stop_after: steps after which it stops.
    """

    action: int = 2
    stop_after: int = 3


class Steady:
    config_class = Settings

    def __init__(self, config):
        self.config, self.steps = config, 0

    def act(self, observations, first):
        self.steps = np.where(first, 0, self.steps + 1)
        return np.where(self.steps >= self.config.stop_after, 0, self.config.action)


class Seeded(Steady):
    @classmethod
    def from_config(cls, config, task):
        policy = cls(config)
        policy.seed, policy.body = task.seed, task.body
        return policy


class Sized:
    def __init__(self, size):
        self.size = size

    def act(self, observations, first):
        return np.full(len(first), self.size)


class Bare:
    def act(self, observations, first):
        return np.zeros(len(first), np.int64)
'''
SMALL = ("task.scene.rooms=[1,1]", "task.max_steps=10", "evaluation.episodes=2",
         "evaluation.envs=2")  # fmt: skip


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe beside the module of its policy."""
    (tmp_path / "own_walk.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text(
        "extends: nav/pointnav_expert\npolicy: own_walk:Steady\nkey: own\n"
        "policy_config: {stop_after: 5}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "own_walk", raising=False)
    return tmp_path


def test_a_users_policy_gets_its_settings_from_yaml_and_overrides(own: Path) -> None:
    figures = own / "figures.json"
    recipe = str(own / "own.yaml")
    for stop, words in ((5, ()), (2, ("policy_config.stop_after=2",))):
        assert main(["eval", recipe, *SMALL, *words, "--json", str(figures)]) == 0
        metrics = json.loads(figures.read_text())["metrics"]
        assert metrics["own.steps"]["value"] == stop + 1


def test_it_is_told_of_the_task_if_it_asks(own: Path) -> None:
    words = ["policy=own_walk:Seeded", "task.agent.radius=0.3", "evaluation.seed=7"]
    settings = load_settings(str(own / "own.yaml"), words)
    policy = build_policy(settings)
    assert (policy.seed, policy.body.radius) == (7, 0.3)
    assert policy.config.stop_after == 5


def test_a_class_without_settings_takes_none(own: Path) -> None:
    recipe = str(own / "own.yaml")
    words = ["policy=own_walk:Bare"]
    with pytest.raises(ConfigError, match="unknown key 'policy_config.stop_after'"):
        load_settings(recipe, words)
    assert build_policy(EvalConfig(policy="own_walk:Bare")).act({}, [True]).tolist() == [0]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("policy_config.stop_aftr=2", "Did you mean 'policy_config.stop_after'"),
        ("policy_config.stop_after=soon", "policy_config.stop_after = 'soon'"),
    ],
)
def test_its_mistakes_are_found_as_ours_are(own: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(str(own / "own.yaml"), [word])


def test_a_class_that_wants_arguments_is_told_how_to_get_them(own: Path) -> None:
    settings = load_settings("nav/pointnav_expert", ["policy=own_walk:Sized"])
    with pytest.raises(ConfigError, match=r"'own_walk:Sized'.*'size'.*config_class"):
        build_policy(settings)


def test_a_dot_in_place_of_the_colon_is_answered(own: Path) -> None:
    with pytest.raises(ConfigError, match="is written module:attribute"):
        load_settings("nav/pointnav_expert", ["policy=own_walk.Bare"])


def test_ours_take_settings_under_both_names() -> None:
    named = load_settings("nav/explore", ["frontier.switch=2.0"])
    general = load_settings("nav/explore", ["policy_config.switch=2.0"])
    assert named.policy_config == general.policy_config
    assert named.policy_config.switch == 2.0
    assert build_policy(named).config.body.turn == named.task.agent.turn


def test_an_old_key_in_such_a_block_is_still_read() -> None:
    with pytest.warns(FutureWarning, match="replan_interval"):
        settings = load_settings("nav/explore", ["frontier.replan=7"])
    assert settings.policy_config.replan_interval == 7


def test_settings_of_a_policy_that_does_not_play_are_checked_and_left_out() -> None:
    settings = load_settings("nav/explore", ["policy=random", "frontier.switch=2.0"])
    assert type(settings.policy_config).__name__ == "RandomConfig"
    with pytest.raises(ConfigError, match="swich"):
        load_settings("nav/explore", ["policy=random", "frontier.swich=2.0"])
