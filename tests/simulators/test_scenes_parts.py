"""Unpacking, names and simple shapes."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import SceneError
from embodied.simulators.base import Material
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.shapes import (
    contains_points,
    make_box,
    make_flat_polygon,
    triangulate_polygon,
)
from embodied.simulators.scenes.unpack import unpack_archive


def tar_with(path, names):
    with tarfile.open(path, "w:xz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))


def test_unpack_tar_and_zip(tmp_path):
    tar_with(tmp_path / "a.tar.xz", ["d/one.txt"])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("d/one.txt", "hello")
    for kind in ("tar.xz", "zip"):
        target = unpack_archive(tmp_path / f"a.{kind}", tmp_path / kind, progress=False)
        assert (target / "d" / "one.txt").read_text() == "hello"
        with pytest.raises(SceneError, match="already exists and is not empty"):
            unpack_archive(tmp_path / f"a.{kind}", target, progress=False)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "d/../../evil.txt"])
def test_unpack_never_leaves_its_folder(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    with zipfile.ZipFile(inner / "a.zip", "w") as packed:
        packed.writestr(name, "x")
    with pytest.raises(SceneError, match="refuses to unpack"):
        unpack_archive(inner / "a.zip", inner / "zip", progress=False)
    if name.startswith("/"):  # tarfile's filter strips the leading slash instead of refusing
        return
    tar_with(inner / "a.tar.xz", [name])
    with pytest.raises(SceneError, match="refuses to unpack"):
        unpack_archive(inner / "a.tar.xz", inner / "tar", progress=False)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar.xz", "a.zip", "inner"]


def test_unpack_damaged_leaves_nothing(tmp_path):
    tar_with(tmp_path / "a.tar.xz", [f"f{i}" for i in range(50)])
    whole = (tmp_path / "a.tar.xz").read_bytes()
    damaged = tmp_path / "b.tar.xz"
    for content in (
        whole[: len(whole) // 2],
        whole[:40] + b"\xff" * 30 + whole[70:],
        b"no archive",
    ):
        damaged.write_bytes(content)
        with pytest.raises(SceneError, match=r"b\.tar\.xz: cannot be unpacked"):
            unpack_archive(damaged, tmp_path / "out", progress=False)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.xz", "b.tar.xz"]


def test_unpack_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(SceneError, match="no such archive"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "x")
    (tmp_path / "a.rar").write_bytes(b"")
    with pytest.raises(SceneError, match="not an archive this can open"):
        unpack_archive(tmp_path / "a.rar", tmp_path / "x")
    tar_with(tmp_path / "a.tar.xz", ["f"])
    with pytest.raises(SceneError, match="cannot be written"):
        unpack_archive(tmp_path / "a.tar.xz", tmp_path / "a.rar" / "x")


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("ArmChair", "chair"), ("kitchen cabinet", "cabinet"), ("cabinet door", "door"),
        ("Bookshelves", "shelving"), ("curtains", "curtain"), ("tv_monitor", "tv_monitor"),
        ("AirconditionerA_01", "appliances"), ("wall / other room", "wall"), ("DOOR FRAME", "door"),
        ("CoffeeTable_03|leg_b", "table"), ("chair_x1", "chair"), ("Cube.001", None), ("", None),
        ("geometry_0", None), ("carpet", "floor"), ("scar", None),
    ],
)  # fmt: skip
def test_names(name, category):
    assert to_mpcat40(name) == category


def test_names_agree_with_matterports_table(shared_data):
    """Weighted by how often a raw name occurs in the scans."""
    with gzip.open(shared_data("mp3d_semantics") / "category_mapping.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    raw, count, general = (rows[0].index(k) for k in ("raw_category", "count", "mpcat40"))
    pairs = [(r[raw], int(r[count]), r[general]) for r in rows[1:]]
    right = sum(n for name, n, general in pairs if to_mpcat40(name) == general)
    assert right / sum(n for _, n, _ in pairs) > 0.93


def test_box_is_closed_and_faces_outwards():
    part = make_box((1, 2, 3), (5, 6, 7))
    corners = part.vertices[part.faces]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volume == pytest.approx(6.0)
    edges = np.sort(part.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def shoelace(points):
    x, y = np.asarray(points, float).T
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


@settings(deadline=None, max_examples=60)
@given(
    radii=st.lists(st.floats(0.3, 3.0), min_size=3, max_size=14),
    clockwise=st.booleans(),
    phase=st.floats(0, 6),
)
def test_triangles_cover_a_star_shaped_polygon(radii, clockwise, phase):
    angles = phase + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]
    points = points[::-1] if clockwise else points
    a, b, c = np.moveaxis(points[triangulate_polygon(points)], 1, 0)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(shoelace(points))


def test_polygon_with_corners_on_straight_sides():
    points = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2], [0, 1]], float)
    a, b, c = np.moveaxis(points[triangulate_polygon(points)], 1, 0)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert areas.sum() == pytest.approx(3.0)
    inside = contains_points(points, np.array([[0.5, 0.5], [1.5, 1.5], [0.5, 1.5], [3, 0.5]]))
    np.testing.assert_array_equal(inside, [True, False, True, False])


@pytest.mark.parametrize("facing", [1, -1])
def test_flat_polygon_faces_up_or_down(facing):
    part = make_flat_polygon(
        np.array([[0, 0], [2, 0], [2, -1], [0, -1.0]]), 0.5, facing, Material()
    )
    a, b, c = np.moveaxis(part.vertices[part.faces], 1, 0)
    normals = np.cross(b - a, c - a)
    assert (normals[:, 1] * facing > 0).all()
    assert (part.vertices[:, 1] == 0.5).all()
