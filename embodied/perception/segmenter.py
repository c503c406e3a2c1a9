"""The small trained encoder: the class of every pixel of an RGB-D panorama.

A U-Net (Ronneberger et al. 2015) of half a million weights over the strip of +-60 deg elevation
that a canvas covers. Our choices, for a few milliseconds per panorama on one core: the image enters
in blocks of 2x2 pixels, and geometry that does not depend on the heading (height of the point,
distance along the floor) enters as channels, so the network need not learn the projection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from embodied.categories import MPCAT40, VOID
from embodied.errors import CheckpointError, ConfigError, SensorError
from embodied.perception.features import require_images

STRIP = (64, 192)
"""Rows and columns the network works on: 1.875 deg per pixel, from +60 to -60 deg."""
CHANNELS = 8


@dataclass(frozen=True)
class SegmenterConfig:
    """Size of the network.

    Attributes:
        width: channels at half resolution; deeper levels have 2, 3 and 4 times as many.
    """

    width: int = 24

    def __post_init__(self) -> None:
        if self.width < 4:
            raise ConfigError(f"segmenter width = {self.width} must be at least 4")


class Segmenter:
    """Images to class ids.

    >>> segmenter = Segmenter.load("runs/segmenter")
    >>> classes = segmenter.segment(rgb, depth)       # (N, H, W) ids into categories.MPCAT40

    Attributes:
        name: its row in the registry.
        config: size of the network.
        network: the weights.
        normalization: nothing is normalised by data; kept for the checkpoint's format.
    """

    name = "segmenter"

    def __init__(self, config: SegmenterConfig, seed: int = 0, device: str = "cpu") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SegmenterNetwork(config.width, len(MPCAT40)).to(device)
        self.config, self.device = config, device
        self.inputs = SegmenterInputs(MPCAT40, STRIP)
        self.normalization: dict[str, Any] = {}

    @staticmethod
    def load(folder: str | Path, device: str = "cpu", which: str = "best") -> Segmenter:
        """Load a trained segmenter.

        Args:
            folder: run folder, or one of its checkpoints.
            device: a torch device.
            which: "best" or "latest" checkpoint of a run.

        Raises:
            CheckpointError: nothing there, damaged, or of something else.
        """
        path = _find(Path(folder), which)
        try:
            meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
            expected, inputs = meta["files"]["model.safetensors"], meta["inputs"]
            content = (path / "model.safetensors").read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError("model.safetensors does not match the digest in meta.json")
            weights = load_file(path / "model.safetensors")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(
                f"the segmenter in {path} is damaged: {error}. Use another checkpoint or copy it "
                "again."
            ) from error
        if meta.get("policy") != Segmenter.name:
            raise CheckpointError(f"{path} belongs to '{meta.get('policy')}', not to a segmenter")
        if inputs.get("categories") != list(MPCAT40):
            raise CheckpointError(
                f"the segmenter in {path} was trained for other categories: train it again with "
                "embodied train vln/segmenter_houses"
            )
        try:
            width = int(weights["stem.conv.weight"].shape[0])
            segmenter = Segmenter(SegmenterConfig(width), device=device)
            segmenter.network.load_state_dict(weights)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the weights in {path} are not a segmenter's: {error}"
            ) from error
        segmenter.network.eval()
        return segmenter

    def segment(
        self, rgb: NDArray[np.uint8], depth: NDArray[np.floating], batch: int = 32
    ) -> NDArray[np.int64]:
        """Name the class of every pixel.

        Args:
            rgb: (N, H, W, 3) uint8 equirectangular: the full sphere (W = 2H), or the strip from
                +60 to -60 deg (W = 3H).
            depth: (N, H, W) length of the rays [m], 0 = unknown.
            batch: images at once.

        Returns:
            (N, H, W) ids into `MPCAT40`; VOID beyond +-60 deg.

        Raises:
            SensorError: images of another shape.
        """
        rgb = require_images(rgb)
        where = _strip(*rgb.shape[1:3])
        if depth.shape != rgb.shape[:3]:
            raise SensorError(f"depth {depth.shape} does not match rgb {rgb.shape}")
        result = np.full(depth.shape, VOID, np.int64)
        training = self.network.training
        self.network.eval()
        for first in range(0, len(rgb), batch):
            part = slice(first, first + batch)
            sampled = np.ix_(np.arange(len(rgb[part])), where.rows, where.columns)
            classes = self._classes(rgb[part][sampled], depth[part][sampled])
            back = np.ix_(np.arange(len(classes)), where.back_rows, where.back_columns)
            result[part, where.first : where.last] = classes[back]
        self.network.train(training)
        return result

    @torch.inference_mode()
    def _classes(self, rgb: NDArray[np.uint8], depth: NDArray[np.floating]) -> NDArray[np.integer]:
        """Return the best class (N, h, w) of strips of `STRIP` size."""
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)
        far = torch.from_numpy(np.ascontiguousarray(depth, np.float32)).to(self.device)
        blocks = self.network.compute_blocks(prepare_images(pixels, far))
        # The best of each block's four pixels first: what is then rearranged is 42 times less.
        best = blocks.unflatten(1, (len(MPCAT40), 4)).argmax(dim=1)
        return functional.pixel_shuffle(best, 2)[:, 0].cpu().numpy()


@dataclass(frozen=True)
class SegmenterInputs:
    """What a segmenter was made for."""

    categories: tuple[str, ...]
    strip: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {key: list(value) for key, value in asdict(self).items()}


def prepare_images(rgb: Tensor, depth: Tensor) -> Tensor:
    """Turn strips into the network's input.

    Args:
        rgb: (N, h, w, 3) uint8, or float in [0, 1].
        depth: (N, h, w) length of the rays [m], 0 = unknown.

    Returns:
        (N, `CHANNELS`, h, w): colour, log depth, whether it is known, height above the camera,
        distance along the floor, and the sine of the elevation.
    """
    colour = rgb.float() / 255.0 if rgb.dtype == torch.uint8 else rgb
    height = depth.shape[1]
    middle = (torch.arange(height, device=depth.device) + 0.5) / height
    elevation = (torch.pi / 3 * (1 - 2 * middle))[:, None].expand(depth.shape[1:])
    planes = [
        torch.log1p(depth) - 1.0,
        (depth > 0).float(),
        (depth * elevation.sin()).clamp(-3, 3),
        (depth * elevation.cos()).clamp(max=8) / 4 - 0.5,
        elevation.sin().expand(depth.shape),
    ]
    image = torch.cat([colour.permute(0, 3, 1, 2) * 2 - 1, torch.stack(planes, dim=1)], dim=1)
    return image.contiguous(memory_format=torch.channels_last)


class SegmenterNetwork(nn.Module):
    """Four levels, from 1/2 to 1/16 of the resolution; columns wrap round."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        sizes = [width, 2 * width, 3 * width, 4 * width]
        self.stem = RingConv(4 * CHANNELS, width)
        self.first = RingConv(width, width)
        self.down = nn.ModuleList(
            nn.Sequential(RingConv(a, b, 2), RingConv(b, b))
            for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.context = nn.Linear(sizes[-1], sizes[-1])
        self.up = nn.ModuleList(
            RingConv(a + b, a) for a, b in zip(sizes[-2::-1], sizes[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(width, 4 * classes, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, classes, h, w) logits of (N, `CHANNELS`, h, w); h and w divide by 16."""
        return functional.pixel_shuffle(self.compute_blocks(image), 2)

    def compute_blocks(self, image: Tensor) -> Tensor:
        """Return the logits as (N, 4 classes, h / 2, w / 2): class-major, four pixels each."""
        x = self.first(self.stem(functional.pixel_unshuffle(image, 2)))
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        x = x + torch.relu(self.context(x.mean(dim=(2, 3))))[:, :, None, None]  # what room is it?
        for up in self.up:
            finer = levels.pop()
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = up(torch.cat([finer, x], dim=1))
        return self.head(x)


class RingConv(nn.Module):
    """A 3x3 convolution whose columns wrap round, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=(1, 0), bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h / stride, w / stride)."""
        wrapped = torch.cat([x[..., -1:], x, x[..., :1]], dim=3)
        return functional.relu(self.norm(self.conv(wrapped)))


@dataclass(frozen=True)
class _Strip:
    """Which pixels of an image the network's strip samples, and the way back."""

    first: int
    last: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    back_rows: NDArray[np.int64]
    back_columns: NDArray[np.int64]


def _strip(height: int, width: int) -> _Strip:
    if width == 2 * height:
        first = round(height / 6)
    elif width == 3 * height:
        first = 0
    else:
        raise SensorError(
            f"panoramas of {width} x {height} pixels: give the full sphere (twice as wide as high) "
            "or the strip of +-60 deg (three times)"
        )
    last = height - first
    return _Strip(
        first,
        last,
        first + _nearest(STRIP[0], last - first),
        _nearest(STRIP[1], width),
        _nearest(last - first, STRIP[0]),
        _nearest(width, STRIP[1]),
    )


def _nearest(target: int, source: int) -> NDArray[np.int64]:
    """Return for each of `target` equal cells the one of `source` cells its middle lies in."""
    return ((np.arange(target) + 0.5) / target * source).astype(np.int64)


def _find(folder: Path, which: str) -> Path:
    """Return the checkpoint of a run folder, or the folder itself if it is a checkpoint."""
    if (folder / "meta.json").is_file():
        return folder
    for name in (which, "latest"):
        pointer = folder / "checkpoints" / name
        if pointer.is_file():
            path = pointer.parent / pointer.read_text(encoding="utf-8").strip()
            if (path / "meta.json").is_file():
                return path
    raise CheckpointError(
        f"no trained segmenter in {folder}: expected checkpoints/{which} or meta.json. Train one "
        f"with: embodied train vln/segmenter_houses --run {folder}"
    )
