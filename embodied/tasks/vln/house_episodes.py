"""Episodes of one house: a target that words single out, a start some moves away, the words."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.house_graph import HouseItem, HouseWorld
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.tasks.vln.instructions import (
    PHRASINGS,
    Description,
    Referents,
    describe_object,
    find_needed_attributes,
    write_goal,
    write_route,
)

NO_TARGET = frozenset(("door", "window"))
"""Classes that serve as landmarks only: one does not send anybody to a door frame."""
OTHER_ROOM = 0.85
"""Share of episodes that begin in another room than the target's, where there is a choice."""
SAY_ROOM = 0.5
"""Share of goal instructions that name the room though the description does without."""

Drawn = tuple[HouseItem, Description, tuple[str, ...]]


def make_house_episodes(
    world: HouseWorld, config: HousesConfig, split: str, count: int
) -> list[VLNEpisode]:
    """Make the episodes of a house; the same arguments give the same ones.

    Targets are drawn so that descriptions which need nothing, the room, the colour, the relation
    or several of them are about equally frequent, as far as the house allows.

    Args:
        world: the house.
        config: style, phrasing, range of moves, seed.
        split: of the episodes: "train", "val_seen", "val_unseen" or "test".
        count: how many; fewer where the house is too small or too uniform.
    """
    rng = np.random.default_rng(
        [config.seed, *(zlib.crc32(s.encode()) for s in (world.name, split))]
    )
    groups = _describable(world, rng)
    episodes: list[VLNEpisode] = []
    used: set[tuple[int, int]] = set()
    for _ in range(5 * count):
        if len(episodes) == count or not groups:
            break
        group = groups[int(rng.integers(len(groups)))]
        item, said, attributes = group[int(rng.integers(len(group)))]
        start = _start(world, item, config, rng)
        if start < 0 or (start, item.id) in used:
            continue
        used.add((start, item.id))
        path = _way(world, start, item.seen_from)
        heading = float(rng.integers(12)) * np.pi / 6
        style = config.style
        if style == "mixed":
            style = "goal" if rng.random() < 0.5 else "route"
        episodes.append(
            VLNEpisode(
                id=f"{world.name}-{split}-{len(episodes)}",
                world=world.name,
                start=start,
                heading=heading,
                instruction=_instruction(
                    world, style, split, config, path, heading, item, said, rng
                ),
                goals=item.seen_from,
                target=item.id,
                path=tuple(path),
                length=float(world.compute_walk_length(path)),
                rooms=(_room(world, int(world.place_rooms[start])), _room(world, item.room)),
                kind=f"{style}:{'+'.join(attributes) or 'noun'}",
            )
        )
    return episodes


def _describable(world: HouseWorld, rng: np.random.Generator) -> list[list[Drawn]]:
    """Return the targets with their descriptions, grouped by the attributes these need."""
    referents = Referents(world.items, world.rooms)
    groups: dict[str, list[Drawn]] = {}
    for row, item in enumerate(referents.items):
        if not item.seen_from or item.category in NO_TARGET:
            continue
        said = describe_object(referents, row, rng)
        if said is not None:
            attributes = find_needed_attributes(referents, said)
            kind = attributes[0] if len(attributes) == 1 else str(min(len(attributes), 2))
            groups.setdefault(kind, []).append((item, said, attributes))
    return [groups[kind] for kind in sorted(groups)]


def _start(
    world: HouseWorld, item: HouseItem, config: HousesConfig, rng: np.random.Generator
) -> int:
    """Draw a place from where the walk to the target has a fitting number of moves, -1 if none."""
    fits = [
        place
        for place in range(len(world))
        if place not in item.seen_from
        and config.min_hops <= len(_way(world, place, item.seen_from)) - 1 <= config.max_hops
    ]
    away = [p for p in fits if world.place_rooms[p] != item.room]
    if away and rng.random() < OTHER_ROOM:
        fits = away
    return fits[int(rng.integers(len(fits)))] if fits else -1


def _way(world: HouseWorld, start: int, goals: Sequence[int]) -> list[int]:
    """Return the shortest walk to the nearest goal."""
    ends: NDArray[np.int64] = np.asarray(goals)
    return world.find_path(start, int(ends[world.distances[start, ends].argmin()]))


def _room(world: HouseWorld, room: int) -> str:
    return world.rooms[room] if room >= 0 else ""


def _instruction(
    world: HouseWorld,
    style: str,
    split: str,
    config: HousesConfig,
    path: Sequence[int],
    heading: float,
    item: HouseItem,
    said: Description,
    rng: np.random.Generator,
) -> str:
    name = config.phrasing
    if name == "auto":
        name = "train" if split in ("train", "val_seen") else "held_out"
    if style == "route":
        return write_route(world, path, heading, said, PHRASINGS[name], rng)
    room = _room(world, item.room) if rng.random() < SAY_ROOM else ""
    return write_goal(said, PHRASINGS[name], rng, room)
