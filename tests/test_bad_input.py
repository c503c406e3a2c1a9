"""Bad input, through the command line: exit code 2, a message that helps, and nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from embodied.cli.main import main
from embodied.errors import NavigationError, SensorError
from embodied.files import UnwritableError, atomic_directory, atomic_write, require_writable
from embodied.simulators.base import AgentSpec, CameraSpec, NoiseSpec
from embodied.simulators.embedded import World

EVAL = ("eval", "nav/explore", "evaluation.episodes=1", "task.max_steps=2")
PLAY = ("eval", "nav/pointnav_random", "evaluation.episodes=1", "task.max_steps=2")
TINY = (
    "train.steps=16", "train.envs=1", "train.rollout=8", "train.ppo_rollout=8",
    "train.imitation_steps=8", "task.scene.rooms=[1,1]",
)  # fmt: skip


def room() -> trimesh.Trimesh:
    """Return a floor of 4 x 4 m."""
    return trimesh.creation.box(bounds=[[-2, -0.2, -2], [2, 0, 2]])


def refused(
    words: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Assert that a command fails as a user's error and leaves every file as it was."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert message in text
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def truncated() -> bytes:
    data = room().export(file_type="glb")
    return data[: len(data) // 2]


SCENES: tuple[tuple[str, bytes | Callable[[], bytes], str], ...] = (
    ("cut.glb", truncated, "The file is damaged"),
    ("empty.glb", b"", "the file is empty"),
    ("page.glb", b"<!DOCTYPE html><html>404</html>", "it holds a web page"),
    ("pointer.ply", b"version https://git-lfs.github.com/spec/v1", "Git-LFS pointer"),
    ("noise.obj", bytes(range(256)) * 9, "holds no triangles"),
    ("points.obj", b"v 0 0 0\nv 1 0 0\n", "holds no triangles"),
    ("nan.obj", b"v 0 0 0\nv 1 0 nan\nv 0 1 0\nf 1 2 3\n", "nan.obj: scene 'nan': 1 of 3 vertices"),
    ("index.obj", b"v 0 0 0\nv 1 0 1\nv 0 1 0\nf 1 2 9\n", "damaged or truncated"),
    ("scene.xyz", b"1 2 3", "unknown scene format '.xyz'"),
    ("wall.obj", b"v 0 0 0\nv 5 0 0\nv 0 5 0\nf 1 2 3\n", "scene 'wall': no navigable area"),
    ("wide.obj", b"v 0 0 0\nv 9e5 0 0\nv 0 0 9e5\nf 1 3 2\n", "often the millimetre"),
    ("house.json", b"[1]", "not a ProcTHOR house"),
    ("a.stage_config.json", b'{"render_asset": "gone.glb"}', "gone.glb does not exist"),
)


@pytest.mark.parametrize(("name", "content", "message"), SCENES, ids=[s[0] for s in SCENES])
def test_a_bad_scene(
    name: str,
    content: bytes | Callable[[], bytes],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content())
    refused((*EVAL, "--scene", name), message, folder, capsys)


def test_a_bad_scene_leaves_no_demo_and_no_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cut.glb").write_bytes(truncated())
    refused(("demo", "--scene", "cut.glb"), "The file is damaged", folder, capsys)
    words = ("train", "nav/pointnav_ppo", *TINY, "task.scene.files=[cut.glb]")
    refused(words, "The file is damaged", folder, capsys)


def test_a_house_is_chosen_by_its_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "houses.jsonl").write_text("{}\n")
    refused((*EVAL, "--scene", "houses.jsonl#7"), "house 7 asked for", folder, capsys)
    refused((*EVAL, "--scene", "gone.jsonl#7"), "no scene gone.jsonl#7", folder, capsys)
    refused((*EVAL, "--scene", ""), "no scene", folder, capsys)


EPISODES = (
    ({"start_position": [0, 9, 0]}, "the start of episode 'e' at (0.00, 9.00, 0.00) is not"),
    ({"start_position": [float("nan"), 0, 0]}, "is not navigable"),
    ({"goals": [{"position": [20, 0, 0]}]}, "no goal can be reached"),
    ({"scene_id": "gone.glb"}, "scene 'gone.glb' not found"),
    ({"start_rotation": [0, 0, 0, 0]}, "not a unit quaternion"),
    ({"goals": []}, "no goal"),
)


@pytest.mark.parametrize(("change", "message"), EPISODES)
def test_a_bad_episode(
    change: dict, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = room().apply_translation((20, 0, 0))
    trimesh.util.concatenate([room(), other]).export(folder / "two.glb")
    episode = {
        "episode_id": "e", "scene_id": "two.glb", "start_position": [0, 0, 0],
        "start_rotation": [0, 0, 0, 1], "goals": [{"position": [1, 0, 1]}],
    }  # fmt: skip
    (folder / "e.json").write_text(json.dumps({"episodes": [episode | change]}))
    words = (*PLAY, "evaluation.envs=1", "task.scene.up=y", "task.scene.episodes=e.json")
    refused(words, message, folder, capsys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("task.camera.outputs=[rgbd]", "unknown sensor 'rgbd'"),
        ("task.camera.outputs=rgb", "task.camera.outputs"),
        ("task.camera.width=-5", "at least 1 pixel"),
        ("task.camera.width=9000000", "at most"),
        ("task.camera.width=abc", "valid integer"),
        ("task.camera.hfov=.nan", "hfov nan"),
        ("task.camera.noise.rgb_sigma=-1", "rgb_sigma = -1.0"),
        ("task.agent.radius=.inf", "radius = inf"),
        ("task.agent.max_climb=-1", "max_climb = -1.0"),
        ("task.success_coverage=7", "success_coverage = 7.0"),
        ("task.scene.rooms=[5,2]", "rooms (5, 2)"),
        ("task.max_stps=3", "Did you mean 'task.max_steps'"),
        ("evaluation.episodes=0", "evaluation.episodes = 0"),
        ("evaluation.seed=-1", "evaluation.seed = -1"),
        ("evaluation.split=tset", "did you mean 'test'"),
        ("policy=os:getcwd", "has no method act"),
    ],
)
def test_a_bad_setting(
    setting: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(("eval", "nav/explore", setting), message, folder, capsys)


@pytest.mark.parametrize("command", [("eval", "nav/explore"), ("bench", "maps")])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("taken/f.json", "cannot write to the folder taken"),
        ("taken", "cannot read results from taken"),
        ("inner", "give the name of a file"),
        ("/dev/full", "give the name of a file"),
    ],
)
def test_figures_that_cannot_be_written_are_noticed_first(
    command: tuple[str, ...],
    file: str,
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "taken").write_text("mine")
    (folder / "inner").mkdir()
    refused((*command, "--json", file), message, folder, capsys)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def full(writer: Callable) -> None:
        with writer(tmp_path / "result"):
            raise OSError(28, "No space left on device")

    for writer in (atomic_write, atomic_directory):
        with pytest.raises(UnwritableError, match="No space left on device"):
            full(writer)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnwritableError, match="it is a device"), atomic_write("/dev/null"):
        pass


def test_checking_a_folder_does_not_make_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UnwritableError, match="cannot write to the folder /proc/a"):
        require_writable("/proc/a")


def test_a_checkpoint_of_something_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("train", "nav/pointnav_ppo", *TINY, "--run", "run")) == 0
    capsys.readouterr()
    words = ("evaluation.episodes=1", "task.max_steps=2")
    message = "trained on other observations"
    refused(("eval", "run", *words, "task.camera.outputs=[rgb]"), message, folder, capsys)
    refused((*EVAL, "policy=recurrent", "checkpoint=run"), message, folder, capsys)
    refused(("train", "nav/pointnav_ppo", "--run", "run"), "already holds", folder, capsys)
    newest = next(p for p in sorted((folder / "run/checkpoints").iterdir())[::-1] if p.is_dir())
    copy = Path(shutil.copytree(newest, folder / "copy"))
    meta = json.loads((copy / "meta.json").read_text())
    (copy / "meta.json").write_text(json.dumps(meta | {"policy": "other"}))
    refused(("eval", "copy", *words), "belongs to the policy 'other'", folder, capsys)
    (copy / "meta.json").write_text(json.dumps(meta))
    (copy / "model.safetensors").write_bytes(b"cut")
    refused(("eval", "copy", *words), "is damaged (model.safetensors", folder, capsys)


def test_the_python_interface_refuses_the_same() -> None:
    for make in (
        lambda: CameraSpec(width=-1),
        lambda: CameraSpec(position=(0.0, float("nan"), 0.0)),
        lambda: NoiseSpec(rgb_sigma=float("nan")),
        lambda: AgentSpec(height=float("inf")),
        lambda: AgentSpec(max_slope=120.0),
    ):
        with pytest.raises(SensorError, match="must"):
            make()


def test_a_start_in_the_air_names_the_agent(tmp_path: Path) -> None:
    room().export(tmp_path / "room.glb")
    with pytest.raises(NavigationError, match=r"agent 1 at \(0.00, 9.00, 0.00\)"):
        World(tmp_path / "room.glb").require_navigable(np.array([[0.0, 0, 0], [0, 9, 0]]))
