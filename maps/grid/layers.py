"""Keeping extra layers on the cells of a map that grows."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def realign_layer(
    layer: NDArray[Scalar],
    first: tuple[int, int],
    new_first: tuple[int, int],
    shape: tuple[int, int],
) -> NDArray[Scalar]:
    """Move a layer into another window of the lattice.

    Args:
        layer: (H, W) values whose cell (0, 0) has the lattice index `first`.
        first: lattice index (row, column) of cell (0, 0) before.
        new_first: the same, after.
        shape: rows and columns wanted.

    Returns:
        (*shape,) array; cells the old window did not hold are zero.
    """
    result = np.zeros(shape, layer.dtype)
    source, target = [], []
    for axis in range(2):
        shift = first[axis] - new_first[axis]
        low, high = max(0, shift), min(shape[axis], shift + layer.shape[axis])
        if high <= low:
            return result
        target.append(slice(low, high))
        source.append(slice(low - shift, high - shift))
    result[target[0], target[1]] = layer[source[0], source[1]]
    return result
