"""The mode selector of Meta-Explore: is it time to correct?

The paper's is "learnable" and no more of it could be read. Ours reads the STOP tokens of both
scales and a summary of the decision at hand: what the explorer would do, how sure it is, and what
the map offers instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MODE_FEATURES = (
    "log_stop",  # explorer: log probability of STOP, of the best visited, of the best new neighbour
    "log_back",
    "log_new",
    "fused_stop",  # fused logits: the same of STOP, of the best neighbour, of the best place beyond
    "fused_new",
    "fused_beyond",
    "new_places",  # log(1 + number) of unvisited neighbours and of unvisited places beyond
    "beyond_places",
    "visited_places",  # share of neighbours that were visited
    "distance",  # way to the best place beyond, over the agent's map [10 m]
    "time",  # share of the allowed decisions that were made
    "turns_back",  # whether the explorer would rather go to a visited place than to a new one
    "best_stop",  # highest stop probability so far
    "visits",  # remembered visits of this place
)


class ModeSelector(nn.Module):
    """Logit of correcting (exploiting) at N decisions.

    Args:
        states: width of the STOP tokens together.
        hidden: width of the hidden layer.
        dropout: on the hidden layer in training; the rollouts it learns from are few.
    """

    def __init__(self, states: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        width = states + len(MODE_FEATURES)
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N,) of inputs (N, states + SUMMARY), from any device."""
        inputs = inputs.to(self.mean.device)
        return self.layers((inputs - self.mean) / self.scale).squeeze(-1)

    @torch.no_grad()
    def fit_scaling(self, inputs: Tensor) -> None:
        """Set mean and scale to those of inputs (N, states + SUMMARY)."""
        self.mean.copy_(inputs.mean(dim=0))
        self.scale.copy_(inputs.std(dim=0, correction=0) + 1e-3)

    @torch.no_grad()
    def shift_logits(self, logit: float) -> None:
        """Add a number to all logits."""
        self.layers[-1].get_parameter("bias").add_(logit)
