"""Write files and folders so that nobody, even after a kill, meets a half-written one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embodied.errors import EmbodiedError


class UnwritableError(EmbodiedError):
    """A folder that cannot be created or written to."""


def ensure_folder(path: str | Path) -> Path:
    """Create a folder with its parents and prove that it can be written to.

    Raises:
        UnwritableError: it exists as a file, or the file system or its permissions refuse.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(f"to the folder {folder}", error) from error
    return folder


def require_writable(path: str | Path) -> None:
    """Check, before the work, that a folder can be created or written to; leave nothing behind.

    Raises:
        UnwritableError: a part of the path is a file, or the file system or its permissions refuse.
    """
    folder = Path(path)
    existing = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _unwritable(f"to the folder {folder}", error) from error


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends without error.

    The temporary name keeps the suffix, because many writers choose their format by it.

    Raises:
        UnwritableError: the folder cannot be written to, the disk is full, or `path` is a folder or
            a device.
    """
    target = Path(path)
    if target.is_dir():
        raise UnwritableError(f"cannot write {target}: it is a folder. Give a file name.")
    if target.exists() and not target.is_file():
        raise UnwritableError(f"cannot write {target}: it is a device, not a file. Give a file.")
    folder = ensure_folder(target.parent)
    temporary = folder / f".{target.stem}.{os.getpid()}.{os.urandom(4).hex()}{target.suffix}"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(folder)
    except OSError as error:
        raise _unwritable(str(target), error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block ends without error.

    A directory cannot be swapped in one system call everywhere, so the old one is first renamed to
    `.<name>.old`; `recover_directory` puts it back should the process die between the two renames.

    Raises:
        UnwritableError: the parent cannot be written to, or `path` is a file.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise UnwritableError(f"cannot write the folder {target}: a file has that name. Remove it.")
    parent = ensure_folder(target.parent)
    recover_directory(target)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".new", dir=parent))
    temporary.chmod(0o755)  # mkdtemp makes it private to one user; the final folder need not be
    old = _old(target)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        _flush(parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _unwritable(str(target), error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_directory(path: str | Path) -> None:
    """Undo an `atomic_directory` killed between its two renames. Readers call this first."""
    target = Path(path)
    old = _old(target)
    if old.is_dir() and not target.exists():
        os.replace(old, target)
    elif old.is_dir():
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _old(target: Path) -> Path:
    return target.parent / f".{target.name}.old"


def _flush(path: Path) -> None:
    """Push a file or folder to the disk, so that a rename never outlives its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(what: str, error: OSError) -> UnwritableError:
    reason = error.strerror or str(error)
    return UnwritableError(
        f"cannot write {what}: {reason}. Choose another place, make room on the disk, or change "
        "the permissions."
    )
