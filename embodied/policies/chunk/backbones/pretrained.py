"""A pretrained vision-language model as backbone: frozen, or with trained low-rank updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.nn.lora import LowRankUpdate
from embodied.perception.vlm import VisionLanguageModel
from embodied.policies.chunk.backbones.base import Backbone, Context, VlmConfig


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
        self.updates = nn.ModuleDict()
        if config.lora_rank:
            self._held[0].hook_linear_layers(config.target_modules)
            for layer, linear in self._held[0].find_linear_layers(config.target_modules).items():
                self.updates[_key(layer)] = LowRankUpdate(
                    linear.in_features, linear.out_features, config.lora_rank, config.lora_alpha
                )

    @property
    def digest(self) -> str:
        """Digest of the model and of what is kept of it."""
        return self._held[0].digest

    def forward(self, images: Mapping[str, Tensor], texts: Sequence[str]) -> Context:
        """Return the states of the image and word tokens."""
        device = images[self.cameras[0]].device
        seen = [_bytes(images[name]) for name in self.cameras]
        prompts = [self._prompt.format(task=text) for text in texts]
        updates = {key.replace("/", "."): part for key, part in self.updates.items()}
        found = self._held[0].encode(seen, prompts, device, updates)
        return Context(found.tokens, found.mask)


def _key(layer: str) -> str:
    """Return a layer's name as torch allows it for a part."""
    return layer.replace(".", "/")


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    if image.dtype != torch.uint8:
        image = image.round().clamp(0, 255).to(torch.uint8)
    return image.cpu().numpy()
