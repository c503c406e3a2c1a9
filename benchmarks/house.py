"""How tidy the source is: lines of the command line, loops, circles, names, files per addition.

What the tests also demand is counted by the tests' own functions, so that figure and test are one.
"""

from __future__ import annotations

import ast
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
TOPS = ("embodied", "maps", "robots")
MOST_FILES = {"policy": 3, "arm": 4, "dataset": 3, "method": 4}
"""Guide -> the most files that its addition may touch."""
TARGETS = {
    "house.cli_lines": 2000,
    "house.env_step_loops": 0,
    "house.import_circles": 0,
    "house.duplicate_classes": 0,
    **{f"house.files_to_add.{guide}": most for guide, most in MOST_FILES.items()},
}


def run(quick: bool = False) -> dict[str, float]:
    """Count; keys `house.*`. There is no shorter run than the whole one."""
    layers, rollout, extend = (
        _load(f"test_{name}") for name in ("layers", "rollout_only", "extend")
    )
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in _sources()}
    loops = [file for file, tree in trees.items() if rollout.find_steps(tree)]
    graph = {
        name: {t for t in layers._imports(name, file) if t in layers.MODULES and t != name}
        for name, file in layers.MODULES.items()
    }
    functions = [name for tree in trees.values() for name in _public_functions(tree.body)]
    classes = Counter(
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    lines = sorted(len(file.read_text(encoding="utf-8").splitlines()) for file in trees)
    results: dict[str, float] = {
        "house.cli_lines": _count_lines(ROOT / "embodied" / "cli"),
        "house.env_step_loops": sum(file != ROOT / rollout.HOME for file in loops),
        "house.import_circles": len(layers.find_circles(graph)),
        "house.duplicate_classes": sum(count > 1 for count in classes.values()),
        "house.one_word_functions": sum("_" not in name for name in functions) / len(functions),
        "house.median_file_lines": lines[len(lines) // 2],
        "house.files_over_400_lines": sum(count > 400 for count in lines),
    }
    for guide in MOST_FILES:
        results[f"house.files_to_add.{guide}"] = len(extend.read_files(guide))
    for key, value in results.items():
        target = f"  (at most {TARGETS[key]})" if key in TARGETS else ""
        print(f"{key:34}{value:10.4g}{target}")
    return results


def _sources() -> list[Path]:
    return [file for top in TOPS for file in sorted((ROOT / top).rglob("*.py"))]


def _count_lines(folder: Path) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in folder.rglob("*.py"))


def _public_functions(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of public functions and methods; properties are nouns and do not count."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            kinds = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            if not (node.name.startswith("_") or "property" in kinds or "setter" in kinds):
                yield node.name


def _load(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / f"{name}.py")))


if __name__ == "__main__":
    run()
