"""Let a policy that thinks in graphs drive a body: forward, left, right, stop.

The agent keeps a live map from its panoramic depth, a graph of places on it (`live_places`) and
what it sees at each place (`maps.panorama.from_images`), and shows the graph policy the same
observation as the graph task does. The place that policy chooses is walked to on the agent's own
map; the simulator's navigable area is never asked. After ETPNav (An et al., TPAMI 2024): ghosts for
neighbours, and a try-out of other headings where a step forward is blocked.

Every arrival is one decision of the graph policy. A walk that makes no headway is given up and ends
where the body stands, so that the graph policy never waits for a place it cannot get to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError
from embodied.policies.base import Policy, require_observations
from embodied.policies.mapping.mapper import BodyConfig
from embodied.policies.mapping.stall import StallCounter
from embodied.policies.vln.live_places import LiveGraph, LiveGraphConfig, PanoramaMapper
from embodied.types import FORWARD, LEFT, RIGHT, STOP, DiscreteActions, Observations, PlaceActions
from maps.panorama.from_images import MIN_AREA, REACH, build_panorama_from_images
from maps.panorama.observation import OBJECT_FEATURES, PanoramaObservation

SENSORS = ("instruction", "position", "heading", "rgb", "depth", "semantic", "instance",
           "instance_names")  # fmt: skip
"""Observations needed; `embodied.types.PANORAMA_KEYS` describes them."""

GraphPolicy = Policy[Observations, PlaceActions]


def _body() -> BodyConfig:
    return BodyConfig(turn=15.0, camera_position=(0.0, 1.4, 0.0), max_range=6.0)


@dataclass(frozen=True)
class ContinuousConfig:
    """How places are walked to, and what the graph policy is shown.

    Attributes:
        body: the agent as the policy believes it to be.
        places: how the graph grows.
        canvas: show the category canvas, too.
        max_candidates, max_objects: sizes of the graph observation.
        arrival_distance: a place this near counts as reached [m].
        near: where a place itself cannot be stood on, this near is planned for [m].
        replan_interval: actions between two plans.
        patience: actions without headway after which a walk is given up.
        tries: bumps on one walk after which other headings are tried out.
        try_steps: steps forward along such a heading.
        reach, min_area: which objects are listed, see `maps.panorama.from_images`.
    """

    body: BodyConfig = field(default_factory=_body)
    places: LiveGraphConfig = field(default_factory=LiveGraphConfig)
    canvas: bool = True
    max_candidates: int = 16
    max_objects: int = 60
    arrival_distance: float = 0.2
    near: float = 0.3
    replan_interval: int = 4
    patience: int = 14
    tries: int = 2
    try_steps: int = 2
    reach: float = REACH
    min_area: float = MIN_AREA

    def __post_init__(self) -> None:
        for name in (
            "replan_interval",
            "patience",
            "tries",
            "try_steps",
            "max_candidates",
            "max_objects",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")


class PlaceWalker:
    """Walks from place to place on the live map of one episode.

    Attributes:
        mapper: map and pose.
        places: the graph.
        target: the place it walks to, -1 while it stands.
        given_up: walks that ended elsewhere.
    """

    def __init__(self, config: ContinuousConfig) -> None:
        self.config = config
        self.mapper = PanoramaMapper(config.body)
        self.places = LiveGraph(config.places)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.mapper.reset()
        self.places.reset()
        self.target, self.given_up = -1, 0
        self._goal = np.zeros(3)
        self._begin()

    def _begin(self) -> None:
        self._age, self._bumps, self._stall = 0, 0, StallCounter()
        self._aside: list[int] = []

    def set_target(self, place: int) -> None:
        """Choose the place to walk to."""
        self.target, self._goal = place, self.places.positions[place].copy()
        self._begin()

    def act(self) -> int | None:
        """Return the next low-level action, None when the walk is over."""
        mapper, config = self.mapper, self.config
        if self.target < 0:
            return None
        if np.hypot(*(self._goal - mapper.position)[[0, 2]]) <= config.arrival_distance:
            return None
        if mapper.bumped:
            self._bumps += 1
            self._aside = []
            if self._bumps % config.tries == 0:
                self._aside = self._try_out()
        if self._aside:
            return mapper.force_action(self._aside.pop(0))
        if (self._age % config.replan_interval == 0 or mapper.bumped) and not self._plan():
            self.given_up += 1
            return None
        self._age += 1
        left = mapper.get_remaining_length()
        self._stall.update(left)
        if self._stall.steps > config.patience:
            self.given_up += 1
            return None
        if left <= 0.5 * config.body.forward:
            return None
        return mapper.follow_path()

    def _plan(self) -> bool:
        """Plan a path to the target or next to it; squeeze, then take unknown floor for free."""
        mapper, body = self.mapper, self.config.body
        for optimistic, squeeze in ((False, 1.0), (False, 0.75), (True, 0.75), (True, 0.5)):
            mapper.plan_costs(optimistic=optimistic, margin=1.0, squeeze=squeeze)
            row, column = mapper.to_window_cell(self._goal)
            if (
                np.hypot(*(mapper.get_cell_center((row, column)) - self._goal)[[0, 2]])
                > self.config.near
            ):
                continue  # the map does not reach that far
            reach = int(self.config.near / body.cell_size)
            low = (max(0, row - reach), max(0, column - reach))
            part = mapper.travel_costs[low[0] : row + reach + 1, low[1] : column + reach + 1]
            if not np.isfinite(part).any():
                continue
            gap = np.hypot(*(np.indices(part.shape).T + low - (row, column)).T)
            merit = np.where(np.isfinite(part), gap, np.inf)
            return mapper.set_best_path(merit, low)
        return False

    def _try_out(self) -> list[int]:
        """Turn aside and take a few steps, on the side with more room (ETPNav's try-out)."""
        mapper, body = self.mapper, self.config.body
        best, best_room = 0.0, -1.0
        for angle in (np.pi / 6, -np.pi / 6, np.pi / 3, -np.pi / 3, np.pi / 2, -np.pi / 2):
            yaw = mapper.yaw + angle
            step = 2 * body.forward * np.array([-np.sin(yaw), 0.0, -np.cos(yaw)])
            row, column = mapper.to_window_cell(mapper.position + step)
            room = float(mapper.grid.compute_clearance()[mapper.window][row, column])
            if room > best_room + 0.02:
                best, best_room = angle, room
        turns = round(abs(best) / np.deg2rad(body.turn))
        return [LEFT if best > 0 else RIGHT] * turns + [FORWARD] * self.config.try_steps


class ContinuousAgent:
    """One body with its graph policy.

    Attributes:
        walker: map, graph and motion.
        decisions: how often the graph policy was asked in this episode.
    """

    def __init__(self, policy: GraphPolicy, config: ContinuousConfig) -> None:
        self.policy, self.config = policy, config
        self.walker = PlaceWalker(config)
        self.decisions = 0
        self._stop = False

    def act(self, seen: Mapping[str, Any], first: bool) -> int:
        """Take in one environment's observation and return a low-level action."""
        walker = self.walker
        if first:
            walker.reset()
            self.decisions, self._stop = 0, False
        yaw = -float(seen["heading"])
        pose = np.array([*np.asarray(seen["position"], np.float64), yaw])
        walker.mapper.observe(np.asarray(seen["depth"], np.float32), pose)
        for _ in range(8):  # a place underfoot takes no step to get to
            action = None if first else walker.act()
            if action is not None:
                return action
            walker.places.visit_place(walker.mapper, walker.target)
            if not self._decide(seen, first and self.decisions == 0):
                walker.mapper.clear_last_action()
                return STOP
            first = False
        return walker.mapper.turn_left()

    def _decide(self, seen: Mapping[str, Any], first: bool) -> bool:
        """Ask the graph policy where to go; False for a stop."""
        observation = build_graph_observation(seen, self.walker.places, self.config)
        batch = {k: _stacked(v) for k, v in observation.items()}
        self.decisions += 1
        choice = np.asarray(self.policy.act(batch, np.array([first])))[0]
        move = int(choice[0]) if choice.ndim else int(choice)
        if move == 0:
            return False
        self.walker.set_target(int(observation["candidates"][move - 1]))
        return True


class ContinuousPolicy:
    """Drives every environment of a batch with a graph policy of its own.

    Args:
        make: builds the graph policy of one environment; those of a batch may share a network.
        config: motion, map and observation.

    Attributes:
        agents: one per environment.
    """

    def __init__(
        self, make: Callable[[], GraphPolicy], config: ContinuousConfig | None = None
    ) -> None:
        self.config = config or ContinuousConfig()
        self._make = make
        self.agents: list[ContinuousAgent] = []

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one low-level action per environment, (N,); see `Policy`."""
        columns = require_observations(observations, *SENSORS)
        while len(self.agents) < len(first):
            self.agents.append(ContinuousAgent(self._make(), self.config))
        actions = np.zeros(len(first), np.int64)
        for row, agent in enumerate(self.agents[: len(first)]):
            seen = {name: values[row] for name, values in zip(SENSORS, columns, strict=True)}
            actions[row] = agent.act(seen, bool(first[row]))
        return actions

    def count_decisions(self) -> list[int]:
        """Return how often each environment's graph policy was asked in its episode."""
        return [agent.decisions for agent in self.agents]


def build_graph_observation(
    seen: Mapping[str, Any], places: LiveGraph, config: ContinuousConfig
) -> dict[str, Any]:
    """Describe where the agent stands as the graph task does, see `embodied.tasks.vln.batch`.

    Args:
        seen: one environment's sensors.
        places: the graph; its current place is where the agent stands.
        config: sizes.
    """
    names = tuple(seen["instance_names"])
    percept = build_panorama_from_images(
        np.asarray(seen["rgb"]),
        np.asarray(seen["depth"]),
        np.asarray(seen["semantic"], np.int64),
        np.asarray(seen["instance"]),
        names,
        len(SOS_CATEGORIES),
        reach=config.reach,
        min_area=config.min_area,
        listed=np.array([bool(name) for name in names]),
    )
    near = places.list_candidates()[: config.max_candidates]
    points = np.array([places.positions[p] for p in near]).reshape(-1, 3)
    observation = {
        "instruction": str(seen["instruction"]),
        "place": np.int64(places.current),
        "position": np.asarray(seen["position"], np.float32),
        "heading": np.float32(seen["heading"]),
        "candidates": _padded(np.array(near, np.int64), config.max_candidates, -1),
        "candidate_positions": _padded(points.astype(np.float32), config.max_candidates, 0),
        **_objects(percept, config.max_objects),
    }
    if config.canvas:
        observation["canvas"] = percept.canvas
    return observation


def _objects(percept: PanoramaObservation, most: int) -> dict[str, Any]:
    """The percept in arrays of fixed size; of too many objects the largest are kept."""
    kept = np.arange(len(percept.objects))
    if len(kept) > most:
        area = percept.boxes[:, 2] * percept.boxes[:, 3]
        kept = np.sort(np.argsort(-area, kind="stable")[:most])
    features = percept.features[kept].reshape(-1, len(OBJECT_FEATURES))
    return {
        "views": percept.views,
        "objects": _padded(percept.objects[kept], most, -1),
        "object_names": tuple(percept.names[i] for i in kept),
        "object_categories": _padded(percept.categories[kept], most, -1),
        "object_boxes": _padded(percept.boxes[kept], most, 0),
        "object_features": _padded(features, most, 0),
    }


def _padded(values: NDArray[Any], size: int, fill: int) -> NDArray[Any]:
    array = np.full((size, *values.shape[1:]), fill, values.dtype)
    array[: len(values)] = values
    return array


def _stacked(value: Any) -> Any:
    """Return one environment's value as a batch of one: strings become tuples."""
    return (value,) if isinstance(value, (str, tuple)) else np.asarray(value)[None]
