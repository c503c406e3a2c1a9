"""Mesh files through trimesh: scene graph, textures, vertex colours, units and axes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.resolvers import Resolver

from embodied.errors import SceneError, suggest_nearest
from embodied.simulators.base import Material, Scene
from embodied.simulators.scenes.builder import UP_ROTATIONS, MeshPart, SceneBuilder
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.textures import decode_compressed_textures, to_rgb

MESH_EXTENSIONS = (".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl")


class SiblingResolver(Resolver):
    """Finds the files a mesh refers to, next to it, and remembers those it did not find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []

    def get(self, key: str) -> bytes:
        """Return a referenced file's bytes; tolerates backslashes, %20 and folders that moved."""
        name = unquote(key.removeprefix("file://")).replace("\\", "/").strip()
        inner = re.sub(r"^(\.{1,2}/)+", "", name)
        bases = [self.folder, *list(self.folder.absolute().parents)[:3]]
        short = Path(name).name
        moved = (self.folder / short, self.folder.parent / "materials" / "textures" / short)
        for candidate in (self.folder / name, *(b / inner for b in bases), *moved):
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

    def namespaced(self, namespace: str) -> SiblingResolver:
        """Return a resolver for a sub-folder."""
        return SiblingResolver(self.folder / namespace)


def load_mesh(
    path: Path, up: str | None = None, labels: Mapping[str, str] | NDArray[np.int32] | None = None
) -> Scene:
    """Load one mesh file as a scene.

    Args:
        path: a file with one of `MESH_EXTENSIONS`.
        up: the file's own up axis, "y" or "z"; None = COLLADA's `<up_axis>`, else y.
        labels: names of nodes -> categories, or (F, 2) instance and mpcat40 class id of every face.

    Raises:
        SceneError: missing, corrupt, empty or non-finite mesh.
    """
    parts = read_parts(path)
    builder = SceneBuilder(path.stem)
    transform = UP_ROTATIONS[up or read_up_axis(path)]
    if isinstance(labels, np.ndarray):
        add_labelled_faces(builder, parts, labels, transform, path)
        return builder.build_scene()
    names = list(dict.fromkeys(p.name for p in parts))
    several = len(names) > 1
    ids = {}
    for name in names:
        category = (labels or {}).get(name) or to_mpcat40(name)
        ids[name] = builder.add_object(category, name) if several or category else 0
    for part in parts:
        builder.add_part(part, ids[part.name], transform)
    return builder.build_scene()


def add_labelled_faces(
    builder: SceneBuilder,
    parts: list[MeshPart],
    labels: NDArray[np.int32],
    transform: NDArray[np.float64] | None,
    path: Path,
) -> None:
    """Add parts whose faces carry (F, 2) instance and mpcat40 class ids."""
    from embodied.categories import MPCAT40

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
        builder.add_part(part, ids[start : start + len(part.faces)], transform)
        start += len(part.faces)


def read_parts(path: Path, missing: list[str] | None = None) -> list[MeshPart]:
    """Read every triangle mesh of a file, placed by its nodes, in metres and the file's axes.

    COLLADA's `<unit>` is honoured; `read_up_axis` tells its up axis. Names of missing textures are
    appended to `missing`, or warned about when it is None.

    Raises:
        SceneError: unknown format, missing or damaged file, or no triangles in it.
    """
    extension = path.suffix.lower()
    if extension not in MESH_EXTENSIONS:
        raise SceneError(
            f"{path}: unknown mesh format '{extension}'; "
            f"{suggest_nearest(extension, MESH_EXTENSIONS)}"
        )
    if not path.is_file():
        raise SceneError(f"{path}: no such file. Check the path, or unpack the data set first.")
    data = path.read_bytes()
    _refuse_other_content(data, path)
    resolver = SiblingResolver(path.parent)
    decoded: dict[str, NDArray[np.uint8]] = {}
    if extension in (".glb", ".gltf"):
        data, decoded = decode_compressed_textures(data, resolver, path)
    options: dict[str, Any] = {}
    if extension == ".obj":
        options = {"maintain_order": True, "split_objects": True}
    try:
        loaded = trimesh.load_scene(
            io.BytesIO(data),
            file_type=extension[1:],
            resolver=resolver,
            process=False,
            **options,
        )
        parts = list(_scene_parts(loaded, decoded, extension in (".glb", ".gltf")))
    except (
        Exception
    ) as cause:  # a parser meets arbitrary bytes and raises whatever its libraries raise
        raise SceneError(
            f"{path}: cannot be read as {extension[1:]} ({type(cause).__name__}: {cause}). "
            "The file is damaged or truncated: download or export it again."
        ) from cause
    if not parts:
        raise SceneError(
            f"{path}: holds no triangles. Export it with its faces, not only points or lines; "
            "if it had some, it is damaged: download it again."
        )
    if missing is not None:
        missing.extend(resolver.missing)
    elif resolver.missing:
        warn_missing(path, resolver.missing)
    if extension == ".dae":
        unit = re.search(rb"<unit\b[^>]*\bmeter\s*=\s*[\"']([^\"']+)", data[:20000])
        scale = np.diag([*[float(unit.group(1)) if unit else 1.0] * 3, 1.0])
        parts = [p.get_transformed(scale) for p in parts]
    return parts


