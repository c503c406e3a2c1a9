"""Maps, robots, the simulator and classical agents need no torch; the rest says what it needs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.absence import COMMAND, LEARNING, ROOT, program_without, run_without

SMALL = ("evaluation.episodes=1", "evaluation.envs=1", "task.max_steps=20")


@pytest.mark.parametrize("recipe", ["nav/explore", "nav/objectnav_frontier", "nav/pointnav_expert"])
def test_classical_agents_are_evaluated(recipe: str, tmp_path: Path) -> None:
    done = run_without(LEARNING, COMMAND, "eval", recipe, *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "episodes" in done.stdout


def test_the_data_command_works(tmp_path: Path) -> None:
    done = run_without(LEARNING, COMMAND, "data", "list", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_arm_is_deployed_and_shown(tmp_path: Path) -> None:
    pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")
    words = ("deploy", "--robot", "fr3_twin", "--policy", "reach", "--seconds", "1")
    done = run_without(LEARNING, COMMAND, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    command = [*program_without(LEARNING, COMMAND), "view", "robot", "fr3_twin"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, text=True,
    ) as shown:  # fmt: skip
        assert shown.stdout
        try:
            assert any(re.search(r"http://\S+", line) for line in shown.stdout)
            shown.send_signal(signal.SIGTERM)
            assert shown.wait(60) == 0
        finally:
            shown.kill()  # leaving this block waits for it


def test_every_module_without_learning_in_it_is_imported() -> None:
    program = """
import importlib, pkgutil, sys
import maps, robots, embodied.simulators, embodied.tasks, embodied.policies.mapping
for package in (maps, robots, embodied.simulators, embodied.tasks, embodied.policies.mapping):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in sys.argv[1:]:
                raise
        except Exception as error:  # habitat-lab and drivers' SDKs may be absent
            if not type(error).__name__.endswith("MissingExtraError"):
                raise
"""
    done = run_without(LEARNING, program, *LEARNING)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("train", "nav/pointnav_ppo"),
        ("train", "vln/meta_explore_houses"),
        ("train", "manip/sc_vla_pick"),
        ("eval", "vln/houses_frontier"),
        ("eval", "manip/sc_vla_pick"),
        ("demo", "--quick"),
        ("demo", "language", "--quick"),
        ("demo", "manip", "--quick"),
        ("serve", "runs/x"),
    ],
    ids=" ".join,
)
def test_what_needs_torch_names_its_extra(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_without(LEARNING, COMMAND, *words, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert 'pip install "embodied-stack[train]"' in done.stderr
    assert "Traceback" not in done.stderr
