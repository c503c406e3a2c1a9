"""What of an object an instruction mentions, as numbers a network can start from.

Our choice, beside the paper's tokens. A network trained from scratch has to discover that "mirror"
in the text and "mirror" among the objects are the same word; with the matches spelt out it only has
to learn what to make of them. A pretrained text encoder on both sides needs it less.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embodied.perception.landmarks import find_landmarks, find_target_landmark
from embodied.perception.vocabulary import split_words

INSTRUCTION_FEATURES = (
    "share",  # of the words of the object's name, how many the instruction holds
    "head",  # whether it holds the last of them, which says what kind of thing it is
    "first",  # where it mentions one of them first and last, in parts of its length; 0: nowhere
    "last",
    "category",  # whether it names a thing of the object's category
    "target",  # whether the thing it is about is of that category
)
"""The features of an object, in this order."""

_FILLING = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with")
)


class InstructionFeatures:
    """What one instruction mentions.

    Args:
        instruction: plain text.
    """

    def __init__(self, instruction: str) -> None:
        words = [_stem(word) for word in split_words(instruction)]
        self._size = max(1, len(words))
        self._last = {word: number + 1 for number, word in enumerate(words)}
        self._first = {word: len(words) - i for i, word in enumerate(reversed(words))}
        marks = find_landmarks(instruction)
        self._named = {mark.row for mark in marks}
        self._target = marks[find_target_landmark(instruction, marks)].row if marks else None
        self._known: dict[tuple[str, int], NDArray[np.float32]] = {}

    def compute_features(self, name: str, category: int) -> NDArray[np.float32]:
        """Return the features (6,) float32 of an object, columns `INSTRUCTION_FEATURES`.

        Args:
            name: of the object.
            category: its row of the canvas, -1 for none.
        """
        if (name, category) not in self._known:
            self._known[name, category] = self._features(name, category)
        return self._known[name, category]

    def _features(self, name: str, category: int) -> NDArray[np.float32]:
        words = [_stem(word) for word in split_words(name) if word not in _FILLING]
        found = [word for word in words if word in self._last]
        values = (
            len(found) / max(1, len(words)),
            bool(found) and found[-1] == words[-1],
            min((self._first[word] for word in found), default=0) / self._size,
            max((self._last[word] for word in found), default=0) / self._size,
            category in self._named,
            category == self._target,
        )
        return np.array(values, np.float32)


@lru_cache(maxsize=4096)
def read_instruction_features(instruction: str) -> InstructionFeatures:
    """Return the mentions of an instruction; the same object while it is remembered."""
    return InstructionFeatures(instruction)


def _stem(word: str) -> str:
    """Strip a plural's s, so that "chairs" mentions a chair."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word
