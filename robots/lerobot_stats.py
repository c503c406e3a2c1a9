"""Statistics of a LeRobot data set, which its policies normalise with: exact, over all frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
# Larger images are sampled down to about this size; statistics do not need every pixel.
SIDE = 150


def compute_vector_stats(values: NDArray[Any]) -> dict[str, Any]:
    """Return the statistics of (T, D) or (T,) numbers, each a list of D."""
    table = values.reshape(len(values), -1).astype(np.float64)
    stats = {"min": table.min(0), "max": table.max(0), "mean": table.mean(0), "std": table.std(0)}
    stats |= {name: np.quantile(table, share, axis=0) for name, share in QUANTILES.items()}
    return {"count": [len(table)], **{name: value.tolist() for name, value in stats.items()}}


class ImageStats:
    """Collects how often each value of each colour occurs.

    Attributes:
        histogram: (3, 256).
        count: number of images.
    """

    def __init__(self) -> None:
        self.histogram = np.zeros((3, 256), np.int64)
        self.count = 0

    def add_image(self, image: NDArray[np.uint8]) -> None:
        """Add an image (H, W, 3)."""
        stride = max(1, max(image.shape[:2]) // SIDE)
        for color in range(3):
            pixels = image[::stride, ::stride, color].ravel()
            self.histogram[color] += np.bincount(pixels, minlength=256)
        self.count += 1

    def merge_stats(self, other: ImageStats) -> None:
        """Add the images of another collection."""
        self.histogram += other.histogram
        self.count += other.count

    def compute_stats(self) -> dict[str, Any]:
        """Return the statistics of the values in 0 to 1, each a list of shape (3, 1, 1)."""
        values = np.arange(256) / 255.0
        share = self.histogram / self.histogram.sum(axis=1, keepdims=True)
        mean, upto = share @ values, np.cumsum(share, axis=1)
        stats = {
            "min": values[(self.histogram > 0).argmax(axis=1)],
            "max": values[255 - (self.histogram[:, ::-1] > 0).argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(share @ values**2 - mean**2, 0.0)),
        }
        stats |= {name: values[(upto >= q - 1e-12).argmax(axis=1)] for name, q in QUANTILES.items()}
        shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in stats.items()}
        return {"count": [self.count], **shaped}
