"""Bad input of arms, as a user meets it: a line that says what is wrong, and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="the tasks need pybullet (extra 'bullet')")
pytest.importorskip("pyarrow", reason="data sets need pyarrow (extra 'lerobot-export')")

from embodied.cli.main import main  # noqa: E402
from embodied.simulators.bullet import SimulationError  # noqa: E402
from embodied.tasks.datasets.lerobot import read_dataset  # noqa: E402
from embodied.tasks.tabletop import TabletopVectorEnv  # noqa: E402
from embodied.training.checkpoint import find_checkpoint, load_policy  # noqa: E402
from embodied.training.manipulation.trainer import train  # noqa: E402
from robots.urdf import find_urdf  # noqa: E402
from tests.tasks.datasets.lerobot_sets import CAMERAS, make_set  # noqa: E402
from tests.test_bad_input import refused  # noqa: E402
from tests.training.manipulation.miniature import miniature  # noqa: E402

TRAIN = ("train", "manip/sc_vla_pick", "--run", "run")
SMALL = (
    "tasks=[reach]", "task.width=32", "task.height=32", "task.level=0", "task.max_steps=30",
    "demonstrations.envs=2", "demonstrations.episodes=4", "demonstrations.push=0",
    "policy.backbone.tiny={width: 32, channels: [8, 16]}", "policy.sc_vla={width: 32, layers: 3}",
    "train={steps: 4, batch: 4, log_every: 2, validate_every: 2, validate_episodes: 1}",
)  # fmt: skip
PANDA = "pybullet_data:franka_panda/panda.urdf"

Folder = Path
Text = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that took seconds."""
    run = tmp_path_factory.mktemp("runs") / "reach"
    train(miniature(), run, quiet=True)
    return run


@pytest.fixture
def run(trained: Path, folder: Path) -> Path:
    """A copy of it in the working folder."""
    return Path(shutil.copytree(trained, folder / "run"))


# -- robots ---------------------------------------------------------------------------------------


def stiff(text: str) -> str:
    return text.replace('"panda_joint7" type="revolute"', '"wrist" type="fixed"')


URDFS: tuple[tuple[str, Callable[[str], str] | None, str], ...] = (
    ("absent", None, "there is no URDF at 'arm.urdf'"),
    ("meshes", lambda text: text, "Missing beside or above it: "),
    ("joints", stiff, "no joint 'panda_joint7', and 6 moving joints lead to"),
    ("cut", lambda text: text[: len(text) // 2], "cannot read the URDF arm.urdf"),
)


@pytest.mark.parametrize(("change", "message"), [u[1:] for u in URDFS], ids=[u[0] for u in URDFS])
def test_a_urdf_that_is_not_one_of_the_arm(
    change: Callable[[str], str] | None, message: str, folder: Folder, capsys: Text
) -> None:
    if change is not None:
        (folder / "arm.urdf").write_text(change(find_urdf(PANDA).read_text()))
    refused((*TRAIN, *SMALL, "task.urdf=arm.urdf"), message, folder, capsys)


def test_an_unknown_robot_or_task(run: Path, folder: Folder, capsys: Text) -> None:
    hint = "did you mean 'panda'?"
    refused((*TRAIN[:2], "--run", "new", *SMALL, "task.robot=pandu"), hint, folder, capsys)
    refused(("eval", "run", "task.robot=pandu"), hint, folder, capsys)
    refused(("eval", "run", "tasks=[pik]"), "did you mean 'pick'?", folder, capsys)
    refused(("eval", "run", "task.disturbance=heavy"), "task.disturbance", folder, capsys)


# -- physics --------------------------------------------------------------------------------------


def weights_of_nan(run: Path) -> None:
    """Spoil the newest checkpoint so that nothing but its numbers is wrong."""
    from safetensors.torch import load_file, save_file

    from embodied.training.checkpoint import file_digest

    folder = find_checkpoint(run)
    file = folder / "model.safetensors"
    tensors = {name: values * float("nan") for name, values in load_file(file).items()}
    save_file(tensors, file)
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"][file.name] = file_digest(file)
    (folder / "meta.json").write_text(json.dumps(meta))


def test_a_policy_that_answers_nan(run: Path, folder: Folder, capsys: Text) -> None:
    weights_of_nan(run)
    message = "action of environment 0 holds NaN or infinity"
    refused(("eval", "run", "--json", "f.json", "--video", "f.mp4"), message, folder, capsys)


@pytest.mark.parametrize("what", ["cube", "robot"])
def test_after_diverged_physics_the_environment_can_be_used_again(what: str) -> None:
    settings = {"observation": "rgb", "width": 32, "height": 32, "privileged": True}
    env = TabletopVectorEnv(2, task="pick", **settings)
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 2, 7))

    def play() -> list[Mapping[str, Any]]:
        seen, _ = env.reset(seed=3)
        return [seen, *(env.step(action)[0] for action in actions)]

    before = play()
    cell = env.batch.cells[1]
    if what == "cube":
        cell.world.set_pose(cell.task.bodies["cube"], np.array([np.nan, 0, 0, 0, 0, 0, 1]))
    else:
        cell.arm.reset_joints(np.full(7, np.nan))
    with pytest.raises(SimulationError, match=r"physics has diverged.*Reset the environment"):
        env.step(actions[0])
    for seen, wanted in zip(play(), before, strict=True):
        for name in ("state", "objects", "front", "wrist"):
            np.testing.assert_array_equal(seen[name], wanted[name], name)
    env.close()


