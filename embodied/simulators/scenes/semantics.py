"""Scans and their semantics: HM3D (.semantic.glb, .semantic.txt), MP3D (_semantic.ply, .house).

The scan is drawn from its own mesh; each face takes the label of the semantic mesh's nearest face.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from embodied.categories import MPCAT40
from embodied.errors import SceneError
from embodied.simulators.base import Room, Scene
from embodied.simulators.scenes.builder import UP_ROTATIONS, MeshPart, SceneBuilder
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.matterport import read_house, read_object_ids
from embodied.simulators.scenes.mesh import read_parts


@dataclass
class SemanticAnnotations:
    """What a descriptor file says.

    Attributes:
        names: label id -> (category, the annotator's name, room number or None).
        rooms: room number -> (type, polygon (K, 2) x, z or None when unknown, floor height), y up.
        colors: 0xRRGGBB -> label id, for meshes that carry labels as colours.
    """

    names: dict[int, tuple[str, str, int | None]]
    rooms: dict[int, tuple[str, NDArray[np.float64] | None, float]] = field(default_factory=dict)
    colors: dict[int, int] = field(default_factory=dict)


def find_semantic_files(path: Path) -> tuple[Path, Path] | None:
    """Return the semantic mesh and descriptor that belong to a scan, or None."""
    stem = path.name.removesuffix(path.suffix).removesuffix(".basis")
    for mesh, text in (
        (f"{stem}.semantic.glb", f"{stem}.semantic.txt"),
        (f"{stem}_semantic.ply", f"{stem}.house"),
    ):
        pair = path.with_name(mesh), path.with_name(text)
        if path.name not in (mesh, text) and all(p.is_file() for p in pair):
            return pair
    return None


def load_scan(path: Path, up: str | None = None) -> Scene:
    """Load a scan with the semantics beside it; both kinds are z up in their files."""
    files = find_semantic_files(path)
    if files is None:
        raise SceneError(
            f"{path}: no semantics beside it. Expected {path.stem}.semantic.glb and .semantic.txt "
            f"(HM3D), or {path.stem}_semantic.ply and {path.stem}.house (Matterport3D)."
        )
    builder = SceneBuilder(path.stem.removesuffix(".basis"))
    rotation = UP_ROTATIONS[up or "z"]
    parts = [p.get_transformed(rotation) for p in read_parts(path)]
    add_labelled_parts(builder, parts, *files)
    return builder.build_scene()


def add_labelled_parts(
    builder: SceneBuilder,
    parts: list[MeshPart],
    mesh: Path,
    descriptor: Path,
    rotation: NDArray[np.float64] | None = None,
) -> None:
    """Add a scan's parts with the instances of its semantic mesh.

    Args:
        builder: receives geometry, objects and rooms.
        parts: the drawn mesh, y up.
        mesh: the semantic mesh.
        descriptor: its table.
        rotation: (4, 4) of the semantic mesh into y up; None = the axis that fits the scan's box.

    Raises:
        SceneError: a damaged file, or a mesh without labels.
    """
    if mesh.name.endswith(".ply"):
        notes = _from_house(descriptor)
        corners, labels = read_object_ids(mesh)
    else:
        notes = read_hm3d_table(descriptor)
        corners, labels = _colored_faces(mesh, notes.colors)
    drawn = np.concatenate([p.vertices[p.faces].mean(axis=1) for p in parts])
    centers = corners.mean(axis=1)
    if rotation is None:
        rotation = min(
            (UP_ROTATIONS["z"], UP_ROTATIONS["y"]),
            key=lambda r: _misfit(centers @ r[:3, :3].T, drawn),
        )
    centers = centers @ rotation[:3, :3].T
    if len(centers) == len(drawn) and np.allclose(centers, drawn, atol=1e-3):
        found = labels
    else:
        found = labels[cKDTree(centers).query(drawn)[1]]
    owners = _add_objects(builder, notes, found, drawn)
    start = 0
    for part in parts:
        builder.add_part(part, owners[start : start + len(part.faces)])
        start += len(part.faces)


def _add_objects(
    builder: SceneBuilder,
    notes: SemanticAnnotations,
    labels: NDArray[np.int64],
    centers: NDArray[np.floating],
) -> NDArray[np.int32]:
    """Register rooms and the instances that occur; return the (F,) object id of every face."""
    present = [i for i in np.unique(labels).tolist() if i in notes.names]
    numbers = sorted(
        {r for i in present if (r := notes.names[i][2]) is not None} | set(notes.rooms)
    )
    index = {number: len(builder.rooms) + k for k, number in enumerate(numbers)}
    ids = {label: -1 for label in present}
    for label in present:
        category, name, number = notes.names[label]
        room = None if number is None else index[number]
        ids[label] = builder.add_object(category, name, room)
    lookup = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    for label, owner in ids.items():
        lookup[label] = owner
    owners = np.where(labels >= 0, lookup[np.maximum(labels, 0)], 0).astype(np.int32)
    for number in numbers:
        kind, polygon, floor = notes.rooms.get(number, ("room", None, np.nan))
        if polygon is None:  # HM3D names no outline: take the box of what stands in the room
            inside = np.isin(labels, [i for i in present if notes.names[i][2] == number])
            low, high = centers[inside].min(axis=0), centers[inside].max(axis=0)
            polygon = np.array([[low[0], low[2]], [high[0], low[2]], [high[0], high[2]],
                                [low[0], high[2]]], np.float64)  # fmt: skip
            floor = float(low[1])
        builder.rooms.append(Room(kind, polygon, floor))
    return owners


def _misfit(points: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    low = np.abs(points.min(axis=0) - target.min(axis=0)).sum()
    return float(low + np.abs(points.max(axis=0) - target.max(axis=0)).sum())


def read_hm3d_table(path: Path) -> SemanticAnnotations:
    """Read HM3D's `id,RRGGBB,"name",room` lines."""
    notes = SemanticAnnotations({})
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise SceneError(f"{path}: cannot be read ({cause}). Download the scan again.") from cause
    for number, row in enumerate(rows, start=1):
        if len(row) < 4:  # the title line, and blank ones
            continue
        try:
            label, color, room = int(row[0]), int(row[1], 16), int(row[3])
        except ValueError as cause:
            raise SceneError(
                f"{path}, line {number}: {','.join(row)!r} is not "
                f"'id,RRGGBB,\"name\",room' ({cause})"
            ) from cause
        name = row[2].strip()
        notes.names[label] = (to_mpcat40(name) or "unlabeled", name, room if room >= 0 else None)
        notes.colors[color] = label
    if not notes.names:
        raise SceneError(f"{path}: holds no annotation lines. Download the scan again.")
    return notes


def _from_house(path: Path) -> SemanticAnnotations:
    house = read_house(path)
    names: dict[int, tuple[str, str, int | None]] = {}
    for number, (region, category) in house.objects.items():
        raw, general = house.categories.get(category, ("unknown", "unlabeled"))
        known = general if general in MPCAT40 else to_mpcat40(raw) or "unlabeled"
        names[number] = (known, raw, region if region in house.regions else None)
    return SemanticAnnotations(names, dict(house.regions))


def _colored_faces(
    path: Path, colors: dict[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return corners (F, 3, 3) and label ids (F,), -1 unknown, of a mesh painted by label."""
    table = np.array(sorted(colors), np.int64)
    values = np.array([colors[c] for c in table.tolist()], np.int64)
    corners, labels = [], []
    for part in read_parts(path):
        if part.material.texture is not None and part.uv is not None:
            code = _sample(part.material.texture, part.uv[part.faces].mean(axis=1))
        elif part.colors is not None:
            code = part.colors[part.faces[:, 0]].astype(np.int64)
        else:
            raise SceneError(
                f"{path}: neither textures nor vertex colours, so no labels. "
                "Is it the semantic mesh?"
            )
        code = code[:, 0] << 16 | code[:, 1] << 8 | code[:, 2]
        at = np.minimum(np.searchsorted(table, code), len(table) - 1)
        labels.append(np.where(table[at] == code, values[at], -1))
        corners.append(part.vertices[part.faces].astype(np.float64))
    return np.concatenate(corners), np.concatenate(labels)


def _sample(texture: NDArray[np.uint8], uv: NDArray[np.floating]) -> NDArray[np.int64]:
    """Read the nearest texel at (N, 2) coordinates, wrapped, as (N, 3)."""
    height, width = texture.shape[:2]
    column = np.minimum((uv[:, 0] % 1.0 * width).astype(np.int64), width - 1)
    row = np.minimum(((1.0 - uv[:, 1]) % 1.0 * height).astype(np.int64), height - 1)
    return texture[row, column].astype(np.int64)
