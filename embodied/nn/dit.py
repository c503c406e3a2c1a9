"""Diffusion transformer (Peebles and Xie 2023): blocks steered by the time of a denoising process.

As in GR00T N1.5, blocks that read the context (cross-attention) and blocks in which the tokens read
each other (self-attention) take turns, and the state after every block is returned, for heads that
read an intermediate one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embodied.nn.flow import TIME_BUCKETS, embed_time
from embodied.nn.transformer import CrossAttention, FeedForward, SelfAttention


class DiTBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm whose scale, shift and gate the time
    sets (adaLN-Zero: at the start of training every block is the identity).

    Args:
        width: of the tokens.
        heads: of the attention.
        cross: attend to the context instead of to each other.
    """

    def __init__(self, width: int, heads: int, cross: bool) -> None:
        super().__init__()
        self.attention: CrossAttention | SelfAttention
        self.attention = CrossAttention(width, heads) if cross else SelfAttention(width, heads)
        self.feed = FeedForward(width, 4 * width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        steer = nn.Linear(width, 6 * width)
        nn.init.zeros_(steer.weight)
        nn.init.zeros_(steer.bias)
        self.steer = nn.Sequential(nn.SiLU(), steer)

    def forward(
        self, x: Tensor, steering: Tensor, keys_values: Tensor | None, bias: Tensor
    ) -> Tensor:
        """Return tokens (B, S, D).

        Args:
            x: (B, S, D).
            steering: (B, D) embedded time.
            keys_values: `CrossAttention.project_keys_values`'s answer for the context; None for
                self-attention.
            bias: additive mask of the context.
        """
        shift, scale, gate, shift_f, scale_f, gate_f = self.steer(steering)[:, None].chunk(6, -1)
        norm, norm_f = self.norms
        inner = norm(x) * (1 + scale) + shift
        seen = (
            self.attention(inner, None)
            if keys_values is None
            else self.attention(inner, keys_values, bias)
        )
        x = x + gate * seen
        return x + gate_f * self.feed(norm_f(x) * (1 + scale_f) + shift_f)


class DiT(nn.Module):
    """A stack of blocks, cross-attention first and then in turns.

    Args:
        width: of tokens and context.
        heads: of the attention.
        layers: number of blocks.
    """

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DiTBlock(width, heads, cross=number % 2 == 0) for number in range(layers)
        )
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.width = width

    def project_keys_values(self, context: Tensor) -> list[Tensor | None]:
        """Return keys and values of the context (B, L, D) for each block that reads it: the same
        at all times, so they are computed once per sample.
        """
        return [
            block.attention.project_keys_values(context)
            if isinstance(block.attention, CrossAttention)
            else None
            for block in self.blocks
        ]

    def forward(
        self, x: Tensor, time: Tensor, keys_values: list[Tensor | None], context_bias: Tensor,
        buckets: int = TIME_BUCKETS,
    ) -> list[Tensor]:  # fmt: skip
        """Return the tokens (B, S, D) before the first block and after each one.

        Args:
            x: (B, S, D).
            time: (B,) in [0, 1].
            keys_values: of `project_keys_values`.
            context_bias: (B, 1, 1, L) additive mask of the context.
            buckets: steps of the time that are told apart.
        """
        steering = self.time(embed_time(time, self.width, buckets).to(x.dtype))
        states = [x]
        for block, read in zip(self.blocks, keys_values, strict=True):
            x = block(x, steering, read, context_bias)
            states.append(x)
        return states


@dataclass(frozen=True)
class Conditions:
    """What does not change while a sample is denoised: computed once.

    Attributes:
        tokens: (B, S, D) clean tokens before those that are denoised.
        keys_values: keys and values of the context for each block.
        bias: additive mask of the context.
    """

    tokens: Tensor
    keys_values: list[Tensor | None]
    bias: Tensor

    def repeat_rows(self, times: int) -> Conditions:
        """Return each row so many times in succession."""
        return Conditions(
            self.tokens.repeat_interleave(times, dim=0),
            [x if x is None else x.repeat_interleave(times, dim=0) for x in self.keys_values],
            self.bias.repeat_interleave(times, dim=0),
        )


class NoisyTokens(nn.Module):
    """Encode noised values together with the time, and decode tokens to values of the same shape.

    Several steps of a sequence may share one token, which divides the cost of all blocks.

    Args:
        steps: length T of the sequence.
        size: V of each value.
        pack: steps per token; must divide `steps`.
        width: of the tokens.
        placed: add a learned embedding of the place in the sequence.
    """

    def __init__(self, steps: int, size: int, pack: int, width: int, placed: bool = False) -> None:
        super().__init__()
        self.steps, self.size, self.pack, self.width = steps, size, pack, width
        self.count = steps // pack
        self.value = nn.Linear(pack * size, width)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.places = nn.Parameter(torch.randn(self.count, width) * 0.02) if placed else None
        self.decode = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, pack * size)
        )

    def encode(self, values: Tensor, time: Tensor, buckets: int = TIME_BUCKETS) -> Tensor:
        """Return tokens (B, T / pack, D) of values (B, T, V) at a time (B,) in [0, 1]."""
        packed = self.value(values.unflatten(1, (self.count, self.pack)).flatten(2))
        when = embed_time(time, self.width, buckets).to(packed.dtype)[:, None]
        tokens = self.mix(torch.cat([packed, when.expand_as(packed)], dim=-1))
        return tokens if self.places is None else tokens + self.places

    def decode_values(self, tokens: Tensor) -> Tensor:
        """Return values (B, T, V) of tokens (B, T / pack, D)."""
        return self.decode(tokens).unflatten(-1, (self.pack, -1)).flatten(1, 2)
