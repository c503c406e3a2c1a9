"""What an episode draws: each aspect from its own stream, so that a level only adds to the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.tabletop.config import Triple

Array = NDArray[np.float64]

COLORS: dict[str, Triple] = {
    "red": (0.85, 0.15, 0.12),
    "green": (0.18, 0.65, 0.22),
    "blue": (0.13, 0.30, 0.80),
    "yellow": (0.93, 0.80, 0.12),
    "purple": (0.52, 0.22, 0.68),
    "orange": (0.95, 0.48, 0.08),
    "white": (0.92, 0.92, 0.90),
    "black": (0.12, 0.12, 0.13),
}
TABLES: tuple[Triple, ...] = (
    (0.62, 0.52, 0.40), (0.45, 0.34, 0.26), (0.74, 0.74, 0.72), (0.40, 0.45, 0.48),
    (0.55, 0.60, 0.52), (0.30, 0.30, 0.33),
)  # fmt: skip

_FRICTION = (0.6, 1.2)  # of objects, dimensionless
_MASS = (0.7, 1.5)  # share of the nominal mass
_STILL = 0.08  # share of the spread that level 0 keeps
_CLEARANCE = 0.09  # between the middles of things on the table, times the scale [m]


@dataclass(frozen=True)
class ViewVariation:
    """How cameras and light of an episode differ from the nominal ones.

    Attributes:
        eye: shift of the front camera [m].
        target: shift of the point it looks at [m].
        wrist: shift of the wrist camera in the tool's frame [m].
        light: factors on red, green and blue.
        turn: of the light about the vertical [rad].
    """

    eye: Triple = (0.0, 0.0, 0.0)
    target: Triple = (0.0, 0.0, 0.0)
    wrist: Triple = (0.0, 0.0, 0.0)
    light: Triple = (1.0, 1.0, 1.0)
    turn: float = 0.0


@dataclass(frozen=True)
class Jolt:
    """A thing is shoved aside, once.

    Attributes:
        name: of the body.
        displacement: (2,) on the table, or as far backwards: whichever leads away from the tool
            [m].
        trigger_distance: it happens when the tool has come so near [m].
    """

    name: str
    displacement: Array
    trigger_distance: float


@dataclass(frozen=True)
class Layout:
    """One episode before its first step.

    Attributes:
        seed: it was drawn from.
        instruction: what is asked for.
        poses: (7,) pose of every body by name: position [m], quaternion xyzw.
        colors: RGB in [0, 1] of bodies by name; others keep theirs.
        friction: of the objects.
        mass_scale: share of their nominal mass.
        joint_offsets: (J,) shift of the arm's joints at the start [rad].
        view: cameras and light.
        jolt: what is shoved aside while the arm works.
        delay_steps: control steps by which actions come late.
    """

    seed: int
    instruction: str
    poses: dict[str, Array]
    colors: dict[str, Triple] = field(default_factory=dict)
    friction: float = 0.9
    mass_scale: float = 1.0
    joint_offsets: Array = field(default_factory=lambda: np.zeros(0))
    view: ViewVariation = field(default_factory=ViewVariation)
    jolt: Jolt | None = None
    delay_steps: int = 0


class LayoutSampler:
    """The chances of one episode.

    Args:
        seed: of the episode.
        level: of randomisation, 0 to 3.
        center: middle of the working space (x, y) [m].
        scale: of it.
    """

    def __init__(
        self, seed: int, level: int, center: tuple[float, float], scale: float = 1.0
    ) -> None:
        self.seed, self.level, self.scale = seed, level, scale
        self.center = np.array(center)
        self._places, self._looks, self._physics, self._view, self._words = (
            np.random.default_rng((seed, aspect)) for aspect in range(5)
        )
        self._taken: list[Array] = []

    def sample_uniform(self, low: float, high: float) -> float:
        """Return a number of the layout; level 0 stays near the middle."""
        middle, half = (low + high) / 2, (high - low) / 2
        share = 1.0 if self.level else _STILL
        return float(middle + share * half * self._places.uniform(-1, 1))

    def sample_place(
        self, half: tuple[float, float], offset: tuple[float, float] = (0.0, 0.0),
        clearance: float = _CLEARANCE,
    ) -> Array:  # fmt: skip
        """Return a free place (2,) on the table [m].

        Args:
            half: half the area's size along x and y, at scale 1 [m].
            offset: of the area's middle from the centre, at scale 1 [m].
            clearance: to what was placed before, at scale 1 [m].
        """
        for attempt in range(200):
            share = np.array([self.sample_uniform(-1, 1), self.sample_uniform(-1, 1)])
            # A crowded area widens a little with every failure, so that a place is always found.
            wide = np.array(half) * (1 + attempt / 100 * (self.level > 0 or attempt > 20))
            place = self.center + self.scale * (np.array(offset) + share * wide)
            gap = clearance * self.scale * (1 - attempt / 200)
            if all(np.linalg.norm(place - other) >= gap for other in self._taken):
                break
        self._taken.append(place)
        return place

    def reserve_places(self, *places: Array) -> None:
        """Keep other things away from places (2,)."""
        self._taken += [np.asarray(place)[:2] for place in places]

    def sample_colors(self, names: Sequence[str]) -> list[str]:
        """Return different colour names for things whose nominal ones are given."""
        if self.level < 2:
            return list(names)
        chosen = self._looks.permutation(list(COLORS))[: len(names)]
        return [str(name) for name in chosen]

    def sample_phrase(self, phrases: Sequence[str]) -> str:
        """Choose among ways to say a thing; below level 2 it is the first."""
        index = int(self._words.integers(len(phrases)))
        return phrases[index if self.level >= 2 else 0]

    def build_layout(
        self, instruction: str, poses: dict[str, Array], colors: dict[str, Triple], joints: int
    ) -> Layout:
        """Finish an episode: physics, posture, cameras and light."""
        physics, view = self._physics, self._view
        friction, mass = physics.uniform(*_FRICTION), physics.uniform(*_MASS)
        posture = physics.uniform(-0.06, 0.06, joints)
        shifts = view.uniform(-1, 1, (3, 3)) * self.scale
        light = view.uniform(0.65, 1.1) * view.uniform(0.9, 1.1, 3)
        turn = view.uniform(-np.pi, np.pi)
        table = TABLES[int(self._looks.integers(len(TABLES)))]
        if self.level >= 2:
            colors = {**colors, "table": table}
        shown = ViewVariation()
        if self.level >= 3:
            shown = ViewVariation(
                eye=_triple(0.06 * shifts[0]),
                target=_triple(0.03 * shifts[1]),
                wrist=_triple(0.006 * shifts[2]),
                light=_triple(light),
                turn=float(turn),
            )
        return Layout(
            self.seed,
            instruction,
            poses,
            colors,
            friction=float(friction) if self.level >= 2 else 0.9,
            mass_scale=float(mass) if self.level >= 2 else 1.0,
            joint_offsets=posture * (self.level >= 3),
            view=shown,
        )


def _triple(values: Array) -> Triple:
    x, y, z = values.tolist()
    return x, y, z
