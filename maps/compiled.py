"""numba's `njit` without the interpreter's lock, cached on disk under a hash of its sources."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def cached_njit(**options: Any) -> Callable[[Function], Function]:
    """Compile so that other threads go on meanwhile, and cache the result.

    numba only looks at the file a function stands in when it decides whether its cache is fresh, so
    a change in a helper or constant from another file would go unnoticed. The hash of these sources
    in the function's name keeps versions apart.

    Args:
        options: further options of `numba.njit`.
    """

    def decorate(function: Function) -> Function:
        version = hash_sources(Path(function.__code__.co_filename))
        function.__qualname__ = f"{function.__qualname__}_{version}"
        made: Function = numba.njit(cache=True, nogil=True, **options)(function)
        return made

    return decorate


@cache
def hash_sources(file: Path) -> str:
    """Return a short hash of a file and of those beside it that it imports, directly or not."""
    sources: set[Path] = set()
    _collect(file, sources)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:10]


def _collect(file: Path, sources: set[Path]) -> None:
    if file in sources or not file.is_file():
        return
    sources.add(file)
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            modules = [(node.module or "").rpartition(".")[2], *(a.name for a in node.names)]
            for name in modules:
                _collect(file.with_name(f"{name}.py"), sources)
