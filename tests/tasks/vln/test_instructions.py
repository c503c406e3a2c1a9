from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest

from embodied.simulators.house_builder import build_house
from embodied.simulators.house_graph import HouseItem, HouseWorld
from embodied.simulators.houses import generate_house
from embodied.tasks.vln.instructions import (
    PHRASINGS,
    Description,
    Referents,
    describe_object,
    find_needed_attributes,
    write_goal,
    write_route,
)
from embodied.tasks.vln.instructions.colors import LIGHT, PROTOTYPES, color_words, rgb_to_lab
from embodied.tasks.vln.instructions.lexicon import SYNONYMS, find_nouns, may_mean
from embodied.tasks.vln.instructions.phrases import BY, RELATION_WORDS
from embodied.tasks.vln.instructions.relations import RELATIONS, relation_tables


@pytest.fixture(scope="module")
def houses() -> list[HouseWorld]:
    return [build_house(generate_house(seed, rooms=(5, 7))) for seed in (1, 4, 10)]


def thing(i: int, name: str, center, size, room: int = 0, color=(0.5, 0.5, 0.5)) -> HouseItem:
    return HouseItem(i, name, name, center, size, room, color, (0,))


# --- what a listener understands: written without the code under test ---


def listener_finds(world: HouseWorld, said: Description) -> list[int]:
    """Return the objects a plain reader of the words would accept."""
    return [i.id for i in world.items if _fits(world, i, said)]


def _fits(world: HouseWorld, item: HouseItem, said: Description) -> bool:
    if said.noun not in find_nouns(item.name):
        return False
    if said.room and world.rooms[item.room] != said.room:
        return False
    if said.color and _nearest_color(item) != said.color:
        return False
    if not said.relation:
        return True
    others = [o for o in world.items if o is not item and said.anchor in find_nouns(o.name)]
    return any(o.room == item.room and _holds(item, o, said.relation) for o in others)


def _nearest_color(item: HouseItem) -> str:
    if item.color is None:
        return "unseen"
    seen = rgb_to_lab(np.minimum(np.array(item.color) / LIGHT, 1))
    away = {
        word: min(np.linalg.norm(seen - rgb_to_lab(np.array(p) / 255)) for p in points)
        for word, points in PROTOTYPES.items()
    }
    return min(away, key=away.__getitem__)


def _holds(a: HouseItem, b: HouseItem, relation: str) -> bool:
    (ax, ay, az), (bx, by, bz) = a.center, b.center
    (aw, ah, ad), (bw, bh, bd) = a.size, b.size
    gap = np.hypot(max(abs(ax - bx) - (aw + bw) / 2, 0), max(abs(az - bz) - (ad + bd) / 2, 0))
    a_low, a_top, b_low, b_top = ay - ah / 2, ay + ah / 2, by - bh / 2, by + bh / 2
    if relation == "next to":
        return gap < 0.7 and min(a_top, b_top) > max(a_low, b_low)
    if relation == "on":
        inside = abs(ax - bx) < bw / 2 and abs(az - bz) < bd / 2
        return inside and abs(a_low - b_top) < 0.1
    if relation == "under":
        a_top, b_low, a_low, b_top = b_top, a_low, b_low, a_top
        return gap < 0.15 and 0.05 < a_low - b_top < 1.3
    return gap < 0.15 and 0.05 < a_low - b_top < 1.3


def test_a_description_fits_its_object_and_no_other(houses: list[HouseWorld]) -> None:
    rng = np.random.default_rng(0)
    count, kinds = 0, set()
    for world in houses:
        referents = Referents(world.items, world.rooms)
        for row, item in enumerate(world.items):
            said = describe_object(referents, row, rng)
            if said is None or not item.seen_from:
                continue
            assert listener_finds(world, said) == [item.id], said
            kinds.add(find_needed_attributes(referents, said))
            count += 1
    assert count > 200
    assert {(), ("room",), ("color",), ("relation",)} <= kinds
    assert any(len(kind) > 1 for kind in kinds)


def test_needed_attributes_are_needed(houses: list[HouseWorld]) -> None:
    rng = np.random.default_rng(1)
    world = houses[0]
    referents = Referents(world.items, world.rooms)
    for row in range(len(world.items)):
        said = describe_object(referents, row, rng)
        if said is None:
            continue
        for attribute in find_needed_attributes(referents, said):
            assert referents.match_description(said.without_attribute(attribute)).sum() > 1
        said_all = {a for a in ("room", "color", "relation") if getattr(said, a)}
        assert said_all == set(
            find_needed_attributes(referents, said)
        )  # nothing superfluous is said


def test_indistinguishable_things_get_no_description() -> None:
    twins = [thing(i, "vase", (float(9 * i), 0.5, 0.0), (0.2, 0.4, 0.2)) for i in (1, 2)]
    assert describe_object(Referents(twins, ["hall"]), 0, np.random.default_rng(0)) is None
    alone = Referents(twins[:1], ["hall"])
    assert describe_object(alone, 0, np.random.default_rng(0)) == Description("vase")


