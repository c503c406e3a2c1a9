"""The installed package holds all of the code, the recipes, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _setup_list(name: str) -> list[str]:
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return list(ast.literal_eval(node.value))
    raise AssertionError(name)


def test_every_package_is_listed() -> None:
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("embodied", "maps", "robots")
        for file in (ROOT / top).rglob("*.py")
    }
    assert found == set(_setup_list("PACKAGES"))


def test_every_base_requirement_is_pinned() -> None:
    pins = {
        line.split("==")[0].lower()
        for line in (ROOT / "configs" / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {r.split(">=")[0].lower() for r in _setup_list("REQUIREMENTS")} <= pins


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77", reason="building needs setuptools 77")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(_copy(folder))]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("embodied_stack-*.whl"))


def _copy(folder: Path) -> Path:
    """A copy of the tracked files: building must not leave anything in the checkout."""
    target = folder / "source"
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    for name in listing.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
    return target


def test_the_wheel_holds_code_recipes_and_page_but_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"embodied", "maps", "robots"}
    assert "embodied/recipes/nav/explore.yaml" in names
    assert "embodied/viz/report.html" in names
    assert "embodied/py.typed" in names


def test_recipes_are_found_in_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from embodied import config\n"
        "assert config.__file__.startswith(sys.argv[1]), config.__file__\n"
        "assert 'nav/pointnav_ppo' in config.list_recipes()\n"
        "assert str(config.find_recipe('nav/explore')).startswith(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
