"""What all tests share: where the reference data lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """Return a folder of reference data beside the checkout, or skip the test with the reason."""
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.exists():
        pytest.skip(f"reference data {folder} is not on this machine")
    return folder


@pytest.fixture(name="shared_data")
def _shared_data() -> Callable[[str], Path]:
    """`shared_data` as a fixture."""
    return shared_data


@pytest.fixture
def repo() -> Path:
    """The root of the checkout."""
    return ROOT
