"""Matterport3D navigation graphs, as R2R, REVERIE and SOON use them.

Three sources of the same graphs: a folder of `<scan>_connectivity.json` (as the Matterport3D
simulator ships them), the same folder as `connectivity.tar.xz`, or one `navgraph_compact.json.gz`.
Positions are moved from the files' frame (z up) to ours (y up): (x, y, z) -> (x, z, -y). Headings,
clockwise from the files' +y, are thereby clockwise from our -z and keep their value.
"""

from __future__ import annotations

import json
import lzma
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.errors import SceneError, suggest_nearest
from embodied.simulators.annotations import find_file, read_json
from embodied.simulators.graph import GraphWorld
from embodied.simulators.panoramas import ObjectBoxes
from maps.panorama.from_boxes import build_panorama_from_boxes
from maps.panorama.observation import PanoramaObservation

SUFFIX = "_connectivity.json"
FOLDERS = ("mp3d_connectivity", "connectivity", "Matterport3DSimulator/connectivity", ".")
REMEDY = (
    "Get the folder 'connectivity' of github.com/peteanderson80/Matterport3DSimulator and put it "
    "there"
)


@dataclass(frozen=True)
class ConnectivityGraph:
    """One scan: viewpoint names, positions (N, 3) in our frame [m], edges (E, 2)."""

    places: tuple[str, ...]
    positions: NDArray[np.float64]
    edges: NDArray[np.int64]


class ConnectivityFiles:
    """The navigation graphs below a data folder.

    Args:
        root: the data folder.

    Raises:
        SceneError: no graphs there; says where to get them.
    """

    def __init__(self, root: Path) -> None:
        names = []
        for folder in FOLDERS:
            names += [f"{folder}/navgraph_compact.json.gz", f"{folder}/connectivity.tar.xz"]
            plain = root / folder
            if plain.is_dir() and next(plain.glob(f"*{SUFFIX}"), None) is not None:
                self.source = plain
                return
        self.source = find_file(
            root, names, "navigation graphs (Matterport3D connectivity)", REMEDY
        )

    @cached_property
    def scans(self) -> tuple[str, ...]:
        """Names of all scans, sorted."""
        if self.source.is_dir():
            names = [f.name.removesuffix(SUFFIX) for f in self.source.glob(f"*{SUFFIX}")]
        else:
            names = list(self._bundle)
        return tuple(sorted(names))

    def read_graph(self, scan: str) -> ConnectivityGraph:
        """Read one scan's graph.

        Raises:
            SceneError: an unknown scan, or a damaged file; names file and key.
        """
        if scan not in self.scans:
            raise SceneError(
                f"{self.source}: no graph of scan '{scan}' ({len(self.scans)} scans are there); "
                f"{suggest_nearest(scan, self.scans)}"
            )
        plain = self.source.is_dir()
        where = f"{self.source / (scan + SUFFIX)}" if plain else f"{self.source}, scan '{scan}'"
        content = read_json(self.source / (scan + SUFFIX)) if plain else self._bundle[scan]
        try:
            return _released(content) if isinstance(content, list) else _compact(content)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise SceneError(
                f"{where}: a field is missing or garbled ({error!r}); expected per viewpoint "
                "image_id, pose (16 numbers), included, unobstructed"
            ) from error

    @cached_property
    def _bundle(self) -> dict[str, Any]:
        if self.source.suffix != ".xz":
            content = read_json(self.source)
            if not isinstance(content, dict):
                raise SceneError(f"{self.source} must hold {{scan: graph}}")
            return content
        found = {}
        try:
            with tarfile.open(self.source) as archive:
                for member in archive:
                    name = Path(member.name).name
                    file = archive.extractfile(member) if name.endswith(SUFFIX) else None
                    if file is not None:
                        found[name.removesuffix(SUFFIX)] = json.load(file)
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise SceneError(
                f"{self.source} is damaged ({error}); download it again or unpack the folder"
            ) from error
        return found


class ConnectivityWorld(GraphWorld):
    """One Matterport3D scan; what is seen comes from annotated object boxes.

    Args:
        scan: name of the scan.
        graph: its navigation graph.
        boxes: the objects around each viewpoint; None: nothing is seen.
    """

    def __init__(
        self, scan: str, graph: ConnectivityGraph, boxes: ObjectBoxes | None = None
    ) -> None:
        super().__init__(scan, graph.places, graph.positions, graph.edges)
        self._boxes = boxes

    def _perceive(self, place: int) -> PanoramaObservation:
        rows = len(SOS_CATEGORIES)
        if self._boxes is None:
            return build_panorama_from_boxes((), (), (), np.zeros((0, 4)), rows)
        seen = self._boxes.get_visible_objects(self.name, self.places[place])
        return build_panorama_from_boxes(
            seen.objects, seen.names, seen.categories, seen.boxes, rows, seen.canvas
        )


def _released(viewpoints: list[dict[str, Any]]) -> ConnectivityGraph:
    kept = [i for i, v in enumerate(viewpoints) if v["included"]]
    number = {i: n for n, i in enumerate(kept)}
    poses = np.array([viewpoints[i]["pose"] for i in kept], np.float64).reshape(-1, 16)
    edges = [
        (number[i], number[j])
        for i in kept
        for j, free in enumerate(viewpoints[i]["unobstructed"])
        if free and j in number
    ]
    names = tuple(str(viewpoints[i]["image_id"]) for i in kept)
    return ConnectivityGraph(names, _ours(poses), np.array(edges, np.int64).reshape(-1, 2))


def _compact(scan: dict[str, Any]) -> ConnectivityGraph:
    poses = np.array(scan["pose"], np.float64).reshape(-1, 12)
    edges = np.array(scan["edges"], np.int64).reshape(-1, 2)
    if len(poses) != len(scan["id"]):
        raise ValueError(f"{len(scan['id'])} ids but {len(poses)} poses")
    return ConnectivityGraph(tuple(scan["id"]), _ours(poses), edges)


def _ours(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([poses[:, 3], poses[:, 11], -poses[:, 7]], axis=1)
