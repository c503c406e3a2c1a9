"""The demo end to end: what it promises is there, complete and readable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import pytest
import trimesh

from embodied.cli.main import main
from embodied.viz.recorder import load_recording


def frames(file: Path) -> int:
    with av.open(str(file)) as film:
        return sum(1 for _ in film.decode(video=0))


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two rooms with a gap in the wall between them, as a user's mesh without labels."""

    def box(size: tuple[float, float, float], at: tuple[float, float, float]) -> trimesh.Trimesh:
        return trimesh.creation.box(size, trimesh.transformations.translation_matrix(at))

    parts = [
        box((8, 0.1, 4), (0, -0.05, 0)),
        box((8, 2.5, 0.1), (0, 1.25, -2)), box((8, 2.5, 0.1), (0, 1.25, 2)),
        box((0.1, 2.5, 4), (-4, 1.25, 0)), box((0.1, 2.5, 4), (4, 1.25, 0)),
        box((0.1, 2.5, 2.6), (0, 1.25, -0.7)),
    ]  # fmt: skip
    file = tmp_path / "flat.glb"
    trimesh.util.concatenate(parts).export(file)
    return file


def test_a_users_mesh_is_explored_filmed_and_reported(flat: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--scene", str(flat), "--out", str(out), "tour.max_steps=120"]) == 0
    assert {p.name for p in out.iterdir()} == {
        "config.yaml", "episode.mp4", "recording", "report.html"
    }  # fmt: skip
    page = (out / "report.html").read_text()
    assert "flat.glb" in page
    seen = re.search(r"<b>(\d+) %</b><span>of the floor seen", page)
    assert seen is not None
    assert int(seen[1]) >= 90
    recording = load_recording(out)
    assert len(recording) > 10
    assert frames(out / "episode.mp4") >= len(recording)
    assert "Finding things" not in page  # nothing in the mesh has a name
    assert "unseen houses" not in page  # nothing was trained


def test_a_scene_that_cannot_be_walked_leaves_no_film(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "needle.glb"
    trimesh.creation.box((0.05, 2.0, 0.05)).export(file)
    assert main(["demo", "--scene", str(file), "--out", str(tmp_path / "demo")]) == 2
    assert "navigable" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "demo").iterdir()} <= {"config.yaml"}


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    houses = f"language.training.task.houses.cache={tmp_path / 'houses'}"
    words = ["demo", "--quick", "--out", str(out), "training.train.steps=512", houses]
    assert main(words) == 0
    page = (out / "report.html").read_text()
    for text in ("trained policy", "map planner", "shortest-path expert", "Learning curve"):
        assert text in page
    for text in ("Following instructions", "Meta-Explore", "explore: one step of the explorer"):
        assert text in page
    assert "p(exploit)" in page  # the table of decisions
    assert len(list((out / "traces").glob("*.json"))) == 6
    metrics = json.loads((out / "results.json").read_text())["metrics"]
    assert metrics["demo.expert.success"]["value"] > metrics["demo.random.success"]["value"]
    assert metrics["demo.language.meta_explore.success"]["n"] == 6
    assert frames(out / "episode.mp4") > 50
    capsys.readouterr()
    begun = (out / "report.html").stat().st_mtime_ns
    assert main(words) == 0  # a second call takes up the trained policy
    assert (out / "report.html").stat().st_mtime_ns > begun
    assert len(list(out.glob("training-*"))) == 1
    assert len(list(out.glob("language-*"))) == 1


def test_the_arm_s_demo(tmp_path: Path) -> None:
    out = tmp_path / "arm"
    assert main(["demo", "manip", "--quick", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 2
    for text in ("Before", "After", "too much force", "episodes while exploring"):
        assert text in page
    for name in ("before.mp4", "after.mp4"):
        assert frames(out / name) > 20
    metrics = json.loads((out / "results.json").read_text())["metrics"]
    before, after = (metrics[f"demo.manip.{m}.steps"] for m in ("before", "after"))
    assert before["n"] == after["n"] == 8
    gain = metrics["demo.manip.gain.steps"]["value"]
    assert gain == pytest.approx(after["value"] - before["value"])


def test_the_arm_s_demo_takes_no_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "manip", "--scene", "flat.glb"]) == 2
    assert "its own table" in capsys.readouterr().err
