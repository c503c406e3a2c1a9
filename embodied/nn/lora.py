"""Low-rank updates of frozen linear layers (Hu et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LowRankUpdate(nn.Module):
    """What is added to a linear layer's output: ``(alpha / rank) B A x``; 0 at the start.

    Args:
        inputs: of the layer.
        outputs: of the layer.
        rank: of the update.
        alpha: its scale.
    """

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., `outputs`) of (..., `inputs`)."""
        return (x.to(self.down.dtype) @ self.down.T) @ self.up.T * self.scale
