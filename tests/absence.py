"""Programs that run as if packages or modules of the platform were not there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LEARNING = ("torch", "transformers", "safetensors", "tensorboard")
"""What the extra `train` brings."""

_BLOCK = "import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"  # import then fails
COMMAND = "import sys; from embodied.cli.main import main; sys.exit(main(sys.argv[1:]))"
"""A program that runs `embodied` with the words that follow."""


def program_without(modules: Sequence[str], program: str) -> list[str]:
    """Return the command that runs a Python program without these modules."""
    return [sys.executable, "-c", _BLOCK.format(blocked=tuple(modules)) + program]


def run_without(
    modules: Sequence[str], program: str, *words: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python program without these modules, with words on its command line."""
    return subprocess.run(
        [*program_without(modules, program), *words], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
