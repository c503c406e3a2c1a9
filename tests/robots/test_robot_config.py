"""Recipes of robots: every shipped one opens, and errors name the key and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from embodied import config as configuration
from embodied.errors import ConfigError
from robots.arm import Arm
from robots.errors import ModelError
from robots.kinematics import Kinematics
from robots.limits import build_arm_limits
from robots.model import load_model
from robots.robot_config import DRIVERS, load_robot, make_arm

RECIPES = [name for name in configuration.list_recipes() if name.startswith("robots/")]
GOOD = {
    "driver": "bullet",
    "model": "fr3",
    "safety": {
        "workspace": {"floor": 0.0, "lower": [-1, -1], "upper": [1, 1], "ceiling": 1.5},
    },
}


def need_pybullet() -> None:
    pytest.importorskip("pybullet", reason="the twin needs pybullet (extra 'bullet')")


def written(folder: Path, **changes: object) -> str:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **changes}))
    return str(file)


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_opens_and_its_home_is_in_its_workspace(name: str) -> None:
    cell = load_robot(name.removeprefix("robots/"))
    limits = build_arm_limits(cell.model, cell.safety)
    tip = Kinematics(cell.model).compute_tip(list(cell.model.home))
    assert (tip >= limits.box[0]).all(), tip
    assert (tip <= limits.box[1]).all(), tip


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_is_an_arm_that_knows_itself_before_it_is_connected(driver: str) -> None:
    if driver == "bullet":
        need_pybullet()
    model = load_model({"feetech": "so101", "ur": "ur5e", "ros2": "ur5e"}.get(driver, "fr3"))
    arm = make_arm(driver, model, {})
    assert isinstance(arm, Arm)
    assert len(arm.features.joints) == len(model.joints)
    assert arm.features.rate >= 50


def test_a_recipe_of_ones_own_with_settings_laid_over_it(tmp_path: Path) -> None:
    need_pybullet()
    cell = load_robot(written(tmp_path), ["safety.share=0.1", "safety.workspace.floor=0.3"])
    assert cell.safety.share == 0.1
    assert cell.safety.workspace.floor == 0.3
    with cell.open_arm() as arm:
        assert arm.features.model == "fr3"


def test_a_driver_of_ones_own_by_module_and_class(tmp_path: Path) -> None:
    need_pybullet()
    with load_robot(written(tmp_path, driver="robots.bullet:BulletArm")).open_arm() as arm:
        assert type(arm).__name__ == "BulletArm"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"safety": {}}, "workspace"),
        ({"safety": {"workspace": {"lower": [-1, -1], "upper": [1, 1], "ceiling": 1}}}, "floor"),
        ({"drivers": "bullet"}, "(?i)did you mean 'driver'"),
        ({"safety": GOOD["safety"] | {"shar": 0.5}}, "unknown key 'safety.shar'"),
    ],
)
def test_a_recipe_without_what_it_must_say_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        load_robot(written(tmp_path, **changes))
    assert "mine.yaml" in str(raised.value)


def test_unknown_names_come_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown robot 'fr3_twinn': did you mean 'fr3_twin'"):
        load_robot("fr3_twinn")
    with pytest.raises(ModelError, match="did you mean 'fr3'"):
        load_robot(written(tmp_path, model="fr33"))
    for changes, message in (
        ({"driver": "bulet"}, "did you mean 'bullet'"),
        ({"driver": "no.such:Arm"}, "cannot be loaded"),
        ({"options": {"guii": True}}, "(?i)did you mean 'gui'"),
        ({"emulator": "frank"}, "did you mean 'franka'"),
    ):
        with (
            pytest.raises(ConfigError, match=message),
            load_robot(written(tmp_path, **changes)).open_arm(),
        ):
            pass
