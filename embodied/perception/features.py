"""What encoders return, and a cache of it on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from embodied.errors import SensorError
from embodied.files import atomic_write


@dataclass(frozen=True)
class Features:
    """Image features, float32.

    Attributes:
        pooled: (N, D) one vector per image.
        patches: (N, P, E) one vector per patch, row by row from the top left.
    """

    pooled: Tensor
    patches: Tensor


@dataclass(frozen=True)
class TextFeatures:
    """Text features, float32.

    Attributes:
        pooled: (B, D) one vector per text.
        tokens: (B, L, E) one vector per token.
        mask: (B, L) bool, true at tokens, false at padding.
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor


class FeatureCache:
    """Features of images by content: one safetensors file per image and encoder.

    A file is complete or absent even after a kill, so several processes may share the folder; a
    file damaged later counts as absent and is written anew.

    Args:
        folder: holds one sub-folder per encoder digest.
        digest: of the encoder.
    """

    def __init__(self, folder: str | Path, digest: str) -> None:
        self.folder = Path(folder) / digest

    def get_path(self, image: NDArray[np.uint8]) -> Path:
        """Return where the features of an image (H, W, 3) are, or will be."""
        key = hash_image(image)
        return self.folder / key[:2] / f"{key}.safetensors"

    def read_features(self, path: Path) -> Features | None:
        """Return the features (N = 1) of a file of this cache, or None."""
        try:
            tensors = load_file(path)
            return Features(tensors["pooled"].float(), tensors["patches"].float())
        except (OSError, SafetensorError, KeyError):
            return None

    def write_features(self, path: Path, features: Features, dtype: torch.dtype) -> None:
        """Write the features (N = 1) of one image, in the precision they were computed in."""
        tensors = {
            "pooled": features.pooled.to("cpu", dtype).contiguous(),
            "patches": features.patches.to("cpu", dtype).contiguous(),
        }
        with atomic_write(path) as temporary:
            save_file(tensors, temporary)


def hash_image(image: NDArray[np.uint8]) -> str:
    """Return 32 hexadecimal digits of an image's size and pixels."""
    total = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    total.update(np.ascontiguousarray(image).data)
    return total.hexdigest()


def require_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images as an array (N, H, W, 3) uint8; N may be 0.

    Raises:
        SensorError: another shape or type.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or 0 in array.shape[1:]:
        raise SensorError(
            f"images have shape {array.shape} and type {array.dtype}; give (N, H, W, 3) uint8 RGB"
        )
    return array
