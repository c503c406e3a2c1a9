"""A gated recurrent unit whose state is cleared where an episode begins, inside one batched
sequence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ResetGRU(nn.Module):
    """GRU (Cho et al. 2014) over (T, N, D) sequences that hold several episodes each.

    The input products of all steps are one matrix multiplication; only the (N, H) recurrent
    product is done step by step.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input = nn.Linear(inputs, 3 * hidden)
        self.state = nn.Linear(hidden, 3 * hidden)
        for layer in (self.input, self.state):
            for gate in layer.weight.chunk(3):
                nn.init.orthogonal_(gate, gain=1.0 / math.sqrt(2.0) if layer is self.input else 1.0)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, state: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Run a sequence.

        Args:
            x: (T, N, D) inputs.
            state: (N, H) state before the first step.
            first: (T, N) bool, true where step t is the first of an episode.

        Returns:
            Outputs (T, N, H) and the state (N, H) after the last step.
        """
        keep = (~first).to(x.dtype).unsqueeze(-1)
        outputs = []
        for gates, kept in zip(self.input(x).unbind(0), keep.unbind(0), strict=True):
            state = state * kept
            reset_x, update_x, new_x = gates.chunk(3, dim=-1)
            reset_h, update_h, new_h = self.state(state).chunk(3, dim=-1)
            update = torch.sigmoid(update_x + update_h)
            new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
            state = torch.lerp(new, state, update)
            outputs.append(state)
        return torch.stack(outputs), state
