"""The instruction as a sequence of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embodied.nn.placement import to_tensor_like
from embodied.nn.transformer import Packing, PostNormLayer
from embodied.perception.text import TextEncoder
from embodied.perception.vocabulary import PAD, Vocabulary
from embodied.policies.vln.dual_scale.config import DualScaleSize


class WordText(nn.Module):
    """Word and position embeddings and BERT-style layers, trained from scratch."""

    def __init__(self, vocabulary: Vocabulary, size: DualScaleSize, dropout: float) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.longest = size.max_words
        self.words = nn.Embedding(len(vocabulary), size.width, padding_idx=PAD)
        self.positions = nn.Embedding(size.max_words, size.width)
        self.norm = nn.LayerNorm(size.width)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(*size.get_layer_options(dropout)) for _ in range(size.text_layers)
        )
        self._names: dict[str, list[int]] = {}

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return states (B, L, D), which of them are words (B, L), and token ids (B, L)."""
        ids, present = self.tokenize_texts(texts)
        return self(ids, present), present, ids

    def tokenize_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token ids (B, L) and which of them are words (B, L)."""
        ids, present = self.vocabulary.encode(texts, self.longest)
        return to_tensor_like(self.words.weight, ids), to_tensor_like(self.words.weight, present)

    def forward(self, ids: Tensor, present: Tensor) -> Tensor:
        """Return (B, L, D)."""
        packing = Packing(present)
        where = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)[present]
        x = self.drop(self.norm(self.words(ids[present]) + self.positions(where)))
        for layer in self.layers:
            x = layer(x, packing.bias, packing)
        return packing.unpack(x)

    def embed_names(self, names: Sequence[str]) -> Tensor:
        """Return the mean word embedding of each of N names, (N, D); 0 for a name without words."""
        lists = [self._name(name) for name in names]
        offsets = np.cumsum([0, *map(len, lists[:-1])], dtype=np.int64)
        flat = np.array([token for tokens in lists for token in tokens], np.int64)
        table = self.words.weight
        return nn.functional.embedding_bag(
            to_tensor_like(table, flat),
            table,
            to_tensor_like(table, offsets),
            mode="mean",
            padding_idx=PAD,
        )

    def _name(self, name: str) -> list[int]:
        if name not in self._names:
            self._names[name] = self.vocabulary.encode_words(name) or [PAD]
        return self._names[name]


class FrozenText(nn.Module):
    """A pretrained text encoder that is not trained, and a projection that is.

    Our choice: the paper trains the encoder on. Frozen, an instruction is encoded once in a
    training run instead of once per episode, and checkpoints need not hold it again.

    Args:
        name: folder or hub name, see `TextEncoder.load`.
        size: of the network.
    """

    KEPT = 4096
    """Encoded texts remembered."""

    def __init__(self, name: str, size: DualScaleSize) -> None:
        super().__init__()
        self._encoder = TextEncoder.load(name)
        probe = self._encoder.encode(["a"])
        self.longest = size.max_words
        self.project = nn.Linear(probe.tokens.shape[-1], size.width)
        self.norm = nn.LayerNorm(size.width)
        self.name = nn.Linear(probe.pooled.shape[-1], size.width)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return states (B, L, D), which of them are words (B, L), and zeros (B, L) for ids."""
        rows = [tokens[: self.longest] for tokens, _ in self._lookup(texts)]
        states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        sizes = np.array([len(row) for row in rows])
        present = to_tensor_like(states, np.arange(states.shape[1]) < sizes[:, None])
        return self.norm(self.project(states)), present, torch.zeros_like(present, dtype=torch.long)

    def embed_names(self, names: Sequence[str]) -> Tensor:
        """Return one vector for each of N names, (N, D); 0 for a name without words."""
        given = [name for name in names if name.strip()]
        if not given:
            return self.name.weight.new_zeros(len(names), self.name.out_features)
        pooled = self.name(torch.stack([pooled for _, pooled in self._lookup(given)]))
        rows = to_tensor_like(
            pooled, np.array([row for row, name in enumerate(names) if name.strip()])
        )
        return pooled.new_zeros(len(names), pooled.shape[-1]).index_copy(0, rows, pooled)

    def _lookup(self, texts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Token features (L, E) and pooled features (D,) of each text."""
        fresh = list(dict.fromkeys(text for text in texts if text not in self._known))
        home = self.project.weight
        found = {text: self._known[text] for text in texts if text in self._known}
        if fresh:
            features = self._encoder.encode(fresh)
            for i, text in enumerate(fresh):
                # Clones are ordinary tensors: those of inference mode cannot be trained on.
                tokens = features.tokens[i][features.mask[i]].clone().to(home)
                found[text] = tokens, features.pooled[i].clone().to(home)
            if len(self._known) + len(fresh) > self.KEPT:
                self._known.clear()
            self._known.update(found)
        return [found[text] for text in texts]
