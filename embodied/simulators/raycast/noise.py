"""Sensor noise: Gaussian colour noise and the depth noise of a structured-light camera.

Depth follows the simulated sensor of Choi, Zhou and Koltun, "Robust reconstruction of indoor
scenes" (CVPR 2015): the ray lands a fraction of a pixel aside, disparity gets Gaussian noise and is
rounded to an eighth of a disparity unit (after Barron and Malik, CVPR 2013). Their third part, the
smooth distortion measured by Teichman, Miller and Thrun (RSS 2013), needs a device's calibration
table and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import CameraSpec

DISPARITY = 35.130
"""Disparity at one metre [disparity units]: focal length times baseline of the modelled sensor."""

STEPS = 8
"""Levels per disparity unit that the sensor tells apart."""

DISPARITY_SIGMA = 1.0 / 36.0
"""Standard deviation of the disparity noise [disparity units]."""

LATERAL_SIGMA = 0.25
"""Standard deviation of the sideways shift [pixels]."""


def apply_noise(
    images: Mapping[str, NDArray[np.generic]],
    camera: CameraSpec,
    rng: np.random.Generator | int,
) -> dict[str, NDArray[np.generic]]:
    """Return the images with the camera's noise added; labels stay as they are.

    Args:
        images: outputs of `RayCaster.render`: (..., H, W) or (..., H, W, 3) for "rgb".
        camera: its `noise` says what to add.
        rng: generator to draw from, or a seed.
    """
    noise = camera.noise
    rng = np.random.default_rng(rng)
    noisy = dict(images)
    if "rgb" in images and noise.rgb_sigma > 0:
        noisy["rgb"] = add_gaussian_noise(images["rgb"], noise.rgb_sigma, rng)
    if "depth" in images and noise.depth == "redwood":
        depth = add_redwood_noise(images["depth"], noise.depth_multiplier, rng)
        noisy["depth"] = np.where(depth <= camera.max_depth, depth, np.float32(0.0))
    return noisy


def add_gaussian_noise(
    rgb: NDArray[np.generic], sigma: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add independent noise of `sigma` levels to every channel of uint8 images."""
    noise = rng.standard_normal(rgb.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(np.asarray(rgb, np.float32) + noise), 0, 255).astype(np.uint8)


def add_redwood_noise(
    depth: NDArray[np.generic], multiplier: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add disparity noise, rounding and sideways jitter to depth (..., H, W) [m].

    0 stays "no reading". The error grows with the square of depth: one level is
    depth^2 / (DISPARITY * STEPS).
    """
    height, width = depth.shape[-2:]
    flat = np.asarray(depth, np.float32).reshape(-1, height, width)
    shift = rng.standard_normal((2, *flat.shape), np.float32) * np.float32(
        LATERAL_SIGMA * multiplier
    )
    y = np.clip(np.rint(np.arange(height)[:, None] + shift[0]).astype(np.intp), 0, height - 1)
    x = np.clip(np.rint(np.arange(width) + shift[1]).astype(np.intp), 0, width - 1)
    seen = flat[np.arange(len(flat))[:, None, None], y, x]
    noise = rng.standard_normal(flat.shape, np.float32) * np.float32(DISPARITY_SIGMA * multiplier)
    with np.errstate(divide="ignore"):
        level = np.rint((DISPARITY / seen + noise) * STEPS)
        reading = DISPARITY * STEPS / level
    valid = (seen > 0) & (level >= 1)
    return np.where(valid, reading, 0).astype(np.float32).reshape(depth.shape)
