"""Objects around Matterport3D viewpoints: REVERIE's boxes and the category of each object's name.

Boxes come as REVERIE releases them: per viewpoint and object the views (0..35) that show it and
its pixel box [left, top, width, height] in each 640 x 480 view; one file for all viewpoints or a
folder with one file each. Objects that no view shows (occluded) are left out. REVERIE annotates
objects within 3 m only.
"""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40, SOS_CATEGORIES, SOS_INDEX
from embodied.errors import SceneError, suggest_nearest
from embodied.simulators.annotations import find_file, read_json
from maps.panorama.canvas import join_boxes, view_boxes_to_canvas
from maps.panorama.observation import VIEWS

BOX_NAMES = (
    "reverie/bboxes_v1.json.gz", "reverie/BBoxes.json", "reverie/BBox", "REVERIE/BBox",
    "REVERIE/BBoxes.json", "BBoxes.json", "BBox",
)  # fmt: skip
MAP_NAMES = (
    "mp3d_semantics/category_mapping.tsv.gz", "mp3d_semantics/category_mapping.tsv",
    "category_mapping.tsv", "category_mapping.tsv.gz", "metadata/category_mapping.tsv",
)  # fmt: skip
UNMAPPED_LIMIT = 0.05
"""Share of names without a category from which on a map does not fit its data."""


def clean_object_name(name: str) -> str:
    """Return an object name in words; the files write '#' for a space."""
    return " ".join(name.replace("#", " ").split())


