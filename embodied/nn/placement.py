"""Arrays of numpy as tensors where a network lives."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor_like(like: Tensor, array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor on the device of another one; real numbers in its precision.

    On a CPU the memory is shared where the type is the same, as in `torch.from_numpy`.

    Args:
        like: usually a parameter of the network that is to read the array.
        array: of any shape; integers and booleans keep their type.
    """
    made = torch.from_numpy(array)
    return made.to(like.device, like.dtype if made.is_floating_point() else made.dtype)
