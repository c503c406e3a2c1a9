"""Descriptions that single out one object of a house."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.house_graph import HouseItem
from embodied.tasks.vln.instructions.colors import color_words
from embodied.tasks.vln.instructions.lexicon import find_nouns, may_mean
from embodied.tasks.vln.instructions.relations import relation_tables

Table = NDArray[np.bool_]

ATTRIBUTES = ("room", "color", "relation")
SLACK = 0.3
"""Relations that almost hold [m]: an object is not ruled out by what is only just untrue of it."""
STRICT = -0.02
"""Relations asserted must hold by this much [m]."""
ANCHOR_SIZE = 0.35
"""Things to relate to have an edge of at least this length [m]."""
TALL = 1.2
"""Nobody says of something higher than this [m] that it is on something (curtains, for one)."""
WEIGHTS = (1.0, 1.5, 0.6)
"""How readily each of `ATTRIBUTES` comes first: a relation alone mostly suffices, and would leave
the others without work."""


@dataclass(frozen=True)
class Description:
    """What is said about an object; empty attributes are not said.

    Attributes:
        noun: what it is.
        room: type of the room it is in.
        color: its colour word.
        relation, anchor: one of `RELATIONS` and the noun of another object.
    """

    noun: str
    room: str = ""
    color: str = ""
    relation: str = ""
    anchor: str = ""

    def without_attribute(self, attribute: str) -> Description:
        """Return the description with one of `ATTRIBUTES` left out."""
        if attribute == "relation":
            return replace(self, relation="", anchor="")
        return replace(self, **{attribute: ""})


class Referents:
    """The objects of a house as a listener may tell them apart.

    Args:
        items: O objects.
        rooms: type of each room, "" or absent where unknown.
    """

    def __init__(self, items: Sequence[HouseItem], rooms: Sequence[str]) -> None:
        self.items = tuple(items)
        self.rooms = tuple(rooms[item.room] if item.room >= 0 else "" for item in items)
        self.colors = tuple(color_words(item.color) for item in items)
        self.certain = relation_tables(self.items, STRICT)
        self.possible = relation_tables(self.items, SLACK)
        self._may: dict[str, Table] = {}

    def match_noun(self, noun: str) -> Table:
        """(O,) whether a listener may call each object by a noun."""
        if noun not in self._may:
            self._may[noun] = np.array([may_mean(noun, item.name) for item in self.items], bool)
        return self._may[noun]

    def match_description(self, description: Description) -> Table:
        """(O,) which objects a description may mean, with every doubt in their favour."""
        fits = self.match_noun(description.noun).copy()
        if description.room:
            fits &= [room in (description.room, "") for room in self.rooms]
        if description.color:
            fits &= [description.color in colors for colors in self.colors]
        if description.relation:
            fits &= self.possible[description.relation][:, self.match_noun(description.anchor)].any(
                axis=1
            )
        return fits

    def list_facts(self, row: int, attribute: str) -> list[dict[str, str]]:
        """Return what can be said of an object about one of `ATTRIBUTES`, all of it surely true."""
        if attribute == "room":
            return [{"room": self.rooms[row]}] if self.rooms[row] else []
        if attribute == "color":
            return [{"color": word} for word in self.colors[row] if len(self.colors[row]) == 1]
        found: dict[tuple[str, str], None] = {}
        for relation, table in self.certain.items():
            if relation == "on" and self.items[row].size[1] > TALL:
                continue
            for other in np.flatnonzero(table[row]):
                item = self.items[other]
                if item.seen_from and max(item.size) >= ANCHOR_SIZE and find_nouns(item.name):
                    found[relation, find_nouns(item.name)[0]] = None
        own = set(find_nouns(self.items[row].name))
        return [{"relation": r, "anchor": a} for r, a in found if a not in own]


def describe_object(
    referents: Referents, row: int, rng: np.random.Generator, tries: int = 4
) -> Description | None:
    """Find words that single out an object among all of its house.

    The incremental algorithm (Dale and Reiter 1995, "Computational interpretations of the Gricean
    maxims", section 3) with the attributes in random order, so that each is needed now and then:
    an attribute is said when it rules out an object still in question.

    Args:
        referents: the house.
        row: of the object in `referents.items`.
        rng: source of randomness.
        tries: orders tried.

    Returns:
        a description nothing else fits, or None when none was found.
    """
    names = find_nouns(referents.items[row].name)
    for _ in range(tries if names else 0):
        said = Description(names[int(rng.integers(len(names)))])
        left = int(referents.match_description(said).sum())
        for k in _order(rng):
            if left <= 1:
                break
            facts = referents.list_facts(row, ATTRIBUTES[k])
            for f in rng.permutation(len(facts)):
                longer = replace(said, **facts[f])
                count = int(referents.match_description(longer).sum())
                if count < left:
                    said, left = longer, count
                    break
        if left == 1:
            return _trim(referents, said)
    return None


def find_needed_attributes(referents: Referents, description: Description) -> tuple[str, ...]:
    """Return the attributes without which a description would fit several objects."""
    return tuple(
        a
        for a in ATTRIBUTES
        if getattr(description, a)
        and referents.match_description(description.without_attribute(a)).sum() > 1
    )


def _order(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random order of `ATTRIBUTES`, by exponential clocks of `WEIGHTS`."""
    return np.argsort(rng.exponential(size=len(ATTRIBUTES)) / WEIGHTS)


def _trim(referents: Referents, said: Description) -> Description:
    """Leave out what later attributes made superfluous."""
    for attribute in ATTRIBUTES:
        shorter = said.without_attribute(attribute)
        if getattr(said, attribute) and referents.match_description(shorter).sum() == 1:
            said = shorter
    return said
