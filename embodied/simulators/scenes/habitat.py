"""Habitat's scene files: stages, objects, scene instances and the data sets that bind them.

Where a config leaves the axes out they are y up, as habitat-sim takes them; a bare `.glb` stage is
z up there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from embodied.errors import SceneError
from embodied.simulators.base import Room, Scene
from embodied.simulators.scenes.builder import UP_ROTATIONS, MeshPart, SceneBuilder
from embodied.simulators.scenes.habitat_dataset import (
    HabitatDataset,
    HabitatTemplate,
    find_dataset,
    read_json_object,
)
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.mesh import MESH_EXTENSIONS, read_parts, read_up_axis
from embodied.simulators.scenes.semantics import add_labelled_parts
from embodied.simulators.scenes.urdf import read_articulated_object

CONFIG_EXTENSIONS = (
    ".stage_config.json",
    ".object_config.json",
    ".scene_instance.json",
    ".scene_dataset_config.json",
)


def load_habitat(
    path: Path,
    scene: str | None = None,
    labels: Mapping[str, str] | None = None,
    up: str | None = None,
) -> Scene:
    """Load a Habitat config.

    Args:
        path: one of `CONFIG_EXTENSIONS`.
        scene: for a data set config, the scene (or stage) in it; None when there is only one.
        labels: template name -> category, before the names' own meaning.
        up: overrides the stage's up axis, "y" or "z".

    Raises:
        SceneError: damaged JSON, or an asset, template or scene that is not there.
    """
    name = path.name.lower()
    dataset = (
        HabitatDataset(path) if name.endswith(".scene_dataset_config.json") else find_dataset(path)
    )
    if name.endswith(".scene_dataset_config.json"):
        kind, path = dataset.find_scene(scene)
        if kind == "stage":
            return _load_single(dataset.find_stage(path.name, path.parent), True, labels or {}, up)
        return _load_instance(path, dataset, labels or {}, up)
    if name.endswith(".scene_instance.json"):
        return _load_instance(path, dataset, labels or {}, up)
    template = HabitatTemplate(path, read_json_object(path))
    return _load_single(template, name.endswith(".stage_config.json"), labels or {}, up)


def _load_single(
    template: HabitatTemplate, is_stage: bool, labels: Mapping[str, str], up: str | None
) -> Scene:
    builder = SceneBuilder(template.name)
    if is_stage:
        _add_stage(builder, template, np.eye(4), up)
    else:
        _add_object(builder, template, {}, np.eye(4), labels, "asset_local")
    return builder.build_scene()


def _load_instance(
    path: Path, dataset: HabitatDataset, labels: Mapping[str, str], up: str | None
) -> Scene:
    config = read_json_object(path)
    builder = SceneBuilder(path.name.removesuffix(".scene_instance.json"))
    origin = config.get("translation_origin", "COM")
    stage = config.get("stage_instance")
    if stage:
        template = dataset.find_stage(stage.get("template_name", ""), path.parent)
        _add_stage(builder, template, _instance_pose(stage, path), up)
    for entry in config.get("object_instances", []):
        template = dataset.find_object(entry.get("template_name", ""), path.parent)
        pose = _instance_pose(entry, path)
        where = entry.get("translation_origin", origin)
        _add_object(builder, template, entry, pose, labels, where)
    for entry in config.get("articulated_object_instances", []):
        urdf = dataset.find_articulated_object(entry.get("template_name", ""), path.parent)
        joints = entry.get("initial_joint_pose")
        frame = _instance_pose(entry, path) @ _instance_scale(entry)
        owner = builder.add_object(labels.get(urdf.stem) or to_mpcat40(urdf.stem), urdf.stem)
        for part in read_articulated_object(urdf, joints if isinstance(joints, dict) else None):
            builder.add_part(part, owner, frame)
    descriptor = dataset.find_semantics(config.get("semantic_scene_instance"), path)
    if descriptor is not None:
        builder.rooms.extend(_regions(read_json_object(descriptor)))
    return builder.build_scene()


def _add_stage(
    builder: SceneBuilder, template: HabitatTemplate, pose: NDArray[np.float64], up: str | None
) -> None:
    parts, frame = _asset(template, up)
    parts = [p.get_transformed(pose @ frame) for p in parts]
    semantic = template.get_file("semantic_asset")
    table = template.get_file("semantic_descriptor_filename")
    if semantic is not None and table is not None and semantic.is_file() and table.is_file():
        own = None
        if "semantic_up" in template.attributes:
            own = pose @ _scale(template) @ _frame(
                template, template.attributes["semantic_up"],
                template.attributes.get("semantic_front", [0, 0, -1]),
            )  # fmt: skip
        add_labelled_parts(builder, parts, semantic, table, own)
        return
    for part in parts:
        category = to_mpcat40(part.name)
        builder.add_part(part, builder.add_object(category, part.name) if category else 0)


def _add_object(
    builder: SceneBuilder,
    template: HabitatTemplate,
    entry: Mapping[str, Any],
    pose: NDArray[np.float64],
    labels: Mapping[str, str],
    origin: str,
) -> None:
    parts, frame = _asset(template, None)
    if not parts:
        return
    frame = _instance_scale(entry) @ frame
    if str(origin).lower() != "asset_local":  # Habitat places the centre of mass: the box's middle
        center = template.attributes.get("COM")
        if center is None:
            points = np.concatenate([p.get_transformed(frame).vertices for p in parts])
            center = (points.min(axis=0) + points.max(axis=0)) / 2
        shift = np.eye(4)
        shift[:3, 3] = -np.asarray(center, np.float64)
        frame = shift @ frame
    category = labels.get(template.name) or to_mpcat40(template.name)
    owner = builder.add_object(category, template.name)
    for part in parts:
        builder.add_part(part, owner, pose @ frame)


def _asset(template: HabitatTemplate, up: str | None) -> tuple[list[MeshPart], NDArray[np.float64]]:
    """Return a template's drawn mesh and its (4, 4) scale and axes."""
    path = template.get_file("render_asset") or template.get_file("collision_asset")
    if path is None:
        raise SceneError(f"{template.path}: names no render_asset; nothing to draw")
    if path.suffix.lower() not in MESH_EXTENSIONS and not path.exists():
        warnings.warn(
            f"{template.path}: the primitive '{path.name}' is left out; give a mesh file instead",
            stacklevel=5,
        )
        return [], np.eye(4)
    if not path.is_file():
        raise SceneError(
            f"{template.path}: its render_asset {path} does not exist. Download the data set's "
            "assets, or correct the path in the config."
        )
    parts = read_parts(path)
    if up is not None:
        frame = UP_ROTATIONS[up]
    elif "up" in template.attributes:
        front = template.attributes.get("front", [0, 0, -1])
        frame = _frame(template, template.attributes["up"], front)
    else:
        frame = UP_ROTATIONS["z" if template.bare_stage else read_up_axis(path)]
    return parts, _scale(template) @ frame


