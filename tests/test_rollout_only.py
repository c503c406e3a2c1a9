"""Environments are stepped in `embodied.rollout` and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOME = "embodied/rollout.py"


def find_steps(tree: ast.AST) -> list[int]:
    """Return the lines that step an environment: `.step(...)` of something called env, or whose
    answer is taken apart like an environment's. A `step` that passes on to another is none.
    """
    lines = []
    passing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "step"
        for inner in ast.walk(node)
    }
    five = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and (
            len(node.targets[0].elts) == 5
            or any(isinstance(e, ast.Starred) for e in node.targets[0].elts)
        )
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "step"
            and id(node) not in passing
        ):
            owner = ast.unparse(node.func.value).rpartition(".")[2].lower()
            if "env" in owner or id(node) in five:
                lines.append(node.lineno)
    return lines


def test_no_other_module_steps_environments() -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "embodied").rglob("*.py"))
        if find_steps(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == {HOME}


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("while True:\n    env.step(a)", True),
        ("for _ in range(3):\n    over = self._env.step(a)[2]", True),
        ("observation, reward, ended, cut, info = self.world.step(a)", True),
        ("observation, *_ = game.step(a)", True),
        ("optimizer.step()", False),
        ("moved, touched = pathfinder.step(a, b)", False),
        ("def step(self, action):\n    return self.env.step(action)", False),
    ],
)
def test_what_counts_as_stepping(code: str, seen: bool) -> None:
    assert bool(find_steps(ast.parse(code))) == seen
