"""One workcell: a world with a table, an arm and a task, controlled 20 times a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.simulators.bullet import BodyBox, BulletWorld, Rig, SimulationError, TableArm
from embodied.simulators.bullet.world import TIMESTEP
from embodied.tasks.tabletop.config import RATE, SafetyLimits, TabletopConfig
from embodied.tasks.tabletop.cubes import PickTask, ReachTask
from embodied.tasks.tabletop.disturbances import apply_disturbance
from embodied.tasks.tabletop.drawer import DrawerTask
from embodied.tasks.tabletop.insertion import PegInsertTask, PlugInTask
from embodied.tasks.tabletop.placing import PlaceTrayTask, PushTask, StackTask
from embodied.tasks.tabletop.randomisation import Layout, LayoutSampler
from embodied.tasks.tabletop.task import Hand, Task, TaskResult, make_pose

Array = NDArray[np.float64]

TASK_CLASSES: Mapping[str, type[Task]] = MappingProxyType(
    {
        "reach": ReachTask,
        "push": PushTask,
        "pick": PickTask,
        "stack": StackTask,
        "place_tray": PlaceTrayTask,
        "peg_insert": PegInsertTask,
        "drawer": DrawerTask,
        "plug_in": PlugInTask,
    }
)

VIOLATIONS = ("force", "workspace", "velocity")
"""What `info["violations"]` counts, in control steps of the episode."""

_FLOOR = -0.75  # of the room, where what falls off the table comes to rest [m]
_PIECES = 4  # of a control step: motors get a target, and forces are looked at, once in each
_SETTLE = 24  # physics steps after a reset, for contacts to form


@dataclass(frozen=True)
class WorkcellSnapshot:
    """A workcell at one moment; restores in any workcell of the same task and robot.

    Attributes:
        kind: robot, task and whether there are distractors: what the world is built of.
        layout: of the episode.
        world: PyBullet's state.
        target: (4, 4) pose the tool is sent to.
        command: (J,) joint angles the motors are sent to [rad].
        opening: the gripper is sent to.
        steps: control steps so far.
        violations: counts so far, in the order of `VIOLATIONS`.
        delayed_actions: actions that have not come through yet, oldest first.
    """

    kind: tuple[str, str, bool]
    layout: Layout
    world: bytes
    target: Array
    command: Array
    opening: float
    steps: int
    violations: tuple[int, ...]
    delayed_actions: tuple[Array, ...] = ()


class Workcell:
    """The state of one environment.

    Args:
        config: of the task.
        rig: the arm.
        visuals: keep what is drawn in PyBullet's world (see `BulletWorld`).

    Attributes:
        world, arm, task, layout: see there; `layout` is None before the first episode.
        positions, velocities: (J,) of the joints [rad], [rad/s].
        hand: the tool as it is now.
        result: how the episode stands.
        target: (4, 4) pose the tool is sent to.
        command: (J,) joint angles the motors are sent to [rad].
        opening: the gripper is sent to, in [0, 1].
        steps: control steps of the episode.
        violations: (3,) counts, in the order of `VIOLATIONS`.
        delayed_actions: actions that have not come through yet, oldest first.
    """

    def __init__(self, config: TabletopConfig, rig: Rig, visuals: bool = False) -> None:
        self.config, self.rig = config, rig
        self.world = BulletWorld(visuals)
        self._build()
        self.max_steps = config.max_steps or self.task.max_steps
        self._low, self._high = working_space(rig, config.safety)
        self.layout: Layout | None = None
        self.violations = np.zeros(len(VIOLATIONS), np.int64)
        self.steps = 0
        self.delayed_actions: tuple[Array, ...] = ()
        self._aim(rig.ready_joints, 1.0)
        self.positions, self.velocities, self._opened = self.arm.read_joints()
        self.hand = Hand(rig.compute_tcp_poses(self.positions), self._opened, 0.0)
        self.result = TaskResult(False, 0.0)

    def _build(self) -> None:
        """Fill the empty world."""
        self.table = self.build_table()
        self.arm = TableArm(self.world, self.rig)
        self.task = self.build_task()
        self._clear()
        self.arm.reset_joints(self.rig.ready_joints)
        self._fresh = self.world.save_snapshot()

    def build_table(self) -> int:
        """Put what the arm stands on into the world and return its number."""
        scale, (x, y) = self.rig.spec.scale, self.rig.spec.center
        size = 0.75 * scale
        table = self.world.add_body(
            (BodyBox((size, size, 0.02), color=(0.62, 0.52, 0.40)),),
            position=(x, y, -0.02),
            friction=0.8,
        )
        self.world.add_body((BodyBox((6.0, 6.0, 0.1)),), position=(x, y, _FLOOR - 0.1))
        return table

    def build_task(self) -> Task:
        """Put what the task is about into the world."""
        made = TASK_CLASSES[self.config.task]
        return made(self.world, self.arm, self.rig, self.config.level)

    @property
    def kind(self) -> tuple[str, str, bool]:
        """What the world is built of; see `WorkcellSnapshot`."""
        return self.config.robot, self.config.task, self.config.level >= 2

    @property
    def bodies(self) -> dict[str, int]:
        """Numbers of everything that is seen, by name."""
        return {"table": self.table, "robot": self.arm.body, **self.task.bodies}

    def draw_layout(self, seed: int) -> Layout:
        """Draw the episode of a seed."""
        spec, wrong = self.rig.spec, self.config.disturbance
        layout = self.task.draw_layout(
            LayoutSampler(seed, self.config.level, spec.center, spec.scale)
        )
        return apply_disturbance(layout, wrong, self.task.subject, spec.scale)

    def begin_episode(self, layout: Layout) -> None:
        """Start an episode."""
        self._lay(layout)
        self._aim(self.rig.ready_joints + layout.joint_offsets, 1.0)
        self.arm.reset_joints(self.command)
        self.world.step(_SETTLE)
        self.steps = 0
        self.delayed_actions = (self._rest(),) * layout.delay_steps
        self.violations[:] = 0
        self._read()

    def save_state(self) -> WorkcellSnapshot:
        """Return the state of the episode."""
        if self.layout is None:
            raise ConfigError("there is no episode to save: reset the environment first")
        return WorkcellSnapshot(
            self.kind,
            self.layout,
            self.world.export_state(),
            self.target.copy(),
            self.command.copy(),
            self.opening,
            self.steps,
            tuple(self.violations.tolist()),
            self.delayed_actions,
        )

    def restore_state(self, state: WorkcellSnapshot) -> None:
        """Return to a state: the same actions lead to the same continuation.

        Raises:
            SimulationError: a state of another task or robot.
        """
        if state.kind != self.kind:
            raise SimulationError(
                f"a state of (robot, task, distractors) {state.kind} does not fit {self.kind}: "
                "restore it in an environment made alike"
            )
        self._lay(state.layout)
        self.world.import_state(state.world)
        self.target, self.command = state.target.copy(), state.command.copy()
        self.opening, self.steps, self.delayed_actions = (
            state.opening,
            state.steps,
            state.delayed_actions,
        )
        self.violations[:] = state.violations
        self._read()

    def delay_action(self, action: Array) -> Array:
        """Take an action (A,) and return the one that comes through now."""
        arrived, *late = (*self.delayed_actions, action)
        self.delayed_actions = tuple(late)
        return arrived

    def set_target(self, target: Array) -> None:
        """Aim the tool at a pose (4, 4), held back to the working space and near where it is."""
        self.check_workspace(target[:3, 3])
        self.target[:3, :3] = target[:3, :3]
        self.target[:3, 3] = np.clip(target[:3, 3], self._low, self._high)

    def check_workspace(self, position: Array) -> None:
        """Count a command that leads the tool to a place (3,) out of the working space."""
        outside = bool(((position < self._low) | (position > self._high)).any())
        self.violations[VIOLATIONS.index("workspace")] += outside

    def move_joints(self, command: Array, opening: float) -> None:
        """Let a control step pass while the joints go to angles (J,) [rad]; then call `sense`.

        Raises:
            SimulationError: physics has diverged.
        """
        limit = self.rig.velocity * self.config.safety.velocity / RATE
        step = command - self.command
        excess = float(np.max(np.abs(step) / limit))
        if excess > 1 + 1e-6:
            self.violations[VIOLATIONS.index("velocity")] += 1
            step = step / excess
        begun, self.opening = self.command, opening
        self.command = np.clip(begun + step, self.rig.lower, self.rig.upper)
        pieces = round(1 / RATE / TIMESTEP) // _PIECES
        most = 0.0
        for piece in range(1, _PIECES + 1):
            share = piece / _PIECES
            self.arm.set_joint_targets(begun + share * (self.command - begun), opening)
            self.world.step(pieces)
            most = max(most, self.arm.measure_contact_force())
        self.violations[VIOLATIONS.index("force")] += most > self.config.safety.force
        self.steps += 1
        self.positions, self.velocities, self._opened = self.arm.read_joints()

    def update_result(self, tip: Array) -> None:
        """Take over where the tool is, (4, 4), after `move`, and judge."""
        self.hand = Hand(tip, self._opened, float(np.abs(self.velocities).max()))
        self._jolt()
        self.result = self.task.evaluate_task(self.hand)

    def _jolt(self) -> None:
        """Shove aside what the episode wants shoved, when the tool has come near."""
        layout, task, hand = self.layout, self.task, self.hand.position
        if layout is None or layout.jolt is None or not self.steps:
            return
        name, way, near = layout.jolt.name, layout.jolt.displacement, layout.jolt.trigger_distance
        if np.linalg.norm(hand - task.get_approach_point()) > near or task.is_held(name):
            return
        away = (task.get_position(name)[:2] - hand[:2]) @ way >= 0
        task.displace_body(name, way if away else -way)
        self.layout = replace(layout, poses={**layout.poses, "goal": task.goal}, jolt=None)

    def _rest(self) -> Array:
        """Return the action (A,) that changes nothing."""
        lower, upper = self.rig.lower, self.rig.upper
        if self.config.control == "joint_position":
            still = 2 * (self.command - lower) / (upper - lower) - 1
        else:
            still = np.zeros(6 if self.config.control == "ee_delta" else len(lower))
        return np.append(still, 2 * self.opening - 1)

    def _clear(self) -> None:
        """Take everything off the table, so that no contact outlives its episode."""
        for number, body in enumerate(self.task.bodies.values()):
            self.world.set_pose(body, make_pose((5.0 + number, 5.0, 5.0)))
        self.world.detect_contacts()

    def _lay(self, layout: Layout) -> None:
        if self.world.diverged:
            self.world.clear()
            self._build()
        self._clear()
        self.world.restore_snapshot(self._fresh)
        self.layout = layout
        self.task.apply_layout(layout)

    def _aim(self, command: Array, opening: float) -> None:
        self.command, self.opening = np.array(command), opening
        self.target = self.rig.compute_tcp_poses(self.command)

    def _read(self) -> None:
        self.positions, self.velocities, self._opened = self.arm.read_joints()
        self.update_result(self.rig.compute_tcp_poses(self.positions))


def working_space(rig: Rig, safety: SafetyLimits) -> tuple[Array, Array]:
    """Return the lowest and highest corner (3,) of where the tool may be sent [m]."""
    scale = rig.spec.scale
    middle = np.array([*rig.spec.center, 0.0])
    margin = safety.margin * scale
    low = middle - np.array([0.2 * scale + margin, 0.25 * scale + margin, -0.002])
    high = middle + np.array([0.2 * scale + margin, 0.25 * scale + margin, 0.4 * scale + margin])
    return low, high
