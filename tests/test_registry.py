"""Every registered name leads to code that defaults build; an unknown one to its neighbour."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError
from embodied.evaluation.base import Evaluator
from embodied.perception.segmenter import SegmenterConfig
from embodied.perception.vocabulary import SPECIAL, Vocabulary
from embodied.policies.base import Policy, PolicyTask
from embodied.policies.chunk import factory as chunk_factory
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.residual import ResidualConfig, ResidualPolicy
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.policies.factory import find_config_class, make_policy
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs, DualScaleNetwork
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.observations import observation_space
from embodied.training.vln.agent import AgentInputs, DualScaleAgent
from embodied.training.vln.config import VLNTrainConfig

ROWS = [(kind, name) for kind, rows in registry.TABLE.items() for name in rows]
WIDTHS, WORDS = DualScaleInputs(views=8), Vocabulary((*SPECIAL, "go"))
ARM = RobotInputs(
    cameras=("front",), image=(32, 32), state=8, action=7, orientation=3, fps=20,
    control="ee_delta", words=(*SPECIAL, "pick"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_every_row_resolves(kind: str, name: str) -> None:
    assert registry.resolve(kind, name) is not None


def build_policy(kind: str, name: str) -> Any:
    network = DualScaleNetwork(DualScaleConfig(size="tiny"), WORDS, WIDTHS)
    task = PolicyTask(
        observation_space=observation_space(NavigationConfig()), action_space=spaces.Discrete(4),
        network=network,
    )  # fmt: skip
    return make_policy(name, find_config_class(name, kind)(), task, kind)


def build_chunk_policy(kind: str, name: str) -> Any:
    return chunk_factory.make_policy(ARM, VisuomotorConfig(method=name))


def restore(kind: str, name: str) -> Any:
    """Take a policy of defaults through what a checkpoint keeps of it beside its weights."""
    if name == "recurrent":
        policy = build_policy("policy", name)
        tree: dict[str, Any] = {"policy": policy.config}
    elif name == "dual_scale":
        config = DualScaleConfig(size="tiny")
        policy, tree = DualScaleAgent(AgentInputs(WIDTHS, WORDS), config), {"policy": config}
    elif name == "residual":
        base = VisuomotorConfig()
        policy = ResidualPolicy(chunk_factory.make_policy(ARM, base), ResidualConfig())
        tree = {"policy": base, "residual": ResidualConfig()}
    else:
        policy = build_chunk_policy("chunk_policy", name)
        tree = {"policy": VisuomotorConfig(method=name)}
    again = registry.resolve(kind, name)(policy.inputs.to_json(), configuration.to_dict(tree))
    kept, made = policy.network.state_dict(), again.network.state_dict()
    assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in made.items()}
    assert again.name == name
    return again


def build_settings(kind: str, name: str) -> Any:
    return typing.get_type_hints(registry.resolve(kind, name))["config"]()


def find_phase_settings(kind: str, name: str) -> Any:
    settings = getattr(VLNTrainConfig(), name)
    assert settings is not None
    return replace(settings)


BUILD: dict[str, Callable[[str, str], Any]] = {
    "policy": build_policy,
    "vln_policy": build_policy,
    "chunk_policy": build_chunk_policy,
    "restore": restore,
    "trainer": build_settings,
    "vln_phase": find_phase_settings,
    "segmenter": lambda kind, name: registry.resolve(kind, name)(SegmenterConfig()),
}
"""Table -> how its rows are built from defaults."""

NAMED_ONLY = {
    "evaluator": "built from a recipe: tests/evaluation",
    "sensors": "built from an arm: tests/tasks/test_tabletop_mirror.py",
    "completion": "takes over from a run: tests/training/manipulation/test_refinement.py",
}


def test_every_table_says_how_its_rows_are_built() -> None:
    assert set(registry.TABLE) == set(BUILD) | set(NAMED_ONLY)
    assert all(registry.TABLE.values())


@pytest.mark.parametrize(("kind", "name"), [row for row in ROWS if row[0] in BUILD])
def test_every_row_builds_from_its_default_config(kind: str, name: str) -> None:
    made = BUILD[kind](kind, name)
    if kind.endswith("policy"):
        assert isinstance(made, Policy)


@pytest.mark.parametrize("name", registry.list_names("evaluator"))
def test_every_evaluator_is_one(name: str) -> None:
    assert issubclass(registry.resolve("evaluator", name), Evaluator)


@pytest.mark.parametrize("name", ["frontier", "map_planner", "objectnav_frontier"])
def test_policies_that_draw_maps_take_over_the_body(name: str) -> None:
    from embodied.policies.mapping.mapper import BodyConfig

    body = BodyConfig(radius=0.31)
    policy: Any = make_policy(name, find_config_class(name)(), PolicyTask(body=body))
    believed = getattr(policy.config, "body", None) or policy.config.frontier.body
    assert believed == body


def test_a_random_policy_draws_by_the_seed_of_its_task() -> None:
    first = np.ones(50, bool)
    config = find_config_class("random")()
    draws = [
        make_policy("random", config, PolicyTask(seed=seed)).act({}, first) for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("name", ["dual_scale", "meta_explore"])
def test_a_trained_policy_without_a_run_says_how_to_name_one(name: str) -> None:
    with pytest.raises(CheckpointError, match="checkpoint=runs/"):
        make_policy(name, find_config_class(name, "vln_policy")(), PolicyTask(), "vln_policy")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        registry.resolve("policy", "randon")


def test_an_unknown_table_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'policy'"):
        registry.resolve("polici", "random")


def test_code_outside_the_table_is_named_by_module_and_attribute() -> None:
    assert registry.resolve("policy", "fractions:Fraction").__name__ == "Fraction"


@pytest.mark.parametrize("name", ["no_such_module:Thing", "fractions:NoSuchThing"])
def test_outside_code_that_does_not_exist_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        registry.resolve("policy", name)