def _scale(template: HabitatTemplate) -> NDArray[np.float64]:
    attributes = template.attributes
    size = np.broadcast_to(np.asarray(attributes.get("scale", 1.0), np.float64), 3)
    units = float(attributes.get("units_to_meters", 1.0))
    return np.diag([*(size * units), 1.0])


def _frame(template: HabitatTemplate, up: Any, front: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the (4, 4) rotation that turns a file's up and front into +y and -z."""
    up, front = np.asarray(up, np.float64), np.asarray(front, np.float64)
    if not (up.any() and front.any()):
        raise SceneError(f"{template.path}: up and front must not be zero; correct the config")
    if abs(up @ front) > 1e-3 * np.linalg.norm(up) * np.linalg.norm(front):
        if "front" in template.attributes:
            raise SceneError(
                f"{template.path}: up {up.tolist()} and front {front.tolist()} are not at a right "
                "angle; correct the config"
            )
        front = np.array([0.0, 1.0, 0.0]) if abs(up[2]) > 0.5 else np.array([0.0, 0.0, -1.0])
    up, front = up / np.linalg.norm(up), front / np.linalg.norm(front)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([np.cross(front, up), up, -front])
    return frame


def _instance_scale(entry: Mapping[str, Any]) -> NDArray[np.float64]:
    size = np.broadcast_to(np.asarray(entry.get("non_uniform_scale", 1.0), np.float64), 3)
    return np.diag([*(size * float(entry.get("uniform_scale", 1.0))), 1.0])


def _instance_pose(entry: Mapping[str, Any], path: Path) -> NDArray[np.float64]:
    """Return the (4, 4) pose of a scene instance entry; its quaternions are wxyz."""
    pose = np.eye(4)
    w, x, y, z = entry.get("rotation", (1.0, 0.0, 0.0, 0.0))
    try:
        pose[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    except ValueError as cause:
        raise SceneError(
            f"{path}: the rotation of '{entry.get('template_name')}' is not a quaternion ({cause})"
        ) from cause
    pose[:3, 3] = entry.get("translation", (0.0, 0.0, 0.0))
    return pose


def _regions(config: Mapping[str, Any]) -> list[Room]:
    rooms = []
    for region in config.get("region_annotations", []):
        outline = np.asarray(region.get("poly_loop", []), np.float64)
        if outline.ndim == 2 and len(outline) >= 3:
            floor = float(region.get("floor_height", outline[:, 1].min()))
            rooms.append(Room(str(region.get("label", "room")), outline[:, [0, 2]], floor))
    return rooms
