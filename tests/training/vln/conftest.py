"""Lets the tests here import `miniature`, and makes its data folder once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three small scans."""
    from miniature import write_miniature

    return write_miniature(tmp_path_factory.mktemp("data"))
