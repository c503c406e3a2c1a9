"""Metrics of language-guided navigation as pure functions of walks over a graph.

All distances are lengths of shortest walks on the graph [m]. A walk is the list of places visited,
the start first, each next to the one before. The official evaluations score the last place whether
or not the agent called STOP, and so does this.

Sources: success, oracle success, navigation error: Anderson et al. 2018 (arXiv 1711.07280); SPL:
Anderson et al. 2018 (arXiv 1807.06757); CLS: Jain et al. 2019 (arXiv 1905.12255), section 4; nDTW,
SDTW: Ilharco et al. 2019 (arXiv 1907.05446), section 4; RGS, RGSPL: Qi et al. 2020
(arXiv 1904.10151).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.navigation.metrics import spl
from embodied.tasks.vln.episodes import Polygon, VLNEpisode

Array = NDArray[np.float64]

THRESHOLD = 3.0
"""d_th of nDTW and CLS [m]: the success distance of R2R."""


def walk_length(distances: Array, walk: Sequence[int]) -> float:
    """Return the length of a walk [m]."""
    places = np.asarray(walk, np.int64)
    return float(distances[places[:-1], places[1:]].sum())


def find_success_places(distances: Array, episode: VLNEpisode) -> NDArray[np.bool_]:
    """Return for every place whether an episode may end there with success, (N,).

    A goal place always counts; so does any place nearer than `radius` to the annotated path's end
    (R2R and SOON: 3 m, strictly less; REVERIE: 0, only places that see the target).
    """
    good: NDArray[np.bool_] = distances[:, episode.path[-1]] < episode.radius
    good[list(episode.goals)] = True
    return good


def goal_distances(distances: Array, episode: VLNEpisode) -> Array:
    """Return the walking distance from every place to the nearest goal place, (N,) [m]."""
    return distances[:, list(episode.goals)].min(axis=1)


def ndtw(
    distances: Array, walk: Sequence[int], reference: Sequence[int], threshold: float = THRESHOLD
) -> float:
    """Normalised dynamic time warping: exp(-DTW(R, Q) / (|R| d_th)).

    Args:
        distances: (N, N) shortest walks [m].
        walk: Q.
        reference: R.
        threshold: d_th [m].
    """
    cost = distances[np.ix_(np.asarray(reference), np.asarray(walk))]
    total = [0.0] + [np.inf] * cost.shape[1]
    for row in cost.tolist():  # a few dozen numbers: lists beat arrays
        above, total[0] = total[0], np.inf
        for j, step in enumerate(row, start=1):
            best = min(above, total[j], total[j - 1])
            above, total[j] = total[j], step + best
    return float(np.exp(-total[-1] / (len(cost) * threshold)))


def cls(
    distances: Array, walk: Sequence[int], reference: Sequence[int], threshold: float = THRESHOLD
) -> float:
    """Coverage weighted by length score: PC * EPL / (EPL + |EPL - PL(P)|).

    PC is the mean over the reference's places of exp(-d(r, P) / d_th), EPL = PC * PL(R). A
    reference of length 0 scores PC when the agent does not move either, and 0 otherwise.
    """
    nearest = distances[np.ix_(np.asarray(reference), np.asarray(walk))].min(axis=1)
    coverage = float(np.exp(-nearest / threshold).mean())
    expected = coverage * walk_length(distances, reference)
    travelled = walk_length(distances, walk)
    if expected == 0:
        return coverage * float(travelled == 0)
    return coverage * expected / (expected + abs(expected - travelled))


def inside_polygon(heading: float, elevation: float, polygon: Polygon) -> bool:
    """Tell whether a direction lies in an outline on the sphere of headings and elevations.

    Headings are compared the short way around, so an outline may cross north; the released SOON
    evaluation compares plain numbers there and says so in a comment. The rim counts as inside.

    Args:
        heading: of the direction [rad].
        elevation: of the direction [rad].
        polygon: (P, 2) corners, each less than half a turn from the next.
    """
    corners = np.asarray(polygon, np.float64)
    # Corner 0 near the direction, every next corner near the one before.
    turns = (np.diff(corners[:, 0]) + np.pi) % (2 * np.pi) - np.pi
    first = (corners[0, 0] - heading + np.pi) % (2 * np.pi) - np.pi
    x = first + np.concatenate([[0.0], np.cumsum(turns)])
    y = corners[:, 1] - elevation
    return any(_holds_origin(x + shift, y) for shift in (-2 * np.pi, 0.0, 2 * np.pi))


def is_right_object(
    episode: VLNEpisode, last: int, answer: int = -1, centre: tuple[float, float] | None = None
) -> bool:
    """Tell whether the object named at the end is the one asked for.

    Args:
        episode: what was asked.
        last: place the agent ended at.
        answer: true id of the object named, -1 for none.
        centre: heading and elevation of its box's centre seen from there [rad]; where the target
            is annotated as an outline (SOON), the centre must lie inside the one of this place.
    """
    if episode.polygons:
        outline = episode.polygons.get(last)
        return (
            outline is not None
            and centre is not None
            and inside_polygon(centre[0], centre[1], outline)
        )
    return answer >= 0 and answer == episode.target


def score_episode(
    distances: Array, episode: VLNEpisode, walk: Sequence[int], named: bool = False
) -> dict[str, float]:
    """Return all metrics of a finished or running episode.

    "rgs" and "rgspl" are non-strict (the right object counts wherever the agent ends), "rgs_strict"
    and "rgspl_strict" also need success; published tables differ in which they mean. Where the
    truth is held back only "steps" and "path_length" are there.

    Args:
        distances: (N, N) shortest walks [m].
        episode: what was asked.
        walk: the places visited.
        named: whether the right object was named, see `is_right_object`.
    """
    report = {"steps": float(len(walk) - 1), "path_length": walk_length(distances, walk)}
    if not episode.has_truth:
        return report
    good = find_success_places(distances, episode)
    success = float(good[walk[-1]])
    length = reference_length(distances, episode, walk[-1])
    efficiency = float(spl(1.0, length, report["path_length"]))
    warping = ndtw(distances, walk, episode.path)
    report |= {
        "success": success,
        "spl": success * efficiency,
        "oracle_success": float(good[list(walk)].any()),
        "distance_to_goal": float(goal_distances(distances, episode)[walk[-1]]),
        "ndtw": warping,
        "sdtw": success * warping,
        "cls": cls(distances, walk, episode.path),
    }
    if episode.target >= 0 or episode.polygons:
        right = float(named)
        report |= {
            "rgs": right,
            "rgspl": right * efficiency,
            "rgs_strict": right * success,
            "rgspl_strict": right * success * efficiency,
        }
    return report


def reference_length(distances: Array, episode: VLNEpisode, last: int) -> float:
    """Return the reference length of SPL [m].

    SOON measures to the place the agent ended at where that is an annotated goal, and to the
    path's end otherwise; the others carry it in the episode.
    """
    if not episode.polygons:
        return episode.length
    goal = last if last in episode.goals else episode.path[-1]
    return float(distances[episode.start, goal])


def _holds_origin(x: Array, y: Array) -> bool:
    """Tell whether the polygon (x, y) holds the origin or touches it: crossings of the +x axis."""
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    cross = x * y2 - x2 * y
    flat = np.abs(cross) <= 1e-12
    touches = flat & (x * x2 + y * y2 <= 1e-12)
    spans = (y > 0) != (y2 > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x - y * (x2 - x) / (y2 - y)
    return bool(touches.any() or np.count_nonzero(spans & (crossing > 0)) % 2)
