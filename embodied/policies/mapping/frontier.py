"""Explore with a map and nothing else: go where the known floor ends.

Frontier exploration after Yamauchi (CIRA 1997). The next frontier is the nearest, the largest, or
the one that promises most unknown area for its cost (the rate a next-best-view planner maximises,
Gonzalez-Banos and Latombe, IJRR 2002). A target is kept until it is seen, gets unreachable or a
clearly better one appears, so the agent does not dither. When no frontier is left it goes to look
at floor that its camera passed over so far: a level one does not see the floor at the agent's feet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.base import PolicyTask, act_per_environment, require_observations
from embodied.policies.mapping.mapper import BodyConfig, Mapper
from embodied.policies.mapping.stall import StallCounter
from embodied.types import STOP, DiscreteActions, Observations
from maps.grid.frontiers import Frontier, FrontierTracker, extract_frontiers

EXPLORERS = ("nearest", "largest", "information")


@dataclass(frozen=True)
class FrontierConfig:
    """How to explore.

    Attributes:
        explorer: "nearest", "largest" or "information".
        body: the agent and its camera.
        min_information: frontiers that promise less unknown area are left alone [m^2].
        min_cells: shorter frontiers are noise.
        longest: wider frontiers are judged in pieces: one may enclose all that is known [m].
        sight: how far from reachable floor a frontier may lie and still be looked at [m].
        switch: a new target must score this many times better than the present one.
        replan_interval: steps between looks at all frontiers.
        patience: steps without getting nearer after which a target is given up.
    """

    explorer: str = "information"
    body: BodyConfig = field(default_factory=BodyConfig)
    min_information: float = 0.15
    min_cells: int = 4
    longest: float = 3.0
    sight: float = 0.6
    switch: float = 1.4
    replan_interval: int = 4
    patience: int = 16

    def __post_init__(self) -> None:
        if self.explorer not in EXPLORERS:
            raise ConfigError(
                f"unknown explorer '{self.explorer}': {suggest_nearest(self.explorer, EXPLORERS)}"
            )
        if self.replan_interval < 1 or self.patience < 1 or self.switch < 1:
            raise ConfigError("replan and patience must be at least 1, switch at least 1.0")


class FrontierExplorer:
    """The exploring agent of one episode.

    Attributes:
        mapper: its map, pose and path.
        frontiers: as of the last look, with identities.
        target: the frontier it is heading for, or None.
        finished: whether it has run out of frontiers.
    """

    def __init__(self, config: FrontierConfig) -> None:
        self.config = config
        self.mapper = Mapper(config.body)
        self._tracker = FrontierTracker()
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        body = self.config.body
        self.mapper.reset()
        self._tracker.reset()
        self.frontiers: list[Frontier] = []
        self.target: Frontier | None = None
        self.finished = False
        self._spins = int(np.ceil(max(0.0, 360 - body.hfov) / body.turn))
        self._age = 0
        self._face = np.zeros(3)
        self._stall = StallCounter()
        self._given_up: list[tuple[NDArray[np.float64], float]] = []
        self._least = self.config.min_information
        self._closing = False
        self._vain, self._known = 0, 0

    def observe(self, depth: NDArray[np.float32], pose: NDArray[np.float32]) -> None:
        """Take in one observation."""
        self.mapper.observe(depth, pose)

    def retry_frontiers(self) -> None:
        """Take up again the frontiers that were given up or promised little."""
        self._given_up = []
        self._least = 0.2 * self._least
        self._closing = False
        self.finished = False

    def act(self) -> int:
        """Choose the next action."""
        if self._spins > 0:
            self._spins -= 1
            return self.mapper.turn_left()
        for _ in range(8):
            if self._stale():
                self._look()
            if self.target is None:
                self.finished = True
                self.mapper.clear_last_action()
                return STOP
            action = self._approach()
            if action is not None:
                self._age += 1
                return action
            self._give_up()
        return self.mapper.turn_left()

    # -- choosing ---

    def _stale(self) -> bool:
        if self.target is None or self._age >= self.config.replan_interval or self.mapper.bumped:
            return True
        spot = np.floor(self._face[[2, 0]] / self.mapper.grid.cell_size).astype(int)
        return not self._borders(spot[None])[0] or self._borders(self.target.cells).mean() < 0.3

    def _borders(self, cells: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(K,) whether lattice cells (K, 2) still have an unknown neighbour."""
        grid = self.mapper.grid
        around = cells[:, None] - np.array(grid.first)
        around = around + np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])
        inside = grid.contains(around)
        around = np.where(inside[..., None], around, 0)
        unknown = self._unknown()[around[..., 0], around[..., 1]] | ~inside
        return np.asarray(unknown.any(axis=1))

    def _unknown(self) -> NDArray[np.bool_]:
        """(H, W) cells to look at: the unexplored ones, at last those rays only passed over."""
        grid = self.mapper.grid
        # no evidence for or against an obstacle in spite of being explored
        return grid.explored & (grid.log_odds == 0) if self._closing else ~grid.explored

    def _look(self) -> None:
        """Find all frontiers and choose one; without any left, floor not looked at from afar."""
        if not self._try() and not self._closing:
            self._closing = True
            self._try()

    def _try(self) -> bool:
        """Find frontiers and choose one, squeezing through narrow places if need be."""
        for squeeze in (1.0, 0.75, 0.5):
            self.mapper.plan_costs(squeeze=squeeze)
            if squeeze == 1.0:
                self._find()
            if self._choose():
                return True
        return False

    def _find(self) -> None:
        mapper, config = self.mapper, self.config
        grid = mapper.grid
        rows, columns = mapper.window
        unknown = self._unknown()[rows, columns]
        found = extract_frontiers(
            grid.free[rows, columns] & ~unknown,
            unknown,
            grid.cell_size,
            first=mapper.window_origin,
            min_cells=config.min_cells,
            longest=config.longest,
        )
        self.frontiers = self._tracker.update([f for f in found if f.unknown_area >= self._least])
        self._age = 0

    def _choose(self) -> bool:
        """Pick the best frontier that can be reached; False if there is none."""
        best, best_score, best_spot, kept = None, 0.0, (0, 0), None
        reach = self._reach()
        for frontier in self.frontiers:
            distance, spot = self._spot(frontier, reach)
            if not np.isfinite(distance):
                continue
            score = self._score(frontier, distance)
            if self.target is not None and frontier.identity == self.target.identity:
                kept, score = frontier, score * self.config.switch
            if score > best_score:
                best, best_score, best_spot = frontier, score, spot
        if best is None or kept is None or best.identity != kept.identity:
            self._stall.reset()
        self.target = best
        if best is None:
            return False
        self._head_for(best_spot)
        return True

    def _spot(
        self, frontier: Frontier, reach: NDArray[np.float32]
    ) -> tuple[float, tuple[int, int]]:
        """The frontier's cell (in the planning window) to go for and what the way there costs."""
        cells = frontier.cells - np.array(self.mapper.window_origin)
        cost = reach[cells[:, 0], cells[:, 1]]
        for point, radius in self._given_up:
            gap = np.hypot(*(cells - np.array(self.mapper.to_window_cell(point))).T)
            cost = np.where(gap * self.config.body.cell_size < radius, np.inf, cost)
        off = np.hypot(*(cells - np.array(self._local(frontier.target))).T)
        best = int(np.argmin(cost + 0.3 * self.config.body.cell_size * off))
        return float(cost[best]), (int(cells[best, 0]), int(cells[best, 1]))

    def _score(self, frontier: Frontier, distance: float) -> float:
        explorer = self.config.explorer
        if explorer == "largest":
            return frontier.size
        turns = abs(self.mapper.compute_bearing((frontier.target[0], 0.0, frontier.target[1])))
        cost = 1.0 + distance + 0.4 * turns
        if explorer == "nearest":
            return 1.0 / cost
        return (frontier.unknown_area + 0.5) / cost

    def _reach(self) -> NDArray[np.float32]:
        """The cost field widened by `sight`: a frontier beside reachable floor counts as
        reached.
        """
        field = self.mapper.travel_costs
        width = 2 * int(self.config.sight / self.config.body.cell_size) + 1
        return cv2.erode(field, np.ones((width, width), np.uint8))  # type: ignore[return-value]

    def _local(self, point: tuple[float, float]) -> tuple[int, int]:
        return self.mapper.to_window_cell((point[0], 0.0, point[1]))

    def _head_for(self, spot: tuple[int, int]) -> None:
        """Plan a path to the best reachable cell near a cell of the frontier."""
        field = self.mapper.travel_costs
        row, column = spot
        self._face = self.mapper.get_cell_center(spot)
        reach = int(self.config.sight / self.config.body.cell_size)
        low_row, low_column = max(0, row - reach), max(0, column - reach)
        part = field[low_row : row + reach + 1, low_column : column + reach + 1]
        grid_row, grid_column = np.indices(part.shape)
        gap = np.hypot(grid_row + low_row - row, grid_column + low_column - column)
        # as near the frontier as the body gets, cheaply
        merit = np.where(np.isfinite(part), part + 2.0 * gap * self.config.body.cell_size, np.inf)
        self.mapper.set_best_path(merit, (low_row, low_column))

    # -- going ---

    def _approach(self) -> int | None:
        """Walk to the frontier and face it; None when nothing more can be done there."""
        left = self.mapper.get_remaining_length()
        self._stall.update(left)
        if self._stall.steps > self.config.patience:
            return None
        if left > 0.6 * self.config.body.forward:
            return self.mapper.follow_path()
        return self.mapper.turn_to(self._face)

    def _give_up(self) -> None:
        """Leave the spot it heads for alone from now on, the more of it the harder it tried and
        the more spots before it showed nothing new (the open edge of a scene is all frontier).
        """
        known = int(self.mapper.grid.explored.sum())
        gain = abs(known - self._known) * self.config.body.cell_size**2
        self._vain = 0 if gain > 0.1 else min(self._vain + 1, 3)
        self._known = known
        radius = 0.75 if self._stall.steps > self.config.patience else 0.4
        self._given_up.append((self._face, radius * 2**self._vain))
        self.target = None
        self._stall.reset()


class FrontierPolicy:
    """Explore in every environment of a batch; needs the observations "depth" and "pose".

    Args:
        config: how to explore, or the name of an explorer.
    """

    config_class: ClassVar[type] = FrontierConfig

    def __init__(self, config: FrontierConfig | str = "information") -> None:
        self.config = FrontierConfig(explorer=config) if isinstance(config, str) else config
        self.agents: list[FrontierExplorer] = []

    @classmethod
    def from_config(cls, config: FrontierConfig, task: PolicyTask) -> FrontierPolicy:
        """Build it for a task; it believes to have the task's body and camera."""
        return cls(config if task.body is None else replace(config, body=task.body))

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose one action per agent; see `Policy`."""
        seen = require_observations(observations, "depth", "pose")
        return act_per_environment(self.agents, lambda: FrontierExplorer(self.config), seen, first)
