"""A choice among discrete actions."""

from __future__ import annotations

import torch
from torch import Tensor


class Categorical:
    """The distribution with given logits (..., A).

    Not `torch.distributions.Categorical`, whose rounding differs: published runs repeat with this.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self._log_probs = torch.log_softmax(logits, dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log probabilities (...) of actions (...) int64."""
        return self._log_probs.gather(-1, action[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy (...) [nat]."""
        return -(self._log_probs.exp() * self._log_probs).sum(-1)

    def mode(self) -> Tensor:
        """Return the likeliest actions (...)."""
        return self.logits.argmax(-1)

    def sample(self, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """Draw actions (N,) from logits (N, A).

        Args:
            generator: of the draw.
            temperature: 1 draws from the distribution itself, less prefers likely actions, 0 takes
                the likeliest.
        """
        if temperature == 0:
            return self._log_probs.argmax(dim=-1)
        odds = torch.softmax(self.logits / temperature, dim=-1)
        return torch.multinomial(odds, 1, generator=generator).squeeze(-1)
