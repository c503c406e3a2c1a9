"""Language-guided navigation in any scene: graph worlds of houses, instructions made for them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from embodied import registry
from embodied.config import digest
from embodied.errors import ConfigError, SceneError
from embodied.files import UnwritableError, atomic_write
from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.graph import GraphWorld
from embodied.simulators.house_builder import PanoramaSpec
from embodied.simulators.house_cache import compute_code_digest, open_house
from embodied.simulators.house_graph import HouseWorld
from embodied.simulators.houses import generate_house, split_seeds
from embodied.simulators.segments import Segment
from embodied.simulators.waypoints import WaypointSpec
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.house_episodes import make_house_episodes
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.tasks.vln.source import VLNSource

__all__ = ["HousesConfig", "load_houses", "open_houses"]

TRAIN_HOUSES, OTHER_HOUSES = 300, 60
TRAIN_EPISODES, OTHER_EPISODES = 20, 10
SEEDS = {"train": "train", "val_seen": "train", "val_unseen": "val", "test": "test"}
"""VLN split -> split of the house seeds."""


@dataclass(frozen=True)
class HouseSource:
    """One house of a split: what it is called, what decides its look, how to make its scene."""

    name: str
    key: dict[str, Any]
    load: Callable[[], Scene]


class HouseWorlds(Mapping[str, GraphWorld]):
    """Houses by name, opened when first asked for and kept."""

    def __init__(self, config: HousesConfig, split: str, segment: Segment | None = None) -> None:
        self._sources = {s.name: s for s in list_house_sources(config, split)}
        self._config, self._segment = config, segment
        self._spec = make_panorama_spec(config)
        self._open: dict[str, HouseWorld] = {}

    def __getitem__(self, name: str) -> HouseWorld:
        if name not in self._open:
            source = self._sources[name]
            self._open[name] = open_house(
                source.key, source.load, self._spec, self._config.cache or None, self._segment
            )
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def open_houses(config: VLNConfig) -> VLNSource:
    """Open a split of houses, with the segmenter that `houses.semantics` names.

    Raises:
        ConfigError, SceneError, NavigationError: as `load_houses`.
    """
    place = config.houses.semantics
    truth = place == "ground_truth"  # else a network's opinion, named by its run folder
    segmenter = None if truth else registry.resolve("segmenter", "panorama").load(place)
    return VLNSource(*load_houses(config, segmenter and segmenter.segment))


def load_houses(
    config: VLNConfig, segment: Segment | None = None
) -> tuple[Mapping[str, GraphWorld], list[VLNEpisode]]:
    """Open the houses of a split and make the episodes that play in them.

    The first call renders every house (about a second each); later ones read a file.

    Args:
        config: its `houses` and `split`.
        segment: the segmenter that `houses.semantics` names; see `build_house`.

    Returns:
        worlds by name, opened when first asked for, and the episodes, the same at every call.

    Raises:
        ConfigError: `semantics` names a segmenter, but none is given, or the other way round; or
            no episode fits the settings.
        SceneError, NavigationError: a scene that cannot be used; names it.
    """
    houses, split = config.houses, config.split
    if (segment is None) != (houses.semantics == "ground_truth"):
        raise ConfigError(
            f"houses.semantics = '{houses.semantics}' "
            + (
                "names a segmenter: load it and pass its `segment` on"
                if segment is None
                else "takes the scene's own semantics, but a segmenter is given: name its folder"
            )
        )
    worlds = HouseWorlds(houses, split, segment)
    file = _episode_file(houses, split)
    episodes = _read(file)
    if episodes is None:
        if houses.workers > 1 and segment is None and houses.cache:
            _build_all(houses, split)
        episodes = [
            episode
            for name in tqdm(worlds, desc=f"houses ({split})", disable=None, leave=False)
            for episode in make_house_episodes(
                worlds[name], houses, split, _per_house(houses, split)
            )
        ]
        _write(file, episodes)
    if not episodes:
        raise ConfigError(
            f"no episode fits: {len(worlds)} houses hold no describable object "
            f"{houses.min_hops} to {houses.max_hops} moves away. Lower houses.min_hops or "
            "houses.spacing, or take larger scenes"
        )
    return worlds, episodes


def list_house_sources(config: HousesConfig, split: str) -> list[HouseSource]:
    """Return the houses of a split.

    Raises:
        SceneError: a scene file that does not exist.
    """
    semantics = "" if config.semantics == "ground_truth" else _weights_digest(config.semantics)
    if config.files:
        return [_file_source(file, config, semantics) for file in config.files]
    count = config.count or (TRAIN_HOUSES if SEEDS[split] == "train" else OTHER_HOUSES)
    return [
        _seed_source(seed, config, semantics)
        for seed in split_seeds(SEEDS[split], count, config.offset)
    ]


def open_scene(config: HousesConfig, name: str) -> Scene:
    """Return the scene behind a world of `load_houses`, by the world's name.

    Raises:
        SceneError: the settings make no house of this name.
    """
    for source in [_file_source(file, config, "") for file in config.files]:
        if source.name == name:
            return source.load()
    seed = name.removeprefix("house-")
    if config.files or not seed.isdigit():
        raise SceneError(f"no house '{name}' in these settings: take a world's name")
    return _seed_source(int(seed), config, "").load()


def make_panorama_spec(config: HousesConfig) -> PanoramaSpec:
    """Return how a house becomes a graph world."""
    return PanoramaSpec(
        WaypointSpec(config.spacing, config.max_edge),
        AgentSpec(),
        config.height,
        config.width,
        config.reach,
    )


def _seed_source(seed: int, config: HousesConfig, semantics: str) -> HouseSource:
    look = {"rooms": config.rooms, "floors": config.floors, "textures": config.textures}
    name = f"house-{seed}"
    return HouseSource(
        name,
        {"name": name, "seed": seed, **look, "semantics": semantics},
        lambda: generate_house(
            seed, rooms=config.rooms, floors=config.floors, textures=config.textures
        ),
    )


def _file_source(file: str, config: HousesConfig, semantics: str) -> HouseSource:
    path = Path(file.partition("#")[0]).expanduser()
    if not path.exists():
        raise SceneError(f"houses.files: {path}: no such file or directory. Check the path.")
    labels = [Path(config.labels).expanduser()] if config.labels else []
    stamps = sorted(
        (str(p), p.stat().st_size, p.stat().st_mtime_ns)
        for p in (*(path.rglob("*") if path.is_dir() else [path]), *labels)
        if p.is_file()
    )
    name = f"{path.stem}-{zlib.crc32(str(file).encode()):08x}"
    key = {"name": name, "files": digest(stamps), "part": file.partition("#")[2]}
    key |= {"up": config.up, "labels": config.labels, "semantics": semantics}

    def load() -> Scene:
        from embodied.simulators.scenes import load_scene

        return replace(
            load_scene(file, up=config.up or None, labels=config.labels or None), name=name
        )

    return HouseSource(name, key, load)


def _weights_digest(place: str) -> str:
    """Return a hash of the weights a segmenter's folder or file holds."""
    path = Path(place).expanduser()
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise ConfigError(
            f"houses.semantics = '{place}': no weights there. Give 'ground_truth', or the run "
            "folder of a trained segmenter"
        )
    state = sha256()
    for file in files:
        state.update(file.read_bytes())
    return state.hexdigest()[:16]


