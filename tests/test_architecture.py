"""docs/architecture.md says what the tree and the layer test say.

`python tests/test_architecture.py` writes its tables anew.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
LAYERS = ROOT / "tests" / "test_layers.py"
HINT = "run: python tests/test_architecture.py"


def read_table(name: str) -> dict[str, tuple[str, ...]]:
    """A table of tests/test_layers.py, without importing it; BASE is unfolded to "*base*"."""
    for node in ast.parse(LAYERS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            assert isinstance(node.value, ast.Dict)
            rows = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(key): _names(value) for key, value in rows if key}
    raise AssertionError(f"tests/test_layers.py has no table {name}")


def _names(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (f"*{node.id.lower()}*",)
    if isinstance(node, ast.Starred):
        return _names(node.value)
    if isinstance(node, ast.Constant):
        return (f"`{node.value}`",)
    assert isinstance(node, (ast.Tuple, ast.Set)), ast.dump(node)
    return tuple(name for element in node.elts for name in _names(element))


def make_layers() -> str:
    lines = ["| package | may import, besides itself |", "|---|---|"]
    for package, allowed in read_table("MAY_IMPORT").items():
        lines.append(f"| `{package}` | {', '.join(allowed) or 'nothing of ours'} |")
    for package in ("maps", "robots"):
        names = sorted(read_table("ONLY_THIRD_PARTY")[package])
        lines.append(f"| `{package}`, of others | {', '.join(names)} |")
    return "\n".join(lines)


def make_owners() -> str:
    lines = ["| package | only in |", "|---|---|"]
    lines += [f"| `{name}` | {', '.join(places)} |" for name, places in read_table("HEAVY").items()]
    return "\n".join(lines)


TABLES = {"layers": make_layers, "owners": make_owners}


def replace_table(page: str, name: str, table: str) -> str:
    pattern = rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)"
    new, count = re.subn(pattern, lambda m: f"{m[1]}\n{table}\n\n{m[2]}", page, flags=re.DOTALL)
    assert count == 1, name
    return new


def test_the_import_tables_are_those_of_the_layer_test() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        assert replace_table(page, name, make()) == page, f"the table of {name} is old; {HINT}"


def list_folders() -> set[str]:
    """The folders of the page's table "What lives where"."""
    text = PAGE.read_text(encoding="utf-8").split("## What lives where")[1].split("\n## ")[0]
    return {row.rstrip("/") for row in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)}


def test_every_folder_of_the_page_exists_and_every_package_is_there() -> None:
    shown = list_folders()
    assert not [folder for folder in shown if not (ROOT / folder).is_dir()]
    packages = {
        file.parent.relative_to(ROOT)
        for top in ("embodied", "maps", "robots")
        for file in (ROOT / top).rglob("__init__.py")
    }
    # A family's row stands for the methods below it.
    assert {str(p) for p in packages if len(p.parts) <= 2} <= shown
    missing = [p for p in packages if not {str(p), str(p.parent)} & shown]
    assert not missing


def test_what_is_planned_is_not_there_yet() -> None:
    planned = PAGE.read_text(encoding="utf-8").split("## Planned")[1]
    there = [path for path in re.findall(r"`([\w/.]+)`", planned) if (ROOT / path).exists()]
    assert not there, "move these to the table of what lives where"


if __name__ == "__main__":
    content = PAGE.read_text(encoding="utf-8")
    for key, write in TABLES.items():
        content = replace_table(content, key, write())
    PAGE.write_text(content, encoding="utf-8")