def _refuse_other_content(data: bytes, path: Path) -> None:
    """Name the usual failed downloads for what they are."""
    begin = data[:512].lstrip().lower()
    found = ""
    if not data:
        found = "the file is empty"
    elif begin.startswith((b"<!doctype html", b"<html")):
        found = "it holds a web page"
    elif begin.startswith(b"version https://git-lfs"):
        found = "it is a Git-LFS pointer, not the file itself"
    if found:
        raise SceneError(
            f"{path}: cannot be read as {path.suffix[1:]}, {found}. Download it again."
        )


def warn_missing(path: Path, names: list[str]) -> None:
    """Warn that a scene's textures were not found."""
    unique = sorted(set(names))
    more = f" and {len(unique) - 5} more" if len(unique) > 5 else ""
    warnings.warn(
        f"{path}: missing files {', '.join(unique[:5])}{more}; "
        "those surfaces are shown in their base colour",
        stacklevel=3,
    )


def _scene_parts(
    loaded: trimesh.Scene, decoded: Mapping[str, NDArray[np.uint8]], linear: bool
) -> Iterator[MeshPart]:
    geometries: dict[Any, MeshPart] = {}
    textures: dict[int, NDArray[np.uint8]] = {}
    order = {key: number for number, key in enumerate(loaded.geometry)}
    nodes = [(order[loaded.graph[n][1]], str(n), n) for n in loaded.graph.nodes_geometry]
    for _, _, node in sorted(nodes, key=lambda entry: entry[:2]):  # file order, the same every run
        transform, key = loaded.graph[node]
        mesh = loaded.geometry[key]
        if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
            continue
        if key not in geometries:
            geometries[key] = _part(mesh, decoded, textures, linear)
        part = geometries[key].get_transformed(np.asarray(transform, np.float64))
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
    linear: bool,
) -> MeshPart:
    # float32 is what the scene stores; converting here halves the memory while loading
    vertices = np.asarray(mesh.vertices, np.float32)
    faces = np.asarray(mesh.faces, np.int32)
    visual: Any = mesh.visual
    uv = colors = None
    material = Material()
    if visual.kind == "texture":
        material = _material(visual.material, decoded, textures, linear)
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
        vertices = vertices[faces].reshape(-1, 3)
        faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
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
    linear: bool,
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
        if linear:  # glTF's factors are linear light, images and our colours sRGB
            color = np.where(color <= 0.0031308, 12.92 * color, 1.055 * color ** (1 / 2.4) - 0.055)
    else:  # Phong diffuse: exporters write 0.8 or 0 beside a texture, which is not a tint
        color = np.ones(3) if texture is not None else _unit(getattr(source, "diffuse", (180,) * 3))
    return Material((float(color[0]), float(color[1]), float(color[2])), texture)


def _unit(color: object) -> NDArray[np.float64]:
    values = np.asarray(color)[:3]
    return values / 255.0 if values.dtype.kind in "ui" else np.clip(values, 0.0, 1.0)


def read_up_axis(path: Path) -> str:
    """Return the up axis a mesh file declares: COLLADA's `<up_axis>`, y for everything else."""
    if path.suffix.lower() != ".dae":
        return "y"
    with path.open("rb") as file:
        axis = re.search(rb"<up_axis>\s*([XYZ])_UP", file.read(20000))
    return axis.group(1).decode().lower() if axis else "y"
