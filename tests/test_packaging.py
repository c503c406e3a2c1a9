"""The installed package holds all of the code, the recipes, and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from embodied.extras import OPTIONAL

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_is_listed() -> None:
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("embodied", "maps", "robots")
        for file in (ROOT / top).rglob("*.py")
    }
    setup = ast.parse((ROOT / "setup.py").read_text())
    listed = next(
        ast.literal_eval(node.value)
        for node in setup.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PACKAGES"
    )
    assert found == set(listed)


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


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode("utf-8"))


def _requirements(wheel: Path) -> list[Requirement]:
    return [Requirement(text) for text in _metadata(wheel).get_all("Requires-Dist", [])]


def _read_pins(name: str) -> dict[str, str]:
    lines = (ROOT / "configs" / name).read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(package): version for package, version in pins}


def _extra_of(requirement: Requirement) -> str:
    found = re.search(r'extra == "([^"]+)"', str(requirement.marker or ""))
    return found[1] if found else ""


def test_requirements_are_pinned_and_the_lowest_versions_are_those_of_setup_py(wheel: Path) -> None:
    pins, lowest = _read_pins("constraints.txt"), _read_pins("constraints-lowest.txt")
    for requirement in _requirements(wheel):
        name = canonicalize_name(requirement.name)
        if _extra_of(requirement) in ("", "train"):
            assert name in pins, name
            assert name in lowest, name
        if name in lowest:
            (bound,) = requirement.specifier
            assert bound.operator == ">="
            assert Version(lowest[name]) in requirement.specifier
            assert Version(lowest[name]).release[:2] == (*Version(bound.version).release, 0)[:2]


def test_what_an_error_says_about_a_package_is_what_setup_py_says(wheel: Path) -> None:
    """Both know which extra brings a package, and whether it has a wheel on this machine."""
    by_name = {canonicalize_name(r.name): r for r in _requirements(wheel)}
    for package in OPTIONAL.values():
        if package.name == "lerobot":  # it asks for another Python: people install it by itself
            continue
        requirement = by_name[canonicalize_name(package.name)]
        assert _extra_of(requirement) == package.extra
        available = not requirement.marker or requirement.marker.evaluate({"extra": package.extra})
        assert available == package.has_wheel, package.name


def test_the_page_on_an_index_links_to_nothing_beside_it(wheel: Path) -> None:
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(
        str(_metadata(wheel).get_payload())
    )  # fmt: skip
    links = re.findall(r"""(?:href|src)=["']([^"']+)""", page)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#", "mailto:"))] == []


def test_the_source_archive_builds_the_same_wheel(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("source")
    program = "from setuptools import build_meta; build_meta.build_sdist({!r})"
    subprocess.run(
        [sys.executable, "-c", program.format(str(folder))],
        cwd=_copy(folder), check=True, capture_output=True,
    )  # fmt: skip
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(next(folder.glob("*.tar.gz")))], check=True, capture_output=True)
    again = next(folder.glob("*.whl"))
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


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
