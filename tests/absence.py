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

# None in sys.modules would do for an import, but packages look there to see what is in use.
_BLOCK = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
for name in {blocked!r}:
    sys.modules.pop(name, None)
"""
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
