"""Put descriptions and ways into words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embodied.simulators.house_graph import HouseWorld
from embodied.tasks.vln.instructions.lexicon import SYNONYMS, find_nouns
from embodied.tasks.vln.instructions.phrases import (
    BY,
    RELATION_WORDS,
    Phrasing,
)
from embodied.tasks.vln.instructions.reference import Description

SHARP = np.radians(50)
"""Changes of direction from here on are worth a word, [rad]."""
BACK = np.radians(140)
"""And from here on they mean turning around."""
PASSING = 1.8
"""A landmark passed is at most this far from the way's place [m]."""
LANDMARK = 0.5
"""Landmarks have an edge of at least this length [m]."""
CLAUSES = 5
"""Most clauses of a route before the last."""


def pick_wording(options: Sequence[str], rng: np.random.Generator) -> str:
    """Draw one of several wordings."""
    return options[int(rng.integers(len(options)))]


def write_noun_phrase(
    description: Description, phrasing: Phrasing, rng: np.random.Generator
) -> str:
    """Return the words for a description, without its room."""
    if description.color and description.relation:
        pattern = pick_wording(phrasing.both, rng)
    elif description.relation:
        pattern = pick_wording(phrasing.relation, rng)
    else:
        pattern = pick_wording(phrasing.color if description.color else phrasing.plain, rng)
    words = RELATION_WORDS.get(description.relation, ("",))
    if description.relation == "next to" and description.anchor in BY:
        words = (*words, "by", "by")
    return pattern.format(
        noun=pick_wording(SYNONYMS.get(description.noun, (description.noun,)), rng),
        color=description.color,
        relation=pick_wording(words, rng),
        anchor=pick_wording(SYNONYMS.get(description.anchor, (description.anchor,)), rng),
    )


def write_goal(
    description: Description, phrasing: Phrasing, rng: np.random.Generator, room: str = ""
) -> str:
    """Write a goal-style instruction: where to end, not how to get there.

    Args:
        description: the description of the target.
        phrasing: patterns.
        rng: chooses among them.
        room: the target's room, to be said although the description does not need it.
    """
    thing, room = write_noun_phrase(description, phrasing, rng), description.room or room
    pattern = pick_wording(phrasing.goal_room if room else phrasing.goal, rng)
    return capitalise_sentences(pattern.format(thing=thing, room=room))


def write_route(
    world: HouseWorld,
    path: Sequence[int],
    heading: float,
    description: Description,
    phrasing: Phrasing,
    rng: np.random.Generator,
) -> str:
    """Write a route-style instruction: turns, rooms and landmarks along a way, then its end.

    Args:
        world: the house.
        path: places of the way.
        heading: the agent looks along at the beginning, clockwise from north [rad].
        description: the description of the target seen at the end.
        phrasing: patterns.
        rng: chooses among them.
    """
    clauses = _clauses(world, path, heading, phrasing, rng)
    while len(clauses) > CLAUSES:
        clauses.pop(int(rng.integers(len(clauses))))
    thing = write_noun_phrase(description, phrasing, rng)
    last = phrasing.stop_room if description.room else phrasing.stop
    clauses.append(pick_wording(last, rng).format(thing=thing, room=description.room))
    between, before_last = phrasing.connectives[int(rng.integers(len(phrasing.connectives)))]
    text = between.join(clauses[:-1])
    return capitalise_sentences(text + before_last + clauses[-1] if text else clauses[-1])


def capitalise_sentences(text: str) -> str:
    """Return text with capitals at the beginning of its sentences and a full stop at the end."""
    parts = [p[:1].upper() + p[1:] for p in text.split(". ")]
    return ". ".join(parts) + "."


def _clauses(
    world: HouseWorld,
    path: Sequence[int],
    heading: float,
    phrasing: Phrasing,
    rng: np.random.Generator,
) -> list[str]:
    """Return what happens along a way, in order: at each place the turn, the landmark passed, then
    the rooms left and entered.
    """
    found: list[str] = []
    told: set[str] = set()
    room, left = int(world.place_rooms[path[0]]), False
    for step, (here, there) in enumerate(zip(path[:-1], path[1:], strict=True)):
        way = world.positions[there] - world.positions[here]
        onward = float(np.arctan2(way[0], -way[2]))
        change = (onward - heading + np.pi) % (2 * np.pi) - np.pi
        if abs(change) >= BACK:
            found.append(pick_wording(phrasing.around, rng))
        elif abs(change) >= SHARP:
            side = "right" if change > 0 else "left"
            found.append(pick_wording(phrasing.turn, rng).format(side=side))
        heading = onward
        landmark = _landmark(world, here, told, rng) if step else ""
        if landmark:
            told.add(landmark)
            word = pick_wording(SYNONYMS.get(landmark, (landmark,)), rng)
            found.append(pick_wording(phrasing.past, rng).format(noun=word))
        new = int(world.place_rooms[there])
        if not left and room >= 0 and new != room:
            found.append(pick_wording(phrasing.leave, rng).format(room=world.rooms[room]))
            left = True
        if new not in (room, -1):  # doorways belong to no room
            found.append(pick_wording(phrasing.enter, rng).format(room=world.rooms[new]))
            room, left = new, True
    return found


def _landmark(world: HouseWorld, place: int, told: set[str], rng: np.random.Generator) -> str:
    """Return the noun of a large thing beside a place, "" if there is none or by chance."""
    if rng.random() < 0.4:
        return ""
    here = world.floor_positions[place]
    near = []
    for item in world.items:
        if place not in item.seen_from or max(item.size) < LANDMARK or not find_nouns(item.name):
            continue
        gap = np.abs(np.subtract(item.center, here)) - np.array(item.size) / 2
        noun = find_nouns(item.name)[0]
        if np.hypot(*np.maximum(gap[[0, 2]], 0.0)) <= PASSING and noun not in told:
            near.append(noun)
    return pick_wording(near, rng) if near else ""
