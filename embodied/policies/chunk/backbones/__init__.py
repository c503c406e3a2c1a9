"""What a manipulation policy sees and reads with: cameras and an instruction to tokens."""

from embodied.policies.chunk.backbones.base import (
    Backbone,
    BackboneConfig,
    Context,
    require_backbone,
)
from embodied.policies.chunk.backbones.factory import make_backbone

__all__ = ["Backbone", "BackboneConfig", "Context", "make_backbone", "require_backbone"]
