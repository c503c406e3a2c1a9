"""Mesh files through trimesh: whole scene graph, textures, vertex colours, units and axes. Nothing is merged or repaired."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.resolvers import Resolver

from embodied.errors import SceneError, nearest
from embodied.simulators.base import Material, Scene
from embodied.simulators.scenes.builder import Z_UP_TO_Y_UP, MeshPart, SceneBuilder
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.textures import decode_compressed, to_rgb

MESH_EXTENSIONS = (".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl")


class Beside(Resolver):
    """Finds the files a mesh refers to, next to it, and remembers those it did not find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []

    def get(self, key: str) -> bytes:
        """Return a referenced file's bytes; tolerates backslashes, %20 and folders that moved."""
        name = unquote(key.removeprefix("file://")).replace("\\", "/").strip()
        for candidate in (self.folder / name, self.folder / Path(name).name):
            if candidate.is_file():
                return candidate.read_bytes()
        self.missing.append(name)
        raise FileNotFoundError(name)

    def keys(self) -> list[str]:
        """Return the names in the mesh's folder."""
        return [p.name for p in self.folder.iterdir() if p.is_file()]

    def write(self, name: str, data: bytes) -> None:
        """Refuse: loading never writes."""
        raise PermissionError(f"refusing to write '{name}' while loading a mesh")

    def namespaced(self, namespace: str) -> Beside:
        """Return a resolver for a sub-folder."""
        return Beside(self.folder / namespace)


def load_mesh(
    path: Path, up: str = "y", labels: Mapping[str, str] | NDArray[np.int32] | None = None
) -> Scene:
    """Load one mesh file as a scene.

    Args:
        path: a file with one of `MESH_EXTENSIONS`.
        up: the file's own up axis, "y" or "z".
        labels: names of nodes -> categories, or (F, 2) instance and mpcat40 class id of every face.

    Raises:
        SceneError: missing, corrupt, empty or non-finite mesh.
    """
    parts = read_parts(path)
    builder = SceneBuilder(path.stem)
    transform = Z_UP_TO_Y_UP if up == "z" else None
    if isinstance(labels, np.ndarray):
        add_labelled_faces(builder, parts, labels, transform, path)
        return builder.build()
    names = list(dict.fromkeys(p.name for p in parts))
    several = len(names) > 1
    ids = {}
    for name in names:
        category = (labels or {}).get(name) or to_mpcat40(name)
        ids[name] = builder.add_object(category, name) if several or category else 0
    for part in parts:
        builder.add(part, ids[part.name], transform)
    return builder.build()


def add_labelled_faces(
    builder: SceneBuilder,
    parts: list[MeshPart],
    labels: NDArray[np.int32],
    transform: NDArray[np.float64] | None,
    path: Path,
) -> None:
    """Add parts whose faces carry (F, 2) instance and mpcat40 class ids."""
    from embodied.simulators.categories import MPCAT40

    total = sum(len(p.faces) for p in parts)
    if labels.shape != (total, 2):
        raise SceneError(
            f"{path}: {total} faces but labels of shape {labels.shape}; give one (instance, class) "
            "row per face, in file order"
        )
    pairs, inverse = np.unique(labels, axis=0, return_inverse=True)
    if len(pairs) and not 0 <= pairs[:, 1].min() <= pairs[:, 1].max() < len(MPCAT40):
        raise SceneError(f"{path}: face classes must lie in [0, {len(MPCAT40)}) (mpcat40)")
    ids = np.array(
        [builder.add_object(MPCAT40[c], f"{MPCAT40[c]} {i}") for i, c in pairs.tolist()], np.int32
    )[inverse.reshape(-1)]
    start = 0
    for part in parts:
        builder.add(part, ids[start : start + len(part.faces)], transform)
        start += len(part.faces)


def read_parts(path: Path) -> list[MeshPart]:
    """Read every triangle mesh of a file with its node's transform applied, in metres, file axes.

    COLLADA's `<unit>` and `<up_axis>` are honoured: its parts come out y up.
    """
    extension = path.suffix.lower()
    if extension not in MESH_EXTENSIONS:
        raise SceneError(
            f"{path}: unknown mesh format '{extension}'; {nearest(extension, MESH_EXTENSIONS)}"
        )
    if not path.is_file():
        raise SceneError(f"{path}: no such file. Check the path, or unpack the data set first.")
    data = path.read_bytes()
    resolver = Beside(path.parent)
    decoded: dict[str, NDArray[np.uint8]] = {}
    if extension in (".glb", ".gltf"):
        data, decoded = decode_compressed(data, resolver, path)
    try:
        loaded = trimesh.load_scene(
            io.BytesIO(data),
            file_type=extension[1:],
            resolver=resolver,
            process=False,
            **({"maintain_order": True, "split_objects": True} if extension == ".obj" else {}),
        )
        parts = list(_scene_parts(loaded, decoded))
    except (
        Exception
    ) as cause:  # a parser meets arbitrary bytes and raises whatever its libraries raise
        raise SceneError(
            f"{path}: cannot be read as {extension[1:]} ({type(cause).__name__}: {cause}). "
            "The file is damaged or truncated: download or export it again."
        ) from cause
    if not parts:
        raise SceneError(
            f"{path}: holds no triangles. Export it with its faces, not only points or lines."
        )
    if resolver.missing:
        warnings.warn(
            f"{path}: missing files {', '.join(sorted(set(resolver.missing))[:5])}; "
            "those surfaces are shown in their base colour",
            stacklevel=2,
        )
    if extension == ".dae":
        transform = _collada_transform(data)
        parts = [p.moved(transform) for p in parts]
    return parts


