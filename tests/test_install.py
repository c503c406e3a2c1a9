"""The wheel in a fresh environment outside the checkout: what works without torch, and with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """Run a command and return what it said, after a look at its exit code."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=folder, env=outside, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment that holds the wheel, and PyBullet where that has a wheel."""
    folder = tmp_path_factory.mktemp("install")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    source = folder / "source"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, source, folder=folder)
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, source, folder=folder)
    (wheel,) = folder.glob("embodied_stack-*.whl")
    run(*pip, "install", "-c", ROOT / "configs" / "constraints.txt", f"{wheel}[bullet]",
        folder=folder)  # fmt: skip
    return folder


def test_the_base_runs_without_torch(place: Path) -> None:
    embodied = place / "venv" / "bin" / "embodied"
    run(place / "venv" / "bin" / "python", "-c", "import embodied, maps, robots", folder=place)
    listed = run(place / "venv" / "bin" / "python", "-m", "pip", "list", folder=place)
    assert not {"torch", "transformers", "tensorboard"} & set(listed.split())
    for recipe in ("nav/explore", "nav/objectnav_frontier"):
        small = ("evaluation.episodes=1", "evaluation.envs=1", "task.max_steps=20")
        assert "episodes" in run(embodied, "eval", recipe, *small, folder=place)
    run(embodied, "data", "list", folder=place)
    said = run(embodied, "train", "nav/pointnav_ppo", folder=place, code=2)
    assert 'pip install "embodied-stack[train]"' in said
    if sys.version_info < (3, 12):
        run(embodied, "deploy", "--robot", "fr3_twin", "--policy", "reach", "--seconds", "1",
            folder=place)  # fmt: skip


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="PyBullet has wheels up to Python 3.11")
def test_with_the_extras_a_policy_is_trained_and_refined(place: Path) -> None:
    (wheel,) = place.glob("embodied_stack-*.whl")
    pip = (place / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    pins = ROOT / "configs" / "constraints.txt"
    run(*pip, "install", "-c", pins, f"{wheel}[bullet,lerobot-export,train]", folder=place)
    run(place / "venv" / "bin" / "embodied", "demo", "manip", "--quick", folder=place)
    assert (place / "runs" / "demo_manip" / "report.html").is_file()
