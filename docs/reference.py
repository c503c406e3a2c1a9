"""Write the pages of the API reference: one a package, from the docstrings of its modules.

`make docs` runs it before it builds the site; the pages (docs/api) are not kept in the repository.
"""

from __future__ import annotations

import ast
import shutil
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "api"
COMMANDS = ("embodied.cli", "embodied.demo")
"""Packages behind the command line, which nobody imports."""

DEPTH = {"embodied": 3, "maps": 2, "robots": 2}
"""How many names of a package's path make a page of its own; deeper ones join their parent's."""


def list_modules() -> dict[str, list[str]]:
    """Return the public modules of each page, both sorted, by the page's package."""
    pages: dict[str, list[str]] = defaultdict(list)
    for top, depth in DEPTH.items():
        for file in sorted((ROOT / top).rglob("*.py")):
            names = file.relative_to(ROOT).with_suffix("").parts
            package = names[:-1]
            if names[-1] == "__main__" or ".".join(names[:2]) in COMMANDS:
                continue
            page = ".".join(package[:depth])
            pages[page].append(".".join(package if names[-1] == "__init__" else names))
    return {page: sorted(modules) for page, modules in pages.items()}


def write_page(package: str, modules: list[str]) -> None:
    """Write one page. A package that only has a docstring gives the sentence below the title."""
    lines = [f"# {package}"]
    for module in modules:
        if _is_bare(module):
            lines += ["", ast.get_docstring(_parse(module)) or ""] if module == package else []
        else:
            lines += ["", f"::: {module}"]
    (PAGES / f"{package}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _parse(module: str) -> ast.Module:
    file = ROOT.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _is_bare(module: str) -> bool:
    """Tell whether a module holds nothing of its own: a docstring, imports, the list of exports."""
    for node in _parse(module).body:
        exports = isinstance(node, ast.Assign) and "__all__" in ast.unparse(node.targets[0])
        if not exports and not isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom)):
            return False
    return True


def main() -> None:
    """Write every page."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    for package, modules in list_modules().items():
        write_page(package, modules)


if __name__ == "__main__":
    main()
