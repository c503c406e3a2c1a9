"""One interface for every backbone, small or pretrained, and their settings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.nn.transformer import build_mask_bias

TINY = "tiny"


@dataclass(frozen=True)
class Context:
    """What a backbone made of B observations.

    Attributes:
        tokens: (B, L, D).
        present: (B, L) bool, false for padding.
    """

    tokens: Tensor
    present: Tensor

    @property
    def bias(self) -> Tensor:
        """Additive mask (B, 1, 1, L)."""
        return build_mask_bias(self.present)


class Backbone(nn.Module):
    """Cameras and instructions to tokens that a policy's head attends to.

    Attributes:
        width: D of the tokens.
    """

    width: int

    @abstractmethod
    def forward(self, images: Mapping[str, Tensor], texts: Sequence[str]) -> Context:
        """Return the tokens of B observations.

        Args:
            images: camera name -> (B, H, W, 3) uint8, or float32 in 0 to 255.
            texts: B instructions.
        """

    @property
    def digest(self) -> str:
        """Digest of pretrained weights that a checkpoint does not hold; "" where it holds all."""
        return ""


@dataclass(frozen=True)
class TinyConfig:
    """The backbone that is trained from scratch.

    Attributes:
        width: of the tokens.
        patch: pixels that the first convolution of each camera moves on by; it sees twice as many.
        channels: of the convolutions of each camera: those between the first and the last halve
            the image.
        tokens: per camera.
        heads: of the attention over the words.
    """

    width: int = 128
    patch: int = 4
    channels: tuple[int, ...] = (32, 64, 64)
    tokens: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        sizes = (self.width, self.patch, self.tokens, self.heads, *self.channels)
        if min(sizes) < 1 or len(self.channels) < 2 or self.width % self.heads:
            raise ConfigError(
                f"backbone.tiny: width {self.width} (a multiple of heads {self.heads}), patch "
                f"{self.patch}, tokens {self.tokens} and at least two channels {self.channels} "
                "must be 1 or more"
            )


@dataclass(frozen=True)
class VlmConfig:
    """A pretrained vision-language model.

    Attributes:
        layers: of its language model that are kept; the tokens are the states after the last of
            them (GR00T N1.5 keeps 12). 0: all.
        lora_rank: rank of the trained low-rank updates; 0: the model stays as it is.
        lora_alpha: scale of the updates times their rank.
        target_modules: linear layers of the language model that get one, by the end of their names.
        dtype: "float32", "bfloat16" or "float16".
        prompt: what the model is asked; {task} is the instruction.
    """

    layers: int = 12
    lora_rank: int = 0
    lora_alpha: float = 16.0
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    dtype: str = "float32"
    prompt: str = "{task}"

    def __post_init__(self) -> None:
        if min(self.layers, self.lora_rank) < 0 or not self.lora_alpha > 0:
            raise ConfigError(
                f"backbone.vlm: layers {self.layers} and lora {self.lora_rank} must not be "
                f"negative, "
                f"alpha {self.lora_alpha} above 0"
            )
        if "{task}" not in self.prompt:
            raise ConfigError(f"backbone.vlm.prompt '{self.prompt}' must contain {{task}}")


@dataclass(frozen=True)
class BackboneConfig:
    """Which backbone, and its settings.

    Attributes:
        name: "tiny", or the folder or hub name of a vision-language model of transformers
            (SmolVLM, Qwen3-VL, PaliGemma or the like).
        tiny: settings of "tiny".
        vlm: settings of all others.
    """

    name: str = TINY
    tiny: TinyConfig = field(default_factory=TinyConfig)
    vlm: VlmConfig = field(default_factory=VlmConfig)


def require_backbone(config: BackboneConfig) -> None:
    """Make sure that there is a model to build from, before anything long begins.

    Raises:
        WeightsError: a pretrained model that is absent.
    """
    if config.name != TINY:
        from embodied.perception.pretrained import find_weights

        find_weights(config.name)
