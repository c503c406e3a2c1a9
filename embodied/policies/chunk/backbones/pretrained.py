"""A pretrained vision-language model as backbone: frozen, or with trained low-rank updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.perception.vlm import VisionLanguageModel
from embodied.policies.chunk.backbones.base import Backbone, Context, VlmConfig


class LowRankUpdate(nn.Module):
    """The trained weights of one layer's LoRA update, ``(alpha / rank) up down x``.

    Args:
        down: (rank, inputs).
        up: (outputs, rank), 0 at the start.
    """

    def __init__(self, down: Tensor, up: Tensor) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)


class PretrainedBackbone(Backbone):
    """Cameras and instruction through the first layers of a vision-language model.

    Its weights stay where they are: a checkpoint holds the updates alone, and the digest of the
    model that they belong to.

    Args:
        name: folder or hub name.
        config: what is kept of the model, and how it is tuned.
        cameras: names, in the order the model sees them.
    """

    def __init__(self, name: str, config: VlmConfig, cameras: Sequence[str]) -> None:
        super().__init__()
        # In a tuple, torch does not take the model for a part of this module.
        self._held = (VisionLanguageModel(name, config.layers, config.dtype),)
        self.width, self.cameras, self._prompt = self._held[0].width, tuple(cameras), config.prompt
        self._alpha = config.lora_alpha
        self.updates = nn.ModuleDict()
        if config.lora_rank:
            fresh = self._held[0].add_adapter(
                config.target_modules, config.lora_rank, config.lora_alpha
            )
            for layer, pair in fresh.items():
                self.updates[_key(layer)] = LowRankUpdate(*pair)

    @property
    def digest(self) -> str:
        """Digest of the model and of what is kept of it."""
        return self._held[0].digest

    def forward(self, images: Mapping[str, Tensor], texts: Sequence[str]) -> Context:
        """Return the states of the image and word tokens."""
        device = images[self.cameras[0]].device
        seen = [_bytes(images[name]) for name in self.cameras]
        prompts = [self._prompt.format(task=text) for text in texts]
        found = self._held[0].encode(seen, prompts, device, self._adapter())
        return Context(found.tokens, found.mask)

    def save_adapter(self, folder: str | Path) -> Path:
        """Write the trained updates as a LoRA adapter that peft and transformers load.

        Raises:
            ConfigError: the model is tuned by none.
            UnwritableError: the folder cannot be written to.
        """
        if not self.updates:
            raise ConfigError("the backbone has no adapter: train with backbone.vlm.lora_rank")
        return self._held[0].save_adapter(folder, self._adapter(), self._alpha)

    def _adapter(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the weights by the layers' own names."""
        weights: dict[str, tuple[Tensor, Tensor]] = {}
        for key, part in self.updates.items():
            assert isinstance(part, LowRankUpdate)  # noqa: S101
            weights[key.replace("/", ".")] = (part.down, part.up)
        return weights


def _key(layer: str) -> str:
    """Return a layer's name as torch allows it for a part."""
    return layer.replace(".", "/")


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    if image.dtype != torch.uint8:
        image = image.round().clamp(0, 255).to(torch.uint8)
    return image.cpu().numpy()