def _scene_parts(
    loaded: trimesh.Scene, decoded: Mapping[str, NDArray[np.uint8]]
) -> Iterator[MeshPart]:
    geometries: dict[str, MeshPart] = {}
    textures: dict[int, NDArray[np.uint8]] = {}
    for node in loaded.graph.nodes_geometry:
        transform, key = loaded.graph[node]
        mesh = loaded.geometry[key]
        if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
            continue
        if key not in geometries:
            geometries[key] = _part(mesh, decoded, textures)
        part = geometries[key].moved(np.asarray(transform, np.float64))
        name = str(node)
        if mesh.metadata.get("from_gltf_primitive"):  # primitives of one node belong together
            name = str(loaded.graph.transforms.parents.get(node, node))
        if to_mpcat40(name) is None and to_mpcat40(str(key)) is not None:
            name = str(key)
        yield MeshPart(part.vertices, part.faces, part.uv, part.colors, part.material, name)


def _part(
    mesh: trimesh.Trimesh,
    decoded: Mapping[str, NDArray[np.uint8]],
    textures: dict[int, NDArray[np.uint8]],
) -> MeshPart:
    # float32 is what the scene stores; converting here halves the memory while loading
    vertices = np.asarray(mesh.vertices, np.float32)
    faces = np.asarray(mesh.faces, np.int32)
    visual = mesh.visual
    uv = colors = None
    material = Material()
    if visual.kind == "texture":
        material = _material(visual.material, decoded, textures)
        uv = None if visual.uv is None else np.asarray(visual.uv, np.float32)
        if uv is None or len(uv) != len(vertices):
            uv, material = None, Material(material.color)
        extra = visual.vertex_attributes.get("color")
        if extra is not None and len(extra) == len(vertices):
            colors = _color_bytes(extra)
    elif visual.kind == "vertex":
        colors, material = _color_bytes(visual.vertex_colors), Material((1.0, 1.0, 1.0))
    elif visual.kind == "face":
        colors = np.repeat(_color_bytes(visual.face_colors), 3, axis=0)
        material = Material((1.0, 1.0, 1.0))
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    return MeshPart(vertices, faces, uv, colors, material)


def _color_bytes(colors: NDArray) -> NDArray[np.uint8]:
    colors = np.asarray(colors)[:, :3]
    if colors.dtype == np.uint8:
        return np.ascontiguousarray(colors)
    scale = 255.0 / 65535.0 if colors.dtype == np.uint16 else 255.0
    return np.clip(np.round(colors * scale), 0, 255).astype(np.uint8)


def _material(
    source: object,
    decoded: Mapping[str, NDArray[np.uint8]],
    textures: dict[int, NDArray[np.uint8]],
) -> Material:
    image = getattr(source, "baseColorTexture", None) or getattr(source, "image", None)
    texture = decoded.get(str(getattr(source, "name", "")))
    if image is not None and texture is None:
        if id(image) not in textures:
            textures[id(image)] = to_rgb(image)
        texture = textures[id(image)]
    if isinstance(source, trimesh.visual.material.PBRMaterial):
        factor = source.baseColorFactor
        color = np.ones(3) if factor is None else _unit(factor)
    else:  # Phong diffuse: exporters write 0.8 or 0 beside a texture, which is not a tint
        color = np.ones(3) if texture is not None else _unit(getattr(source, "diffuse", (180,) * 3))
    return Material((float(color[0]), float(color[1]), float(color[2])), texture)


def _unit(color: object) -> NDArray[np.float64]:
    values = np.asarray(color)[:3]
    return values / 255.0 if values.dtype.kind in "ui" else np.clip(values, 0.0, 1.0)


def _collada_transform(data: bytes) -> NDArray[np.float64]:
    """Return the (4, 4) transform of `<unit meter>` and `<up_axis>` to metres, y up."""
    head = data[:20000].decode("utf-8", "replace")
    unit = re.search(r"<unit\b[^>]*\bmeter\s*=\s*[\"']([^\"']+)", head)
    axis = re.search(r"<up_axis>\s*([XYZ])_UP", head)
    scale = np.diag([*[float(unit.group(1)) if unit else 1.0] * 3, 1.0])
    if axis is None or axis.group(1) == "Y":
        return scale
    if axis.group(1) == "Z":
        return Z_UP_TO_Y_UP @ scale
    x_up = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return x_up @ scale
