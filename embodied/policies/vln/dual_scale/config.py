"""Sizes and options of the dual-scale agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError, suggest_nearest


@dataclass(frozen=True)
class DualScaleSize:
    """Widths and depths of one size.

    Attributes:
        width: of every token.
        heads: of every attention.
        inner: width inside the feed-forward layers.
        text_layers, panorama_layers, cross_layers: layers of the text encoder, of the panorama
            encoder, and of each of the two cross-modal stacks.
        views: tokens per panorama, 36 or 12.
        max_words: longest instruction in tokens.
        mode_width: width inside the mode selector.
        drop_attention: whether attention weights are dropped out, too.
    """

    width: int
    heads: int
    inner: int
    text_layers: int
    panorama_layers: int
    cross_layers: int
    views: int
    max_words: int
    mode_width: int = 256
    drop_attention: bool = True

    def get_layer_options(self, dropout: float) -> tuple[int, int, int, float, float]:
        """Return what a transformer layer is built from."""
        return (
            self.width,
            self.heads,
            self.inner,
            dropout,
            dropout if self.drop_attention else 0.0,
        )


SIZES = {
    # Our choice: as wide as two CPU cores can train. The paper's depth per part is kept at about a
    # half, feed-forward layers are two times as wide as the tokens instead of four, and dropout of
    # attention weights, which would cost a fifth of the training time, is left out.
    "tiny": DualScaleSize(
        128,
        4,
        256,
        text_layers=2,
        panorama_layers=1,
        cross_layers=2,
        views=12,
        max_words=100,
        drop_attention=False,
    ),
    "base": DualScaleSize(
        768, 12, 3072, text_layers=9, panorama_layers=2, cross_layers=4, views=36, max_words=200
    ),  # the paper's
}

SCALES = ("dual", "local", "global", "average")


@dataclass(frozen=True)
class DualScaleConfig:
    """The agent.

    Attributes:
        size: "tiny" (1-2 million parameters) or "base" (the paper's).
        scale: what decides: "dual" (both, gated), "average" (both, equal), "global" (the map
            alone), "local" (the panorama alone: only neighbours can be chosen).
        blind: see neither views nor objects, only where the candidates lie.
        views: tokens per panorama: 36, or 12 (the three elevations of a heading are averaged: a
            third of the tokens, for speed; our choice); 0 takes the size's own.
        text: folder or hub name of a pretrained text encoder, which stays as it is; "" trains one
            from scratch.
        instruction_features: tell objects by what the instruction mentions of them
            (`INSTRUCTION_FEATURES`).
        word_heads: build the half of the cross-modal layers that only masked-language-modelling
            needs; without effect for a pretrained text encoder.
        dropout: inside the network.
        feature_dropout: of the view and object features while training (the paper fine-tunes with
            0.4).
        max_decisions: after so many the agent stops.
        return_to_best: at the end go to the visited place with the highest remembered stop
            probability (the paper's rule).
        temperature: of the draw when acting; 0 takes the likeliest.
    """

    size: str = "tiny"
    scale: str = "dual"
    blind: bool = False
    views: int = 0
    text: str = ""
    instruction_features: bool = False
    word_heads: bool = True
    dropout: float = 0.1
    feature_dropout: float = 0.0
    max_decisions: int = 15
    return_to_best: bool = True
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"policy.size '{self.size}': {suggest_nearest(self.size, SIZES)}")
        if self.scale not in SCALES:
            raise ConfigError(f"policy.scale '{self.scale}': {suggest_nearest(self.scale, SCALES)}")
        if self.views not in (0, 12, 36):
            raise ConfigError(f"policy.views = {self.views} must be 12, 36 or 0 (the size's own)")
        for name in ("dropout", "feature_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"policy.{name} = {getattr(self, name)} must be in [0, 1)")
        if self.max_decisions < 1:
            raise ConfigError(f"policy.max_decisions = {self.max_decisions} must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"policy.temperature = {self.temperature} must not be negative")

    @property
    def sizes(self) -> DualScaleSize:
        """The widths and depths."""
        return SIZES[self.size]

    @property
    def view_tokens(self) -> int:
        """Tokens per panorama."""
        return self.views or self.sizes.views

    @property
    def predicts_words(self) -> bool:
        """Whether masked-language-modelling is possible."""
        return self.word_heads and not self.text

    @property
    def one_step(self) -> bool:
        """Whether only neighbours can be chosen (labels are then those of a one-step explorer)."""
        return self.scale == "local"


@dataclass(frozen=True)
class DualScaleInputs:
    """Widths of the observations a network was made for; saved with its weights.

    Attributes:
        views: features per view.
        objects: features per object.
        categories: number of object categories.
    """

    views: int
    objects: int = 6
    categories: int = len(SOS_CATEGORIES)

    def __post_init__(self) -> None:
        for name in ("views", "objects", "categories"):
            if getattr(self, name) < 1:
                raise ConfigError(f"inputs.{name} = {getattr(self, name)} must be at least 1")

    @staticmethod
    def from_spaces(observation_space: Any) -> DualScaleInputs:
        """Read the spaces of one (not vectorised) environment."""
        spaces = getattr(observation_space, "spaces", {})
        missing = [key for key in ("views", "object_features") if key not in spaces]
        if missing:
            raise ConfigError(
                f"the dual-scale agent needs the observations {', '.join(missing)}; this task "
                f"gives {', '.join(sorted(spaces)) or 'no named observations'}: use one of the "
                "tasks embodied/VLN-..."
            )
        return DualScaleInputs(
            int(spaces["views"].shape[-1]), int(spaces["object_features"].shape[-1])
        )

    def to_json(self) -> dict[str, int]:
        """Return plain values for meta.json."""
        return {"views": self.views, "objects": self.objects, "categories": self.categories}

    @staticmethod
    def from_json(data: Mapping[str, int]) -> DualScaleInputs:
        """Build from `to_json`'s values."""
        return DualScaleInputs(data["views"], data["objects"], data["categories"])
