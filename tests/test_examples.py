"""The scripts of examples/, run as a reader would run them, only shorter."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples"

# Clocks of a busy machine: what is late there is late by seconds.
CALM = ("safety.state_age=3.0", "safety.command_age=3.0", "safety.observation_age=3.0")


def in_seconds(name: str, needs: str, argv: tuple[str, ...], check: Callable[[Any], bool]) -> Any:
    return pytest.param(name, needs, argv, check, id=name)


def in_minutes(name: str, needs: str, argv: tuple[str, ...], check: Callable[[Any], bool]) -> Any:
    return pytest.param(name, needs, argv, check, id=name, marks=pytest.mark.slow)


# name, packages it needs beyond the base, arguments, what must hold of its result
RUNS = [
    in_seconds("own_mesh", "", ("--steps", "60"), lambda coverage: 0.3 < coverage <= 1),
    in_seconds("own_reward", "", ("--episodes", "1"), lambda returns: returns[0] > returns[1]),
    in_seconds(
        "own_policy", "", ("evaluation.episodes=6",),
        lambda success: success["map_planner"] >= success["own_policy:BeeLinePolicy"] > 0,
    ),
    in_seconds("arm_without_policy", "pybullet mcap", CALM, lambda kept: kept is True),
    in_seconds(
        "serve_and_deploy", "pybullet", ("--seconds", "2", *CALM),
        lambda counts: counts["allowed"] > 10,
    ),
    in_minutes(
        "stable_baselines3_ppo", "pybullet stable_baselines3", ("--steps", "1024"),
        lambda mean: 0 < mean < 60,  # of 60 steps, each worth less than 1
    ),
    in_minutes(
        "record_and_train_sc_vla", "pybullet pyarrow torch",
        ("--episodes", "4", "--steps", "10", "--size", "32"), lambda success: 0 <= success <= 1,
    ),
    in_minutes("stock_habitat_lab", "habitat", (), lambda success: success == 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "needs", "argv", "check"), RUNS)
def test_it_runs(
    name: str, needs: str, argv: tuple[str, ...], check: Callable[[Any], bool],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for package in needs.split():
        if importlib.util.find_spec(package) is None:  # not imported: habitat wants to be second
            pytest.skip(f"examples/{name}.py needs {package}")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    result = importlib.import_module(name).main(argv)
    assert check(result), result


FILES = sorted(FOLDER.glob("*.py"))


def test_every_example_is_run_and_listed() -> None:
    names = {file.stem for file in FILES}
    assert names == {run.values[0] for run in RUNS}
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert names == set(re.findall(r"examples/(\w+)\.py", page))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_short_and_says_what_it_takes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    first = tree.body[0]
    doc = ast.get_docstring(tree) or ""
    assert f"python examples/{file.name}" in doc
    assert re.search(r"Takes .*(second|minute)", doc)
    code = [line for line in text.splitlines()[first.end_lineno :] if line.strip()]
    assert 20 <= len(code) <= 60
