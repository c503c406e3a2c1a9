"""Descriptions of arms: complete, and refused with the file and key where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from robots.arm_urdf import read_arm_urdf
from robots.errors import ModelError
from robots.kinematics import Kinematics
from robots.model import FOLDER, list_models, load_model
from robots.urdf import find_urdf

URDF = """<robot name="two">
  <link name="base"/><link name="upper"/><link name="lower"/><link name="tip"/>
  <joint name="a" type="revolute"><parent link="base"/><child link="upper"/>
    <origin xyz="0 0 1" rpy="0 0 0"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="2" velocity="3" effort="4"/></joint>
  <joint name="b" type="{kind}"><parent link="upper"/><child link="lower"/>
    <origin xyz="1 0 0"/><axis xyz="0 0 1"/>{limit}</joint>
  <joint name="c" type="fixed"><parent link="lower"/><child link="tip"/>
    <origin xyz="0 2 0"/></joint>
</robot>"""
LIMIT = '<limit lower="-1" upper="1" velocity="3" effort="4"/>'


def written(folder: Path, kind: str = "revolute", limit: str = LIMIT) -> Path:
    file = folder / "two.urdf"
    file.write_text(URDF.format(kind=kind, limit=limit))
    return file


@pytest.mark.parametrize("name", list_models())
def test_every_shipped_model_loads_names_its_source_and_reaches_from_its_home(name: str) -> None:
    model = load_model(name)
    assert model.name == name
    assert len(model.source) > 40
    reach = sum(sum(abs(v) for v in joint.xyz) for joint in model.joints)
    tip = Kinematics(model).compute_tip(list(model.home))
    assert 0.05 < float((tip**2).sum()) ** 0.5 < reach + 0.5


def test_ur_arms_reach_as_far_as_their_maker_says() -> None:
    for name, reach in (("ur3e", 0.5), ("ur5e", 0.85), ("ur10e", 1.3)):
        # Stretched out level: the maker's reach counts to the wrist.
        x, y, _ = Kinematics(load_model(name)).compute_tip([0.0] * 6)
        assert 0.8 * reach < (x * x + y * y) ** 0.5 < 1.15 * reach


def test_an_unknown_arm_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown arm 'fr4'.*did you mean 'fr3'.*robots/models"):
        load_model("fr4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hom": [0.0]}, "hom"),
        ({"home": [0.0]}, "home has 1 angles for 7 joints"),
        ({"home": [9.0] * 7}, "outside"),
        ({"joints": []}, "home has 7 angles for 0 joints"),
    ],
)
def test_a_bad_description_names_file_and_key(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    tree = yaml.safe_load((FOLDER / "fr3.yaml").read_text()) | change
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(ModelError, match=message) as raised:
        load_model(file)
    assert "mine.yaml" in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("velocity", 0.0), ("jerk", float("inf")), ("lower", 9.0), ("axis", [0, 0, 0])],
)
def test_a_joint_without_room_or_limits_is_refused(tmp_path: Path, key: str, value: object) -> None:
    tree = yaml.safe_load((FOLDER / "fr3.yaml").read_text())
    tree["joints"][2][key] = value
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(ModelError, match="joint3"):
        load_model(file)


def test_a_urdf_becomes_a_model(tmp_path: Path) -> None:
    model = read_arm_urdf(written(tmp_path), "tip", accelerations={"a": 5.0, "b": 6.0}, jerks=7.0)
    first, second = model.joints
    assert (first.lower, first.upper, first.velocity, first.effort) == (-1, 2, 3, 4)
    assert (first.acceleration, second.acceleration, second.jerk) == (5, 6, 7)
    assert Kinematics(model).compute_tip([0.0, 0.0]) == pytest.approx([1, 2, 1])
    # A quarter turn of the first joint about y takes the upper arm from +x to -z.
    assert Kinematics(model).compute_tip([1.5707963, 0.0]) == pytest.approx([0, 2, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "limit", "tool", "message"),
    [
        ("prismatic", LIMIT, "tip", "'b' is prismatic"),
        ("revolute", "", "tip", "'b' has no limits"),
        ("revolute", LIMIT, "tipp", "did you mean 'tip'"),
    ],
)
def test_a_urdf_that_cannot_be_used_says_why(
    tmp_path: Path, kind: str, limit: str, tool: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_arm_urdf(written(tmp_path, kind, limit), tool, accelerations=1.0, jerks=1.0)


def test_missing_urdfs_say_what_to_install_or_give(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pip install no-such-package"):
        find_urdf("no_such_package:arm.urdf")
    with pytest.raises(ModelError, match="no URDF at"):
        find_urdf(str(tmp_path / "arm.urdf"))
    broken = tmp_path / "broken.urdf"
    broken.write_text("<robot>")
    with pytest.raises(ModelError, match="cannot read the URDF"):
        read_arm_urdf(broken, "tip", accelerations=1.0, jerks=1.0)