@pytest.mark.parametrize("away", [1.5, 40.0])
def test_a_thing_that_falls_off_the_table_or_is_thrown_ends_nothing(away: float) -> None:
    env = TabletopVectorEnv(1, task="pick", privileged=True)
    env.reset(seed=0)
    cell = env.batch.cells[0]
    pose = cell.world.get_pose(cell.task.bodies["cube"])
    cell.world.set_pose(cell.task.bodies["cube"], pose + np.array([away, 0, 0, 0, 0, 0, 0]))
    ended = False
    while not ended:
        seen, _, done, cut, infos = env.step(np.zeros((1, 7)))
        assert env.observation_space["objects"].contains(seen["objects"])
        ended = bool(done[0] or cut[0])
    assert not infos["final_info"]["success"][0]
    env.close()


# -- data sets ------------------------------------------------------------------------------------


def rewritten(folder: Path, change: Callable[[Any], Any]) -> None:
    import pyarrow.parquet as parquet

    file = folder / "data/chunk-000/file-000.parquet"
    parquet.write_table(change(parquet.read_table(file)), file)


def spoiled_action(table: Any) -> Any:
    import pyarrow as arrow

    values = np.array(table["action"].to_pylist(), np.float32)
    values[8, 2] = np.nan
    column = arrow.FixedSizeListArray.from_arrays(arrow.array(values.ravel()), 7)
    return table.set_column(table.column_names.index("action"), "action", column)


def cut_film(folder: Path) -> None:
    file = folder / "videos" / CAMERAS[0] / "chunk-000/file-001.mp4"
    file.write_bytes(file.read_bytes()[:-200])


def dropped(folder: Path, name: str) -> None:
    rewritten(folder, lambda table: table.drop_columns([name]))


SETS: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("none", lambda f: shutil.rmtree(f / "meta"), "the folder that holds"),
    ("action", lambda f: dropped(f, "action"), "lack the columns action"),
    ("owner", lambda f: dropped(f, "episode_index"), "no column 'episode_index'"),
    ("rows", lambda f: rewritten(f, lambda t: t.slice(0, 10)), "has 3 rows in the data and 5 in"),
    ("nan", lambda f: rewritten(f, spoiled_action), "'action' of episode 1 holds NaN"),
    ("film", cut_film, "file-001.mp4"),
    ("films", lambda f: shutil.rmtree(f / "videos"), "has no camera"),
    ("words", lambda f: (f / "meta/tasks.parquet").unlink(), "tasks.jsonl"),
)


@pytest.mark.parametrize(("spoil", "message"), [s[1:] for s in SETS], ids=[s[0] for s in SETS])
def test_a_data_set_that_cannot_be_learned_from(
    spoil: Callable[[Path], object], message: str, folder: Folder, capsys: Text
) -> None:
    made = make_set(folder / "set")
    spoil(made)
    words = ("tasks=[]", "demonstrations.sets=[set]")
    refused((*TRAIN, *SMALL, *words), message, folder, capsys)


def test_a_data_set_of_something_else_is_no_demonstration_of_the_task(
    folder: Folder, capsys: Text
) -> None:
    make_set(folder / "demos" / "panda_reach")  # images of 64 x 64
    words = (*TRAIN, *SMALL, "demonstrations.folder=demos")
    refused(words, "Leave task.control, width and height", folder, capsys)


