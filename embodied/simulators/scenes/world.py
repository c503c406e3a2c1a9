"""SDF worlds (Gazebo): posed models of meshes and simple shapes, z up, as the AWS small house."""

from __future__ import annotations

import gzip
import json
import tempfile
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from embodied.errors import SceneError
from embodied.simulators.base import Material, Scene
from embodied.simulators.scenes.builder import Z_UP_TO_Y_UP, MeshPart, SceneBuilder
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.mesh import read_parts, warn_missing
from embodied.simulators.scenes.unpack import is_archive, unpack_archive

WORLD_EXTENSIONS = (".world", ".sdf")
MAX_DEPTH = 32
"""Models nested in one another."""
_LABEL_FILE = "scene_objects.json.gz"


def find_world(folder: Path) -> Path | None:
    """Return the `*.world` of a folder, up to two levels down, or its single archive, or None."""
    for pattern in ("*.world", "worlds/*.world", "*/*.world", "*/worlds/*.world"):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    archives = sorted(p for p in folder.iterdir() if is_archive(p))
    return archives[0] if len(archives) == 1 else None


def load_world(path: Path, labels: Mapping[str, str] | None = None) -> Scene:
    """Load a world file, or an archive holding one.

    Args:
        path: .world/.sdf file or archive.
        labels: model instance name or plain label -> category; else names are read from
            `scene_objects.json.gz` near the file and mapped to mpcat40.

    Raises:
        SceneError: no world inside, damaged XML or a model that cannot be found.
    """
    if is_archive(path):
        with tempfile.TemporaryDirectory(prefix="embodied-world-") as temporary:
            inside = unpack_archive(path, Path(temporary) / "world", progress=False)
            world = find_world(inside)
            if world is None or is_archive(world):
                raise SceneError(f"{path}: holds no *.world file. Give an archive of an SDF world.")
            return _build(world, _plain_labels(path.parent), labels or {}, path)
    for folder in list(path.parents)[:4]:
        if (folder / _LABEL_FILE).is_file():
            return _build(path, _plain_labels(folder), labels or {}, path)
    return _build(path, {}, labels or {}, path)


def _build(
    path: Path, plain: Mapping[str, str], overrides: Mapping[str, str], source: Path
) -> Scene:
    root = _parse(path)
    world = root.find("world")
    models = _Models(path)
    builder = SceneBuilder(path.stem)
    for element in world if world is not None else root:
        if element.tag not in ("model", "include"):
            continue
        name = element.get("name") or element.findtext("name") or models.uri(element)
        label = plain.get(name) or name
        category = overrides.get(name) or overrides.get(label) or to_mpcat40(label)
        if category is None and (uri := models.uri(element)):
            category = to_mpcat40(uri)
        owner = builder.add_object(category, label)
        for part, pose in models.parts(element):
            builder.add_part(part, owner, Z_UP_TO_Y_UP @ pose)
    if models.missing:
        warn_missing(source, models.missing)
    return builder.build_scene()


