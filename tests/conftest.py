"""What all tests share: where the reference data lies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A shell starts its background jobs deaf to Ctrl-C, and programs that tests start inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of the tests' own, the same in every worker.

    Caches (built houses) fill it, so no test depends on what an earlier run left in the user's.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home = folder / "home"
    home.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        yield home


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
