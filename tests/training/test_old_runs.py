"""Runs written before settings were renamed: they load, act, and go on to the same curve.

`tests/data/before_renaming/write_runs.py` wrote them with the code of that time.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toy import planes

from embodied import config as configuration
from embodied.config_aliases import ALIASES
from embodied.errors import CheckpointError
from embodied.policies.chunk.residual import ResidualPolicy
from embodied.rollout import evaluate_policy
from embodied.training.checkpoint import load_policy
from embodied.training.log import read_metrics
from embodied.training.manipulation.config import ManipulationTraining
from embodied.training.manipulation.refinement_config import RefinementTraining
from embodied.training.navigation.config import TrainConfig
from embodied.training.navigation.trainer import train

RUNS = Path(__file__).parents[1] / "data" / "before_renaming"
CLOCKS = (
    "cpu_seconds", "seconds", "play_seconds", "learn_seconds", "validate_seconds",
)  # fmt: skip
CONFIGS = {"pointnav": TrainConfig, "reach": ManipulationTraining, "refine": RefinementTraining}

pytestmark = pytest.mark.filterwarnings("ignore:the setting:FutureWarning")


def load(run: str, overrides: tuple[str, ...] = ()) -> Any:
    return configuration.load(CONFIGS[run], RUNS / run / "config.yaml", overrides)


def curve(folder: Path) -> list[dict[str, Any]]:
    rows = read_metrics(folder)
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def assert_same(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    """Equal up to what processors round differently."""
    assert len(now) == len(before)
    for row, other in zip(now, before, strict=True):
        assert row.pop("phase") == other.pop("phase")
        assert row == pytest.approx(other, rel=1e-3, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("run", CONFIGS)
def test_every_value_of_an_old_configuration_arrives_under_its_new_name(run: str) -> None:
    config = load(run)
    old = yaml.safe_load((RUNS / run / "config.yaml").read_text())

    def check(value: Any, part: Any) -> int:
        renamed = 0
        names = ALIASES.get(type(part).__name__, {})
        for key, each in value.items():
            now = getattr(part, names.get(key, key)) if key != "trainer" else each
            renamed += key in names
            if isinstance(each, dict):
                renamed += check(each, now)
            else:
                assert configuration.to_dict(now) == each, key
        return renamed

    assert check(old, config) > 10


def test_old_keys_warn_with_the_new_name() -> None:
    with pytest.warns(FutureWarning, match=r"ppo\.trace is called ppo\.gae_lambda now"):
        assert load("pointnav").ppo.gae_lambda == 0.9
    with pytest.warns(FutureWarning, match=r"sac\.patience is called sac\.actor_update_interval"):
        assert load("refine", ("sac.patience=4",)).sac.actor_update_interval == 4


def test_an_old_policy_acts() -> None:
    config = load("pointnav")
    policy = load_policy(RUNS / "pointnav")
    episodes = evaluate_policy(policy, planes(config, False), 4, progress=False)
    assert len(episodes) == 4


def test_an_old_run_of_ppo_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    run = Path(shutil.copytree(RUNS / "pointnav", tmp_path / "run"))
    before = curve(run)
    train(load("pointnav"), run, resume=True, make_env=planes, quiet=True)
    assert_same(curve(run), before)
    assert yaml.safe_load((run / "checkpoints" / "00000008" / "config.yaml").read_text())["ppo"][
        "gae_lambda"
    ] == pytest.approx(0.9)


def test_an_old_run_of_soft_actor_critic_goes_on_to_the_same_curve(tmp_path: Path) -> None:
    pytest.importorskip("pybullet", reason="the tasks need pybullet")
    from embodied.training.manipulation import refinement

    run = Path(shutil.copytree(RUNS / "refine", tmp_path / "run"))
    before = curve(run)
    refinement.train(load("refine"), run, resume=True, quiet=True)
    assert_same(curve(run), before)
    policy = load_policy(run)
    assert isinstance(policy, ResidualPolicy)
    assert np.isclose(policy.amplitude, 1.0)


def test_an_old_run_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    run = Path(shutil.copytree(RUNS / "pointnav", tmp_path / "run"))
    with pytest.raises(CheckpointError, match="another configuration"):
        train(load("pointnav", ("ppo.clip_range=0.1",)), run, resume=True, make_env=planes)
