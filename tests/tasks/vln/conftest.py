"""Lets the tests here import `tiny` and `published`, and makes a tiny data folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A data folder with one scan in which every data set has a few episodes."""
    from tiny import write_tiny

    return write_tiny(tmp_path)
