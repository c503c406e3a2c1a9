"""Nothing we read may run code: no pickle, no numpy objects, no eval of files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = [ROOT / top for top in ("embodied", "maps", "robots", "benchmarks", "tests")]


def _files() -> list[Path]:
    return [file for top in CODE for file in sorted(top.rglob("*.py"))]


def test_ruff_finds_no_pickle_and_no_suppression() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore-noqa"]
    command += ["--select", "S301,S302,S403", *map(str, CODE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _unsafe(tree: ast.AST) -> list[int]:
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if keywords.get("allow_pickle", "False") != "False":
            lines.append(node.lineno)
        if name == "torch.load" and keywords.get("weights_only") != "True":
            lines.append(node.lineno)
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            lines.append(node.lineno)
    return lines


def test_no_call_may_unpickle() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{line}"
        for file in _files()
        for line in _unsafe(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert not found


def test_the_search_sees_unsafe_calls() -> None:
    text = "np.load(f, allow_pickle=True)\ntorch.load(f)\nyaml.load(f)\nnp.load(f)\n"
    assert _unsafe(ast.parse(text)) == [1, 2, 3]