def test_a_loss_that_is_no_number(folder: Folder, capsys: Text) -> None:
    make_set(folder / "set")
    words = (
        "tasks=[]",
        "demonstrations.sets=[set]",
        "train.learning_rate=1e30",
        "train.warmup_steps=0",
    )
    assert main((*TRAIN, *SMALL, *words)) == 2
    assert "train anew with a lower train.learning_rate than 1e+30" in capsys.readouterr().err
    assert not (folder / "run/checkpoints").exists()


# -- recordings -----------------------------------------------------------------------------------


def embodied_at(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "embodied", *words], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def columns(folder: Path) -> Mapping[str, Any]:
    return read_dataset(folder / "run/demonstrations/panda_reach").columns


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_recording_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    long = (*SMALL, "demonstrations.episodes=12")
    other = embodied_at(whole, *TRAIN, *long)
    process = embodied_at(killed, *TRAIN, *long)
    spool, deadline = killed / "run/demonstrations/.panda_reach.episodes", time.monotonic() + 120
    while not len(list(spool.glob("[0-9]*"))) >= 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = {file.name: file.stat().st_mtime_ns for file in spool.glob("[0-9]*")}
    assert 3 <= len(kept) < 12
    assert not (killed / "run/demonstrations/panda_reach").exists()
    again = embodied_at(killed, *TRAIN, *long)
    for one in (other, again):
        _, errors = one.communicate(timeout=300)
        assert one.returncode == 0, errors
    assert same(columns(whole), columns(killed))
    assert not spool.exists()


@pytest.mark.slow
def test_a_recording_that_is_asked_to_stop_says_how_to_go_on(tmp_path: Path) -> None:
    process = embodied_at(tmp_path, *TRAIN, *SMALL, "demonstrations.episodes=400")
    spool, deadline = tmp_path / "run/demonstrations/.panda_reach.episodes", time.monotonic() + 120
    while not list(spool.glob("[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(spool.glob("[0-9]*"))


# -- disks ----------------------------------------------------------------------------------------


def full_at(size: int) -> Callable[[], None]:
    """Refuse files beyond a size [bytes], in the process about to start."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "where"), [(30_000, ".panda_reach.episodes"), (600_000, "checkpoints")]
)
def test_a_full_disk_loses_nothing_that_was_done(tmp_path: Path, size: int, where: str) -> None:
    process = embodied_at(tmp_path, *TRAIN, *SMALL, preexec_fn=full_at(size))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    said = errors.splitlines()[-1]
    assert said.startswith("error: cannot write ")
    assert where in said
    assert "File too large" in said
    assert "Choose another place, make room on the disk" in said
    assert "Traceback" not in errors
    run = tmp_path / "run"
    assert not [f for f in run.rglob("*") if f.suffix == ".new" or f.name.startswith(".0")]
    done = run / "demonstrations/panda_reach/meta/info.json"
    before = done.stat().st_mtime_ns if done.exists() else None
    assert (before is not None) == (where == "checkpoints")
    process = embodied_at(tmp_path, *TRAIN, *SMALL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert before in (None, done.stat().st_mtime_ns)  # not recorded once more
    assert load_policy(run).name == "sc_vla"


# -- checkpoints ----------------------------------------------------------------------------------


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("model.safetensors", cut, "is damaged (model.safetensors: its content does not match"),
        ("model.safetensors", Path.unlink, "is damaged (model.safetensors: the file is missing"),
        ("config.yaml", cut, "is damaged (config.yaml"),
        ("normalization.json", cut, "is damaged (normalization.json"),
        ("meta.json", cut, "is damaged (meta.json"),
    ],
)
def test_a_damaged_checkpoint(
    name: str, spoil: Callable[[Path], Any], message: str, run: Path, folder: Folder, capsys: Text
) -> None:
    spoil(find_checkpoint(run) / name)
    refused(("eval", "run"), message, folder, capsys)
    refused(("eval", "run", "--video", "film.mp4"), message, folder, capsys)
    older = sorted((run / "checkpoints").glob("[0-9]*"))[0]
    assert main(("eval", str(older), "evaluation.episodes=1")) == 0  # as the message advises


def test_a_checkpoint_for_other_images_or_without_its_backbone(
    run: Path, folder: Folder, capsys: Text
) -> None:
    refused(("eval", "run", "task.width=48"), "the policy was made for", folder, capsys)
    words = (*TRAIN[:2], "--run", "new", *SMALL, "policy.backbone.name=gone/away")
    assert main(words) == 2
    assert "gone/away" in capsys.readouterr().err
