"""Image encoders: a small trainable one, and any transformers encoder from a folder or the hub."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.files import atomic_directory
from embodied.perception.features import FeatureCache, Features, require_images
from embodied.perception.pretrained import (
    DTYPES,
    WeightsError,
    find_weights,
    hash_folder,
    load_component,
    load_model,
    read_json,
)

SMALL_VISION = "embodied_small_vision"
WITHOUT_POOLER = ("vit", "deit", "beit")
"""Families whose pooling layer most checkpoints lack: the class token is used as it is."""


class VisionEncoder(ABC):
    """Images to vectors.

    >>> encoder = VisionEncoder.load("google/siglip2-base-patch16-224", cache="runs/features")
    >>> features = encoder.encode(images)          # (N, H, W, 3) uint8 -> (N, D), (N, P, E)

    Attributes:
        dim: D of the pooled features.
        batch: images encoded at once.
        cache: folder of the feature cache, or None.
    """

    dim: int
    batch: int
    cache: Path | None
    device: str
    dtype: torch.dtype

    @staticmethod
    def load(
        name: str | Path = "small",
        device: str = "cpu",
        dtype: str = "float32",
        cache: str | Path | None = None,
        batch: int = 32,
    ) -> VisionEncoder:
        """Load an encoder.

        Args:
            name: "small" (untrained, needs no download), a folder, or a model name of the hub:
                CLIP, SigLIP, SigLIP 2, DINOv2, DINOv3, ViT, or another with square patches.
            device: a torch device.
            dtype: "float32", "bfloat16" or "float16".
            cache: keep features on disk below this folder.
            batch: images encoded at once.

        Raises:
            WeightsError: weights absent, damaged or incomplete.
            ConfigError: a value that cannot be used.
        """
        if batch < 1:
            raise ConfigError(f"batch = {batch} must be at least 1")
        if str(name) == "small":
            return SmallVisionEncoder(device=device, dtype=dtype, cache=cache, batch=batch)
        folder = find_weights(name)
        if read_json(folder / "config.json").get("model_type") == SMALL_VISION:
            return SmallVisionEncoder.load_folder(folder, device, dtype, cache, batch)
        return PretrainedVision(folder, device, dtype, cache, batch)

    @property
    @abstractmethod
    def digest(self) -> str:
        """16 hexadecimal digits that change with the weights, the settings or the precision."""

    @abstractmethod
    def _run(self, images: NDArray[np.uint8]) -> Features:
        """Encode at most `batch` images."""

    def encode(self, images: NDArray[np.uint8]) -> Features:
        """Encode images of one size.

        Args:
            images: (N, H, W, 3) uint8 RGB, N >= 1.

        Returns:
            Pooled (N, D) and patch features (N, P, E), float32 on `device`.

        Raises:
            SensorError: another shape or type.
            ConfigError: no image at all.
        """
        images = require_images(images)
        if not len(images):
            raise ConfigError("no image to encode: give at least one")
        if self.cache is None:
            return _joined([self._run(part) for part in _split(images, self.batch)])
        cache = FeatureCache(self.cache, self.digest)
        paths = [cache.get_path(image) for image in images]
        known = {path: cache.read_features(path) for path in dict.fromkeys(paths)}
        missing = {path: paths.index(path) for path, found in known.items() if found is None}
        rows = np.array(list(missing.values()), int)
        if len(rows):
            fresh = _joined([self._run(images[part]) for part in _split(rows, self.batch)])
            for row, path in enumerate(missing):
                one = Features(fresh.pooled[row : row + 1], fresh.patches[row : row + 1])
                cache.write_features(path, one, self.dtype)
                known[path] = one
        found = [known[path] for path in paths]
        return _joined([f for f in found if f is not None], self.device)


class SmallVisionEncoder(VisionEncoder):
    """A compact convolutional encoder: patches of 8x8 pixels, pooled = their mean.

    It starts with seeded random weights; `network` is an ordinary module to be trained with a
    policy, `save` keeps it.
    """

    def __init__(
        self,
        dim: int = 128,
        seed: int = 0,
        device: str = "cpu",
        dtype: str = "float32",
        cache: str | Path | None = None,
        batch: int = 32,
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"unknown dtype '{dtype}': allowed are {', '.join(DTYPES)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SmallVisionNetwork(dim).to(device, DTYPES[dtype])
        self.dim, self.device, self.dtype, self.batch = dim, device, DTYPES[dtype], batch
        self.cache = Path(cache) if cache is not None else None

    @property
    def digest(self) -> str:
        """A digest of the present weights, so that training makes a new cache."""
        total = hashlib.sha256(f"{SMALL_VISION} {self.dtype}".encode())
        for name, value in self.network.state_dict().items():
            total.update(name.encode() + value.float().cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def _run(self, images: NDArray[np.uint8]) -> Features:
        with torch.inference_mode():
            pixels = torch.from_numpy(images.copy()).to(self.device)
            return self.network(pixels.permute(0, 3, 1, 2).to(self.dtype) / 255.0)

    def save(self, folder: str | Path) -> None:
        """Write the weights; `VisionEncoder.load(folder)` reads them back."""
        with atomic_directory(folder) as target:
            save_file(self.network.state_dict(), target / "model.safetensors")
            settings = {"model_type": SMALL_VISION, "dim": self.dim}
            (target / "config.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @staticmethod
    def load_folder(
        folder: Path, device: str, dtype: str, cache: str | Path | None, batch: int
    ) -> SmallVisionEncoder:
        """Read what `save` wrote.

        Raises:
            WeightsError: the folder is damaged.
        """
        try:
            dim = int(read_json(folder / "config.json")["dim"])
            encoder = SmallVisionEncoder(dim, 0, device, dtype, cache, batch)
            encoder.network.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsError(
                f"the small encoder in {folder} is damaged: {error}. Save or copy it again."
            ) from error
        return encoder


class SmallVisionNetwork(nn.Module):
    """Three stride-2 convolutions, two residual ones and a projection."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        self.stem = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.ReLU(inplace=True))
                for a, b in zip(widths, widths[1:], strict=False)
            )
        )
        self.mix = nn.ModuleList(
            nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.GroupNorm(8, 128)) for _ in range(2)
        )
        self.project = nn.Linear(128, dim)

    def forward(self, images: Tensor) -> Features:
        """Encode (N, 3, H, W) images with values in [0, 1]; sides below 8 give one patch."""
        x = self.stem(images * 2.0 - 1.0)
        for layer in self.mix:
            x = torch.relu(x + layer(x))
        patches = self.project(x.flatten(2).transpose(1, 2))
        return Features(patches.mean(dim=1).float(), patches.float())


