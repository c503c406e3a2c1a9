"""Transformer layers over padded sets of tokens: self-attention with an additive bias, and
cross-attention whose keys and values are computed once and used at many steps.

Masks are additive, (B, 1, 1, S) or (B, 1, S, S): 0 keeps a token, `MASKED_BIAS` removes it.

Where sets differ much in size, most of a padded batch is padding. `Packing` therefore keeps all
tokens of a batch in one (T, D) table, on which linear layers and norms work; only the attention
itself sees a padded batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MASKED_BIAS = -1e4
"""Added to the scores of padding: its weight underflows to exactly 0, yet a row of nothing but
padding stays finite."""


def build_mask_bias(present: Tensor) -> Tensor:
    """Turn (B, S) bool (true where there is a token) into an additive mask (B, 1, 1, S)."""
    bias = torch.zeros(present.shape, device=present.device)
    return bias.masked_fill_(~present, MASKED_BIAS)[:, None, None]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Turn (B, S, D) into (B, heads, S, D / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Packing:
    """Where the T tokens of B padded sets (B, S) lie.

    Args:
        present: (B, S) bool, true where there is a token.

    Attributes:
        bias: (B, 1, 1, L) additive mask of the sets with their tokens moved to the left, L being
            the size of the largest.
    """

    def __init__(self, present: Tensor) -> None:
        self.shape = present.shape
        sizes = present.sum(dim=1)
        longest = int(sizes.max()) if len(sizes) else 0
        self.slots = present.flatten().nonzero().squeeze(1)
        rows = torch.arange(len(present), device=present.device)[:, None]
        self.places = (rows * longest + present.cumsum(dim=1) - 1)[present]
        self.bias = build_mask_bias(torch.arange(longest, device=present.device) < sizes[:, None])

    def pack(self, x: Tensor) -> Tensor:
        """Return the tokens (T, D) of padded sets (B, S, D)."""
        return x.flatten(0, 1).index_select(0, self.slots)

    def unpack(self, x: Tensor) -> Tensor:
        """Return padded sets (B, S, D), 0 in the padding, of tokens (T, D)."""
        table = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1])
        return table.index_copy(0, self.slots, x).unflatten(0, self.shape)

    def unpack_left(self, x: Tensor) -> Tensor:
        """Return sets (B, L, D) with their tokens to the left of tokens (T, D)."""
        shape = len(self.bias), self.bias.shape[-1]
        table = x.new_zeros(shape[0] * shape[1], x.shape[-1])
        return table.index_copy(0, self.places, x).unflatten(0, shape)

    def pack_left(self, x: Tensor) -> Tensor:
        """Return the tokens (T, D) of sets (B, L, D): the inverse of `spread`."""
        return x.flatten(0, 1).index_select(0, self.places)


class SelfAttention(nn.Module):
    """Multi-head attention of a set to itself (Vaswani et al. 2017), with its output projection."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None, packing: Packing | None = None) -> Tensor:
        """Return (B, S, D) from tokens (B, S, D) and an additive bias, None where all are present;
        (T, D) if packed.
        """
        projected = self.project(x)
        projected = packing.unpack_left(projected) if packing else projected
        query, key, value = split_heads(projected, 3 * self.heads).chunk(3, dim=1)
        mixed = _attend(query, key, value, bias, self.dropout * self.training)
        return self.output(packing.pack_left(mixed) if packing else mixed)


class CrossAttention(nn.Module):
    """Multi-head attention of one set to another, with its output projection."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.memory = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def project_keys_values(self, memory: Tensor) -> Tensor:
        """Return keys and values (B, 2 * heads, S, D / heads) of what is attended to, (B, S, D)."""
        return split_heads(self.memory(memory), 2 * self.heads)

    def forward(
        self, x: Tensor, keys_values: Tensor, bias: Tensor, packing: Packing | None = None
    ) -> Tensor:
        """Return (B, S, D) from queries (B, S, D), `remember`'s answer and an additive mask; (T, D)
        if the queries are packed.
        """
        key, value = keys_values.chunk(2, dim=1)
        query = self.query(x)
        query = split_heads(packing.unpack_left(query) if packing else query, self.heads)
        mixed = _attend(query, key, value, bias, self.dropout * self.training)
        return self.output(packing.pack_left(mixed) if packing else mixed)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class PostNormLayer(nn.Module):
    """Self-attention and feed-forward, each followed by residual and layer norm (BERT's order).

    Args:
        width: of the tokens.
        heads: of the attention.
        inner: width of the feed-forward.
        dropout: after each part.
        attention_dropout: of the attention's weights; it forbids the fused kernels (on a CPU, the
            attention takes 3 times as long).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, attention_dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, inner)
        self.feed_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None, packing: Packing | None = None) -> Tensor:
        """Return (B, S, D), or (T, D) if packed."""
        x = self.attention_norm(x + self.drop(self.attention(x, bias, packing)))
        return self.feed_norm(x + self.drop(self.feed(x)))


class PreNormLayer(PostNormLayer):
    """The same parts with the layer norms first."""

    def forward(self, x: Tensor, bias: Tensor | None, packing: Packing | None = None) -> Tensor:
        """Return (B, S, D), or (T, D) if packed."""
        x = x + self.drop(self.attention(self.attention_norm(x), bias, packing))
        return x + self.drop(self.feed(self.feed_norm(x)))


class CrossLayer(nn.Module):
    """Attend to a remembered text, then to each other, then feed forward; post-norm throughout.

    Args:
        width: of the tokens.
        heads: of each attention.
        inner: width of the feed-forward.
        dropout: as in `PostNormLayer`.
        attention_dropout: as in `PostNormLayer`.
        words: also build the other direction, in which the text attends to the tokens with the
            same cross-attention and then has its own self-attention and feed-forward (LXMERT, Tan
            and Bansal 2019).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        words: bool = False,
    ) -> None:
        super().__init__()
        self.cross = CrossAttention(width, heads, attention_dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        sizes = (width, heads, inner, dropout, attention_dropout)
        self.own = PostNormLayer(*sizes)
        self.words = PostNormLayer(*sizes) if words else None

    def forward(
        self,
        x: Tensor,
        text: Tensor,
        text_bias: Tensor,
        bias: Tensor,
        packing: Packing | None = None,
    ) -> Tensor:
        """Return (B, S, D) from tokens (B, S, D), `CrossAttention.project_keys_values`'s answer and
        masks; (T, D) if packed.
        """
        x = self.cross_norm(x + self.drop(self.cross(x, text, text_bias, packing)))
        return self.own(x, bias, packing)

    def update_text(self, text: Tensor, text_bias: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return the text (B, L, D) after it attended to tokens (B, S, D).

        Raises:
            RuntimeError: the layer was built without this direction.
        """
        if self.words is None:
            raise RuntimeError("this layer was built with words=False: it cannot update the text")
        seen = self.cross(text, self.cross.project_keys_values(tokens), bias)
        return self.words(self.cross_norm(text + self.drop(seen)), text_bias)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float
) -> Tensor:
    mask = None if bias is None else bias.to(query.dtype)
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout
    )
    return mixed.transpose(1, 2).flatten(2)


def initialise_weights(module: nn.Module, width: int) -> None:
    """Draw linear and embedding weights from a normal distribution, set all biases to 0.

    BERT's deviation 0.02 belongs to its width 768; a narrower network gets as much output variance
    with 0.02 * sqrt(768 / width) (our choice).
    """
    deviation = 0.02 * (768 / width) ** 0.5
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
