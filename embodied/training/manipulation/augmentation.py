"""Changes of the images that do not change what is to be done."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.policies.chunk.robot_inputs import IMAGES


def augment_batch(
    batch: dict[str, Any], shift: int, light: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Move and relight every image of a training batch by itself.

    Args:
        batch: its images (B, H, W, 3) uint8.
        shift: most pixels in each direction; the edge is repeated (Yarats et al. 2021).
        light: largest share by which brightness and contrast change.
        rng: of the draws.

    Returns:
        The batch with images float32 in 0 to 255.
    """
    made = dict(batch)
    for name, image in batch.items():
        if name.startswith(IMAGES):
            moved = torch.from_numpy(shift_images(image.numpy(), shift, rng))
            made[name] = relight_images(moved.float(), light, rng)
    return made


def shift_images(
    images: NDArray[np.uint8], shift: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return images (B, H, W, 3), each moved by up to `shift` pixels."""
    if not shift:
        return images
    count, height, width, _ = images.shape
    wide = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    corners = rng.integers(0, 2 * shift + 1, (count, 2))
    return np.stack(
        [wide[row, y : y + height, x : x + width] for row, (y, x) in enumerate(corners)]
    )


def relight_images(images: Tensor, light: float, rng: np.random.Generator) -> Tensor:
    """Return images (B, H, W, 3) in 0 to 255 with another brightness and contrast each."""
    if not light:
        return images
    draws = rng.uniform(-light, light, (2, len(images), 1, 1, 1))
    contrast, brightness = torch.from_numpy(draws).to(images.dtype)
    return (images * (1 + contrast) + 127.5 * brightness).clamp(0.0, 255.0)
