"""Disturbances that no policy learned from: what a layout becomes when something goes wrong.

A disturbance is part of an episode's `Layout`, drawn from a stream of its own: the same seed gives
the same episode with and without it, so that both can be compared pairwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.tabletop.config import RATE, Disturbance, Triple
from embodied.tasks.tabletop.randomisation import Jolt, Layout

Array = NDArray[np.float64]

_STREAM = 5  # of an episode's chances; `LayoutSampler` takes 0 to 4
_HEAVIER = 1.2  # times the mass
_WAY = (0.04, 0.06)  # that a thing is moved, at scale 1 [m]
_NEAR = 0.1  # the tool has come so near when it is, at scale 1 [m]
_WAYS = 16  # drawn, of which the one with the most room is taken
_EYE, _TARGET = 0.05, 0.02  # shifts of the front camera and of what it looks at, at scale 1 [m]
_DELAY = (0.05, 0.1)  # of the actions [s]


def apply_disturbance(layout: Layout, kind: Disturbance, thing: str, scale: float = 1.0) -> Layout:
    """Return an episode with something wrong in it.

    Args:
        layout: of the episode.
        kind: "none"; "moved": once the tool has come near, `thing` is shoved aside; "heavier":
            everything that moves weighs 20 % more; "camera": the front camera has been knocked;
            "delay": actions come 50 or 100 ms late.
        thing: name of the body that the task is about.
        scale: of the rig.
    """
    rng = np.random.default_rng((layout.seed, _STREAM))
    if kind == "moved":
        return replace(layout, jolt=Jolt(thing, _way(layout, thing, scale, rng), _NEAR * scale))
    if kind == "heavier":
        return replace(layout, mass_scale=_HEAVIER * layout.mass_scale)
    if kind == "camera":
        view = layout.view
        eye = _shifted(view.eye, _EYE * scale, rng)
        target = _shifted(view.target, _TARGET * scale, rng)
        return replace(layout, view=replace(view, eye=eye, target=target))
    if kind == "delay":
        fewest, most = (round(seconds * RATE) for seconds in _DELAY)
        return replace(layout, delay_steps=int(rng.integers(fewest, most + 1)))
    return layout


def _way(layout: Layout, thing: str, scale: float, rng: np.random.Generator) -> Array:
    """Draw a way (2,) that leads into the free, forwards and backwards [m]."""
    here = layout.poses[thing][:2]
    others = [place[:2] for name, place in layout.poses.items() if name != thing]
    angles, lengths = rng.uniform(-np.pi, np.pi, _WAYS), rng.uniform(*_WAY, _WAYS)
    ways = scale * lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def room(way: Array) -> float:
        ends = (here + way, here - way)
        gaps = [float(np.linalg.norm(end - other)) for end in ends for other in others]
        return min(gaps, default=0.0)

    return np.asarray(max(ways, key=room))


def _shifted(point: Triple, way: float, rng: np.random.Generator) -> Triple:
    """Return a point shifted by a way in a direction that is drawn [m]."""
    direction = rng.standard_normal(3)
    x, y, z = (np.array(point) + way * direction / np.linalg.norm(direction)).tolist()
    return x, y, z
