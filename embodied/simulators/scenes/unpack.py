"""Unpack a data archive safely: nothing leaves its folder, nothing half-written stays behind."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from embodied.errors import SceneError

ARCHIVE_SUFFIXES = (".tar.xz", ".tar.gz", ".tgz", ".tar.bz2", ".tar", ".zip")
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Return whether the file's name says it is an archive `unpack_archive` can open."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack_archive(archive: str | Path, target: str | Path, *, progress: bool = True) -> Path:
    """Unpack an archive into a new folder; the folder appears only when everything is in it.

    Args:
        archive: a .tar(.xz, .gz, .bz2) or .zip file.
        target: folder to make; it must not exist yet or be empty.
        progress: show a bar.

    Returns:
        The target folder.

    Raises:
        SceneError: missing, damaged or unsafe archive, or a target that is in the way.
    """
    archive, target = Path(archive).expanduser(), Path(target).expanduser()
    if not archive.is_file():
        raise SceneError(f"{archive}: no such archive. Check the path.")
    if not is_archive(archive):
        raise SceneError(
            f"{archive}: not an archive this can open. Allowed: {', '.join(ARCHIVE_SUFFIXES)}"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SceneError(
            f"{target}: already exists and is not empty. Remove it or give another target."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as cause:
        raise SceneError(
            f"{target}: cannot be written ({cause}). Choose a folder you may write to."
        ) from cause
    try:
        if archive.name.lower().endswith(".zip"):
            _unpack_zip(archive, partial, progress)
        else:
            _unpack_tar(archive, partial, progress)
        partial.chmod(
            0o755
        )  # mkdtemp makes a private folder; an unpacked data set is an ordinary one
        if target.exists():
            target.rmdir()
        partial.replace(target)
    except tarfile.FilterError as cause:
        raise SceneError(
            f"{archive}: refuses to unpack, it tries to write outside its folder ({cause}). "
            "Do not trust this file."
        ) from cause
    except _DAMAGED as cause:
        raise SceneError(
            f"{archive}: cannot be unpacked ({type(cause).__name__}: {cause}). Check the free disk "
            "space, or download the archive again."
        ) from cause
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_tar(archive: Path, folder: Path, progress: bool) -> None:
    with (
        tarfile.open(archive) as tar,
        tqdm(desc=f"unpacking {archive.name}", unit=" files", disable=not progress) as bar,
    ):
        for member in tar:
            tar.extract(member, folder, filter="data")
            bar.update()


def _unpack_zip(archive: Path, folder: Path, progress: bool) -> None:
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        for name in names:
            parts = Path(name.replace("\\", "/")).parts
            if ".." in parts or Path(name).is_absolute():
                raise SceneError(
                    f"{archive}: refuses to unpack, '{name}' lies outside its folder. "
                    "Do not trust this file."
                )
        for name in tqdm(names, desc=f"unpacking {archive.name}", disable=not progress):
            packed.extract(name, folder)
