"""How this package compiles its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from maps import compiled as shared


def compiled(**options: Any) -> Callable[[Any], Any]:
    """Compile as `maps.compiled` does; untyped, as kernels are called with unpacked tuples."""
    return shared.cached_njit(**options)


def inlined(**options: Any) -> Callable[[Any], Any]:
    """Compile a helper into each of its callers; the options of `numba.njit` are the caller's."""
    return numba.njit(inline="always", **options)
