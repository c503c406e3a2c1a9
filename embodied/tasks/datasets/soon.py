"""SOON (Zhu et al. 2021, arXiv 2103.17138): find an object from a description of its surroundings.

The released files (train, val_unseen_instrs, val_unseen_house, test, test_v2) hold a list of items

    {"path": [[viewpoint, ...], ...], "scan": ..., "instructions": [[five texts], ...],
     "bboxes": [{"scan", "image_id": viewpoint, "obj_name", "heading", "elevation",
                 "target": {"center", "left_top", "right_top", "right_bottom", "left_bottom":
                            {"heading", "elevation"}}}, ...]}

where one item has several paths, each an episode of its own, and the five texts describe the
object, its relations, its room and the rooms around; the fifth joins them all. DUET's repackaging
(.jsonl; one path per item, instructions as {"full": text}) is read, too. Angles are radians.

Success, as the released evaluation has it: ending at an annotated viewpoint, or less than 3 m
(shortest walk) from the path's last one. The reference length of SPL is the shortest walk from the
start to the viewpoint ended at if that is annotated, to the path's last one otherwise; who starts
at an annotated viewpoint and stays scores 1 (the released code: 0, by its guard of 0.01 m).
Grounding: the centre of the named object lies in the outline annotated for the viewpoint ended at.

Oracle success is ours: any viewpoint on the way would have been a success. (The released code
measures the walk's nearest approach to the path's end, then from there to another goal.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import ConfigError, NavigationError, suggest_nearest
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
from embodied.tasks.vln.episodes import Polygon, VLNEpisode
from embodied.tasks.vln.source import VLNSource, open_matterport

RADIUS = 3.0
CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
SPLITS = {
    "train": "train",
    "val_seen": "val_unseen_instrs",
    "val_unseen": "val_unseen_house",
    "test": "test",
    "val_unseen_instrs": "val_unseen_instrs",
    "val_unseen_house": "val_unseen_house",
    "test_v2": "test_v2",
}
"""Our split names -> SOON's: new instructions in seen houses, unseen houses."""
REMEDY = "Get SOON's annotations (github.com/ZhuFengdaaa/SOON)"


def open_soon(config: VLNConfig) -> VLNSource:
    """Open a split: its scans and its episodes.

    Raises:
        ConfigError, SceneError, NavigationError: an unknown split, missing or bad data.
    """
    worlds, _ = open_matterport(config, need_boxes=False)
    file = annotation_file(find_data_folder(config.data), config.split)
    return VLNSource(worlds, load_soon(file, worlds))


def annotation_file(root: Path, split: str) -> Path:
    """Return the file of a split below the data folder.

    Raises:
        ConfigError: an unknown split.
        SceneError: none there; says where to get it.
    """
    if split not in SPLITS:
        raise ConfigError(f"unknown split '{split}' of SOON: {suggest_nearest(split, SPLITS)}")
    ends = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
    folders = ("soon", "SOON", "SOON/annotations")
    places = [f"{folder}/{SPLITS[split]}{end}" for folder in folders for end in ends]
    return find_file(root, places, f"SOON split '{split}'", REMEDY)


def load_soon(file: Path, worlds: Mapping[str, GraphWorld]) -> list[VLNEpisode]:
    """Read one split: an episode per path and instruction, id "<item>_<path>_<instruction>".

    Raises:
        SceneError, NavigationError: bad data; names file and key.
    """
    episodes = []
    for number, (where, item) in enumerate(iter_entries(file)):
        annotated = item.get("bboxes") or []
        scan = item.get("scan") or (annotated[0].get("scan") if annotated else None)
        world = find_world(worlds, require_field({"scan": scan}, "scan", str, where), where)
        outlines: dict[int, Polygon] = {}
        for k, box in enumerate(annotated):
            place = number_viewpoints(world, [box.get("image_id")], f"bboxes[{k}].image_id", where)[
                0
            ]
            outline = _outline(box, f"{where}, key 'bboxes[{k}]'")
            outlines.setdefault(place, outline)  # the released evaluation takes the first
        paths = require_field(item, "path", list, where)
        if paths and isinstance(paths[0], str):
            paths = [paths]
        told = [_instruction(v, j, where) for j, v in enumerate(item.get("instructions") or [])]
        if not paths:
            raise NavigationError(f"{where}: 'path' holds no path")
        if not told:
            raise NavigationError(f"{where}: 'instructions' is empty: nothing to follow")
        for p, names in enumerate(paths):
            path = number_viewpoints(world, names, f"path[{p}]", where)
            goals = tuple(sorted({path[-1], *outlines})) if outlines else ()
            if goals:
                measure_path(world, path, where)
            for j, instruction in enumerate(told):
                episodes.append(
                    VLNEpisode(
                        id=f"{item.get('path_id', number)}_{p}_{j}",
                        world=world.name,
                        start=path[0],
                        heading=float(item.get("heading", 0.0)),
                        instruction=instruction,
                        goals=goals,
                        path=path,
                        length=float(world.distances[path[0], path[-1]]),
                        radius=RADIUS,
                        polygons=outlines,
                    )
                )
    return episodes


def _instruction(value: Any, j: int, where: str) -> str:
    """Return the full description: the fifth of five texts, or the field "full"."""
    key = f"instructions[{j}]"
    if isinstance(value, Mapping):
        return clean_instruction(value.get("full"), f"{key}.full", where)
    if isinstance(value, list):
        if len(value) != 5:
            raise NavigationError(f"{where}: '{key}' has {len(value)} texts, SOON gives five")
        return clean_instruction(value[4], f"{key}[4]", where)
    return clean_instruction(value, key, where)


def _outline(box: Mapping[str, Any], where: str) -> Polygon:
    """Return the four corners of a target, (4, 2) heading and elevation [rad]."""
    try:
        corners = [box["target"][c] for c in CORNERS]
        outline = np.array([[c["heading"], c["elevation"]] for c in corners], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise NavigationError(
            f"{where}: 'target' lacks {error}; expected heading and elevation of "
            f"{', '.join(CORNERS)}"
        ) from error
    if not np.isfinite(outline).all():
        raise NavigationError(f"{where}: 'target' {outline.tolist()} must be finite angles")
    return outline
