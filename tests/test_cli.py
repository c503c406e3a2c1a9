"""The command line: help, errors, exit codes, and that nothing is half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from embodied.cli import bench
from embodied.cli.main import build_parser, main

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("demo", "train", "eval", "bench", "view", "data")


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "embodied", *words],
        capture_output=True, text=True, env=environment, check=False, **options,
    )  # fmt: skip  # type: ignore[call-overload]


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail as a user's error and return its message."""
    assert main(words) == 2
    out = capsys.readouterr()
    assert any(line.startswith("error: ") for line in out.err.splitlines())
    assert "Traceback" not in out.err
    return out.err


def test_modules_of_a_users_own_are_found_where_it_is_run(tmp_path: Path) -> None:
    """An installed script has its own folder on the path, and not the one it is run in."""
    script, here = tmp_path / "bin" / "start.py", tmp_path / "mine"
    for folder in (script.parent, here):
        folder.mkdir()
    script.write_text("from embodied.cli.main import main\nraise SystemExit(main())\n")
    (here / "standing.py").write_text(
        "import numpy as np\n\n\nclass Standing:\n    def act(self, observations, first):\n"
        "        return np.zeros(len(first), np.int64)\n"
    )
    words = ["eval", "nav/pointnav_random", "policy=standing:Standing", "task.scene.rooms=[1,1]",
             "evaluation.episodes=1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    where = {"capture_output": True, "text": True, "check": False, "env": environment}
    done = subprocess.run([sys.executable, script, *words], cwd=here, **where)
    assert done.returncode == 0, done.stderr
    lost = subprocess.run([sys.executable, script, *words], cwd=tmp_path, **where)
    assert lost.returncode == 2
    assert "in the folder of the module" in lost.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"embodied {command}" in text


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"embodied {c}" in text or f"    {c} " in text for c in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom embodied.cli.main import build_parser\nbuild_parser().format_help()\n"
        "heavy = {'torch', 'numba', 'cv2', 'scipy', 'trimesh', 'av', 'rerun'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_module_runs_and_reports_its_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("embodied ")


@pytest.mark.parametrize("word", ["trian", "--nonsense"])
def test_an_unknown_command_or_option_is_refused(word: str) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([word])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "nav/pointnav_pp0"), "Did you mean 'nav/pointnav_ppo'"),
        (("train", "nav/pointnav_ppo", "train.stepps=3"), "Did you mean 'train.steps'"),
        (("train", "nav/pointnav_ppo", "train.steps=many"), "train.steps = 'many'"),
        (("train", "nav/pointnav_ppo", "--resum"), "'--resume'"),
        (("train", "nav/explore"), "embodied eval nav/explore"),
        (("train", "nav/pointnav_ppo", "trainer=sacc"), "unknown trainer 'sacc'"),
        (("train", "nav/pointnav_ppo", "task.camera.outputs=[rgbd]"), "unknown sensor 'rgbd'"),
        (("train", "nav/pointnav_ppo", "task.camera.width=-1"), "at least 1 pixel"),
        (("eval", "nav/explor"), "Did you mean 'nav/explore'"),
        (("eval", "nav/pointnav_ppo"), "embodied train nav/pointnav_ppo"),
        (("eval", "nav/explore", "taks.max_steps=3"), "Did you mean 'task.max_steps'"),
        (("eval", "nav/explore", "policy=frontir"), "did you mean 'frontier'"),
        (("eval", "nav/explore", "--scene", "gone.glb"), "no scene gone.glb"),
        (("eval", "nav/explore", "stray"), "'stray'"),
        (("demo", "--scene", "gone.glb"), "no scene gone.glb"),
        (("bench", "simm"), "unknown benchmark 'simm'"),
        (("view", "gone"), "no recording in gone"),
        (("data", "unpack", "gone.zip", "there"), "gone.zip"),
    ],
)
def test_a_mistake_gets_one_clear_message(
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *words)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    "words",
    [
        ("train", "nav/pointnav_ppo", "--run", "/proc/run"),
        ("demo", "--out", "/proc/demo"),
        ("eval", "nav/explore", "--json", "/proc/figures.json"),
    ],
)
def test_an_unwritable_place_is_noticed_before_the_work(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    assert "cannot write to the folder /proc" in fails(capsys, *words)
    assert time.monotonic() - begun < 60


def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no checkpoint" in fails(capsys, "eval", str(tmp_path))
    (tmp_path / "meta.json").write_text('{"format": 1')
    assert "meta.json" in fails(capsys, "eval", str(tmp_path))


def test_a_mesh_without_faces_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.obj").write_text("v 0 0 0\nv 1 0 0\n")
    message = fails(capsys, "eval", "nav/explore", "--scene", str(tmp_path / "empty.obj"))
    assert "empty" in message


def test_figures_go_to_one_schema_and_join_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    words = ["eval", "nav/pointnav_random", "evaluation.episodes=4", "task.max_steps=10"]
    words += ["task.scene.rooms=[1,1]", "evaluation.envs=2", "--json", str(file)]
    assert main(words) == 0
    assert main([*words, "--key", "again"]) == 0
    table = capsys.readouterr().out
    assert "95 % interval" in table
    content = json.loads(file.read_text())
    assert {"pointnav_random.success", "again.success", "again.spl"} <= set(content["metrics"])
    entry = content["metrics"]["pointnav_random.success"]
    assert entry["n"] == 4
    assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    assert entry["command"].startswith("embodied eval nav/pointnav_random evaluation.episodes=4")
    assert "--json" not in entry["command"]
    assert len(content["config_digest"]) == 16
    assert content["seeds"] == [0]


def test_bench_writes_what_the_benchmark_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.py").write_text(
        "def run(quick=False):\n"
        "    return {'a': 2.0, 'b': (1.0, 3, (0.5, 1.5)), 'quick': float(quick)}\n"
    )
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    assert main(["bench", "tiny", "--quick", "--json", str(tmp_path / "out.json")]) == 0
    metrics = json.loads((tmp_path / "out.json").read_text())["metrics"]
    assert metrics["a"]["ci95"] == [2.0, 2.0]
    assert metrics["b"] == {
        "value": 1.0, "n": 3, "ci95": [0.5, 1.5], "command": "embodied bench tiny --quick"
    }  # fmt: skip
    assert metrics["quick"]["value"] == 1.0


def test_data_list_names_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (".glb", "scene_instance", "procthor", "semantic.txt"))


def test_data_unpack_unpacks_and_refuses_to_leave_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("content")
    good, bad = tmp_path / "good.tar.gz", tmp_path / "bad.tar.gz"
    with tarfile.open(good, "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "inner/a.txt")
    with tarfile.open(bad, "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "../escaped.txt")
    assert main(["data", "unpack", str(good), str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").rglob("a.txt"))
    fails(capsys, "data", "unpack", str(bad), str(tmp_path / "out2"))
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize("then", ["time.sleep(20)", "raise RuntimeError('half compiled')"])
def test_ctrl_c_in_a_destructor_is_not_lost(tmp_path: Path, then: str) -> None:
    program = f"""
import os, signal, sys, time
from embodied.cli import evaluate, main
class Trap:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
def run(args):
    trap = Trap()
    del trap
    {then}
evaluate.run = run
sys.exit(main.main(["eval", "nav/explore"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted\n"


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "embodied", "eval", "nav/explore", "evaluation.episodes=1000"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
