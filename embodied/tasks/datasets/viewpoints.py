"""What the adapters of viewpoint data sets (R2R, REVERIE, SOON) share: checks that name the file
and the key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embodied.errors import EmbodiedError, NavigationError
from embodied.simulators.annotations import read_json
from embodied.simulators.graph import GraphWorld


def iter_entries(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, item) for the entries of an annotation file; `where` names file and entry.

    Raises:
        SceneError: a missing or damaged file.
        NavigationError: a file without a list of entries.
    """
    content = read_json(file)
    if not isinstance(content, list) or not content:
        raise NavigationError(f"{file} must hold a list of episodes, and not an empty one")
    for number, item in enumerate(content):
        if not isinstance(item, dict):
            raise NavigationError(f"{file}: item {number} must be a mapping of fields")
        name = item.get("id", item.get("path_id", number))
        yield f"{file}: item {number} (id {name})", item


def require_field(item: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a field of the wanted type.

    Raises:
        NavigationError: the field is missing or of another type.
    """
    value = item.get(key)
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, float) and not math.isfinite(value)):
        raise NavigationError(f"{where}: '{key}' must be a {kind.__name__}, got {value!r}")
    return value


def find_world(worlds: Mapping[str, GraphWorld], scan: str, where: str) -> GraphWorld:
    """Return the world of a scan; its errors also name the entry."""
    try:
        return worlds[scan]
    except EmbodiedError as error:
        raise NavigationError(f"{where}, key 'scan': {error}") from error


def number_viewpoints(
    world: GraphWorld, names: Sequence[Any], key: str, where: str
) -> tuple[int, ...]:
    """Return the place numbers of viewpoint names.

    Raises:
        NavigationError: an unknown viewpoint, or none at all.
    """
    if not names:
        raise NavigationError(f"{where}: '{key}' holds no viewpoint")
    try:
        return tuple(world.get_place_index(name) for name in names)
    except NavigationError as error:
        raise NavigationError(f"{where}, key '{key}': {error}") from error


def clean_instruction(value: Any, key: str, where: str) -> str:
    """Return an instruction without white space around it.

    Raises:
        NavigationError: not a text, or an empty one.
    """
    words = " ".join(value.split()) if isinstance(value, str) else ""
    if not words:
        raise NavigationError(
            f"{where}: '{key}' = {value!r} is empty: an episode needs an instruction. Remove it"
        )
    return words


def measure_path(world: GraphWorld, path: Sequence[int], where: str) -> float:
    """Return the length of an annotated path [m].

    Raises:
        NavigationError: two places of it are not connected at all.
    """
    length = world.compute_walk_length(path)
    if not math.isfinite(length):
        raise NavigationError(f"{where}, key 'path': no way connects its viewpoints")
    return length
