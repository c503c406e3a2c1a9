"""Words of the training instructions as numbers: the tokenizer that needs no download."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError

PAD, UNKNOWN, START, END, MASK = range(5)
SPECIAL = ("[pad]", "[unknown]", "[start]", "[end]", "[mask]")
WORD = re.compile(r"[a-z]+|[0-9]+|[.,;?!]")


def split_words(text: str) -> list[str]:
    """Return the lower-case words, numbers and punctuation marks of a text."""
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """A fixed list of words.

    Attributes:
        words: the special words first, then all others; the index is the token id.
    """

    words: tuple[str, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL or len(set(self.words)) != len(self.words):
            raise ConfigError(
                f"a vocabulary begins with {', '.join(SPECIAL)} and names every word once"
            )
        object.__setattr__(self, "_index", {word: i for i, word in enumerate(self.words)})

    @staticmethod
    def from_texts(texts: Iterable[str], min_count: int = 1) -> Vocabulary:
        """Collect the words that occur at least `min_count` times, most frequent first."""
        counts = Counter(word for text in texts for word in split_words(text))
        kept = sorted(
            (w for w, c in counts.items() if c >= min_count), key=lambda w: (-counts[w], w)
        )
        return Vocabulary((*SPECIAL, *kept))

    def __len__(self) -> int:
        return len(self.words)

    def encode_words(self, text: str) -> list[int]:
        """Return the token ids of a text's words, without start and end."""
        return [self._index.get(word, UNKNOWN) for word in split_words(text)]

    def encode(
        self, texts: Sequence[str], max_length: int = 80
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Turn B texts into token ids.

        Args:
            texts: B instructions; longer ones lose their end.
            max_length: tokens kept, start and end included.

        Returns:
            ids (B, L), padded to the longest, and which of them are words, (B, L).

        Raises:
            ConfigError: a text without a single word.
        """
        rows = []
        for text in texts:
            words = self.encode_words(text)
            if not words:
                raise ConfigError(f"instruction {text!r} holds no word: nothing to follow")
            rows.append([START, *words[: max_length - 2], END])
        ids = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        return ids, ids != PAD
