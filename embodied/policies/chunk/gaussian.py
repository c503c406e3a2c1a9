"""A Gaussian squashed into [-1, 1]: the actor of soft actor-critic.

    a = tanh(u), u ~ N(m(x), s(x)^2)
    log p(a) = log N(u; m, s^2) - sum_i log(1 - tanh(u_i)^2)

(Haarnoja et al. 2018, arXiv 1801.01290, appendix C.)
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LOG_DEVIATION = (-5.0, 2.0)
"""Lowest and highest logarithm of the deviation s."""


class SquashedGaussian(nn.Module):
    """Says of what it sees which action to take, and how surely.

    The last layer begins at zero: the likeliest action is 0 everywhere, with a deviation of 0.22.

    Args:
        inputs: numbers it sees.
        actions: numbers it says.
        width: of the hidden layers.
        layers: how many of them.

    Attributes:
        observation_size: as `inputs`.
        action_size: as `actions`.
    """

    def __init__(self, inputs: int, actions: int, width: int, layers: int) -> None:
        super().__init__()
        self.observation_size, self.action_size = inputs, actions
        sizes = [inputs, *[width] * layers]
        parts: list[nn.Module] = []
        for before, after in pairwise(sizes):
            parts += [nn.Linear(before, after), nn.ReLU()]
        self.body = nn.Sequential(*parts)
        self.output = nn.Linear(sizes[-1], 2 * actions)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log deviation (B, A) of u for what is seen, (B, F)."""
        mean, spread = self.output(self.body(seen)).chunk(2, dim=-1)
        low, high = LOG_DEVIATION
        return mean, low + (high - low) * 0.5 * (torch.tanh(spread) + 1)

    def compute_mean_action(self, seen: Tensor) -> Tensor:
        """Return the squashed mean (B, A)."""
        return torch.tanh(self(seen)[0])

    def sample(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Draw actions (B, A) and return their log densities (B,), too; both can be derived."""
        mean, log_deviation = self(seen)
        noise = torch.randn_like(mean)
        drawn = mean + log_deviation.exp() * noise
        return torch.tanh(drawn), squashed_log_prob(drawn, noise, log_deviation)


def squashed_log_prob(drawn: Tensor, noise: Tensor, log_deviation: Tensor) -> Tensor:
    """Return the log density (B,) of tanh(u) at u = m + s * noise.

    Args:
        drawn: u, (B, A).
        noise: (B, A).
        log_deviation: log s, (B, A).
    """
    gaussian = -0.5 * noise.square() - log_deviation - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh(u)^2) without the cancellation at large u.
    squash = 2 * (math.log(2) - drawn - functional.softplus(-2 * drawn))
    return (gaussian - squash).sum(-1)
