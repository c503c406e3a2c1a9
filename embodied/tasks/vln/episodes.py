"""What one episode of language-guided navigation is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]


@dataclass(frozen=True)
class VLNEpisode:
    """One instruction to follow. Places are numbers in its world.

    Attributes:
        id: unique within its data set and split.
        world: name of the graph world.
        start: place the agent begins at.
        heading: it looks along at the beginning, clockwise from north [rad].
        instruction: in plain words, never empty.
        goals: places that count as arriving; empty where the truth is held back (test splits).
        target: id of the object asked for, -1 if none is.
        path: annotated places from start to goal; only the start where the truth is held back.
        length: reference length of SPL [m]: see the data set's adapter.
        radius: ending nearer than this to the path's end counts as arriving, too [m].
        polygons: goal place -> (P, 2) outline of the target there, heading and elevation [rad].
        rooms, kind: optional facts for analysis ("route", "goal", ...), never shown to an agent.
    """

    id: str
    world: str
    start: int
    heading: float
    instruction: str
    goals: tuple[int, ...] = ()
    target: int = -1
    path: tuple[int, ...] = ()
    length: float = float("nan")
    radius: float = 0.0
    polygons: Mapping[int, Polygon] = field(default_factory=dict)
    rooms: tuple[str, ...] = ()
    kind: str = ""

    @property
    def has_truth(self) -> bool:
        """Whether the goal is known, so that the episode can be scored here."""
        return bool(self.goals)
