"""Says on the screen what a long command is doing, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def report_stage(text: str) -> Iterator[None]:
    """Name a stage when it begins, and how long it took when it ends."""
    begun = time.monotonic()
    print(f"{text} ...", flush=True)
    yield
    print(f"  done in {time.monotonic() - begun:.0f} s", flush=True)
