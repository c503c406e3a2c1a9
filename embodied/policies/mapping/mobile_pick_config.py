"""Settings of the agent that finds, reaches and picks."""

from __future__ import annotations

from dataclasses import dataclass, field

from embodied.errors import ConfigError
from embodied.policies.mapping.mapper import BodyConfig
from embodied.policies.mapping.object_memory import ObjectMemoryConfig


@dataclass(frozen=True)
class MobilePickAgentConfig:
    """How to find, reach and pick.

    Attributes:
        body: the base and its camera; `forward` and `turn` bound how exactly it docks.
        memory: what is believed of what was seen.
        mount: height of the arm's base frame above the floor [m].
        reach: from the arm's base to the middle of its working space [m].
        ahead, aside: how far from there the thing may be when the arm takes over [m].
        heights: of the thing above the arm's base frame, lowest and highest, that it can pick up
            [m].
        replan_interval: steps between looks at the map while driving up.
        patience: steps in one approach and docking, after which the place is given up.
        searches: times that the navigation policy begins its search anew before it is given up.
        attempts: of the arm.
        attempt_steps: of the arm's policy in one attempt.
    """

    body: BodyConfig = field(default_factory=BodyConfig)
    memory: ObjectMemoryConfig = field(default_factory=ObjectMemoryConfig)
    mount: float = 0.45
    reach: float = 0.5
    ahead: float = 0.09
    aside: float = 0.1
    heights: tuple[float, float] = (-0.03, 0.25)
    replan_interval: int = 3
    patience: int = 300
    searches: int = 2
    attempts: int = 3
    attempt_steps: int = 120

    def __post_init__(self) -> None:
        for name in ("reach", "ahead", "aside", "replan_interval", "patience", "searches",
                     "attempts", "attempt_steps"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must be above 0")
        if not self.heights[0] < self.heights[1]:
            raise ConfigError(f"heights {self.heights} must be (lowest, highest)")
