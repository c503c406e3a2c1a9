"""Experience kept for learning from it many times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError


class ReplayBuffer:
    """The newest transitions, in arrays made once; the oldest are overwritten.

    Args:
        capacity: transitions kept.
        sizes: name -> numbers per transition.

    Raises:
        ConfigError: a capacity below 1.
    """

    def __init__(self, capacity: int, sizes: Mapping[str, int]) -> None:
        if capacity < 1:
            raise ConfigError(f"sac.buffer_size = {capacity} must be at least 1")
        self.capacity = capacity
        self._columns = {
            name: np.zeros((capacity, size), np.float32) for name, size in sizes.items()
        }
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, **rows: NDArray[np.floating] | NDArray[np.bool_]) -> None:
        """Add some transitions: of each name (N, size), or (N,) where the size is 1."""
        count = len(next(iter(rows.values())))
        places = np.arange(self._added, self._added + count) % self.capacity
        for name, column in self._columns.items():
            column[places] = np.reshape(rows[name], (count, -1))
        self._added += count

    def sample(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw transitions with replacement: of each name (count, size)."""
        places = rng.integers(0, len(self), count)
        return {name: torch.from_numpy(column[places]) for name, column in self._columns.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what `load` needs, as tensors that share the memory of this replay."""
        kept = {name: torch.from_numpy(c[: len(self)]) for name, c in self._columns.items()}
        return kept | {"added": torch.tensor(self._added)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take over what another replay of the same capacity and sizes held."""
        self._added = int(state_dict["added"])
        for name, column in self._columns.items():
            column[: len(self)] = state_dict[name].numpy()
