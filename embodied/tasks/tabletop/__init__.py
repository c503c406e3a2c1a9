"""Tabletop manipulation: arms in PyBullet, eight tasks, experts."""

from embodied.tasks.tabletop.config import RATE, TASKS, SafetyLimits, TabletopConfig
from embodied.tasks.tabletop.env import TabletopEnv
from embodied.tasks.tabletop.experts import TabletopExpert, make_expert
from embodied.tasks.tabletop.vector import TabletopVectorEnv

__all__ = [
    "RATE",
    "TASKS",
    "TabletopExpert",
    "SafetyLimits",
    "TabletopConfig",
    "TabletopEnv",
    "TabletopVectorEnv",
    "make_expert",
]
