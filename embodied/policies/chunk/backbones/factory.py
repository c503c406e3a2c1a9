"""Build a backbone by name: the small one, or a pretrained model."""

from __future__ import annotations

from collections.abc import Sequence

from embodied.policies.chunk.backbones.base import TINY, Backbone, BackboneConfig
from embodied.policies.chunk.backbones.tiny import TinyBackbone


def make_backbone(config: BackboneConfig, cameras: Sequence[str], words: Sequence[str]) -> Backbone:
    """Build a backbone; the weights of a small one are drawn from torch's generator.

    Args:
        config: which.
        cameras: names of the cameras, in the order of their tokens.
        words: vocabulary of the small one, as `perception.vocabulary.Vocabulary.words`.

    Raises:
        WeightsError: a pretrained model that is absent or damaged.
    """
    if config.name == TINY:
        return TinyBackbone(config.tiny, cameras, words)
    from embodied.policies.chunk.backbones.pretrained import PretrainedBackbone

    return PretrainedBackbone(config.name, config.vlm, cameras)
