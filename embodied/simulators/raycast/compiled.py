"""numba's `njit`, cached on disk under the version of this package's source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba


@cache
def _digest() -> str:
    """Short hash of every source file of this package."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:10]


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Compile without the interpreter's lock and cache the result.

    numba only looks at the file a function stands in when it decides whether its cache is fresh, so
    a change in a helper from another file would go unnoticed. The source's hash in the function's
    name keeps versions apart.

    Args:
        options: further options of `numba.njit`.
    """

    def decorate(function: Any) -> Any:
        function.__qualname__ = f"{function.__qualname__}_{_digest()}"
        return numba.njit(cache=True, nogil=True, **options)(function)

    return decorate


def inlined(**options: Any) -> Callable[[Any], Any]:
    """Compile a helper into each of its callers; the options of `numba.njit` are the caller's."""
    return numba.njit(inline="always", **options)