def test_each_attribute_decides_where_only_it_differs() -> None:
    rng = np.random.default_rng(0)
    size = (0.4, 0.8, 0.4)
    base = thing(1, "armchair", (0.0, 0.4, 0.0), size)
    other_room = thing(2, "armchair", (9.0, 0.4, 0.0), size, room=1)
    said = describe_object(Referents([base, other_room], ["office", "gym"]), 0, rng)
    assert said is not None
    assert said.room == "office"
    red = tuple(LIGHT * np.array(PROTOTYPES["red"][0]) / 255)
    blue = tuple(LIGHT * np.array(PROTOTYPES["blue"][0]) / 255)
    pair = [thing(1, "armchair", (0, 0.4, 0), size, color=red),
            thing(2, "armchair", (9, 0.4, 0), size, color=blue)]  # fmt: skip
    said = describe_object(Referents(pair, ["gym"]), 1, rng)
    assert said is not None
    assert said.color == "blue"
    desk = thing(3, "desk", (0.8, 0.4, 0.0), (0.8, 0.8, 0.6))
    far = thing(2, "armchair", (9.0, 0.4, 0.0), size)
    said = describe_object(Referents([base, far, desk], ["gym"]), 0, rng)
    assert said is not None
    assert (said.relation, said.anchor) == ("next to", "desk")


# --- relations, colours, nouns ---


def test_relations_of_a_known_arrangement() -> None:
    items = [
        thing(1, "desk", (0.0, 0.4, 0.0), (1.2, 0.8, 0.6)),
        thing(2, "lamp", (0.3, 1.0, 0.0), (0.2, 0.4, 0.2)),  # stands on the desk
        thing(3, "picture", (0.0, 1.8, -0.3), (0.6, 0.5, 0.04)),  # hangs over it
        thing(4, "chair", (1.0, 0.4, 0.0), (0.4, 0.8, 0.4)),  # 0.2 m beside it
        thing(5, "bed", (5.0, 0.3, 0.0), (1.6, 0.6, 2.0)),
        thing(6, "stool", (-1.0, 0.3, 0.0), (0.4, 0.6, 0.4), room=1),  # behind a wall
    ]
    tables = relation_tables(items)
    found = {
        (items[a].name, r, items[b].name) for r in RELATIONS for a, b in np.argwhere(tables[r])
    }
    assert found == {
        ("lamp", "on", "desk"),
        ("picture", "above", "desk"),
        ("desk", "under", "picture"),
        ("desk", "next to", "chair"),
        ("chair", "next to", "desk"),
    }


def test_slack_only_widens_relations(houses: list[HouseWorld]) -> None:
    strict = relation_tables(houses[0].items, -0.02)
    plain, loose = relation_tables(houses[0].items), relation_tables(houses[0].items, 0.3)
    for name in RELATIONS:
        assert not (strict[name] & ~plain[name]).any()
        assert not (plain[name] & ~loose[name]).any()
        assert strict[name].sum() < loose[name].sum()


def test_lab_of_known_colours() -> None:
    assert rgb_to_lab([1, 1, 1]) == pytest.approx([100, 0, 0], abs=0.02)
    assert rgb_to_lab([0, 0, 0]) == pytest.approx([0, 0, 0], abs=0.02)
    assert rgb_to_lab([1, 0, 0]) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert rgb_to_lab([[0, 1, 0], [0, 0, 1]])[1] == pytest.approx([32.30, 79.19, -107.86], abs=0.02)


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0.05, 0.05, 0.05), "black"),
        ((0.97, 0.97, 0.97), "white"),
        ((0.5, 0.5, 0.5), "grey"),
        ((0.75, 0.12, 0.12), "red"),
        ((0.2, 0.5, 0.2), "green"),
        ((0.2, 0.35, 0.62), "blue"),
        ((0.93, 0.8, 0.22), "yellow"),
        ((0.45, 0.28, 0.16), "brown"),
        ((0.8, 0.71, 0.56), "beige"),
    ],
)
def test_clear_colours_have_one_word(rgb: tuple[float, ...], word: str) -> None:
    assert color_words(LIGHT * np.array(rgb)) == {word}


def test_colours_between_words_have_several() -> None:
    between = (np.array(PROTOTYPES["grey"][2]) + PROTOTYPES["white"][2]) / 2 / 255
    assert color_words(LIGHT * between) >= {"grey", "white"}
    assert color_words(None) == set(PROTOTYPES)


def test_an_unclear_colour_neither_is_said_nor_rules_out() -> None:
    size = (0.4, 0.8, 0.4)
    grey = tuple(LIGHT * np.array(PROTOTYPES["grey"][1]) / 255)
    unclear = tuple(LIGHT * (np.array(PROTOTYPES["grey"][2]) + PROTOTYPES["white"][2]) / 2 / 255)
    pair = [thing(1, "vase", (0, 1, 0), size, color=grey),
            thing(2, "vase", (9, 1, 0), size, color=unclear)]  # fmt: skip
    referents = Referents(pair, ["gym"])
    assert describe_object(referents, 0, np.random.default_rng(0)) is None
    assert describe_object(referents, 1, np.random.default_rng(0)) is None


