"""Run what needs LeRobot 0.4.4 where it can live: in an environment of its own, kept for later.

It takes about 8 GB: the torch that LeRobot 0.4.4 allows comes from PyPI with CUDA.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Within the bounds of lerobot 0.4.4's own metadata. What it demands but needs neither for reading
# data sets nor for robots (diffusers, wandb, rerun, ...) is left out; torchvision decodes videos.
LEROBOT = "lerobot==0.4.4"
NEEDED = (
    "torch==2.10.0",
    "torchvision==0.25.0",
    "accelerate>=1.10,<2",
    "av>=15,<16",
    "datasets>=4,<5",
    "deepdiff>=7,<9",
    "draccus==0.10.0",
    "einops>=0.8,<0.9",
    "gymnasium>=1.1.1,<2",
    "huggingface-hub>=0.34.2,<0.36",
    "imageio>=2.34,<3",
    "jsonlines>=4,<5",
    "opencv-python-headless>=4.9,<4.13",
    "packaging<26",
    "pyserial>=3.5,<4",
    "termcolor>=2.4,<4",
    # Ours.
    "feetech-servo-sdk",
    "mcap>=1.2",
    "numba>=0.60",
    "pydantic",
    "pytest",
    "pyyaml",
    "ruckig",
)


def environment() -> Path:
    """Return the Python of an environment with LeRobot in the user's cache; make it if need be."""
    # Not the home of the tests' own: this takes minutes and gigabytes.
    home = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "embodied" / "lerobot-venv"
    python, made_of = home / "bin" / "python", home / "made_of.txt"
    wanted = "\n".join((LEROBOT, *NEEDED))
    if made_of.exists() and made_of.read_text() == wanted:
        return python
    venv.create(home, with_pip=True, clear=True)
    for packages in (NEEDED, ("--no-deps", LEROBOT)):
        install = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *packages],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "Temporary failure in name resolution" in install.stderr:
            pytest.skip("LeRobot cannot be downloaded: no network")
        assert install.returncode == 0, install.stderr
    made_of.write_text(wanted)
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "least"),
    [("robots/test_lerobot.py", 20), ("robots/test_lerobot_demonstrations.py", 3)],
)
def test_lerobot_in_its_own_environment(tmp_path: Path, file: str, least: int) -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("lerobot 0.4.4 was checked with Python 3.11")
    command = [environment(), "-m", "pytest", f"tests/{file}", "-ra"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= least, done.stdout
