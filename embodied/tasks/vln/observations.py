"""What an agent observes at a place, packed into arrays of fixed size once per place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError, SceneError
from embodied.simulators.graph import GraphWorld
from embodied.tasks.vln.config import VLNConfig
from maps.panorama.canvas import HEIGHT, WIDTH
from maps.panorama.observation import OBJECT_FEATURES, VIEW_EXTRAS, VIEWS

TEXT = "".join(chr(c) for c in (*range(32, 127), *range(160, 0x250), *range(0x2010, 0x2040)))
"""Characters an instruction may hold: the Latin scripts and typographic marks."""
TEXT_LENGTH, NAME_LENGTH = 4096, 128


@dataclass(frozen=True)
class PackedPlace:
    """One place in arrays that stack: see `VLNBatch` for names and shapes; positions absolute.

    `headings` and `lengths` are those of the ways to the candidates; `truth` says which
    object of the world each one is, -1 = none; `predicted`, that it may differ.
    """

    views: NDArray[np.float32]
    candidates: NDArray[np.int64]
    positions: NDArray[np.float64]
    headings: tuple[float, ...]
    lengths: tuple[float, ...]
    count: int
    objects: NDArray[np.int64]
    names: tuple[str, ...]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float32]
    features: NDArray[np.float32]
    truth: NDArray[np.int64]
    predicted: bool


class PlaceTable:
    """The packed places of all worlds of a batch, filled when first visited.

    Args:
        config: sizes, and the file of image features if one is used.

    Raises:
        SceneError: an unreadable feature file.
    """

    def __init__(self, config: VLNConfig) -> None:
        self.config = config
        self._places: dict[tuple[str, int], PackedPlace] = {}
        self._features = FeatureFile(config.features) if config.features else None
        self._warned = False

    @property
    def view_size(self) -> int:
        """Columns of "views"."""
        if self._features is not None:
            return self._features.size
        return 2 * len(SOS_CATEGORIES) + len(VIEW_EXTRAS)

    def get_place(self, world: GraphWorld, place: int) -> PackedPlace:
        """Return a place's arrays; computed once."""
        key = world.name, place
        packed = self._places.get(key)
        if packed is None:
            packed = self._places[key] = self._pack(world, place)
        return packed

    def _pack(self, world: GraphWorld, place: int) -> PackedPlace:
        seen = world.observe_place(place)
        near = world.neighbours[place]
        room, size = self.config.max_candidates, self.config.max_objects
        if len(near) > room:
            raise ConfigError(
                f"place '{world.places[place]}' of '{world.name}' has {len(near)} neighbours, but "
                f"max_candidates = {room}; raise it"
            )
        kept = np.arange(len(seen.objects))
        if len(kept) > size:
            # A number that somebody chose is meant so; of the default they may not know.
            if size == VLNConfig.max_objects and not self._warned:
                warnings.warn(
                    f"{len(kept)} objects are visible from '{world.places[place]}' of "
                    f"'{world.name}', but max_objects = {size}: only the largest are observed, "
                    "here and elsewhere. Any other number of task.max_objects says no more",
                    stacklevel=2,
                )
                self._warned = True
            kept = np.sort(np.argsort(-seen.boxes[:, 2] * seen.boxes[:, 3], kind="stable")[:size])
        truth = world.get_true_object_ids(place)
        views = seen.views
        if self._features is not None:
            views = self._features.read_views(f"{world.name}_{world.places[place]}")
        return PackedPlace(
            views=views,
            candidates=_pad(near, room, -1),
            positions=_pad(world.positions[near], room, 0.0),
            headings=tuple(compute_headings(world.positions[near] - world.positions[place])),
            lengths=tuple(world.distances[place, near].tolist()),
            count=len(near),
            objects=_pad(seen.objects[kept], size, -1),
            names=tuple(seen.names[i] for i in kept),
            categories=_pad(seen.categories[kept], size, -1),
            boxes=_pad(seen.boxes[kept], size, 0.0),
            features=_pad(seen.features[kept], size, 0.0),
            truth=truth[kept],
            predicted=not np.array_equal(truth, seen.objects),
        )


