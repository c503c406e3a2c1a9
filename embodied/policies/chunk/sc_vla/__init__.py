"""SC-VLA: a policy that imagines its progress and its next move while it chooses actions."""

from embodied.policies.chunk.sc_vla.config import ScVlaConfig
from embodied.policies.chunk.sc_vla.policy import ScVlaPolicy

__all__ = ["ScVlaConfig", "ScVlaPolicy"]
