"""Search, drive up, dock, pick up: two policies and the hand-over between them.

The navigation policy explores until the wanted thing has been seen; from then on the memory of
where it was seen leads. The base is put where the thing is in the middle of the arm's working
space, and only there the arm's policy takes over. Every change of phase is kept with its reason:

    search -> approach           seen
    approach -> dock             arrived beside it
    approach, dock -> search     it is not where it was, or cannot be got there
    dock -> manipulate           in the arm's working space
    dock -> approach             too near, or touching something: try from elsewhere
    manipulate -> approach       the attempt took too long: fold the arm, look, try again
    search, manipulate -> failed nothing left to look at, or attempts used up

The environment ends the episode when the pick has succeeded: the last phase is then `manipulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.policies.base import Policy, require_observations
from embodied.policies.mapping.mapper import Mapper, compute_camera_pose
from embodied.policies.mapping.mobile_pick_config import MobilePickAgentConfig
from embodied.policies.mapping.object_memory import ObjectMemory, ObjectSighting
from embodied.types import (
    FORWARD,
    STOP,
    ArmActions,
    DiscreteActions,
    MobilePickActions,
    Observations,
)

SEARCH, APPROACH, DOCK, MANIPULATE, FAILED = "search", "approach", "dock", "manipulate", "failed"
PHASES = (SEARCH, APPROACH, DOCK, MANIPULATE, FAILED)

DRIVE, ARM = 0, 1
"""Values of the action "mode"."""

OBSERVATION_KEYS = ("depth", "semantic", "pose", "goal", "mode", "state", "instruction")

_WHOLE = 0.98  # share of a step, below which something was touched
_MARGIN = 1.0  # around what is planned over [m]
_ELSEWHERE = 0.25  # a place to dock at is another one from here on [m]

Array = NDArray[np.float64]

SearchPolicy = Policy[Observations, DiscreteActions]
ArmPolicy = Policy[Observations, ArmActions]


@dataclass(frozen=True)
class PhaseTransition:
    """One change of phase.

    Attributes:
        step: of the episode, 0 is the first.
        before, after: phases.
        reason: why.
    """

    step: int
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class MobilePickCommand:
    """What to do in one step; see the action of `embodied/MobilePick-v0`."""

    mode: int
    base: int = STOP
    arm: NDArray[np.float32] | None = None


class MobilePickAgent:
    """The agent of one episode at a time.

    Args:
        config: how.
        search: explores; gets the observations, and is told when to begin anew.
        arm: picks up; likewise, from the hand-over on.

    Attributes:
        phase: one of `PHASES`.
        trace: all changes of phase.
        memory: where the thing was seen.
        mapper: map, pose and path of the base.
        docked: (2,) where the thing was believed to be at the last hand-over, from the middle of
            the arm's working space, ahead and to the left [m].
    """

    def __init__(self, config: MobilePickAgentConfig, search: SearchPolicy, arm: ArmPolicy) -> None:
        self.config, self._search, self._arm = config, search, arm
        self.memory = ObjectMemory(config.memory)
        self.mapper = Mapper(config.body)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.memory.reset()
        self.mapper.reset()
        self.phase = SEARCH
        self.trace: list[PhaseTransition] = []
        self.steps = -1
        self.docked = np.full(2, np.nan)
        self._fresh = True  # the policy of this phase begins
        self._searches, self._attempts = 1, 0
        self._worked = 0  # steps of this attempt
        self._tried = 0  # steps of driving up to one place
        self._age = self.config.replan_interval
        self._stepped = self._touches = False  # the base went ahead; and less far than it should
        self._left: list[Array] = []  # places from which it could not be picked up

    def act(self, seen: Mapping[str, NDArray[Any]]) -> MobilePickCommand:
        """Choose what to do.

        Args:
            seen: observations of a batch of one.
        """
        self.steps += 1
        if int(seen["mode"][0]) == DRIVE:
            self._look(seen)
        phases: dict[str, Callable[[Mapping[str, NDArray[Any]]], MobilePickCommand | None]] = {
            SEARCH: self._searching,
            APPROACH: self._approaching,
            DOCK: self._docking,
            MANIPULATE: self._manipulating,
        }
        command = None
        # A phase that hands over decides nothing itself; no chain of them comes by twice.
        for _ in range(2 * len(PHASES)):
            if self.phase == FAILED or command is not None:
                break
            command = phases[self.phase](seen)
        chosen = command or MobilePickCommand(DRIVE, STOP)
        self._stepped = (chosen.mode, chosen.base) == (DRIVE, FORWARD)
        return chosen

    # -- phases ---

    def _searching(self, seen: Mapping[str, NDArray[Any]]) -> MobilePickCommand | None:
        place = self._wanted()
        if place is not None:
            x, y = self._from_arm(place.position)[:2]
            self._go(APPROACH, f"seen {x:.1f} m ahead, {y:.1f} m left in {place.pixels} pixels")
            return None
        first = np.array([self._fresh])
        self._fresh = False
        action = int(self._search.act(seen, first)[0])
        if action != STOP:
            return MobilePickCommand(DRIVE, self.mapper.force_action(action))
        if self._searches < self.config.searches:
            self._searches += 1
            self._fresh = True
            self._go(SEARCH, "nothing left to look at: search anew")
            return None
        reason = "never found" if not self.memory.sightings else "found nowhere within reach"
        self._go(FAILED, reason)
        return None

    def _approaching(self, seen: Mapping[str, NDArray[Any]]) -> MobilePickCommand | None:
        place = self._wanted()
        if place is None:
            self._go(SEARCH, "not where it was seen any more")
            return None
        self._tried += 1
        if self._tried > self.config.patience:
            self._give_up(place, f"no way to it in {self.config.patience} steps")
            return None
        self._age += 1
        if self._age > self.config.replan_interval or self.mapper.bumped:
            self._age = 0
            found = self._plan(place)
            if not found and self._left:
                self._left = []  # nowhere else: once more from where it did not work out
                found = self._plan(place)
            if not found:
                self._give_up(place, "no place beside it that the base can reach")
                return None
        if self.mapper.get_remaining_length() <= 0.6 * self.config.body.forward:
            self._go(DOCK, "arrived beside it")
            return None
        return MobilePickCommand(DRIVE, self.mapper.follow_path())

    def _docking(self, seen: Mapping[str, NDArray[Any]]) -> MobilePickCommand | None:
        config, place = self.config, self._wanted()
        if place is None:
            self._go(SEARCH, "not where it was seen any more")
            return None
        self._tried += 1
        if place.missed:  # look again, there is no action to wait with
            return MobilePickCommand(DRIVE, self.mapper.turn_left())
        x, y, _ = self._from_arm(place.position)
        turn = self.mapper.turn_to(place.position)
        if turn is not None:
            return MobilePickCommand(DRIVE, turn)
        inside = abs(x - config.reach) <= config.ahead and abs(y) <= config.aside
        if inside and not self._touches:
            self.docked = np.array([x - config.reach, y])
            self._go(MANIPULATE, f"{x:.3f} m ahead, {y:.3f} m left: within reach")
            return None
        if x > config.reach and not self._touches and self._tried <= config.patience:
            return MobilePickCommand(DRIVE, self.mapper.force_action(FORWARD))
        if self._tried > config.patience:
            self._give_up(place, f"not docked in {config.patience} steps")
            return None
        self._left.append(self.mapper.position)
        why = "the base touches something" if self._touches else "not to be put right here"
        self._go(APPROACH, f"{x:.2f} m ahead, {y:.2f} m left, {why}: try from elsewhere")
        return None

    def _manipulating(self, seen: Mapping[str, NDArray[Any]]) -> MobilePickCommand | None:
        config = self.config
        if int(seen["mode"][0]) == DRIVE:
            if self._worked:  # the arm is folded again
                self._tried, self._worked = 0, 0
                self._left.append(self.mapper.position)
                self._go(APPROACH, f"attempt {self._attempts} failed: try again")
                return None
            self._attempts += 1
            self._fresh = True
            self.mapper.clear_last_action()
            return MobilePickCommand(ARM)
        if self._worked >= config.attempt_steps:
            if self._attempts >= config.attempts:
                self._go(FAILED, f"not picked up in {self._attempts} attempts")
                return None
            return MobilePickCommand(DRIVE)
        first = np.array([self._fresh])
        self._fresh = False
        self._worked += 1
        return MobilePickCommand(ARM, arm=np.asarray(self._arm.act(seen, first)[0], np.float32))

    # -- parts ---

    def _go(self, phase: str, reason: str) -> None:
        self.trace.append(PhaseTransition(self.steps, self.phase, phase, reason))
        if phase == APPROACH:
            self._age = self.config.replan_interval
        if phase == SEARCH:
            self._tried, self._left = 0, []
        self.phase = phase

    def _give_up(self, place: ObjectSighting, reason: str) -> None:
        place.ruled_out = True
        self._go(SEARCH, reason)

    def _look(self, seen: Mapping[str, NDArray[Any]]) -> None:
        """Take in what the base's camera shows."""
        mapper, body = self.mapper, self.config.body
        depth, labels = np.asarray(seen["depth"][0]), np.asarray(seen["semantic"][0])
        before = mapper.position
        mapper.observe(depth, seen["pose"][0])
        moved = float(np.linalg.norm(mapper.position - before))
        self._touches = self._stepped and moved < _WHOLE * body.forward
        pose = compute_camera_pose(body, mapper.position, mapper.yaw)
        self.memory.add_view(labels == int(seen["goal"][0]), depth, pose, body.hfov)

    def _wanted(self) -> ObjectSighting | None:
        """Return the place to go for; one that is too high or too low is ruled out."""
        while (place := self.memory.find_best_sighting()) is not None:
            height = float(self._from_arm(place.position)[2])
            if self.config.heights[0] <= height <= self.config.heights[1]:
                return place
            place.ruled_out = True
        return None

    def _from_arm(self, point: Array) -> Array:
        """Return a point (3,) in the arm's base frame: ahead, left, up [m]."""
        dx, dy, dz = point - self.mapper.position
        sin, cos = np.sin(self.mapper.yaw), np.cos(self.mapper.yaw)
        return np.array([-sin * dx - cos * dz, -cos * dx + sin * dz, dy - self.config.mount])

    def _plan(self, place: ObjectSighting) -> bool:
        """Plan to the best place to dock that the map knows, else over what it does not know."""
        mapper, position = self.mapper, place.position
        mapper.plan_costs()
        if self._head_for(position):
            return True
        low = np.minimum(position, mapper.position) - _MARGIN
        high = np.maximum(position, mapper.position) + _MARGIN
        mapper.grid.grow_to_cover((low[0], low[2]), (high[0], high[2]))
        gap = float(np.abs(position - mapper.position).max())
        mapper.plan_costs(optimistic=True, margin=gap + _MARGIN)
        return self._head_for(position)

    def _head_for(self, position: Array) -> bool:
        """Set the path to the best place to dock; False if the plan reaches none."""
        mapper, config = self.mapper, self.config
        height, width = mapper.travel_costs.shape
        rows, columns = np.ogrid[:height, :width]

        def gap(point: Array) -> Array:
            row, column = mapper.to_window_cell(point)
            return np.hypot(rows - row, columns - column) * mapper.grid.cell_size

        off = np.abs(gap(position) - config.reach)
        merit = np.where(off <= config.ahead, mapper.travel_costs + 10.0 * off, np.inf)
        for left in self._left:
            merit = np.where(gap(left) < _ELSEWHERE, np.inf, merit)
        return mapper.set_best_path(merit)


