"""What an episode draws: where stands with cubes are in a house, which is wanted, where to begin.

Everything follows from the house and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embodied.errors import NavigationError
from embodied.simulators.base import Material, Scene, SceneObject
from embodied.simulators.embedded import World
from embodied.simulators.pathfinder import DistanceField
from embodied.simulators.scenes.extend import extend_scene
from embodied.simulators.scenes.shapes import make_box
from embodied.tasks.mobile_pick.config import (
    CUBE_COLORS,
    STAND_HALF_WIDTH,
    STAND_HEIGHT,
    MobilePickConfig,
)
from embodied.tasks.mobile_pick.frames import upright_pose
from embodied.tasks.tabletop.cubes import HALF

Array = NDArray[np.float64]

FURNISHING_TRIALS = 12
"""Furnishings tried in one house."""

_SAMPLES = 400
_ROOM = (0.5, 0.3)  # free floor around the body beside a stand, at best and at least [m]
_APART = 1.5  # stands from each other [m]
_INSET = 0.06  # most that a cube lies off the middle of its stand [m]
_LOSS = 0.12  # share of the floor that stands may take or cut off
_WOODS = ((0.52, 0.38, 0.26), (0.70, 0.60, 0.46), (0.36, 0.30, 0.27), (0.80, 0.79, 0.76))


@dataclass(frozen=True, eq=False)
class PickEpisodeSpec:
    """One episode before its first step.

    Attributes:
        world: the house with the stands.
        position, yaw: where the base begins, (3,) [m] and [rad].
        stands: (K, 3) middles of the tops of the stands, the wanted cube's first [m].
        cubes: (K, 4, 4) poses of the cubes, likewise.
        colors: of the cubes, likewise.
        hold_position: (3,) where the wanted cube is to be held, from the middle of the arm's
            working space [m].
        dock_distances: distance field of the places where the wanted cube is in the arm's reach.
        geodesic_distance: way from the start to the nearest of them [m].
        room_type: type of the room in which the wanted cube is.
        first_stand: object number of the first stand; the others follow.
    """

    world: World
    position: Array
    yaw: float
    stands: Array
    cubes: Array
    colors: tuple[str, ...]
    hold_position: Array
    dock_distances: DistanceField
    geodesic_distance: float
    room_type: str
    first_stand: int


def draw_episode_spec(
    house: World, config: MobilePickConfig, reach: float, rng: np.random.Generator
) -> PickEpisodeSpec:
    """Draw one episode in a house.

    Args:
        house: without stands.
        config: of the task.
        reach: from the arm's base to the middle of its working space [m].
        rng: all of its chances.

    Raises:
        NavigationError: there is no room for it.
    """
    color = str(rng.choice(list(config.colors)))
    other = str(rng.choice([name for name in CUBE_COLORS if name != color]))
    wood = _WOODS[int(rng.integers(len(_WOODS)))]
    hold = np.array([rng.uniform(-0.05, 0.05), rng.uniform(-0.1, 0.1), rng.uniform(0.16, 0.26)])
    for trial in range(FURNISHING_TRIALS):
        spots = _spots(house, _ROOM[0] if trial < FURNISHING_TRIALS // 2 else _ROOM[1], rng)
        if spots is None:
            continue
        tops = spots + (0.0, STAND_HEIGHT, 0.0)
        world = World(_furnished(house.scene, spots, wood), house.agent)
        paths = world.pathfinder
        insets = rng.uniform(-_INSET, _INSET, (len(tops), 2))
        turns = rng.uniform(-np.pi, np.pi, len(tops))
        cubes = np.stack(
            [
                upright_pose(top + (inset[0], HALF, inset[1]), turn)
                for top, inset, turn in zip(tops, insets, turns, strict=True)
            ]
        )
        if _floor(world) < (1 - _LOSS) * _floor(house):
            continue
        docks = find_dock_places(world, cubes[0, :3, 3], reach)
        if len(docks) < 4:
            continue
        field = paths.compute_distance_field(docks)
        starts = paths.sample_points(rng, 64, island=paths.largest_island)
        ways = field.get_distances(starts)
        low, high = config.navigation.min_geodesic, config.navigation.max_geodesic
        fits = np.flatnonzero((ways >= low) & (ways <= high))
        if not len(fits):
            continue
        start = starts[fits[0]]
        return PickEpisodeSpec(
            world, start, float(rng.uniform(-np.pi, np.pi)), tops, cubes, (color, other), hold,
            field, float(ways[fits[0]]), _room(house.scene, spots[0]), len(house.scene.objects),
        )  # fmt: skip
    raise NavigationError(
        f"scene '{house.scene.name}' has no room for two stands with a way of "
        f"{config.navigation.min_geodesic} to {config.navigation.max_geodesic} m: take houses with "
        "more rooms, or widen min_geodesic/max_geodesic"
    )


def find_dock_places(world: World, cube: Array, reach: float, slack: float = 0.05) -> Array:
    """Return places (K, 3) on the largest island from which the arm reaches a cube (3,) [m]."""
    angles = np.linspace(-np.pi, np.pi, 36, endpoint=False)
    ring = np.stack([np.cos(angles), np.zeros_like(angles), np.sin(angles)], axis=1)
    places = np.concatenate([cube + radius * ring for radius in (reach - slack, reach + slack)])
    places[:, 1] = cube[1] - HALF - STAND_HEIGHT
    paths = world.pathfinder
    places = places[paths.is_navigable(places, 0.3)]
    return places[paths.get_island(places) == paths.largest_island] if len(places) else places


def _spots(house: World, room: float, rng: np.random.Generator) -> Array | None:
    """Draw places (2, 3) on the floor with free floor around them and apart from each other."""
    paths = house.pathfinder
    places = paths.sample_points(rng, _SAMPLES, island=paths.largest_island)
    places = places[paths.distance_to_closest_obstacle(places) >= room]
    if not len(places):
        return None
    away = np.hypot(*(places - places[0])[:, [0, 2]].T) >= _APART
    return np.stack([places[0], places[away][0]]) if away.any() else None


def _floor(world: World) -> int:
    """Return the cells of the largest island."""
    paths = world.pathfinder
    return int((paths.surface.island == paths.largest_island).sum())


def _furnished(scene: Scene, spots: Array, wood: tuple[float, float, float]) -> Scene:
    """Put stands on spots (K, 3) of the floor."""
    size = (2 * STAND_HALF_WIDTH, STAND_HEIGHT, 2 * STAND_HALF_WIDTH)
    things = []
    for spot in spots:
        x, y, z = (spot + (0.0, STAND_HEIGHT / 2, 0.0)).tolist()
        thing = SceneObject("table", "stand", (x, y, z), size)
        things.append((thing, make_box(size, (x, y, z), Material(wood))))
    return extend_scene(scene, things)


def _room(scene: Scene, spot: Array) -> str:
    """Return the type of the room that a place (3,) lies in."""
    for room in scene.rooms:
        low, high = room.polygon.min(axis=0), room.polygon.max(axis=0)
        if ((spot[[0, 2]] >= low) & (spot[[0, 2]] <= high)).all():
            return room.category
    return ""