def _per_house(config: HousesConfig, split: str) -> int:
    return config.episodes or (TRAIN_EPISODES if split == "train" else OTHER_EPISODES)


def _build_all(config: HousesConfig, split: str) -> None:
    """Fill the cache with several processes."""
    names = [s.name for s in list_house_sources(config, split)]
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as pool:
        jobs = [pool.submit(_build, config, split, name) for name in names]
        for job in tqdm(jobs, desc=f"houses ({split})", disable=None, leave=False):
            job.result()


def _build(config: HousesConfig, split: str, name: str) -> None:
    _ = HouseWorlds(config, split)[name]


def _episode_file(config: HousesConfig, split: str) -> Path | None:
    """Return where the episodes of a split are kept; None keeps nothing."""
    if not config.cache:
        return None
    here = Path(__file__).parent
    code = sha256(compute_code_digest().encode())
    for file in (here / "house_episodes.py", *sorted((here / "instructions").glob("*.py"))):
        code.update(file.read_bytes())
    plain = replace(config, workers=1, cache="", semantics="ground_truth")
    keys = [s.key | {"semantics": ""} for s in list_house_sources(config, split)]
    name = digest({"config": plain, "split": split, "code": code.hexdigest(), "houses": keys})
    return Path(config.cache).expanduser() / f"episodes-{split}-{name}.json"


def _read(file: Path | None) -> list[VLNEpisode] | None:
    """Return stored episodes, None if there are none or the file is damaged."""
    if file is None:
        return None
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [VLNEpisode(**{k: _tuple(v) for k, v in row.items()}) for row in rows]
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _write(file: Path | None, episodes: list[VLNEpisode]) -> None:
    if file is None:
        return
    rows = [{k: v for k, v in asdict(e).items() if k != "polygons"} for e in episodes]
    try:
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps(rows), encoding="utf-8")
    except UnwritableError:
        return  # open_house has warned: the folder holds the houses, too


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