def test_kinds_include_what_people_count_among_them() -> None:
    assert find_nouns("dining chair") == ("dining chair", "chair")
    assert find_nouns("bookshelf") == ("bookshelf", "shelf")
    assert find_nouns("beam") == ()
    assert may_mean("lamp", "bedside lamp")
    assert may_mean("chair", "armchair")
    assert not may_mean("office chair", "dining chair")


# --- words ---


def patterns(phrasing) -> set[str]:
    return {
        p for f in fields(phrasing) if f.name != "connectives" for p in getattr(phrasing, f.name)
    }


def test_no_held_out_pattern_occurs_in_training() -> None:
    train, held_out = patterns(PHRASINGS["train"]), patterns(PHRASINGS["held_out"])
    assert train & held_out == {"the {noun}"}  # there is no other way to say it


@pytest.mark.parametrize("style", ["goal", "route"])
def test_every_held_out_word_occurs_in_training_of_the_same_style(style: str) -> None:
    things = {"plain", "color", "relation", "both"}
    goal = things | {"goal", "goal_room"}
    route = {f.name for f in fields(PHRASINGS["train"])} - {"goal", "goal_room", "connectives"}

    def vocabulary(name: str) -> set[str]:
        phrasing = PHRASINGS[name]
        text = [
            p for field in (goal if style == "goal" else route) for p in getattr(phrasing, field)
        ]
        if style == "route":
            text += [joint for pair in phrasing.connectives for joint in pair]
        return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", " ".join(text))))

    assert vocabulary("held_out") <= vocabulary("train")


def test_all_words_for_nouns_and_relations_occur_in_training() -> None:
    """Whatever can be said in held-out phrasing is also said in training, given time."""
    rng = np.random.default_rng(0)
    train = PHRASINGS["train"]
    for noun, words in SYNONYMS.items():
        said = [write_goal(Description(noun), train, rng).lower() for _ in range(60)]
        assert all(any(word in text for text in said) for word in words), noun
    for relation, words in RELATION_WORDS.items():
        description = Description("vase", relation=relation, anchor=BY[0])
        said = [write_goal(description, train, rng) for _ in range(80)]
        assert all(any(f" {word} the window" in text for text in said) for word in words)


@pytest.mark.parametrize("name", PHRASINGS)
def test_everything_described_is_said(name: str) -> None:
    rng = np.random.default_rng(0)
    said = Description("vase", "kitchen", "red", "on", "desk")
    for _ in range(100):
        text = write_goal(said, PHRASINGS[name], rng)
        assert all(word in text.lower() for word in ("vase", "kitchen", "red", "on", "desk"))
        assert text[0].isupper()
        assert text.endswith(".")
        assert "{" not in text
        assert "  " not in text
    plain = {write_goal(Description("vase"), PHRASINGS[name], rng) for _ in range(100)}
    assert len(plain) >= len(PHRASINGS[name].goal)
    assert any("gym" in write_goal(Description("vase"), PHRASINGS[name], rng, "gym") for _ in "a")


# --- routes ---


def corridor() -> HouseWorld:
    """Three places northwards, then two to the east, in three rooms."""
    import json

    floors = np.array([[0, 0, 0], [0, 0, -2], [0, 0, -4], [2, 0, -4], [4, 0, -4.0]])
    lamp = dict(
        id=1, name="floor lamp", category="lighting", center=(0.5, 0.8, -2.0),
        size=(0.3, 1.6, 0.3), room=1, color=(0.5, 0.5, 0.5), seen_from=(0, 1, 2),
    )  # fmt: skip
    facts = {"rooms": ["office", "hallway", "kitchen"], "names": [], "items": [lamp]}
    arrays = {
        "floors": floors,
        "edges": np.array([[0, 1], [1, 2], [2, 3], [3, 4]]),
        "height": np.array(1.4),
        "place_rooms": np.array([0, 1, 1, -1, 2]),
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
    }
    return HouseWorld("corridor", arrays)


def test_a_route_tells_turns_rooms_and_landmarks_in_order() -> None:
    world, train = corridor(), PHRASINGS["train"]
    rng = np.random.default_rng(0)
    east, lamps = np.pi / 2, 0
    for _ in range(60):
        text = write_route(world, [0, 1, 2, 3, 4], east, Description("stove"), train, rng).lower()
        order = [text.find(word) for word in ("left", "office", "hallway", "right", "kitchen")]
        told = [position for position in order if position >= 0]
        assert told == sorted(told), text
        assert len(told) >= 4  # cut to five clauses when the lamp is told, too
        assert re.search(r"(stove|cooker)( and stop there)?\.$", text)
        lamps += "floor lamp" in text
    assert 20 < lamps < 55


def test_a_route_backwards_begins_by_turning_around() -> None:
    text = write_route(
        corridor(), [1, 0], 0.0, Description("vase"), PHRASINGS["train"], np.random.default_rng(0)
    )
    assert re.match("Turn around|[^,.]* the other way", text)
    assert "office" in text
    straight = write_route(
        corridor(), [1, 0], np.pi, Description("vase"), PHRASINGS["train"], np.random.default_rng(0)
    )
    assert not re.search("(?i)turn|back|left|right", straight)
