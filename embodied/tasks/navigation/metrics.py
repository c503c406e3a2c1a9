"""Metrics of one navigation episode as pure functions; all accept arrays and broadcast.

Success and SPL: Anderson et al. 2018, "On Evaluation of Embodied Navigation Agents"
(arXiv 1807.06757). SoftSPL: Datta et al. 2020, "Integrating Egocentric Localization for More
Realistic Point-Goal Navigation Agents" (arXiv 2009.03231).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def is_success(stopped: ArrayLike, distance: ArrayLike, radius: float) -> NDArray[np.bool_]:
    """Tell whether the agent called STOP within `radius` of the goal.

    Args:
        stopped: whether STOP was called.
        distance: geodesic distance to the goal at the end [m]; inf or nan (unreachable) fails.
        radius: success distance [m], inclusive.
    """
    return np.asarray(stopped, bool) & (np.asarray(distance, np.float64) <= radius)


def spl(succeeded: ArrayLike, shortest: ArrayLike, travelled: ArrayLike) -> Array:
    """Success weighted by path length: S * l / max(l, p) (Anderson et al. 2018, section 4).

    Edge cases: an episode that starts at its goal (l = 0) scores 1 when the agent stops without
    moving and 0 once it travels, the limit of the formula; an unreachable goal (l = inf) scores 0.

    Args:
        succeeded: S, 0 or 1.
        shortest: l, geodesic start-goal distance [m].
        travelled: p, length of the agent's path [m].
    """
    return np.asarray(succeeded, np.float64) * _efficiency(shortest, travelled)


def soft_spl(distance: ArrayLike, shortest: ArrayLike, travelled: ArrayLike) -> Array:
    """Progress weighted by path length: max(0, 1 - d / l) * l / max(l, p) (Datta et al. 2020).

    Edge cases: l = 0 counts as full progress while d = 0 and as none otherwise; an unreachable goal
    (l or d infinite) scores 0; an agent that never moved scores 0 unless it began at the goal.

    Args:
        distance: d, geodesic distance to the goal at the end [m].
        shortest: l, geodesic start-goal distance [m].
        travelled: p, length of the agent's path [m].
    """
    end, begin = np.asarray(distance, np.float64), np.asarray(shortest, np.float64)
    nearer = np.isfinite(begin) & (end < begin)
    # Where the end is not nearer nothing is divided: a tiny l cannot overflow.
    progress = 1.0 - np.where(nearer, end, 0.0) / np.where(nearer, begin, 1.0)
    progress = np.where(nearer, progress, (begin == 0) & (end == 0))
    return progress * _efficiency(shortest, travelled)


def path_length(positions: ArrayLike) -> float:
    """Return the length [m] of a walked polyline (T, 3); zero for fewer than two points."""
    points = np.asarray(positions, np.float64).reshape(-1, 3)
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def coverage_share(seen: ArrayLike, reachable: ArrayLike) -> Array:
    """Return the share of the reachable floor that was seen, from areas or cell counts.

    Edge case: a floor without reachable cells counts as covered (1).
    """
    part, whole = np.asarray(seen, np.float64), np.asarray(reachable, np.float64)
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 1.0)


def _efficiency(shortest: ArrayLike, travelled: ArrayLike) -> Array:
    """Return l / max(l, p) with 0/0 = 1 and 0 for an infinite or undefined l."""
    best, walked = np.asarray(shortest, np.float64), np.asarray(travelled, np.float64)
    usable = np.isfinite(best) & np.isfinite(walked)
    longest = np.where(usable, np.maximum(best, walked), 1.0)
    ratio = np.where(
        longest > 0, np.where(usable, best, 0.0) / np.where(longest > 0, longest, 1), 1
    )
    return np.where(usable, ratio, 0.0)
