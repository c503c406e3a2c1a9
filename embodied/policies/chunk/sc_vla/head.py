"""SC-VLA's head: actions, progress and change of state denoised together (section 3.2).

Tokens, in this order: [state | learned "future" tokens | progress | change | actions]. The first
two kinds are clean, the others noised values with their time.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from embodied.nn.dit import Conditions, DiT, NoisyTokens
from embodied.nn.transformer import PreNormLayer
from embodied.policies.chunk.backbones import Context
from embodied.policies.chunk.sc_vla.config import ScVlaConfig
from embodied.policies.chunk.sc_vla.labels import DELTA_SIZE

IMAGINED = {"progress": 1, "delta_state": DELTA_SIZE}
"""What is imagined, in the order of its tokens, and its size."""


class FlowHead(nn.Module):
    """Velocities of everything that is denoised.

    Args:
        config: sizes.
        state: size F of the state's features.
        action: size A of an action.
        chunk_size: H actions.
        context: width of the backbone's tokens.
    """

    def __init__(
        self, config: ScVlaConfig, state: int, action: int, chunk_size: int, context: int
    ) -> None:
        super().__init__()
        width = config.width
        self.tap = config.tap
        self.state = nn.Sequential(nn.Linear(state, width), nn.ReLU(), nn.Linear(width, width))
        self.future = nn.Parameter(torch.randn(config.num_future_tokens, width) * 0.02)
        self.context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, width))
        self.reading = nn.ModuleList(
            PreNormLayer(width, config.heads, 4 * width) for _ in range(config.context_layers)
        )
        self.noisy = nn.ModuleDict()
        if config.imagination:
            for name, size in IMAGINED.items():
                self.noisy[name] = NoisyTokens(1, size, 1, width)
        self.noisy["action"] = NoisyTokens(chunk_size, action, config.pack, width, placed=True)
        self.tapped = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.dit = DiT(width, config.heads, config.layers)
        self.norm = nn.LayerNorm(width)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Steps and size of each denoised variable."""
        return {name: (part.steps, part.size) for name, part in self._parts()}

    def encode_condition(self, context: Context, state: Tensor) -> Conditions:
        """Prepare what stays the same at all times.

        Args:
            context: of the backbone.
            state: (B, F).
        """
        read = self.context(context.tokens)
        bias = context.bias
        for layer in self.reading:
            read = layer(read, bias)
        future = self.future.expand(len(state), -1, -1)
        tokens = torch.cat([self.state(state)[:, None], future], dim=1)
        return Conditions(tokens, self.dit.project_keys_values(read), bias)

    def forward(
        self, conditions: Conditions, noisy: Mapping[str, Tensor], time: Tensor
    ) -> dict[str, Tensor]:
        """Return the velocity of each variable.

        Args:
            conditions: of `encode_condition`.
            noisy: name -> (B, T, V) values at the time.
            time: (B,) shared by all of them.
        """
        parts = self._parts()
        made = [part.encode(noisy[name], time) for name, part in parts]
        tokens = torch.cat([conditions.tokens, *made], dim=1)
        states = self.dit(tokens, time, conditions.keys_values, conditions.bias)
        last, middle = self.norm(states[-1]), states[self.tap]
        found, start = {}, conditions.tokens.shape[1]
        for name, part in parts:
            place = slice(start, start + part.count)
            source = last[:, place] if name == "action" else self.tapped(middle[:, place])
            found[name] = part.decode_values(source)
            start = place.stop
        return found

    def _parts(self) -> list[tuple[str, NoisyTokens]]:
        return [(n, part) for n, part in self.noisy.items() if isinstance(part, NoisyTokens)]
