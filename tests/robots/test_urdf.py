"""One reader of URDFs: what hangs where, and which link or joint is to be corrected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robots.errors import ModelError
from robots.urdf import read_urdf

JOINT = (
    '<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
    '<origin xyz="{xyz}" rpy="0 0 0"/><axis xyz="{axis}"/></joint>'
)


def joint(name: str, parent: str, child: str, **changes: str) -> str:
    values = {"kind": "revolute", "xyz": "0 0 1", "axis": "0 0 2"} | changes
    return JOINT.format(name=name, parent=parent, child=child, **values)


def write(folder: Path, *parts: str, links: str = "abc") -> Path:
    file = folder / "made.urdf"
    named = "".join(f'<link name="{name}"/>' for name in links)
    file.write_text(f'<robot name="made">{named}{"".join(parts)}</robot>')
    return file


def test_links_are_where_their_joints_take_them(tmp_path: Path) -> None:
    slide = joint("slide", "b", "c", kind="prismatic", axis="2 0 0")
    # In the file the child comes before the joint it hangs on.
    urdf = read_urdf(write(tmp_path, slide, joint("turn", "a", "b")))
    assert urdf.root == "a"
    assert [part.name for part in urdf.get_chain("c")] == ["turn", "slide"]
    assert [part.name for part in urdf.get_chain("c", base="b")] == ["slide"]
    assert urdf.find_links_below("b") == {"b", "c"}
    poses = urdf.compute_link_poses({"turn": np.pi / 2, "slide": 0.5})
    assert poses["c"][:3, 3] == pytest.approx([0, 0.5, 2])  # an axis of any length
    assert poses["c"][:3, 0] == pytest.approx([0, 1, 0], abs=1e-12)
    assert urdf.compute_link_poses()["c"][:3, 3] == pytest.approx([0, 0, 2])


def test_meshes_are_found_beside_and_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "arm" / "urdf").mkdir(parents=True)
    (tmp_path / "arm" / "mesh.stl").touch()
    urdf = read_urdf(write(tmp_path / "arm" / "urdf", links="a"))
    for name in ("package://arm/mesh.stl", "mesh.stl", f"file://{tmp_path}/arm/mesh.stl"):
        assert urdf.find_mesh(name) == tmp_path / "arm" / "mesh.stl"
    assert urdf.find_mesh("package://arm/other.stl") is None


@pytest.mark.parametrize(
    ("parts", "links", "message"),
    [
        ([joint("j", "a", "b")], "abc", r"several roots.*'a', 'c'"),
        ([joint("j", "a", "b"), joint("k", "c", "b")], "abc", "'b' has two parents.*'j' and 'k'"),
        ([joint("j", "a", "b"), joint("j", "b", "c")], "abc", "two joints are called 'j'"),
        ([joint("j", "a", "b")], "aab", "two links are called 'a'"),
        ([joint("j", "b", "c"), joint("k", "c", "b")], "abc", "in a circle: 'b', 'c'"),
        ([joint("j", "a", "b"), joint("k", "b", "a")], "ab", "in a circle: 'a', 'b'"),
        ([joint("j", "a", "a")], "a", "in a circle: 'a'"),
        ([joint("j", "a", "x")], "a", "'j' has the child 'x', which is no link"),
        ([joint("j", "a", "b", xyz="0 nan 0")], "ab", "'j': origin xyz = '0 nan 0' must be 3 fini"),
        ([joint("j", "a", "b", xyz="0 0")], "ab", "'j': origin xyz = '0 0' must be 3 finite"),
        ([joint("j", "a", "b", axis="inf 0 0")], "ab", "'j': axis xyz = 'inf 0 0'"),
        ([joint("j", "a", "b", axis="0 0 0")], "ab", "'j': its axis is zero"),
        ([joint("j", "a", "b", kind="revolut")], "ab", "'j' is of .*'revolut': did you mean 'revo"),
        (['<joint name="j" type="fixed"/>'], "a", "'j' lacks parent or child"),
        (
            ['<link name="b"><visual><origin rpy="a b"/></visual></link>'],
            "",
            "link 'b': origin r",
        ),
        (["<link/>"], "", "link number 1 has no name"),
        ([], "", "no links: is it a URDF"),
    ],
)
def test_a_tree_that_does_not_hold_together_names_what_to_correct(
    tmp_path: Path, parts: list[str], links: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        read_urdf(write(tmp_path, *parts, links=links))
    assert "made.urdf" in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [b"<robot>", b'<?xml version="1.0" encoding="klingon"?><robot/>', b"\xff\xfe\x00", b"",
     b'<?xml version="1.0" encoding="shift_jis"?><robot/>'],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.urdf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot read the URDF .*odd\.urdf"):
        read_urdf(file)
    with pytest.raises(ModelError, match="cannot read the URDF"):
        read_urdf(tmp_path / "absent.urdf")
