"""Flow matching with straight paths (Lipman et al. 2023; Liu et al. 2023): pure functions.

Time 0 is noise and time 1 is data, as in GR00T N1.5; SmolVLA and pi0 count the other way. Several
variables (actions, imagined changes) share one time and are integrated together, so a state is a
mapping from names to tensors whose first dimension is the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]

MAX_TIME = 0.999
"""s of the time distribution: no sample comes closer to the data than a thousandth."""
TIME_BUCKETS = 1000
"""Steps of the time that an embedding tells apart."""


def sample_times(
    count: int, generator: torch.Generator | None = None, device: str | torch.device = "cpu"
) -> Tensor:
    """Draw flow times ``(s - b) / s`` with b ~ Beta(1.5, 1): more often near the noise.

    This is the distribution of pi0 (Black et al. 2024, appendix B) and of GR00T N1. The cumulative
    distribution of Beta(a, 1) is ``b^a``, so a uniform number to the power 1 / a is a draw of it.

    Returns:
        (`count`,) in [0, 1].
    """
    uniform = torch.rand(count, generator=generator, device=device)
    return ((MAX_TIME - uniform ** (1 / 1.5)) / MAX_TIME).clamp(min=0.0)


def interpolate_path(noise: Tensor, data: Tensor, time: Tensor) -> Tensor:
    """Return the point ``(1 - t) * noise + t * data`` of each path.

    Args:
        noise: (B, ...).
        data: (B, ...).
        time: (B,) in [0, 1].
    """
    return torch.lerp(noise, data, expand_time(time, data))


def compute_velocity(noise: Tensor, data: Tensor) -> Tensor:
    """Return what the network learns: the velocity of the straight path, the same at any time."""
    return data - noise


def integrate_velocity(
    field: Callable[[dict[str, Tensor], Tensor], State], noise: State, steps: int
) -> dict[str, Tensor]:
    """Follow a velocity field from noise to data with Euler's method.

    Args:
        field: (state, time (B,)) -> the velocity of each variable.
        noise: the state at time 0.
        steps: of equal length.

    Returns:
        The state at time 1.
    """
    state = dict(noise)
    first = next(iter(state.values()))
    for step in range(steps):
        time = torch.full((len(first),), step / steps, device=first.device)
        speed = field(state, time)
        state = {name: value + speed[name] / steps for name, value in state.items()}
    return state


def embed_time(time: Tensor, width: int, buckets: int = TIME_BUCKETS) -> Tensor:
    """Return sines and cosines (B, `width`) of a time in [0, 1], rounded down to buckets
    (Vaswani et al. 2017, with the longest period 10,000).
    """
    bucket = (time * buckets).floor().clamp(max=buckets - 1)
    half = width // 2
    steps = torch.arange(half, device=time.device, dtype=torch.float32)
    angle = bucket[:, None].float() * torch.exp(steps * (-math.log(10_000.0) / half))
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def expand_time(time: Tensor, like: Tensor) -> Tensor:
    """Give a time (B,) the dimensions of `like` (B, ...), to be broadcast over it."""
    return time.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))
