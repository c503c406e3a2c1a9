"""Habitat's PointNav and ObjectNav episode files (.json or .json.gz).

Read as habitat-lab writes them: `start_rotation` is an xyzw quaternion; PointNav episodes carry
`goals` with a position; ObjectNav files keep goals once per scene in `goals_by_category` under
"<scene file name>_<category>", each with `view_points` whose positions count as arriving.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import NavigationError, SceneError
from embodied.tasks.navigation.episodes import Episode
from embodied.types import Pose

SYNONYMS = {"couch": "sofa", "tv": "tv_monitor", "potted plant": "plant"}
"""Names HM3D-based sets use beside mpcat40's."""


def load_episodes(path: str | Path, scenes_dir: str | Path | None = None) -> list[Episode]:
    """Read a Habitat episode file.

    Args:
        path: .json or .json.gz.
        scenes_dir: folder `scene_id` is relative to; by default the episode file's folder.

    Returns:
        Episodes whose `scene` is the path of an existing scene file.

    Raises:
        NavigationError: the file is missing, not JSON, empty, or an episode lacks a field.
        SceneError: a scene file does not exist.
    """
    file = Path(path)
    content = _read(file)
    listed = content.get("episodes") if isinstance(content, Mapping) else None
    if not listed:
        raise NavigationError(
            f"{file}: no 'episodes' in the file. Habitat splits its large sets: the episodes are "
            "in content/<scene>.json.gz beside it"
        )
    folder = Path(scenes_dir) if scenes_dir is not None else file.parent
    shared = content.get("goals_by_category") or {}
    scenes: dict[str, str] = {}
    episodes = []
    for number, item in enumerate(listed):
        try:
            scene_id = item["scene_id"]
            if scene_id not in scenes:
                scenes[scene_id] = _find_scene(scene_id, folder, file)
            episodes.append(_episode(item, shared, scenes[scene_id]))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise NavigationError(
                f"{file}: episode {number} lacks or garbles a field ({error!r}); expected "
                "Habitat's PointNav-v1 or ObjectNav-v1 layout"
            ) from error
    return episodes


def _read(file: Path) -> Any:
    if not file.is_file():
        raise NavigationError(f"no episode file {file}; give the path of a .json or .json.gz")
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise NavigationError(f"{file} is not a readable episode file: {error}") from error


def _find_scene(scene_id: str, folder: Path, file: Path) -> str:
    # Old sets write the path inside the user's data folder, newer ones relative to scene_datasets.
    relative = scene_id.removeprefix("data/").removeprefix("scene_datasets/")
    tried = [folder / scene_id, folder / relative, Path(scene_id)]
    for candidate in tried:
        if candidate.is_file():
            return str(candidate)
    raise SceneError(
        f"{file}: scene '{scene_id}' not found as {tried[0]} or {tried[1]}. Set scenes_dir to the "
        "folder that holds the scenes (Habitat's data/scene_datasets)"
    )


def _episode(item: Mapping[str, Any], shared: Mapping[str, Any], scene: str) -> Episode:
    category = item.get("object_category")
    goals = item.get("goals") or []
    if category is not None and not goals:
        key = f"{Path(item['scene_id']).name}_{category}"
        if key not in shared:
            raise KeyError(f"goals_by_category['{key}']")
        goals = shared[key]
    points = [point for goal in goals for point in _goal_points(goal, category is not None)]
    if not points:
        raise ValueError("no goal")
    x, y, z, w = (float(v) for v in item["start_rotation"])
    if not abs(np.linalg.norm((x, y, z, w)) - 1) < 1e-2:
        raise ValueError(f"start_rotation {(x, y, z, w)} is not a unit quaternion")
    return Episode(
        scene=scene,
        start=Pose(_vector(item["start_position"]), (x, y, z, w)),
        goals=np.array(points, np.float64),
        category=_class_id(category),
        name=str(item["episode_id"]),
    )


def _goal_points(goal: Mapping[str, Any], by_view: bool) -> list[tuple[float, float, float]]:
    if by_view and goal.get("view_points"):
        return [_vector(v["agent_state"]["position"]) for v in goal["view_points"]]
    return [_vector(goal["position"])]


def _class_id(category: str | None) -> int:
    if category is None:
        return -1
    name = SYNONYMS.get(category, category)
    if name not in MPCAT40:
        raise ValueError(f"object_category '{category}' is not an mpcat40 class")
    return MPCAT40.index(name)


def _vector(values: NDArray | list[float]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