class MobilePickPolicy:
    """Plays every environment of a batch with an agent of its own.

    Args:
        config: how.
        make_search: builds a navigation policy.
        make_arm: builds a policy of the arm.

    Attributes:
        agents: one per environment.
    """

    def __init__(
        self,
        config: MobilePickAgentConfig,
        make_search: Callable[[], SearchPolicy],
        make_arm: Callable[[], ArmPolicy],
    ) -> None:
        self.config = config
        self._make_search, self._make_arm = make_search, make_arm
        self.agents = [self._make()]  # at once: what cannot be built is said before an episode

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> MobilePickActions:
        """Choose one action per environment.

        Returns:
            "mode" (N,), "base" (N,) and "arm" (N, A), as the environments take them.
        """
        require_observations(observations, *OBSERVATION_KEYS)
        while len(self.agents) < len(first):
            self.agents.append(self._make())
        commands = []
        for row, agent in enumerate(self.agents[: len(first)]):
            if first[row]:
                agent.reset()
            commands.append(agent.act({k: v[row : row + 1] for k, v in observations.items()}))
        idle = np.zeros(7, np.float32)
        return {
            "mode": np.array([command.mode for command in commands]),
            "base": np.array([command.base for command in commands]),
            "arm": np.stack([idle if c.arm is None else c.arm for c in commands]),
        }

    def _make(self) -> MobilePickAgent:
        return MobilePickAgent(self.config, self._make_search(), self._make_arm())


class ExpertArmPolicy:
    """Does with the arm what the task's expert would; needs tasks made with `expert=True`."""

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> ArmActions:
        """Choose one action per arm; see `Policy`."""
        (action,) = require_observations(observations, "expert_action")
        return np.asarray(action, np.float32)
