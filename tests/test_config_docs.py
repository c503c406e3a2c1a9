"""Every setting of every recipe is explained where it is defined, and `--settings` prints that."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any

import pytest

from embodied import registry
from embodied.cli.main import main
from embodied.config_docs import Setting, list_settings, read_attribute_docs
from embodied.demo.manipulation_outcome import ArmDemoConfig
from embodied.demo.outcome import DemoConfig
from embodied.evaluation.mobile_pick_episode import MobilePickEvalConfig
from embodied.evaluation.navigation import EvalConfig
from embodied.evaluation.vln_continuous import ContinuousEvalConfig
from embodied.policies.factory import find_config_class
from embodied.serving.config import ServerConfig


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        width, height: of the box
            [m].
        name: says what: "a: b".

    Raises:
        Nothing: it is not read from here.
    """

    width: float = 1.0
    height: float = 2.0
    name: str = ""


@dataclass(frozen=True)
class Whole:
    """A whole.

    Attributes:
        part: what it is made of.
        sizes: three of them.
    """

    part: Part = field(default_factory=lambda: Part(width=3.0))
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class More(Whole):
    """A whole with more.

    Attributes:
        extra: needed.
    """

    extra: str = field(kw_only=True)


def test_settings_are_listed_with_value_default_and_meaning() -> None:
    settings = list_settings(Whole(part=Part(height=5.0)))
    assert settings == [
        Setting("part", "", "", "what it is made of."),
        Setting("part.width", "1.0", "3.0", "of the box [m]."),
        Setting("part.height", "5.0", "2.0", "of the box [m]."),
        Setting("part.name", "''", "''", 'says what: "a: b".'),
        Setting("sizes", "[1, 2]", "[1, 2]", "three of them."),
    ]
    assert str(settings[1]).startswith("part.width = 1.0    (default: 3.0)\n    of the box")


def test_inherited_and_needed_settings_are_explained_too() -> None:
    settings = {s.name: s for s in list_settings(More(extra="x"))}
    assert settings["sizes"].meaning == "three of them."
    assert (settings["extra"].meaning, settings["extra"].default) == ("needed.", "null")
    assert set(read_attribute_docs(More)) == {"part", "sizes", "extra"}


def trained(name: str) -> Any:
    return typing.get_type_hints(registry.resolve("trainer", name))["config"]()


CONFIGS = {
    **{f"trainer {name}": trained(name) for name in registry.list_names("trainer")},
    **{
        f"{table} {name}": find_config_class(name, table)()
        for table in ("policy", "vln_policy")
        for name in registry.list_names(table)
    },
    "navigation evaluation": EvalConfig(),
    "language evaluation": ContinuousEvalConfig(),
    "mobile pick evaluation": MobilePickEvalConfig(),
    "demo": DemoConfig(),
    "arm demo": ArmDemoConfig(),
    "server": ServerConfig(),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_setting_has_a_meaning(name: str) -> None:
    assert not [s.name for s in list_settings(CONFIGS[name]) if not s.meaning]


def test_train_lists_settings_and_trains_nothing(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "nav/pointnav_ppo", "--settings", "train.steps=7"]) == 0
    out = capsys.readouterr().out
    assert "train.steps = 7    (default: 1000000)\n    number of environment steps" in out
    assert main(["train", "manip/refine_pick", "--settings"]) == 0  # without its base
    assert "refinement.steps = " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_eval_lists_the_settings_of_the_policy_it_would_play(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["eval", "nav/explore", "--settings"]) == 0
    explore = capsys.readouterr().out
    assert main(["eval", "nav/explore", "--settings", "policy=random"]) == 0
    chance = capsys.readouterr().out
    assert "policy_config.replan_interval = " in explore
    assert "policy_config.replan_interval" not in chance
    assert "policy_config.probabilities = " in chance
