"""Room-to-Room (Anderson et al. 2018, arXiv 1711.07280): follow a route.

Success: ending less than 3 m (shortest walk) from the path's last viewpoint. The reference length
of SPL is the shortest walk from start to goal, as in the official evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embodied.simulators.annotations import find_data_folder, find_file
from embodied.simulators.graph import GraphWorld
from embodied.tasks.datasets.viewpoints import (
    clean_instruction,
    find_world,
    iter_entries,
    measure_path,
    number_viewpoints,
    require_field,
)
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.source import VLNSource, open_matterport

RADIUS = 3.0
REMEDY = "Get R2R_*.json (tasks/R2R/data/download.sh of peteanderson80/Matterport3DSimulator)"


def open_r2r(config: VLNConfig) -> VLNSource:
    """Open a split: its scans and its episodes.

    Raises:
        ConfigError, SceneError, NavigationError: an unknown split, missing or bad data.
    """
    worlds, _ = open_matterport(config, need_boxes=False)
    file = annotation_file(find_data_folder(config.data), config.split)
    return VLNSource(worlds, load_r2r(file, worlds))


def annotation_file(root: Path, split: str) -> Path:
    """Return the file of a split below the data folder.

    Raises:
        SceneError: none there; says where to get it.
    """
    name = f"R2R_{split}.json"
    places = [f"{folder}/{name}{end}" for folder in ("r2r", "R2R", ".") for end in ("", ".gz")]
    return find_file(root, places, f"R2R split '{split}'", REMEDY)


def load_r2r(file: Path, worlds: Mapping[str, GraphWorld]) -> list[VLNEpisode]:
    """Read one split: an episode per instruction, id "<path_id>_<instruction number>".

    Raises:
        SceneError, NavigationError: bad data; names file and key.
    """
    episodes = []
    for where, item in iter_entries(file):
        world = find_world(worlds, require_field(item, "scan", str, where), where)
        path = number_viewpoints(world, require_field(item, "path", list, where), "path", where)
        heading = require_field(item, "heading", float, where)
        known = "distance" in item or len(path) > 1  # the test split tells the start only
        if known:
            measure_path(world, path, where)
        for j, instruction in enumerate(require_field(item, "instructions", list, where)):
            episodes.append(
                VLNEpisode(
                    id=f"{item.get('path_id', item.get('id'))}_{j}",
                    world=world.name,
                    start=path[0],
                    heading=heading,
                    instruction=clean_instruction(instruction, f"instructions[{j}]", where),
                    goals=(path[-1],) if known else (),
                    path=path,
                    length=float(world.distances[path[0], path[-1]]) if known else float("nan"),
                    radius=RADIUS,
                )
            )
    return episodes
