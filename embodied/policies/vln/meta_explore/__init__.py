"""Meta-Explore (Hwang et al., CVPR 2023): explore step by step, or correct by a local goal."""

from embodied.policies.vln.meta_explore.config import MetaExploreConfig
from embodied.policies.vln.meta_explore.policy import MetaExplorePolicy

__all__ = ["MetaExploreConfig", "MetaExplorePolicy"]
