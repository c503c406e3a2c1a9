"""What the guides show works as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embodied import config
from embodied.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for guide in GUIDES:
        for block in blocks(guide, "sh"):
            for line in block.splitlines():
                words = line.split("#")[0].split()
                if words[:1] == ["embodied"]:
                    found.append((guide.name, words[1:]))
    return found


@pytest.mark.parametrize(("guide", "words"), commands())
def test_every_command_in_a_guide_is_understood(guide: str, words: list[str]) -> None:
    args = build_parser().parse_known_args(words)[0]
    assert args.command == words[0], guide
    for word in words:
        if word.startswith(("nav/", "manip/")):
            config.read_recipe(word)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda g: g.name)
def test_links_between_files_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", guide.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (guide.parent / target).exists(), target
