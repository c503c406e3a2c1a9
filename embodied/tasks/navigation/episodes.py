"""Episodes and how they are drawn: start, goals and the distance field of the goals.

PointNav and ImageNav follow habitat-lab's generator: geodesic distance in a range, and starts whose
geodesic/straight ratio is low (an open line to the goal) are mostly thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.errors import NavigationError
from embodied.simulators.embedded import World
from embodied.simulators.pathfinder import DistanceField
from embodied.tasks.navigation.config import NavigationConfig
from embodied.tasks.navigation.goals import GoalIndex
from embodied.types import Pose

Array = NDArray[np.float64]

GOAL_TRIALS = 20
START_TRIALS = 64


@dataclass(frozen=True, eq=False)
class Episode:
    """One task to solve.

    Attributes:
        scene: name of the scene.
        start: where the agent begins.
        goals: (K, 3) points that count as arriving, the nearest decides; (0, 3) when exploring.
        category: class id of an ObjectNav goal, -1 otherwise.
        goal_pose: view an ImageNav goal image is taken from.
        geodesic_distance: geodesic distance from the start to the nearest goal [m]; nan when
            exploring.
        name: id within its data set.
    """

    scene: str
    start: Pose
    goals: Array = field(default_factory=lambda: np.zeros((0, 3)))
    category: int = -1
    goal_pose: Pose | None = None
    geodesic_distance: float = float("nan")
    name: str = ""


def draw_episode(
    world: World, config: NavigationConfig, index: GoalIndex, rng: np.random.Generator
) -> tuple[Episode, DistanceField | None]:
    """Draw one episode of `config.task` in a scene.

    Returns:
        The episode and the distance field of its goals (None when exploring).

    Raises:
        NavigationError: the scene cannot hold such an episode; says why.
    """
    paths = world.pathfinder
    if not paths.navigable_area > 0:
        raise NavigationError(
            f"scene '{world.scene.name}' has no navigable area for an agent of radius "
            f"{world.agent.radius} m: check its scale and up axis, or use a smaller agent"
        )
    name = world.scene.name
    if config.task == "explore":
        start = Pose.from_yaw(_sample(world, rng)[0], rng.uniform(-np.pi, np.pi))
        return Episode(name, start), None
    for goals, category in _goal_candidates(world, config, index, rng):
        distances = paths.compute_distance_field(goals)
        found = _draw_start(world, distances, goals, config, rng)
        if found is not None:
            position, shortest = found
            pose = None
            if config.task == "imagenav":
                pose = Pose.from_yaw(goals[0], rng.uniform(-np.pi, np.pi))
            start = Pose.from_yaw(position, rng.uniform(-np.pi, np.pi))
            return Episode(name, start, goals, category, pose, shortest), distances
    what = (
        f"an object of {', '.join(config.categories)}" if config.task == "objectnav" else "a goal"
    )
    raise NavigationError(
        f"scene '{name}' holds no {config.task} episode: {what} {config.min_geodesic} to "
        f"{config.max_geodesic} m from a start was not found on the largest island "
        f"({paths.navigable_area:.1f} m2 navigable). Widen min_geodesic/max_geodesic or the classes"
    )


def build_distance_field(world: World, episode: Episode) -> DistanceField | None:
    """Build the distance field of a given episode after checking that it can be solved.

    Raises:
        NavigationError: a start off the navigable area, or goals the start cannot reach.
    """
    start = np.asarray(episode.start.position, np.float64)[None]
    where = f"episode '{episode.name}' in scene '{episode.scene}'"
    try:
        world.require_navigable(start, f"the start of episode '{episode.name}'")
    except NavigationError as cause:
        raise NavigationError(
            f"{cause}. If most episodes fail, the agent's size or the scene's up axis "
            "(task.scene.up=y or z) differs from the one they were made with"
        ) from cause
    if not len(episode.goals):
        return None
    paths = world.pathfinder
    goals = paths.snap_points(episode.goals)
    goals = goals[np.isfinite(goals).all(axis=1)]
    if len(goals):
        distances = paths.compute_distance_field(goals)
        if np.isfinite(distances.get_distances(paths.snap_points(start))[0]):
            return distances
    raise NavigationError(
        f"{where}: no goal can be reached from its "
        "start (another island or off the navigable area). Remove the episode or check that agent "
        "radius and height match the ones it was made with"
    )


def _goal_candidates(
    world: World, config: NavigationConfig, index: GoalIndex, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Yield (goals (K, 3), class id) in random order."""
    if config.task == "objectnav":
        classes = index.find_classes(world, config.categories)
        for category in rng.permutation(classes):
            yield index.find_view_points(world, int(category)), int(category)
        return
    for goal in _sample(world, rng, GOAL_TRIALS):
        yield goal[None], -1


def _draw_start(
    world: World,
    distances: DistanceField,
    goals: Array,
    config: NavigationConfig,
    rng: np.random.Generator,
) -> tuple[Array, float] | None:
    """Return a start (3,) and its geodesic distance, or None when no sample is in range."""
    starts = _sample(world, rng, START_TRIALS)
    geodesic = distances.get_distances(starts)
    fits = (geodesic >= config.min_geodesic) & (geodesic <= config.max_geodesic)
    chance = rng.random(START_TRIALS)
    if config.task != "objectnav":
        straight = np.linalg.norm(starts - goals[0], axis=1)
        ratio = geodesic / np.maximum(straight, 1e-6)
        # habitat-lab's rule: keep 20 (r - 0.98)^2 of the starts below the wanted ratio.
        keep = (ratio >= config.min_ratio) | (chance < 20 * (ratio - 0.98) ** 2)
        if (fits & keep).any():
            fits &= keep
    if not fits.any():
        return None
    first = int(np.argmax(fits))
    return starts[first], float(geodesic[first])


def _sample(world: World, rng: np.random.Generator, count: int = 1) -> Array:
    return world.pathfinder.sample_points(rng, count, island=world.pathfinder.largest_island)