class PretrainedVision(VisionEncoder):
    """A transformers image encoder.

    Pooled features are what the model compares with text (CLIP, SigLIP) or its class token after
    the last norm (DINO, ViT); patch features are the last hidden states without class and register
    tokens. Images are prepared by the model's own processor.
    """

    def __init__(
        self, folder: Path, device: str, dtype: str, cache: str | Path | None, batch: int
    ) -> None:
        from transformers import AutoConfig, AutoModel

        settings = load_component(AutoConfig.from_pretrained, folder, "config.json")
        config = getattr(settings, "vision_config", settings)
        if not isinstance(getattr(config, "patch_size", None), int):
            raise ConfigError(
                f"{folder} holds a '{settings.model_type}' model, whose features are no square "
                "patches. Use CLIP, SigLIP, SigLIP 2, DINOv2, DINOv3 or ViT."
            )
        options = {"add_pooling_layer": False} if settings.model_type in WITHOUT_POOLER else {}
        model = load_model(AutoModel, folder, dtype, device, **options)
        self._processor = _image_processor(folder)
        self._model = getattr(model, "vision_model", model)
        self._project = getattr(model, "visual_projection", None)
        self._patch: int = config.patch_size
        self.dim = self._project.out_features if self._project is not None else config.hidden_size
        self.device, self.dtype, self.batch = device, DTYPES[dtype], batch
        self.cache = Path(cache) if cache is not None else None
        self._digest = hashlib.sha256(f"{hash_folder(folder)} {dtype}".encode()).hexdigest()[:16]

    @property
    def digest(self) -> str:
        """A digest of the weights, the settings files and the precision."""
        return self._digest

    def _run(self, images: NDArray[np.uint8]) -> Features:
        inputs = self._processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )
        pixels = inputs["pixel_values"].to(self.device, self.dtype)
        with torch.inference_mode():
            if "spatial_shapes" in inputs:  # SigLIP 2 with native aspect ratio: padded patch rows
                shapes = inputs["spatial_shapes"]
                count = int(shapes[0].prod())
                mask = inputs["pixel_attention_mask"].to(self.device)
                output = self._model(pixels, mask, shapes)
                patches = output.last_hidden_state[:, :count]
            else:
                count = int(np.prod([side // self._patch for side in pixels.shape[-2:]]))
                output = self._model(pixels)
                patches = output.last_hidden_state[:, -count:]  # class and registers come first
            pooled = getattr(output, "pooler_output", None)
            pooled = output.last_hidden_state[:, 0] if pooled is None else pooled
            pooled = pooled if self._project is None else self._project(pooled)
        return Features(pooled.float(), patches.float())


def _image_processor(folder: Path) -> Any:
    """Load a model's image processor; those that exist for torchvision alone run as ViT's."""
    from transformers import AutoImageProcessor, ViTImageProcessorPil

    try:
        return load_component(AutoImageProcessor.from_pretrained, folder, "image processor")
    except WeightsError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
    # DINOv3: resize, scale and normalise as its settings say, which is what ViT's processor does.
    return load_component(ViTImageProcessorPil.from_pretrained, folder, "image processor")


def _split(array: NDArray, size: int) -> list[NDArray]:
    return [array[first : first + size] for first in range(0, len(array), size)]


def _joined(parts: list[Features], device: str | None = None) -> Features:
    pooled = torch.cat([f.pooled.to(device or f.pooled.device) for f in parts])
    return Features(pooled, torch.cat([f.patches.to(pooled.device) for f in parts]))