class _Models:
    """Reads models by URI; every mesh file is read once."""

    def __init__(self, world: Path) -> None:
        self.world = world
        self.missing: list[str] = []
        self._meshes: dict[Path, list[MeshPart]] = {}

    def uri(self, element: ElementTree.Element) -> str:
        """Return the name of the model an element includes, "" when it is written in place."""
        uri = element.findtext("uri") or element.findtext("include/uri") or ""
        return uri.strip().rstrip("/").rpartition("/")[2]

    def parts(
        self,
        element: ElementTree.Element,
        inherited: NDArray[np.float64] | None = None,
        depth: int = 0,
    ) -> Iterator[tuple[MeshPart, NDArray[np.float64]]]:
        """Yield every visual of a `<model>` or `<include>` with its (4, 4) pose in the world."""
        own = _pose(element.find("pose"))
        if element.tag == "include":
            if depth > MAX_DEPTH:
                raise SceneError(f"{self.world}: its models include each other in a circle")
            file = self.resolve(element.findtext("uri") or "", default="model.sdf")
            model = _parse(file).find("model")
            if model is None:
                raise SceneError(f"{file}: has no <model>; not a model description")
            if element.find("pose") is None:  # otherwise the include's pose replaces the model's
                own = _pose(model.find("pose"))
            element = model
        pose = own if inherited is None else inherited @ own
        for child in element:
            if child.tag in ("include", "model"):
                yield from self.parts(child, pose, depth + 1)
            elif child.tag == "link":
                link = pose @ _pose(child.find("pose"))
                for visual in child.findall("visual"):
                    at = link @ _pose(visual.find("pose"))
                    for part, scale in self.visual(visual):
                        yield part, at @ np.diag([*scale, 1.0])

    def visual(self, visual: ElementTree.Element) -> Iterator[tuple[MeshPart, list[float]]]:
        """Yield the parts of a `<visual>` with their scale (3)."""
        geometry = visual.find("geometry")
        mesh = None if geometry is None else geometry.find("mesh")
        if mesh is not None:
            file = self.resolve(mesh.findtext("uri") or "")
            if file not in self._meshes:
                self._meshes[file] = read_parts(file, self.missing)
            scale = [float(v) for v in (mesh.findtext("scale") or "1 1 1").split()]
            for part in self._meshes[file]:
                yield part, scale
            return
        shape = None if geometry is None else _shape(geometry)
        if shape is not None:
            color = [
                float(v) for v in (visual.findtext("material/diffuse") or "0.7 0.7 0.7").split()
            ]
            material = Material((color[0], color[1], color[2]))
            vertices, faces = np.asarray(shape.vertices), np.asarray(shape.faces)
            yield MeshPart(vertices, faces, material=material), [1.0, 1.0, 1.0]

    def resolve(self, uri: str, default: str | None = None) -> Path:
        """Find `model://name/file` (or a folder's `default` file) near the world.

        Raises:
            SceneError: nothing of that name.
        """
        relative = uri.strip().rpartition("://")[2]
        for folder in list(self.world.resolve().parents)[:3]:
            for base in (folder / "models", folder):
                found = base / relative
                if default is not None and found.is_dir():
                    found = found / default
                if found.is_file():
                    return found
        raise SceneError(
            f"{self.world}: '{uri}' is not in a 'models' folder near it. "
            "Unpack the whole world with its models."
        )


def _shape(geometry: ElementTree.Element) -> trimesh.Trimesh | None:
    """Return a sphere, box, cylinder or plane centred at the origin [m], None for anything else."""
    kind = next((child.tag for child in geometry), "")
    if kind == "sphere":
        radius = float(geometry.findtext("sphere/radius") or 0.5)
        return trimesh.creation.icosphere(subdivisions=3, radius=radius)
    if kind == "box":
        extents = [float(v) for v in (geometry.findtext("box/size") or "1 1 1").split()]
        return trimesh.creation.box(extents=extents)
    if kind == "cylinder":
        radius = float(geometry.findtext("cylinder/radius") or 0.5)
        length = float(geometry.findtext("cylinder/length") or 1.0)
        return trimesh.creation.cylinder(radius=radius, height=length, sections=32)
    if kind == "plane":
        x, y = (float(v) / 2 for v in (geometry.findtext("plane/size") or "1 1").split())
        corners = [[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]]
        return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    warnings.warn(f"a visual of shape '{kind}' is left out: not supported", stacklevel=4)
    return None


def _pose(element: ElementTree.Element | None) -> NDArray[np.float64]:
    """Read `x y z roll pitch yaw` [m, rad] as a (4, 4) transform."""
    transform = np.eye(4)
    if element is not None and (element.text or "").strip():
        values = [float(v) for v in (element.text or "").split()]
        transform[:3, 3] = values[:3]
        transform[:3, :3] = Rotation.from_euler("xyz", values[3:6]).as_matrix()
    return transform


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()  # noqa: S314 (no entities are resolved; local data)
    except (ElementTree.ParseError, OSError) as cause:
        raise SceneError(
            f"{path}: cannot be read as XML ({cause}). The file is damaged: unpack it again."
        ) from cause


def _plain_labels(folder: Path) -> dict[str, str]:
    """Return instance name -> plain English label from a folder's `scene_objects.json.gz`."""
    path = folder / _LABEL_FILE
    if not path.is_file():
        return {}
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return {o["name"]: o["label"] for o in json.load(file)["objects"]}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as cause:
        raise SceneError(
            f"{path}: cannot be read as object labels ({cause}). Remove or replace it."
        ) from cause
