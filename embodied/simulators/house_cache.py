"""Keep built house worlds on disk: one file per house, read in milliseconds."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from embodied.config import digest
from embodied.files import UnwritableError, atomic_write
from embodied.simulators.base import Scene
from embodied.simulators.house_builder import PanoramaSpec, build_house
from embodied.simulators.house_graph import HouseWorld
from embodied.simulators.segments import Segment

CODE_PATHS = (
    "embodied/simulators/houses", "embodied/simulators/navmesh", "embodied/simulators/raycast",
    "embodied/simulators/scenes", "embodied/simulators/waypoints.py",
    "embodied/simulators/house_builder.py", "embodied/simulators/house_graph.py",
    "embodied/simulators/segments.py", "embodied/categories.py", "maps/panorama/from_images.py",
    "maps/panorama/canvas.py", "maps/panorama/observation.py", "maps/panorama/views.py",
    "maps/paths/geodesic.py",
)  # fmt: skip
"""Sources that decide what a world holds: after a change in them kept worlds are made anew."""


def open_house(
    key: dict[str, Any],
    load: Callable[[], Scene],
    spec: PanoramaSpec,
    folder: str | Path | None,
    segment: Segment | None = None,
) -> HouseWorld:
    """Return the world of a scene from its file, or build it and write the file.

    A file that is damaged, or was made by other code or settings, is made anew.

    Args:
        key: plain values that say which scene this is and how it is labelled; "name" is in it.
        load: makes the scene; not called when the file is good.
        spec: density, camera, reach.
        folder: where the files lie; None keeps nothing.
        segment: see `build_house`; which one must show in `key`.
    """
    if folder is None:
        return build_house(load(), spec, segment)
    settings = digest({"key": key, "spec": spec})
    file = Path(folder).expanduser() / f"{_plain(str(key['name']))}-{settings}.npz"
    version = compute_code_digest()
    world = _read(file, str(key["name"]), version)
    if world is None:
        world = build_house(load(), spec, segment)
        try:
            with atomic_write(file) as temporary:
                arrays: dict[str, Any] = {"version": np.array(version), **world.arrays}
                np.savez(temporary, **arrays)
        except UnwritableError as error:
            warnings.warn(f"house is not kept: {error}", stacklevel=2)
    return world


@cache
def compute_code_digest() -> str:
    """Return a hash of the sources that decide what a world holds."""
    root = Path(__file__).resolve().parents[2]
    state = hashlib.sha256()
    for name in CODE_PATHS:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            state.update(file.read_bytes())
    return state.hexdigest()[:16]


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60]


def _read(file: Path, name: str, version: str) -> HouseWorld | None:
    """Return the world a file holds, None if there is none or it is damaged or outdated."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["version"]) != version:
                return None
            return HouseWorld(name, {k: stored[k] for k in stored.files if k != "version"})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
