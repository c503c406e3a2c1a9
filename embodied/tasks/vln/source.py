"""From settings to worlds and episodes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embodied import registry
from embodied.errors import ConfigError, suggest_nearest
from embodied.simulators.annotations import find_data_folder
from embodied.simulators.connectivity import ConnectivityFiles, ConnectivityWorld
from embodied.simulators.graph import GraphWorld
from embodied.simulators.panoramas import ObjectBoxes
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode


class VLNSource(NamedTuple):
    """Worlds by name, made when first asked for, and the episodes that play in them."""

    worlds: Mapping[str, GraphWorld]
    episodes: list[VLNEpisode]


class Worlds(Mapping[str, GraphWorld]):
    """Graph worlds by name, each made when first asked for and kept.

    Args:
        names: of all worlds.
        make: from a name to a world; decides about unknown names.
    """

    def __init__(self, names: tuple[str, ...], make: Callable[[str], GraphWorld]) -> None:
        self._names, self._make = names, make
        self._made: dict[str, GraphWorld] = {}

    def __getitem__(self, name: str) -> GraphWorld:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_source(config: VLNConfig) -> VLNSource:
    """Open the worlds of a task and read its episodes.

    Raises:
        SceneError, NavigationError: missing or bad data; names file and key and what to do.
        ConfigError: an unknown data set, settings that leave no episode, or truth is asked for
            that a test split holds back.
    """
    worlds, episodes = registry.resolve("vln_dataset", config.dataset)(config)
    if config.scans:
        known = {e.world for e in episodes}
        for scan in config.scans:
            if scan not in known:
                raise ConfigError(
                    f"scans: '{scan}' has no episode in split '{config.split}'; "
                    f"{suggest_nearest(scan, known)}"
                )
        episodes = [e for e in episodes if e.world in config.scans]
    if config.episodes and config.episodes < len(episodes):
        rows = np.linspace(0, len(episodes) - 1, config.episodes).round().astype(int)
        episodes = [episodes[i] for i in rows]
    hidden = sum(not e.has_truth for e in episodes)
    if hidden and config.privileged:
        raise ConfigError(
            f"privileged observations need the goal, which split '{config.split}' of "
            f"{config.dataset} holds back for {hidden} episodes; use a train or val split"
        )
    if hidden:
        warnings.warn(
            f"{hidden} of {len(episodes)} episodes of {config.dataset} '{config.split}' come "
            "without a goal: only steps and path_length are measured. Hand the trajectories in to "
            "the data set's server for the rest",
            stacklevel=2,
        )
    return VLNSource(worlds, episodes)


def open_matterport(config: VLNConfig, *, need_boxes: bool) -> tuple[Worlds, ObjectBoxes | None]:
    """Open the scans below `config.data` that Matterport3D's data sets play in.

    Args:
        config: the task.
        need_boxes: whether the data set cannot do without object boxes. Otherwise they are all
            there is to see, unless image features take their place.

    Returns:
        The scans by name, and the object boxes where they are needed or there.

    Raises:
        SceneError: missing or damaged files; says where to get them.
    """
    root = find_data_folder(config.data)
    seeing = need_boxes or not config.features or ObjectBoxes.is_available(root)
    return open_scans(str(root.resolve()), seeing, config.strict_categories)


@lru_cache(maxsize=4)
def open_scans(root: str, seeing: bool, strict: bool) -> tuple[Worlds, ObjectBoxes | None]:
    """Open the scans below a data folder, shared by all tasks of this process.

    Args:
        root: the data folder.
        seeing: whether objects are seen by their boxes.
        strict: see `VLNConfig.strict_categories`.
    """
    graphs = ConnectivityFiles(Path(root))
    boxes = ObjectBoxes.from_data_folder(Path(root), strict) if seeing else None
    made = Worlds(
        graphs.scans, lambda scan: ConnectivityWorld(scan, graphs.read_graph(scan), boxes)
    )
    return made, boxes
