"""Recipes, overrides and their errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embodied import config
from embodied.errors import ConfigError
from embodied.simulators.base import AgentSpec, CameraSpec


@dataclass(frozen=True)
class Train:
    steps: int = 100
    rate: float = 1e-3
    channels: tuple[int, ...] = (8, 16)
    schedule: Literal["constant", "linear"] = "constant"


@dataclass(frozen=True)
class Job:
    seed: int = 0
    train: Train = field(default_factory=Train)
    camera: CameraSpec = field(default_factory=CameraSpec)
    agent: AgentSpec | None = None
    stages: tuple[Train, ...] = ()
    out: Path | None = None


def test_overrides_reach_nested_fields_with_their_types() -> None:
    job = config.build(Job, config.parse_overrides(["train.steps=7", "train.rate=1e-4", "seed=3"]))
    assert job == Job(seed=3, train=Train(steps=7, rate=1e-4))
    assert isinstance(job.train.rate, float)


def test_lists_become_tuples_and_optional_parts_appear() -> None:
    job = config.override(
        Job(), ["train.channels=[1, 2, 3]", "camera.outputs=[rgb]", "agent.radius=0.1", "out=a/b"]
    )
    assert job.train.channels == (1, 2, 3)
    assert job.camera.outputs == ("rgb",)
    assert job.agent == AgentSpec(radius=0.1)
    assert job.out == Path("a/b")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.step=7", r"unknown key 'train\.step'\. Did you mean 'train\.steps'"),
        ("steps=7", r"unknown key 'steps'\. Did you mean 'train\.steps'"),
        ("camera.hfow=7", r"Did you mean 'camera\.hfov'"),
        ("agent.radious=7", r"Did you mean 'agent\.radius'"),
        ("stages=[{stepps: 1}]", r"stages\[0\]: unknown key 'stepps'\. Did you mean 'steps'"),
        ("train.steps=many", r"train\.steps = 'many'.*valid integer"),
        ("train.steps=2.5", r"train\.steps = 2\.5"),
        ("train.schedule=cosine", r"train\.schedule = 'cosine'.*'constant' or 'linear'"),
        ("train=3", r"train = 3"),
        ("seed", r"must read key\.path=value"),
        ("=3", r"must read key\.path=value"),
        ("a..b=3", r"must read key\.path=value"),
        ("seed=[1", r"is not a YAML value"),
    ],
)
def test_what_cannot_be_used_is_named(item: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.override(Job(), [item])


def test_checks_of_the_classes_themselves_still_run() -> None:
    with pytest.raises(Exception, match="at least 1 pixel"):
        config.override(Job(), ["camera.width=-3"])


def test_saved_yaml_loads_to_the_same_configuration(tmp_path: Path) -> None:
    job = Job(seed=5, train=Train(channels=(1,)), agent=AgentSpec(), stages=(Train(steps=1),))
    config.save(job, tmp_path / "config.yaml")
    loaded = config.load(Job, tmp_path / "config.yaml")
    assert loaded == job
    assert config.digest(loaded) == config.digest(job)


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_the_digest_follows_every_value(seed: int, rate: float) -> None:
    job = Job(seed=seed, train=Train(rate=rate))
    again = config.build(Job, config.to_dict(job))
    assert again == job
    assert config.digest(again) == config.digest(job)
    assert config.digest(Job(seed=seed + 1, train=Train(rate=rate))) != config.digest(job)


def test_a_recipe_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 1\ntrain: {steps: 5, rate: 0.5}\n")
    (tmp_path / "long.yaml").write_text("extends: base.yaml\ntrain: {steps: 50}\n")
    job = config.load(Job, tmp_path / "long.yaml", ["seed=9"])
    assert job == Job(seed=9, train=Train(steps=50, rate=0.5))


def test_a_circle_of_recipes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match="circle: a -> b -> a"):
        config.load(Job, tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["seed: [1", "- 1\n- 2\n", "just text"])
def test_a_broken_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        config.load(Job, tmp_path / "broken.yaml")


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'nav/explore'"):
        config.find_recipe("nav/explor")
    with pytest.raises(ConfigError, match="unknown recipe"):
        config.find_recipe("../setup")
    with pytest.raises(ConfigError, match=r"no recipe file mine\.yaml"):
        config.find_recipe("mine.yaml")


def test_every_shipped_recipe_is_yaml_and_named() -> None:
    names = config.list_recipes()
    assert "nav/explore" in names
    for name in names:
        assert isinstance(config.read_recipe(name), dict)
        assert yaml.safe_load(config.find_recipe(name).read_text())


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("train.lr=1e-3", "'imitation.learning_rate' or 'ppo.learning_rate'"),
        ("ppo.lr=1e-3", "'ppo.learning_rate'"),
        ("ppo.vf_coef=1", "'ppo.value_weight'"),
        ("ppo.ent_coef=0", "'ppo.entropy_weight'"),
        ("ppo.n_epochs=3", "'ppo.epochs'"),
        ("train.num_envs=3", "'train.envs'"),
        ("train.total_timesteps=3", "'train.steps'"),
    ],
)
def test_words_of_other_libraries_are_answered_with_ours(given: str, ours: str) -> None:
    from embodied.training.navigation.config import TrainConfig

    with pytest.raises(ConfigError, match=rf"unknown key .* Did you mean {ours}\?"):
        config.override(TrainConfig(), [given])


@pytest.mark.parametrize(
    ("given", "ours"),
    [("polyak", "tau"), ("policy_delay", "actor_update_interval"), ("replay_size", "buffer_size")],
)
def test_words_of_soft_actor_critic_are_known(given: str, ours: str) -> None:
    from embodied.training.sac import SacConfig

    with pytest.raises(ConfigError, match=f"Did you mean '{ours}'"):
        config.build(SacConfig, {given: 1})


def test_every_synonym_leads_to_a_key_there_is() -> None:
    from embodied.config_aliases import SYNONYMS
    from embodied.training.manipulation.config import ManipulationTraining
    from embodied.training.manipulation.refinement_config import RefinementTraining
    from embodied.training.navigation.config import TrainConfig
    from embodied.training.vln.config import VLNTrainConfig

    runs = (TrainConfig, ManipulationTraining, RefinementTraining, VLNTrainConfig)
    known = {name.rpartition(".")[2] for run in runs for name in config.dotted_names(run)}
    for word, ours in SYNONYMS.items():
        assert set(ours) <= known, word
        assert word not in ours