class CategoryMap:
    """From the raw object names of Matterport3D to the rows of a canvas, by way of mpcat40.

    Args:
        file: `category_mapping.tsv` of the Matterport3D release, plain or gzipped.

    Raises:
        SceneError: missing or damaged file, or one that names a class mpcat40 does not have.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        try:
            data = self.file.read_bytes()
            text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
            rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
        except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
            raise SceneError(f"{self.file} is not a readable category map: {error}") from error
        if not rows or not {"raw_category", "mpcat40"} <= set(rows[0]):
            raise SceneError(f"{self.file} lacks the columns 'raw_category' and 'mpcat40'")
        self.classes: dict[str, str] = {}
        for row in rows:
            name, kind = (
                clean_object_name(row["raw_category"] or ""),
                (row["mpcat40"] or "").strip(),
            )
            if kind not in MPCAT40:
                raise SceneError(
                    f"{self.file}: raw_category '{name}' has mpcat40 '{kind}', which is no class "
                    f"of mpcat40; {suggest_nearest(kind, MPCAT40)}"
                )
            self.classes.setdefault(name, kind)

    @staticmethod
    def from_data_folder(root: Path) -> CategoryMap:
        """Read the map that lies in a data folder.

        Raises:
            SceneError: none there; says where to get it.
        """
        remedy = (
            "Get metadata/category_mapping.tsv of github.com/niessner/Matterport and put it there"
        )
        return CategoryMap(
            find_file(root, MAP_NAMES, "category map (category_mapping.tsv)", remedy)
        )

    def get_row(self, name: str) -> int:
        """Return the canvas row of an object name, -1 for structure (walls, floors, ...).

        Raises:
            SceneError: the map does not hold the name.
        """
        kind = self.classes.get(clean_object_name(name))
        if kind is None:
            raise SceneError(
                f"{self.file}: no raw_category '{clean_object_name(name)}'. Add a line for it, "
                f"or use the "
                "map of the data set's release"
            )
        return SOS_INDEX.get(kind, -1)

    def get_rows(self, names: Iterable[str], source: str, strict: bool = False) -> dict[str, int]:
        """Return the row of every name; names the map lacks get -1 and are reported.

        Args:
            names: raw object names.
            source: where they come from, for the message.
            strict: a missing name is an error instead.

        Raises:
            SceneError: a name is missing and `strict` is set.
        """
        wanted = sorted({clean_object_name(n) for n in names})
        missing = [n for n in wanted if n not in self.classes]
        if missing and strict:
            self.get_row(missing[0])
        if missing:
            share = len(missing) / len(wanted)
            loud = "THE CATEGORY MAP DOES NOT FIT: " if share > UNMAPPED_LIMIT else ""
            warnings.warn(
                f"{loud}{len(missing)} of {len(wanted)} object names of {source} ({share:.1%}) are "
                f"not in {self.file}, e.g. {', '.join(map(repr, missing[:5]))}. Their objects have "
                "no category and leave no trace on any canvas. Use the map of the data set's own "
                "release or add the names to it",
                stacklevel=2,
            )
        classes = self.classes
        return {n: SOS_INDEX.get(classes[n], -1) if n in classes else -1 for n in wanted}


@dataclass(frozen=True)
class VisibleObjects:
    """The visible objects around a viewpoint.

    Attributes:
        objects: (O,) ids.
        names: O names.
        categories: (O,) canvas rows, -1 = none.
        boxes: (O, 4) heading and elevation of the centre, width and height [rad].
        canvas: (K, H, W) from the boxes in the views, where those are known.
    """

    objects: NDArray[np.int64]
    names: tuple[str, ...]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float64]
    canvas: NDArray[np.bool_] | None = None


class ObjectBoxes:
    """The annotated objects of all scans.

    Args:
        source: one file {"<scan>_<viewpoint>": {object id: {name, visible_pos, bbox2d}}}, or a
            folder of `<scan>_<viewpoint>.json` with {viewpoint: {object id: ...}} each.
        categories: from names to canvas rows.
        strict: names without a category are an error, not a warning.

    Raises:
        SceneError: missing or damaged files, boxes that are not finite; names file and key.
    """

    def __init__(self, source: str | Path, categories: CategoryMap, strict: bool = False) -> None:
        self.source = Path(source)
        self._places: dict[tuple[str, str], list[ViewpointObject]] = {}
        self._where: dict[str, dict[int, list[str]]] = {}
        self._known: dict[str, set[int]] = {}
        for file, content in self._files():
            for scan, viewpoint, listed in _viewpoints(content, file):
                where = f"{file}: '{scan}_{viewpoint}'"
                every = list(_entries(listed, where))
                self._known.setdefault(scan, set()).update(e.object_id for e in every)
                entries = [e for e in every if len(e.boxes)]
                self._places[scan, viewpoint] = sorted(entries, key=lambda e: e.object_id)
                for entry in entries:
                    shown = self._where.setdefault(scan, {}).setdefault(entry.object_id, [])
                    shown.append(viewpoint)
        names = {e.name for entries in self._places.values() for e in entries}
        self._rows = categories.get_rows(names, str(self.source), strict)

    @staticmethod
    def from_data_folder(root: Path, strict: bool = False) -> ObjectBoxes:
        """Open the boxes that lie in a data folder.

        Raises:
            SceneError: none there; says where to get them.
        """
        remedy = "Get the BBoxes of github.com/YuankaiQi/REVERIE and put them there"
        source = find_file(root, BOX_NAMES, "object boxes (REVERIE BBoxes)", remedy)
        return ObjectBoxes(source, CategoryMap.from_data_folder(root), strict)

    @staticmethod
    def is_available(root: Path) -> bool:
        """Tell whether there are boxes and a category map in a data folder."""
        return all(any((root / n).exists() for n in names) for names in (BOX_NAMES, MAP_NAMES))

    def get_visible_objects(self, scan: str, viewpoint: str) -> VisibleObjects:
        """Return what is visible from a viewpoint, by rising object id; nothing if unlisted."""
        entries = self._places.get((scan, viewpoint), [])
        rows = np.array([self._rows[e.name] for e in entries], np.int64)
        boxes = np.concatenate([e.boxes for e in entries]) if entries else np.zeros((0, 4))
        canvas = None
        if entries:
            owner = np.repeat(np.arange(len(entries)), [len(e.boxes) for e in entries])
            views = np.array([v for e in entries for v in e.views], np.int64)
            canvas = view_boxes_to_canvas(rows, owner, views, boxes, len(SOS_CATEGORIES))
            boxes = join_boxes(owner, views, boxes)
        ids = np.array([e.object_id for e in entries], np.int64)
        return VisibleObjects(ids, tuple(e.name for e in entries), rows, boxes, canvas)

    def find_viewpoints(self, scan: str, target: int) -> tuple[str, ...]:
        """Return the viewpoints from which an object is visible, () if there is none."""
        return tuple(self._where.get(scan, {}).get(target, ()))

    def is_annotated(self, scan: str, target: int) -> bool:
        """Tell whether an object of this id is annotated in a scan, visible or occluded."""
        return target in self._known.get(scan, ())

    def _files(self) -> Iterator[tuple[Path, Any]]:
        if not self.source.is_dir():
            yield self.source, read_json(self.source)
            return
        for file in sorted(self.source.glob("*.json")):
            scan, _, _ = file.stem.partition("_")
            content = read_json(file)
            try:
                yield file, {f"{scan}_{viewpoint}": v for viewpoint, v in content.items()}
            except AttributeError as error:
                raise SceneError(f"{file} must hold {{viewpoint: {{object id: box}}}}") from error


@dataclass(frozen=True)
class ViewpointObject:
    """One object at one viewpoint: the views that show it and its pixel boxes there, (V, 4)."""

    object_id: int
    name: str
    views: tuple[int, ...]
    boxes: NDArray[np.float64]


def _viewpoints(content: Any, file: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield (scan, viewpoint, its objects)."""
    if not isinstance(content, Mapping):
        raise SceneError(f"{file} must hold {{scan_viewpoint: {{object id: box}}}}")
    for key, value in content.items():
        scan, separator, viewpoint = key.partition("_")
        if not separator or not isinstance(value, Mapping):
            raise SceneError(
                f"{file}: '{key}' must be <scan>_<viewpoint> and hold {{object id: box}}"
            )
        yield scan, viewpoint, value


def _entries(listed: Mapping[str, Any], where: str) -> Iterator[ViewpointObject]:
    """Yield the objects of one viewpoint."""
    for key, item in listed.items():
        try:
            views = tuple(int(v) for v in item["visible_pos"])
            boxes = np.array(item["bbox2d"], np.float64).reshape(-1, 4)
            entry = ViewpointObject(int(key), clean_object_name(item["name"]), views, boxes)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise SceneError(
                f"{where}, object {key}: a field is missing or garbled ({error!r}); expected name, "
                "visible_pos, bbox2d"
            ) from error
        if not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any():
            raise SceneError(
                f"{where}, object {key}: box {boxes.tolist()} must be finite numbers with a "
                "positive width and height. Remove it or download the file again"
            )
        if len(views) != len(boxes) or not all(0 <= v < VIEWS for v in views):
            raise SceneError(
                f"{where}, object {key}: visible_pos {list(views)} needs view numbers in "
                f"0..{VIEWS - 1}, one per box ({len(boxes)})"
            )
        yield entry
