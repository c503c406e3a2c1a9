"""The instruction as a sequence of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embodied.nn.transformer import Packing, PostNormLayer
from embodied.perception.vocabulary import PAD, Vocabulary
from embodied.policies.dual_scale.config import Size


class WordText(nn.Module):
    """Word and position embeddings and BERT-style layers, trained from scratch."""

    def __init__(self, vocabulary: Vocabulary, size: Size, dropout: float) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.longest = size.words
        self.words = nn.Embedding(len(vocabulary), size.width, padding_idx=PAD)
        self.positions = nn.Embedding(size.words, size.width)
        self.norm = nn.LayerNorm(size.width)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(PostNormLayer(*size.layer(dropout)) for _ in range(size.text))
        self._names: dict[str, list[int]] = {}

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids (B, L) and which of them are words (B, L)."""
        ids, present = self.vocabulary.encode(texts, self.longest)
        return torch.from_numpy(ids), torch.from_numpy(present)

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Return (B, L, D)."""
        packing = Packing(present)
        where = torch.arange(ids.shape[1]).expand(ids.shape)[present]
        x = self.drop(self.norm(self.words(ids[present]) + self.positions(where)))
        for layer in self.layers:
            x = layer(x, packing.bias, packing)
        return packing.unpack(x)

    def names(self, names: Sequence[str]) -> Tensor:
        """Return the mean word embedding of each of N names, (N, D); 0 for a name without words."""
        lists = [self._name(name) for name in names]
        offsets = np.cumsum([0, *map(len, lists[:-1])])
        flat = torch.tensor([token for tokens in lists for token in tokens])
        return nn.functional.embedding_bag(
            flat, self.words.weight, torch.from_numpy(offsets), mode="mean", padding_idx=PAD
        )

    def _name(self, name: str) -> list[int]:
        if name not in self._names:
            self._names[name] = self.vocabulary.ids(name) or [PAD]
        return self._names[name]
