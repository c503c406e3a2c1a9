"""The backbone that is trained from scratch: a small convolutional eye per camera, word embeddings.

The instruction steers every convolution (FiLM, Perez et al. 2018), so that an eye looks for what is
asked for, and an eye reports *where* its features are (spatial softmax, Levine et al. 2016): a few
hundred thousand weights then place a gripper to a centimetre in images of 96 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.nn.placement import to_tensor_like
from embodied.nn.transformer import PreNormLayer, build_mask_bias
from embodied.perception.vocabulary import PAD, Vocabulary
from embodied.policies.chunk.backbones.base import Backbone, Context, TinyConfig

MAX_WORDS = 40
SHARPNESS = 5.0
"""Of the spatial softmax at the start. At 1 every feature at first seems to lie in the middle of an
image, and learning where it is takes several times as long.
"""


class CameraEncoder(nn.Module):
    """Images (B, H, W, 3) to tokens (B, `tokens`, D), looking for what an instruction names."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        channels = config.channels
        self.layers = nn.ModuleList()
        inputs = 3
        for index, outputs in enumerate(channels):
            # The first layer looks at overlapping patches; the last keeps its resolution.
            last = index == len(channels) - 1
            stride = config.patch if index == 0 else 1 if last else 2
            kernel = 2 * config.patch if index == 0 else 3
            layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2)
            # Without norms, which would double the time on a CPU, the scale must be right.
            nn.init.orthogonal_(layer.weight, gain=1.0 if last else 2**0.5)
            self.layers.append(layer)
            inputs = outputs
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sizes = [2 * size for size in channels]
        self.steer = nn.Linear(config.width, sum(self.sizes))
        nn.init.normal_(self.steer.weight, std=0.5 / config.width**0.5)
        nn.init.zeros_(self.steer.bias)
        self.sharpness = nn.Parameter(torch.full((channels[-1],), SHARPNESS).log())
        self.project = nn.Linear(3 * channels[-1], config.tokens * config.width)
        self.shape = (config.tokens, config.width)

    def forward(self, image: Tensor, instruction: Tensor) -> Tensor:
        """Return tokens (B, T, D) of images (B, H, W, 3), uint8 or 0 to 255, and (B, D)."""
        x = image.permute(0, 3, 1, 2).to(instruction.dtype) / 127.5 - 1.0
        steering = self.steer(instruction).split(self.sizes, dim=-1)
        for layer, how in zip(self.layers, steering, strict=True):
            scale, shift = how[:, :, None, None].chunk(2, dim=1)
            x = functional.silu(layer(x) * (1 + scale) + shift)
        # Places lose too much in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            places = spatial_softmax(x * self.sharpness.exp()[:, None, None])
            found = torch.cat([places.flatten(1), x.amax(dim=(2, 3))], dim=-1)
            return self.project(found).unflatten(-1, self.shape)


class TinyBackbone(Backbone):
    """One eye per camera, and words through an embedding and one transformer layer."""

    def __init__(self, config: TinyConfig, cameras: Sequence[str], words: Sequence[str]) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(tuple(words))
        self.width, self.cameras = config.width, tuple(cameras)
        self.words = nn.Embedding(len(self.vocabulary), config.width, padding_idx=PAD)
        self.places = nn.Parameter(torch.randn(MAX_WORDS, config.width) * 0.02)
        self.reader = PreNormLayer(config.width, config.heads, 2 * config.width)
        self.eyes = nn.ModuleList(CameraEncoder(config) for _ in cameras)

    def forward(self, images: Mapping[str, Tensor], texts: Sequence[str]) -> Context:
        """Return the tokens of the cameras in their order, then of the words."""
        ids, known = self.vocabulary.encode(list(texts), MAX_WORDS)
        tokens, present = to_tensor_like(self.places, ids), to_tensor_like(self.places, known)
        read = self.words(tokens) + self.places[: tokens.shape[1]]
        read = self.reader(read, build_mask_bias(present))
        weight = present[..., None].to(read.dtype)
        instruction = (read * weight).sum(dim=1) / weight.sum(dim=1)
        seen = [
            eye(images[name], instruction)
            for name, eye in zip(self.cameras, self.eyes, strict=True)
        ]
        made = torch.cat([*seen, read], dim=1)
        everywhere = present.new_ones(len(present), made.shape[1] - present.shape[1])
        return Context(made, torch.cat([everywhere, present], dim=1))


def spatial_softmax(scores: Tensor) -> Tensor:
    """Return where each channel is high: the mean place under a softmax over the image.

    Args:
        scores: (B, C, H, W).

    Returns:
        (B, C, 2): x to the right and y down, each from -1 to 1.
    """
    share = scores.flatten(2).softmax(dim=-1).unflatten(-1, scores.shape[2:])
    across, down = (
        torch.linspace(-1, 1, size, device=scores.device, dtype=scores.dtype)
        for size in (scores.shape[3], scores.shape[2])
    )
    return torch.stack([share.sum(2) @ across, share.sum(3) @ down], dim=-1)
