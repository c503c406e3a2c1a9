"""The dual-scale graph agent (DUET, Chen et al., CVPR 2022): a map of places read as a whole, the
present panorama read in detail, and a gate between the two.
"""

from embodied.policies.vln.dual_scale.config import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.dual_scale.experts import ExpertLabels, ExpertMemory
from embodied.policies.vln.dual_scale.network import DualScaleNetwork
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.policies.vln.dual_scale.state import Decision, DualScaleState

__all__ = [
    "Decision",
    "DualScaleConfig",
    "DualScaleInputs",
    "DualScaleNetwork",
    "DualScalePolicy",
    "DualScaleState",
    "ExpertMemory",
    "ExpertLabels",
]
