"""Matterport3D's own files: the `.house` table, and `_semantic.ply` with object ids per face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SceneError

REGION_TYPES: Mapping[str, str] = {
    "a": "bathroom", "b": "bedroom", "c": "closet", "d": "dining room", "e": "entryway",
    "f": "family room", "g": "garage", "h": "hallway", "i": "library", "j": "laundry room",
    "k": "kitchen", "l": "living room", "m": "meeting room", "n": "lounge", "o": "office",
    "p": "porch", "r": "game room", "s": "stairs", "t": "toilet", "u": "utility room",
    "v": "tv room", "w": "gym", "x": "outdoor", "y": "balcony", "z": "other room", "B": "bar",
    "C": "classroom", "D": "dining booth", "S": "spa", "Z": "junk", "-": "no label",
}  # fmt: skip

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass
class MatterportHouse:
    """A `.house` file.

    Attributes:
        objects: object id -> (region, category index).
        categories: category index -> (raw name, mpcat40 name).
        regions: region -> (type, polygon (K, 2) x, z, floor height [m]), turned y up.
    """

    objects: dict[int, tuple[int, int]] = field(default_factory=dict)
    categories: dict[int, tuple[str, str]] = field(default_factory=dict)
    regions: dict[int, tuple[str, NDArray[np.float64] | None, float]] = field(default_factory=dict)


def read_house(path: Path) -> MatterportHouse:
    """Read the O, C, R, S and V rows of a `.house` file (ASCII, z up).

    Raises:
        SceneError: unreadable, or a row with too few columns.
    """
    house = MatterportHouse()
    surfaces: dict[int, int] = {}
    outlines: dict[int, dict[int, list[tuple[float, float]]]] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as cause:
        raise SceneError(f"{path}: cannot be read ({cause}). Download the scan again.") from cause
    if not lines or not lines[0].startswith("ASCII"):
        raise SceneError(
            f"{path}: not a Matterport .house file (its first line is not 'ASCII ...')"
        )
    for number, line in enumerate(lines, start=1):
        kind, *values = line.split() or [""]
        try:
            if kind == "O":
                house.objects[int(values[0])] = (int(values[1]), int(values[2]))
            elif kind == "C":
                raw, general = (values[k].replace("#", " ") for k in (2, 4))
                house.categories[int(values[0])] = (raw, general.replace(" ", "_"))
            elif kind == "R":
                low, high = [float(v) for v in values[8:11]], [float(v) for v in values[11:14]]
                box = [
                    (low[0], -low[1]),
                    (high[0], -low[1]),
                    (high[0], -high[1]),
                    (low[0], -high[1]),
                ]
                label = REGION_TYPES.get(values[4], values[4])
                house.regions[int(values[0])] = (label, np.array(box), low[2])
            elif kind == "S":
                surfaces[int(values[0])] = int(values[1])
            elif kind == "V":
                surface = int(values[1])
                outline = outlines.setdefault(surfaces.get(surface, -1), {})
                outline.setdefault(surface, []).append((float(values[3]), -float(values[4])))
        except (IndexError, ValueError) as cause:
            raise SceneError(
                f"{path}, line {number}: damaged '{kind}' row ({cause}). Download the scan again."
            ) from cause
    for region, by_surface in outlines.items():
        first = by_surface[min(by_surface)]  # a region's first surface is its floor
        if region in house.regions and len(first) >= 3:
            label, _, floor = house.regions[region]
            house.regions[region] = (label, np.array(first), floor)
    return house


def read_object_ids(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read triangles and their object ids from a PLY with a face property `objectId`.

    Returns:
        Corners (F, 3, 3) in the file's axes and ids (F,), -1 where none.

    Raises:
        SceneError: not such a file.
    """
    data = path.read_bytes()
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise SceneError(f"{path}: not a PLY file. Download the scan again.")
    body = data.index(b"\n", end) + 1
    ascii_format, elements = _ply_header(data[:end].decode("ascii", "replace"), path)
    columns = dict(elements["face"][1]) if "face" in elements else {}
    if "objectId" not in columns or "vertex" not in elements:
        raise SceneError(
            f"{path}: its faces carry no 'objectId'. Is it a Matterport *_semantic.ply?"
        )
    try:
        if ascii_format:
            tables = _ascii_tables(data[body:].split(), elements)
        else:
            tables = _binary_tables(data, body, elements)
        vertex, face = tables["vertex"], tables["face"]
        count = face["list_count"]
        if len(face) and not (count == 3).all():
            raise SceneError(f"{path}: has faces that are not triangles; triangulate it")
        points = np.stack([vertex[k] for k in "xyz"], axis=1).astype(np.float64)
        return points[face["list"]], face["objectId"].astype(np.int64)
    except (ValueError, IndexError, KeyError) as cause:
        raise SceneError(f"{path}: damaged or truncated ({cause}). Download it again.") from cause


_Elements = dict[str, tuple[int, list[tuple[str, str]]]]


def _ply_header(text: str, path: Path) -> tuple[bool, _Elements]:
    """Return whether the body is text, and element -> (count, [(property, type)])."""
    elements: _Elements = {}
    order = ""
    name = ""
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            order = words[1]
        elif words[0] == "element":
            name = words[1]
            elements[name] = (int(words[2]), [])
        elif words[0] == "property" and words[1] == "list":
            elements[name][1].append(("list", f"{words[2]} {words[3]}"))
        elif words[0] == "property":
            elements[name][1].append((words[2], words[1]))
    if order not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise SceneError(f"{path}: unknown PLY format '{order}'")
    sign = ">" if order == "binary_big_endian" else "<"
    try:
        typed = {
            key: (
                n,
                [(p, " ".join(sign + _PLY_TYPES[t] for t in kind.split())) for p, kind in props],
            )
            for key, (n, props) in elements.items()
        }
    except KeyError as cause:
        raise SceneError(f"{path}: unknown PLY type {cause}") from cause
    return order == "ascii", typed


def _dtype(properties: list[tuple[str, str]]) -> np.dtype:
    """Return one element's record; a list is taken to hold three items (triangles)."""
    fields: list[tuple] = []
    for name, kind in properties:
        if name == "list":
            count, item = kind.split()
            fields += [("list_count", count), ("list", item, (3,))]
        else:
            fields.append((name, kind))
    return np.dtype(fields)


def _binary_tables(data: bytes, offset: int, elements: _Elements) -> dict[str, NDArray]:
    tables = {}
    for name, (count, properties) in elements.items():
        record = _dtype(properties)
        tables[name] = np.frombuffer(data, record, count, offset)
        offset += count * record.itemsize
    return tables


def _ascii_tables(tokens: list[bytes], elements: _Elements) -> dict[str, NDArray]:
    tables = {}
    at = 0
    for name, (count, properties) in elements.items():
        record = _dtype(properties)
        width = sum(3 if record[k].shape else 1 for k in record.names or ())
        block = np.array(tokens[at : at + count * width], np.float64).reshape(count, width)
        at += count * width
        table = np.empty(count, record)
        column = 0
        for key in record.names or ():
            size = 3 if record[key].shape else 1
            table[key] = block[:, column : column + size] if size == 3 else block[:, column]
            column += size
        tables[name] = table
    return tables
