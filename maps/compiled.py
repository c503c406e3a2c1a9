"""numba's `njit` without the interpreter's lock, cached on disk under a hash of its sources."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])


OURS = ("maps", "embodied", "robots")


class _Announcement(event.Listener):
    """Says once per process that kernels are being compiled, for it takes seconds in silence."""

    said = False

    def on_start(self, event: event.Event) -> None:
        """Numba compiles a function that its cache on disk does not hold."""
        module = str(event.data["dispatcher"].py_func.__module__)
        if not self.said and module.partition(".")[0] in OURS:
            self.said = True
            print(
                f"compiling for this processor, {module} first: up to a minute, and only once, for "
                "numba keeps it on disk",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


@cache
def announce_compiling() -> None:
    """Have a line on stderr say when numba begins to compile our kernels."""
    event.register("numba:compile", _Announcement())


def cached_njit(**options: Any) -> Callable[[Function], Function]:
    """Compile so that other threads go on meanwhile, and cache the result.

    numba only looks at the file a function stands in when it decides whether its cache is fresh, so
    a change in a helper or constant from another file would go unnoticed. The hash of these sources
    in the function's name keeps versions apart.

    Args:
        options: further options of `numba.njit`.
    """
    announce_compiling()

    def decorate(function: Function) -> Function:
        version = hash_sources(Path(function.__code__.co_filename))
        function.__qualname__ = f"{function.__qualname__}_{version}"
        made: Function = numba.njit(cache=True, nogil=True, **options)(function)
        return made

    return decorate


@cache
def hash_sources(file: Path) -> str:
    """Return a short hash of a file and of what its kernels may use: the files it imports, directly
    or not, that lie beside it or hold kernels themselves.
    """
    sources: set[Path] = set()
    _collect(file, sources)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:10]


def _collect(file: Path, sources: set[Path]) -> None:
    if file in sources or not file.is_file():
        return
    sources.add(file)
    root = next(folder for folder in file.parents if not (folder / "__init__.py").is_file())
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for name in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                _collect(file.with_name(f"{name.rpartition('.')[2]}.py"), sources)
                elsewhere = root.joinpath(*name.split(".")).with_suffix(".py")
                if elsewhere.is_file() and b"import cached_njit" in elsewhere.read_bytes():
                    _collect(elsewhere, sources)
