"""Find and read the files data sets are released in, with errors that say what is wrong where."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embodied.errors import SceneError

DEFAULT, SHARED = Path("data"), Path("../shared/data")
"""Where data is looked for when no folder is given, and where if that does not exist."""


def read_json(path: str | Path) -> Any:
    """Return the content of a .json, .json.gz, .jsonl or .jsonl.gz file (a list for .jsonl).

    Raises:
        SceneError: the file is missing, cut off, not gzip or not JSON; names the file.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
        if file.suffix == ".gz" or data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if ".jsonl" in file.suffixes:
            return [json.loads(line) for line in data.splitlines() if line.strip()]
        return json.loads(data)
    except FileNotFoundError as error:
        raise SceneError(f"no file {file}") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise SceneError(
            f"{file} is damaged or of another format ({error}); download it again"
        ) from error


def find_data_folder(data: str | Path) -> Path:
    """Return the folder all data sets lie in.

    Raises:
        SceneError: it does not exist; nor does the fallback of the default beside the checkout.
    """
    folder = Path(data).expanduser()
    for candidate in (folder, SHARED) if folder == DEFAULT else (folder,):
        if candidate.is_dir():
            return candidate
    raise SceneError(
        f"no data folder {folder.absolute()}. Put the data sets there or set task.data to the "
        "folder that holds them"
    )


def find_file(root: Path, names: Sequence[str], what: str, remedy: str) -> Path:
    """Return the first of several file or folder names that exists below a folder.

    Args:
        root: the data folder.
        names: relative paths, preferred first.
        what: what is looked for, for the error message.
        remedy: where to get it, for the error message.

    Raises:
        SceneError: none exists; lists what was tried.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise SceneError(
        f"no {what} below {root}: looked for {', '.join(names)}. {remedy}, or set task.data to the "
        "folder that holds it"
    )
