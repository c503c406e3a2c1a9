"""R2R in continuous environments: episode files, demonstrations and the metrics of a walked path.

The files are those of VLN-CE (Krantz et al., "Beyond the Nav-Graph", ECCV 2020), `R2R_VLNCE_v1-3`:
`{split}.json.gz` holds episodes in Habitat's frame (which is ours: y up, metres), the test split
without goals; `{split}_gt.json.gz` holds the expert's path per episode id.

Distances between points are the caller's affair: straight lines by default, which need no mesh, or
the geodesic distance of a simulator. Straight lines are never longer, so that success measured with
them is an upper bound of Habitat's; say which one a figure was made with.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.errors import NavigationError
from embodied.tasks.navigation.metrics import path_length, spl
from embodied.tasks.vln.metrics import cls, ndtw
from embodied.types import Pose

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], Array]
"""(A, 3) and (B, 3) points -> (A, B) lengths of the ways between them [m]."""

SPLITS = ("train", "val_seen", "val_unseen", "test")
ACTIONS = ("stop", "forward", "left", "right")
"""Numbers of the low-level actions in the demonstrations; the same as everywhere here."""

OFF_START = 0.5
"""Farthest a demonstration may begin from its episode's start [m]."""


@dataclass(frozen=True, eq=False)
class ContinuousEpisode:
    """One instruction to follow in a mesh.

    Attributes:
        name: episode id within its file.
        trajectory: id of the annotated path; several instructions describe one.
        scene: scene id as in the file ("mp3d/<scan>/<scan>.glb").
        start: pose of the feet, world frame of the scene.
        instruction: the words.
        goals: (G, 3) points that count as arriving [m]; (0, 3) in the test split.
        reference: (P, 3) annotated path [m]; (0, 3) in the test split.
        geodesic_distance: geodesic distance from the start to the goal [m]; nan in the test split.
        radius: success distance of the goals [m].
    """

    name: str
    trajectory: str
    scene: str
    start: Pose
    instruction: str
    goals: Array = field(default_factory=lambda: np.zeros((0, 3)))
    reference: Array = field(default_factory=lambda: np.zeros((0, 3)))
    geodesic_distance: float = float("nan")
    radius: float = 3.0

    @property
    def scan(self) -> str:
        """Name of the scan, as in R2R."""
        return Path(self.scene).stem


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What the shortest-path expert did in one episode.

    Attributes:
        positions: (T, 3) the start, then the feet after each step forward [m].
        actions: (A,) int64 in `ACTIONS`, the last one STOP.
    """

    positions: Array
    actions: NDArray[np.int64]


def load_episodes(path: str | Path) -> list[ContinuousEpisode]:
    """Read one split.

    Args:
        path: .json or .json.gz.

    Raises:
        NavigationError: the file is missing, not JSON, without episodes, or an episode lacks or
            garbles a field; names file, episode and field.
    """
    file = Path(path)
    content = _read(file)
    listed = content.get("episodes") if isinstance(content, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise NavigationError(f"{file}: no 'episodes' in the file; expected R2R_VLNCE_v1-3 layout")
    episodes: list[ContinuousEpisode] = []
    for number, item in enumerate(listed):
        with _blame(f"{file}: episode {number}"):
            episodes.append(_episode(item))
    names = {e.name for e in episodes}
    if len(names) != len(episodes):
        raise NavigationError(
            f"{file}: {len(episodes) - len(names)} episode_id values appear more than once; "
            "results are stored by id, so make them unique"
        )
    return episodes


def load_demonstrations(
    path: str | Path, episodes: list[ContinuousEpisode] | None = None
) -> dict[str, Demonstration]:
    """Read the expert's paths of a split.

    Args:
        path: `{split}_gt.json.gz`.
        episodes: the split's episodes, to check that each has a path that begins at its start.

    Returns:
        Episode id -> path.

    Raises:
        NavigationError: unreadable, an entry that contradicts itself (as many positions as steps
            forward, plus the start; STOP last and only there), or one that does not belong to its
            episode.
    """
    file = Path(path)
    content = _read(file)
    if not isinstance(content, Mapping) or not content:
        raise NavigationError(f"{file}: expected a mapping from episode ids to paths")
    found: dict[str, Demonstration] = {}
    for key, item in content.items():
        with _blame(f"{file}: path of episode '{key}'"):
            found[str(key)] = _demonstration(item)
    for episode in episodes or ():
        if episode.name not in found:
            raise NavigationError(
                f"{file}: no path for episode '{episode.name}'; the file belongs to another split"
            )
        gap = float(np.linalg.norm(found[episode.name].positions[0] - episode.start.position))
        if gap > OFF_START:
            raise NavigationError(
                f"{file}: the path of episode '{episode.name}' begins {gap:.2f} m from the "
                "episode's start; the file belongs to another split"
            )
    return found


def straight_distances(a: Array, b: Array) -> Array:
    """Return the straight-line distances (A, B) between points (A, 3) and (B, 3) [m]."""
    gaps: Array = np.linalg.norm(a[:, None] - b[None], axis=2)
    return gaps


def score_path(
    episode: ContinuousEpisode,
    positions: ArrayLike,
    *,
    stopped: bool = True,
    reference: ArrayLike | None = None,
    distance: Distance = straight_distances,
    shortest: float | None = None,
) -> dict[str, float]:
    """Return the metrics of a walked path, as VLN-CE computes them.

    Success needs STOP, and a goal nearer than its radius (strictly, as in habitat-lab); oracle
    success has the goal that near anywhere on the way. SPL divides by `shortest`. nDTW and SDTW
    compare with `reference`; VLN-CE takes the expert's positions for it (`Demonstration`), not the
    few annotated viewpoints. Standing still adds no position to the path.

    Args:
        episode: what was asked.
        positions: (T, 3) feet, the start first [m].
        stopped: whether the agent called STOP.
        reference: (P, 3) path to compare with [m]; the annotated one by default.
        distance: (A, 3), (B, 3) -> (A, B) [m]; inf where there is no way.
        shortest: length of SPL's reference way [m]; the episode's own by default.

    Returns:
        steps and path_length, and where the truth is known success, spl, oracle_success,
        distance_to_goal, ndtw, sdtw and cls.

    Raises:
        NavigationError: positions that are not finite (T, 3), T >= 1.
    """
    try:
        path = _points(positions, "positions")
    except ValueError as error:
        raise NavigationError(f"episode '{episode.name}': {error}") from error
    moved = np.concatenate([[True], (np.diff(path, axis=0) != 0).any(axis=1)])
    path = path[moved]
    report = {"steps": float(len(path) - 1), "path_length": path_length(path)}
    if not len(episode.goals):
        return report
    given = episode.reference if reference is None else _points(reference, "reference")
    gaps = distance(path, episode.goals).min(axis=1)
    success = float(stopped and gaps[-1] < episode.radius)
    best = episode.geodesic_distance if shortest is None else shortest
    # the graph metrics over a graph of all points: path first, then the reference
    points = np.concatenate([path, given])
    table = distance(points, points)
    walk, wanted = range(len(path)), range(len(path), len(points))
    warping = ndtw(table, walk, wanted, episode.radius)
    report |= {
        "success": success,
        "spl": float(spl(success, best, report["path_length"])),
        "oracle_success": float((gaps < episode.radius).any()),
        "distance_to_goal": float(gaps[-1]),
        "ndtw": warping,
        "sdtw": success * warping,
        "cls": cls(table, walk, wanted, episode.radius),
    }
    return report


def _read(file: Path) -> Any:
    if not file.is_file():
        raise NavigationError(
            f"no R2R-CE file {file}. Get R2R_VLNCE_v1-3_preprocessed from the VLN-CE project and "
            f"give the path of one of {', '.join(s + '.json.gz' for s in SPLITS)} or *_gt.json.gz"
        )
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise NavigationError(f"{file} is not a readable R2R-CE file: {error}") from error


@contextmanager
def _blame(where: str) -> Iterator[None]:
    """Turn what goes wrong while reading one entry into an error that names it."""
    try:
        yield
    except KeyError as error:
        raise NavigationError(f"{where} lacks the field {error}") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise NavigationError(f"{where} is garbled: {error}") from error


def _episode(item: Mapping[str, Any]) -> ContinuousEpisode:
    rotation = np.asarray(item["start_rotation"], np.float64)
    if rotation.shape != (4,) or not abs(np.linalg.norm(rotation) - 1) < 1e-2:
        raise ValueError(f"start_rotation {rotation.tolist()} is not a unit quaternion x, y, z, w")
    text = item["instruction"]["instruction_text"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("instruction.instruction_text is empty")
    start = _points([item["start_position"]], "start_position")[0]
    pose = Pose(_triple(start), (rotation[0], rotation[1], rotation[2], rotation[3]))
    name, trajectory = str(item["episode_id"]), str(item["trajectory_id"])
    common = (name, trajectory, str(item["scene_id"]), pose, " ".join(text.split()))
    if "goals" not in item and "reference_path" not in item:
        return ContinuousEpisode(*common)  # the test split keeps them secret
    goals = _points([goal["position"] for goal in item["goals"]], "goals.position")
    radius = float(item["goals"][0].get("radius") or 3.0)
    reference = _points(item["reference_path"], "reference_path")
    shortest = float(item["info"]["geodesic_distance"])
    if not (radius > 0 and np.isfinite(shortest) and shortest >= 0):
        raise ValueError(f"goal radius {radius} or info.geodesic_distance {shortest} out of range")
    return ContinuousEpisode(*common, goals, reference, shortest, radius)


def _demonstration(item: Mapping[str, Any]) -> Demonstration:
    positions = _points(item["locations"], "locations")
    actions = np.asarray(item["actions"])
    if actions.ndim != 1 or actions.dtype.kind != "i" or len(actions) == 0:
        raise ValueError("actions must be a list of integers")
    if actions.min() < 0 or actions.max() >= len(ACTIONS):
        raise ValueError(f"actions must lie in 0..{len(ACTIONS) - 1} ({', '.join(ACTIONS)})")
    if actions[-1] != 0 or (actions[:-1] == 0).any():
        raise ValueError("actions must end with stop (0) and stop only there")
    steps = int((actions == 1).sum())
    if len(positions) != steps + 1:
        raise ValueError(f"{len(positions)} locations do not fit {steps} steps forward")
    return Demonstration(positions, actions.astype(np.int64))


def _points(values: Any, what: str) -> Array:
    """Return finite (N, 3) points, N >= 1."""
    points = np.asarray(values, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"{what} must be points of 3 numbers, got an array of {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{what} holds NaN or infinity")
    return points


def _triple(point: Array) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
