"""Sentence patterns: those of the training split and those held out for evaluation.

No held-out pattern occurs in training, but each of its words does, so that a vocabulary of training
words reads everything while a policy has to understand new sentences.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasing:
    """Patterns; {thing} is a noun phrase from `plain` to `both`, {noun} a bare noun.

    Attributes:
        plain, color, relation, both: noun phrases by what is said besides the noun.
        goal, goal_room: whole goal-style instructions without and with the room.
        leave, enter: going out of {room}, into {room}.
        turn: turning {side} ("left" or "right"); around: turning back.
        past: walking past {noun}.
        stop, stop_room: the last clause of a route, without and with the room.
        connectives: what stands between clauses; the last one before the last clause.
    """

    plain: tuple[str, ...]
    color: tuple[str, ...]
    relation: tuple[str, ...]
    both: tuple[str, ...]
    goal: tuple[str, ...]
    goal_room: tuple[str, ...]
    leave: tuple[str, ...]
    enter: tuple[str, ...]
    turn: tuple[str, ...]
    around: tuple[str, ...]
    past: tuple[str, ...]
    stop: tuple[str, ...]
    stop_room: tuple[str, ...]
    connectives: tuple[tuple[str, str], ...]


TRAIN = Phrasing(
    plain=("the {noun}",),
    color=("the {color} {noun}", "the {noun} that is {color}"),
    relation=(
        "the {noun} {relation} the {anchor}",
        "the {noun} which is {relation} the {anchor}",
        "the {noun} you see {relation} the {anchor}",
    ),
    both=(
        "the {color} {noun} {relation} the {anchor}",
        "the {color} {noun} which is {relation} the {anchor}",
    ),
    goal=(
        "find {thing} and stop there",
        "go to {thing} and wait",
        "i need {thing}, please go there",
        "look for {thing} and stand near it",
        "walk through the home until you see {thing}, then stop",
        "take me to {thing}",
        "head straight to {thing}",
    ),
    goal_room=(
        "go to the {room} and stop next to {thing}",
        "walk to the {room} and wait by {thing}",
        "find {thing} in the {room}",
        "head for the {room}, then stop at {thing}",
        "enter the {room} and stand near {thing}",
        "look for {thing} in the {room} and stop there",
        "please walk into the {room} until you see {thing}",
        "take me to {thing} in the {room}",
        "i need {thing} that is in the {room}, go there and wait",
    ),
    leave=("leave the {room}", "walk out of the {room}", "exit the {room}"),
    enter=("go into the {room}", "enter the {room}", "continue to the {room}"),
    turn=("turn {side}", "make a {side} turn", "go {side}", "take the way to the {side}"),
    around=("turn around", "go back the other way", "turn and head the other way"),
    past=("walk past the {noun}", "pass the {noun}", "keep going past the {noun}"),
    stop=(
        "stop by {thing}",
        "wait next to {thing}",
        "stop when you see {thing}",
        "go near {thing} and stop there",
    ),
    stop_room=(
        "find {thing} in the {room} and stand there",
        "stand at {thing} in the {room}",
        "stop by {thing} in the {room}",
        "in the {room} wait next to {thing}",
    ),
    connectives=((", ", " and "), (", then ", ", then "), (". ", ". ")),
)

HELD_OUT = Phrasing(
    plain=("the {noun}",),
    color=("the {noun} which is {color}", "the {color} {noun} you see"),
    relation=(
        "the {noun} that is {relation} the {anchor}",
        "the {noun} you see there {relation} the {anchor}",
    ),
    both=(
        "the {noun} that is {color} and {relation} the {anchor}",
        "the {color} {noun} you see {relation} the {anchor}",
        "the {noun} {relation} the {anchor} which is {color}",
    ),
    goal=(
        "please find {thing}, then wait there",
        "head to {thing} and stop",
        "walk until you see {thing}, then go to it",
        "take me straight to {thing} please",
        "walk until you stand next to {thing}",
    ),
    goal_room=(
        "stop next to {thing} in the {room}",
        "please go into the {room} and find {thing}",
        "head to the {room}, look for {thing} and wait there",
        "in the {room} you see {thing}, stand by it",
        "i need you to go to the {room} and stop at {thing}",
        "walk through the home to the {room}, then find {thing}",
    ),
    leave=("head out of the {room}", "go out of the {room}"),
    enter=("walk into the {room}", "head into the {room}"),
    turn=("take a {side} turn", "keep {side}"),
    around=("make a turn around", "head back"),
    past=("go past the {noun}", "continue past the {noun}"),
    stop=("stand near {thing}", "wait at {thing}"),
    stop_room=("stand near {thing} in the {room}", "find {thing} in the {room} and wait"),
    connectives=((", ", ", and "), (", and ", ", then ")),
)

PHRASINGS = {"train": TRAIN, "held_out": HELD_OUT}

RELATION_WORDS = {
    "next to": ("next to", "beside", "near", "close to"),
    "on": ("on", "on top of"),
    "under": ("under", "below"),
    "above": ("above", "over"),
}
"""Interchangeable words for a relation, in all phrasings."""

BY = ("window", "door", "fireplace", "front door")
"""Things one stands by, too."""
