"""What the guides show works as printed."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import typing
import warnings
from pathlib import Path

import pytest
import trimesh

from embodied import config, registry
from embodied.cli.main import build_parser
from embodied.simulators.houses import generate_house

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "api"
)  # the reference is written by `make docs`
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]


def blocks(file: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)


def run_page(name: str, least: int) -> dict[str, object]:
    """Run the Python blocks of a guide in one session, and return its variables."""
    code = blocks(ROOT / "docs" / name, "python")
    assert len(code) >= least
    session: dict[str, object] = {}
    for number, block in enumerate(code):
        exec(compile(block, f"{name}, block {number + 1}", "exec"), session)  # noqa: S102
    return session


def test_the_simulator_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    session = run_page("simulator.md", least=8)
    text = capsys.readouterr().out
    assert "(12, 96, 96, 3)" in text
    assert session["views"]["rgb"].std() > 5  # type: ignore[index]


def test_the_quickstarts_lines_of_python_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_page("quickstart.md", least=1)
    assert 0 < float(capsys.readouterr().out) <= 1


def test_the_manipulation_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("pybullet", "pyarrow", "ruckig"):
        pytest.importorskip(package, reason=f"{package} is absent; see the extras of setup.py")
    monkeypatch.chdir(tmp_path)
    session = run_page("manipulation.md", least=7)
    text = capsys.readouterr().out
    assert "v3.0 6 " in text
    assert "time is up" in text
    assert session["run"].commands > 10  # type: ignore[attr-defined]


def list_commands() -> list[tuple[str, str]]:
    """Every command line of ours in the guides: from blocks, and whole ones within the text."""
    found = []
    for guide in GUIDES:
        name, text = guide.relative_to(ROOT).as_posix(), guide.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL):
            found += [(name, line.strip()) for line in block.splitlines()]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        found += [(name, line) for line in re.findall(r"`([^`\n]+)`", prose)]
    named = [(name, line.removeprefix(".venv/bin/")) for name, line in found]
    return [(name, line) for name, line in named if re.match(r"embodied [a-z-]", line)]


def split_command(line: str) -> list[str]:
    """The words behind "embodied", without variables of the shell and its redirections."""
    words = shlex.split(line, comments=True)[1:]
    return [word for word in words if not word.startswith("$")]


@pytest.mark.parametrize(("guide", "line"), dict.fromkeys(list_commands()))
def test_every_command_in_a_guide_is_understood(guide: str, line: str) -> None:
    words = split_command(line)
    parser = build_parser()
    if words[0].startswith("-"):
        assert words[0] in parser.format_help()
        return
    options = [word for word in words[1:] if word.startswith("-")]
    if "|" in words or len(words) == 1 + len(options):  # speaks of a command, an option, or several
        (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        for word in words:
            assert (
                word in {*commands.choices, "|"} or word in commands.choices[words[0]].format_help()
            )
        return
    args, rest = parser.parse_known_args(words)
    assert args.command == words[0], guide
    assert not [word for word in rest if word.startswith("-") or "=" not in word]
    for word in words:
        if word.startswith(("nav/", "vln/", "manip/")) and not word.endswith("/..."):
            config.read_recipe(word)
    if args.command == "train" and args.recipe.startswith(("nav/", "vln/", "manip/")):
        build_training(args.recipe, [*args.overrides, *rest])


def build_training(recipe: str, overrides: list[str]) -> None:
    """Build the settings of a training as `embodied train` does; old keys are an error here."""
    overrides = [word for word in overrides if not re.match(r"base=|\w+=[A-Z]+$", word)]
    tree = config.merge(config.read_recipe(recipe), config.parse_overrides(overrides))
    train = registry.resolve("trainer", str(tree.pop("trainer", "ppo")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.build(typing.get_type_hints(train)["config"], tree, source=recipe)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda g: g.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(guide: Path) -> None:
    text = re.sub(r"```.*?```", "", guide.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        place = guide.parent / file if file else guide
        assert place.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, target


def test_every_page_is_on_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = set(re.findall(r"([\w./]+\.md)", site))
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    written = {f"api/{package}.md" for package in reference.list_modules()}
    kept = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}
    assert shown == written | kept


def test_the_readmes_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = generate_house(seed=1, rooms=1)
    stage = trimesh.Trimesh(house.vertices, house.faces, process=False)
    stage.export(tmp_path / "house.glb")
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    for block in blocks(ROOT / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), session)  # noqa: S102
    assert session["images"]["depth"].shape == (16, 128, 128)  # type: ignore[index]


def test_habitats_body_and_camera_run_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    session = run_page("coming_from_habitat.md", least=1)
    assert capsys.readouterr().out.startswith("True 0.0 0.0 ")
    seen = session["in_habitat"]
    assert seen["depth"].shape == (120, 160, 1)  # type: ignore[index]
    assert 0 <= seen["depth"].min() <= seen["depth"].max() <= 1  # type: ignore[index]
    x, _, z, yaw = session["observation"]["pose"]  # type: ignore[index]
    assert seen["gps"].tolist() == [-z, x]  # type: ignore[index]
    assert seen["compass"].tolist() == [yaw]  # type: ignore[index]
