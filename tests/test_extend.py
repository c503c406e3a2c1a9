"""The guides of docs/extend, run as they stand: the files they show, and the test among them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "extend"

# Guide -> the most files that its addition may touch.
MOST_FILES = {"policy": 3, "method": 4, "arm": 4, "dataset": 3}
PAGE = 160
"""Lines of a page."""


def read_files(guide: str) -> dict[str, str]:
    """The files a guide shows: name -> content, from code blocks with a title."""
    text = (FOLDER / f"{guide}.md").read_text(encoding="utf-8")
    return dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', text, re.DOTALL))


def test_every_guide_is_run() -> None:
    assert {page.stem for page in FOLDER.glob("*.md")} == set(MOST_FILES)


@pytest.mark.parametrize("guide", MOST_FILES)
def test_it_works_as_shown(guide: str, tmp_path: Path) -> None:
    files = read_files(guide)
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    tests = [name for name in files if name.startswith("test_")]
    assert tests
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        command,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, check=False,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("guide", MOST_FILES)
def test_it_touches_few_files_and_fits_one_page(guide: str) -> None:
    assert 1 < len(read_files(guide)) <= MOST_FILES[guide]
    assert len((FOLDER / f"{guide}.md").read_text(encoding="utf-8").splitlines()) <= PAGE
