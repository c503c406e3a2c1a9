"""Scene files of many kinds -> `Scene`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SceneError, suggest_nearest
from embodied.simulators.base import Scene
from embodied.simulators.scenes.habitat import CONFIG_EXTENSIONS, load_habitat
from embodied.simulators.scenes.mesh import MESH_EXTENSIONS, load_mesh
from embodied.simulators.scenes.procthor import HOUSE_EXTENSIONS, load_house
from embodied.simulators.scenes.semantics import find_semantic_files, load_scan
from embodied.simulators.scenes.unpack import ARCHIVE_SUFFIXES, is_archive
from embodied.simulators.scenes.world import WORLD_EXTENSIONS, find_world, load_world

__all__ = ["load_scene"]

Labels = Mapping[str, str] | NDArray[np.int32]


def load_scene(
    path: str | Path, *, up: str | None = None, labels: str | Path | Labels | None = None
) -> Scene:
    """Load a scene; what the path is decides how.

    Args:
        path: one of
            a mesh (.glb, .gltf, .obj, .ply, .dae, .stl, .off), with HM3D or Matterport3D semantics
            when those lie beside it;
            a Habitat config (`*.stage_config.json`, `*.object_config.json`,
            `*.scene_instance.json`, `*.scene_dataset_config.json#SCENE`);
            an SDF world (.world, an archive holding one, or its folder);
            a ProcTHOR house (.json, or one of many: `houses.jsonl.gz#12`).
        up: the file's own up axis, "y" or "z"; None = what the format says: y for meshes and
            Habitat configs without axes, z for scans with semantics. habitat-sim takes a bare
            `.glb` stage as z up: `up="z"` reproduces that.
        labels: names -> categories (a mapping, or a JSON file holding one), or, for a mesh, one
            (instance, mpcat40 class) row per face: (F, 2), or an .npz file with the arrays
            `instance` and `semantic`.

    Raises:
        SceneError: names the file, the cause and a remedy.
    """
    if up not in (None, "y", "z"):
        raise SceneError(f"up='{up}' is not an axis a scene can stand on; use 'y' or 'z'")
    file, selected = Path(path).expanduser(), ""
    if not file.exists():
        head, _, selected = str(file).rpartition("#") if "#" in str(file) else (str(file), "", "")
        file = Path(head)
    if not file.exists():
        raise SceneError(f"{file}: no such file or directory. Check the path.")
    table = _read_labels(labels)
    try:
        return _dispatch(file, selected, up, table)
    except SceneError as cause:
        if file.name in str(cause):
            raise
        raise SceneError(f"{file}: {cause}") from cause
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as cause:
        # a well-formed file with senseless content: report it as what it is for the user
        raise SceneError(
            f"{file}: its content makes no sense ({type(cause).__name__}: {cause}). "
            "Correct the file, or download it again."
        ) from cause


def _dispatch(path: Path, selected: str, up: str | None, table: Labels | None) -> Scene:
    if path.is_dir():
        world = find_world(path)
        if world is None:
            raise SceneError(
                f"{path}: a folder without a *.world file or a single archive of one. "
                "Name the scene file inside it."
            )
        path = world
    extension, name = path.suffix.lower(), path.name.lower()
    if name.endswith(CONFIG_EXTENSIONS):
        return load_habitat(path, selected or None, _names(table, path), up)
    if extension in WORLD_EXTENSIONS or is_archive(path):
        return load_world(path, _names(table, path))
    if extension in MESH_EXTENSIONS:
        if table is None and find_semantic_files(path) is not None:
            return load_scan(path, up)
        return load_mesh(path, up, table)
    if name.endswith(HOUSE_EXTENSIONS):
        return load_house(path, _index(selected, path), _names(table, path))
    known = (*MESH_EXTENSIONS, *WORLD_EXTENSIONS, *HOUSE_EXTENSIONS, *ARCHIVE_SUFFIXES)
    raise SceneError(
        f"{path}: unknown scene format '{extension}'; {suggest_nearest(extension, known)}"
    )


def _index(selected: str, path: Path) -> int:
    if selected and not selected.isdigit():
        raise SceneError(
            f"{path}: '#{selected}' is not the number of a house; give '#0', '#1', ..."
        )
    return int(selected or 0)


def _names(labels: Labels | None, path: Path) -> Mapping[str, str] | None:
    if isinstance(labels, np.ndarray):
        raise SceneError(f"{path}: labels per face belong to single meshes; give names here")
    return labels


def _read_labels(labels: str | Path | Labels | None) -> Labels | None:
    if labels is None or isinstance(labels, Mapping | np.ndarray):
        return labels
    path = Path(labels)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return np.stack([arrays["instance"], arrays["semantic"]], axis=1).astype(np.int32)
        table = json.loads(path.read_text())
    except (OSError, ValueError, KeyError) as cause:
        raise SceneError(
            f"{path}: cannot be read as labels ({cause}). Give JSON {{name: category}} or an .npz "
            "with 'instance' and 'semantic' per face."
        ) from cause
    if not isinstance(table, dict):
        raise SceneError(f"{path}: labels must be a JSON object {{name: category}}")
    return {str(k): str(v) for k, v in table.items()}
