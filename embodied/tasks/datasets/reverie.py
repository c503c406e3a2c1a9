"""REVERIE (Qi et al. 2020, arXiv 1904.10151): go where an object is and name it.

Success: ending at a viewpoint that shows the target object (REVERIE's boxes). The path's last
viewpoint always counts, even where no box there shows the target, as it does for 72 instructions
of the train and 7 of the val_seen split (v2): the annotated path must be able to succeed. The
reference length of SPL is that of the annotated path, as in the official evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embodied.errors import NavigationError
from embodied.simulators.annotations import find_data_folder, find_file
from embodied.simulators.graph import GraphWorld
from embodied.simulators.panoramas import ObjectBoxes
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

REMEDY = "Get tasks/REVERIE/data_v2 (or data, for v1) of github.com/YuankaiQi/REVERIE"
FOLDERS = {"v1": ("v1", "data"), "v2": ("v2", "data_v2")}


def open_reverie(config: VLNConfig) -> VLNSource:
    """Open a split: its scans and its episodes.

    Raises:
        SceneError, NavigationError: missing or bad data; names file and key.
    """
    worlds, boxes = open_matterport(config, need_boxes=True)
    assert boxes is not None  # noqa: S101 - needed, so they are there
    file = annotation_file(find_data_folder(config.data), config.split, config.version)
    return VLNSource(worlds, load_reverie(file, worlds, boxes))


def annotation_file(root: Path, split: str, version: str = "v2") -> Path:
    """Return the file of a split below the data folder.

    Raises:
        SceneError: none there; says where to get it.
    """
    name = f"REVERIE_{split}.json"
    places = [
        f"{base}/{folder}{name}{end}"
        for base in ("reverie", "REVERIE")
        for folder in (*(f"{f}/" for f in FOLDERS[version]), "")
        for end in ("", ".gz")
    ]
    return find_file(root, places, f"REVERIE {version} split '{split}'", REMEDY)


def load_reverie(
    file: Path, worlds: Mapping[str, GraphWorld], boxes: ObjectBoxes
) -> list[VLNEpisode]:
    """Read one split: an episode per instruction, id "<path_id>_<object id>_<number>".

    Raises:
        SceneError, NavigationError: bad data; names file and key.
    """
    episodes = []
    for where, item in iter_entries(file):
        world = find_world(worlds, require_field(item, "scan", str, where), where)
        path = number_viewpoints(world, require_field(item, "path", list, where), "path", where)
        heading = require_field(item, "heading", float, where)
        goals: tuple[int, ...] = ()
        target, length = -1, float("nan")
        if "objId" in item:  # the test split tells the start only
            target = _object_id(item["objId"], where)
            shown = boxes.find_viewpoints(world.name, target)
            if not shown and not boxes.is_annotated(world.name, target):
                raise NavigationError(
                    f"{where}, key 'objId': {boxes.source} has no object {target} in scan "
                    f"'{world.name}'"
                )
            visible = {world.get_place_index(name) for name in shown if name in world}
            goals = tuple(sorted({path[-1], *visible}))
            length = measure_path(world, path, where)
        for j, instruction in enumerate(require_field(item, "instructions", list, where)):
            episodes.append(
                VLNEpisode(
                    id=f"{item.get('id', item.get('path_id'))}_{j}",
                    world=world.name,
                    start=path[0],
                    heading=heading,
                    instruction=clean_instruction(instruction, f"instructions[{j}]", where),
                    goals=goals,
                    target=target,
                    path=path,
                    length=length,
                )
            )
    return episodes


def _object_id(value: object, where: str) -> int:
    try:
        number = int(str(value))
    except ValueError as error:
        raise NavigationError(f"{where}: 'objId' = {value!r} must be a number") from error
    if number < 0:
        raise NavigationError(f"{where}: 'objId' = {number} must not be negative")
    return number