class FeatureFile:
    """Image features per viewpoint from a file: "<world>_<viewpoint>" -> (36, D).

    Only what is asked for is read: the files of whole data sets exceed a gigabyte.

    Raises:
        SceneError: a missing or damaged file, or another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = Path(path)
        try:
            if self.file.suffix == ".safetensors":
                from safetensors import safe_open

                opened = safe_open(str(self.file), framework="np")
                self._names, self._read = set(opened.keys()), opened.get_tensor
            elif self.file.suffix == ".npz":
                archive = np.load(self.file, allow_pickle=False)
                self._names, self._read = set(archive.files), archive.__getitem__
            else:
                raise SceneError(f"features file {self.file} must be .safetensors or .npz")
        except FileNotFoundError as error:
            raise SceneError(f"no features file {self.file} (task.features)") from error
        except SceneError:
            raise
        except Exception as error:  # safetensors has its own error class, zip files several
            raise SceneError(f"features file {self.file} is damaged: {error}") from error
        if not self._names:
            raise SceneError(f"features file {self.file} is empty")
        first = min(self._names)
        shape = np.shape(self._read(first))
        if len(shape) != 2 or shape[0] != VIEWS:
            raise SceneError(
                f"features file {self.file}: '{first}' has shape {shape}; ({VIEWS}, D) is needed, "
                "a row per view"
            )
        self.size = int(shape[1])

    def read_views(self, key: str) -> NDArray[np.float32]:
        """Return the features of a viewpoint, (36, D).

        Raises:
            SceneError: the file lacks it, or it has another shape or values that are no numbers.
        """
        if key not in self._names:
            raise SceneError(
                f"{self.file} has no features '{key}' ({len(self._names)} viewpoints are there)"
            )
        try:
            array = np.asarray(self._read(key), np.float32)
        except (ValueError, TypeError, OSError) as error:
            raise SceneError(f"{self.file}: '{key}' cannot be read: {error}") from error
        if array.shape != (VIEWS, self.size) or not np.isfinite(array).all():
            raise SceneError(
                f"{self.file}: '{key}' has shape {array.shape}; {(VIEWS, self.size)} finite "
                "numbers are needed"
            )
        return array


def compute_headings(moves: NDArray[np.float64]) -> list[float]:
    """Return the headings of moves (N, 3), clockwise from north [rad]; straight up is north."""
    angles: NDArray[np.float64] = np.arctan2(moves[:, 0], -moves[:, 2]) % (2 * np.pi)
    return angles.tolist()


def observation_space(config: VLNConfig, view_size: int) -> spaces.Dict:
    """Return the space of one environment's observation."""
    C, O, K = config.max_candidates, config.max_objects, len(SOS_CATEGORIES)  # noqa: E741
    name = spaces.Text(NAME_LENGTH, min_length=0, charset=TEXT)
    space: dict[str, spaces.Space] = {
        "instruction": spaces.Text(TEXT_LENGTH, charset=TEXT),
        "place": spaces.Box(0, 2**31, (), np.int64),
        "position": _reals(3),
        "heading": _reals(),
        "views": _reals(VIEWS, view_size),
        "candidates": spaces.Box(-1, 2**31, (C,), np.int64),
        "candidate_positions": _reals(C, 3),
        "objects": spaces.Box(-1, 2**31, (O,), np.int64),
        "object_names": spaces.Sequence(name),
        "object_categories": spaces.Box(-1, K - 1, (O,), np.int64),
        "object_boxes": _reals(O, 4),
        "object_features": _reals(O, len(OBJECT_FEATURES)),
    }
    if config.canvas:
        space["canvas"] = spaces.Box(0, 1, (K, HEIGHT, WIDTH), bool)
    if config.oracle_canvas:
        space["candidate_canvas"] = spaces.Box(0, 1, (C, K, HEIGHT, WIDTH), bool)
    if config.privileged:
        space["goal_distance"] = _reals()
        space["candidate_goal_distances"] = _reals(C)
        space["target"] = spaces.Box(-1, 2**31, (), np.int64)
    return spaces.Dict(space)


def action_space(config: VLNConfig) -> spaces.MultiDiscrete:
    """Return the space of one environment's action: where to, and which object."""
    return spaces.MultiDiscrete([config.max_candidates + 1, config.max_objects + 1])


def _reals(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _pad(values: NDArray, size: int, fill: float) -> NDArray:
    array = np.asarray(values)
    padded = np.full((size, *array.shape[1:]), fill, array.dtype)
    padded[: len(array)] = array
    return padded
