"""Run test_habitat_lab.py where habitat-lab can live: in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What the simulator imports; torch and the rest of the base install play no part in it.
NEEDED = (
    "habitat-lab>=0.3.320260507",
    "embreex",
    "gymnasium",
    "lazy-loader",
    "lxml",
    "networkx",
    "pycollada",
    "pydantic",
    "pytest",
    "pyyaml",
    "shapely",
    "trimesh",
)


@pytest.mark.slow
def test_habitat_lab_in_its_own_environment(tmp_path: Path) -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("habitat-lab's only usable release was checked with Python 3.11")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *NEEDED],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "Temporary failure in name resolution" in install.stderr:
        pytest.skip("habitat-lab cannot be downloaded: no network")
    assert install.returncode == 0, install.stderr
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    command = [python, "-m", "pytest", "tests/simulators/test_habitat_lab.py", "-ra"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= 12, done.stdout
