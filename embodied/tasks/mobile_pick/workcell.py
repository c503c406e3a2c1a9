"""The workcell of an arm on a base: what is around it changes, the rest is the tabletop's.

Physics happens in the arm's frame. When the base has docked, stands, cubes and the triangles of the
house around it are put where they are as seen from there; so the arm's policies see the numbers
that they see at a table. While the base drives, nothing falls and nothing pushes: the cubes lie
where they lay, and the arm is carried.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import Scene
from embodied.simulators.bullet import BodyBox, Rig
from embodied.simulators.raycast import RayCaster
from embodied.tasks.mobile_pick.config import STAND_HALF_WIDTH, STAND_HEIGHT, STOWED_JOINTS
from embodied.tasks.mobile_pick.frames import matrix_to_pose, pose_to_matrix
from embodied.tasks.tabletop.config import RATE, TabletopConfig
from embodied.tasks.tabletop.cubes import PickTask
from embodied.tasks.tabletop.randomisation import Layout
from embodied.tasks.tabletop.task import Hand, TaskResult
from embodied.tasks.tabletop.workcell import Workcell

Array = NDArray[np.float64]

CUBE_BODIES = ("cube", "other")
"""Bodies: the wanted one first."""

HIDDEN_POSE = np.array([0.0, 0.0, -20.0, 0.0, 0.0, 0.0, 1.0])
"""Where the mark is while the base drives."""

NEAR_DISTANCE = 3.0
"""Things within are part of what the arm does [m]."""

_MOUNT = 0.14  # half the edge of the arm's mount [m]
_AROUND = 1.4  # triangles of the house so near can be touched [m]
_UNFOLDING = 0.4  # share of the joints' greatest velocities
_RESTING = 6  # control steps that the arm rests after it


class MobilePickTask(PickTask):
    """Pick the wanted cube up from its stand and hold it at the ball; another lies elsewhere.

    Success and reward: as of `PickTask`, where the cube is near; far from it there is neither.
    """

    cubes = CUBE_BODIES
    colors: ClassVar = {"cube": "red", "other": "blue", "goal": "green"}

    def build_bodies(self) -> None:
        """Add cubes, ball and stands."""
        super().build_bodies()
        block = BodyBox(
            (STAND_HALF_WIDTH, STAND_HALF_WIDTH, STAND_HEIGHT / 2), (0.0, 0.0, -STAND_HEIGHT / 2)
        )
        self.stands = [self.world.add_body((block,)) for _ in self.cubes]
        self.is_near = False

    def apply_layout(self, layout: Layout) -> None:
        """Put everything where it is."""
        super().apply_layout(layout)
        for name, stand in zip(self.cubes, self.stands, strict=True):
            self.world.set_pose(stand, layout.poses[f"{name} stand"])
        self.is_near = bool(np.linalg.norm(layout.poses["cube"][:3]) < NEAR_DISTANCE)

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        return super().evaluate_task(hand) if self.is_near else TaskResult(False, 0.0)


class MobileCell(Workcell):
    """A workcell that is carried through a house.

    Attributes:
        frame: (4, 4) of the arm in the house.
        house: ray caster of the house, once an episode has begun.
        names: (C,) class ids that the house's own stand for, see `render_layers`.
        classes: class ids of bodies by name; the others are "misc".
    """

    task: MobilePickTask
    house: RayCaster | None = None
    names = np.zeros(0, np.int32)
    frame = np.eye(4)
    _walls: int | None = None

    def __init__(self, config: TabletopConfig, rig: Rig, visuals: bool = False) -> None:
        super().__init__(config, rig, visuals)
        self.classes: dict[str, int] = {}

    def build_table(self) -> int:
        """Put the arm's mount into the world."""
        block = BodyBox(
            (_MOUNT, _MOUNT, STAND_HEIGHT / 2), (0.0, 0.0, -STAND_HEIGHT / 2), (0.25, 0.27, 0.30)
        )
        return self.world.add_body((block,))

    def build_task(self) -> MobilePickTask:
        """Put cubes, ball and stands into the world."""
        return MobilePickTask(self.world, self.arm, self.rig, self.config.level)

    @property
    def bodies(self) -> dict[str, int]:
        """Numbers of everything that is seen and not the house's, by name."""
        return {"base": self.table, "robot": self.arm.body, **self.task.bodies}

    @property
    def stowed(self) -> Array:
        """Joint angles (J,) in which the arm is carried [rad]."""
        return np.array(STOWED_JOINTS[self.config.robot])

    def park_arm(self, layout: Layout) -> None:
        """Begin with the arm stowed; nothing moves until `begin`."""
        self._open_up()
        self._lay(layout)
        self._aim(self.stowed, 1.0)
        self.arm.reset_joints(self.command)
        self.steps = 0
        self.violations[:] = 0
        self._read()

    def carry_cubes(self, frame: Array, cubes: dict[str, Array]) -> None:
        """Show cubes, (4, 4) in the house, from where the base is, (4, 4) likewise."""
        self.frame, back = frame, np.linalg.inv(frame)
        for name, cube in cubes.items():
            self.world.set_pose(self.task.bodies[name], matrix_to_pose(back @ cube))
        self.world.set_pose(self.task.bodies["goal"], HIDDEN_POSE)

    def dock_base(self, layout: Layout, frame: Array, scene: Scene, left_out: range) -> None:
        """Let physics begin here, and unfold the arm.

        Args:
            layout: with poses in the arm's frame.
            frame: (4, 4) of the arm in the house.
            scene: the house.
            left_out: its objects that are stands.
        """
        counts = self.violations.copy()
        self.park_arm(layout)
        self.violations[:] = counts
        self.frame = frame
        self._wall_in(scene, left_out)
        self._go(self.rig.ready_joints + layout.joint_offsets)

    def undock_base(self) -> dict[str, Array]:
        """Let go, fold the arm, and return where the cubes near it are now, (4, 4) in the house."""
        self.opening = 1.0
        self._go(self.rig.ready_joints)
        self._go(self.stowed)
        found = {}
        for name in CUBE_BODIES:
            body = self.task.bodies[name]
            if (
                self.layout is not None
                and np.linalg.norm(self.layout.poses[name][:3]) < NEAR_DISTANCE
            ):
                found[name] = self.frame @ pose_to_matrix(self.world.get_pose(body))
        return found

    def _go(self, joints: Array) -> None:
        """Move slowly to joint angles (J,) [rad], straight, and rest there."""
        limit = _UNFOLDING * self.config.safety.velocity * self.rig.velocity / RATE
        way = joints - self.command
        steps = int(np.ceil(np.max(np.abs(way) / limit)))
        begun = self.command
        for step in range(1, steps + 1):
            self.move_joints(begun + step / steps * way, self.opening)
        for _ in range(_RESTING):
            self.move_joints(self.command, self.opening)
        self._aim(self.command, self.opening)
        self._read()

    def _wall_in(self, scene: Scene, left_out: range) -> None:
        """Put the triangles of the house around the arm into physics."""
        back = np.linalg.inv(self.frame)
        vertices = scene.vertices @ back[:3, :3].T + back[:3, 3]
        corners = vertices[scene.faces]
        low, high = corners.min(axis=1), corners.max(axis=1)
        near = ((low < _AROUND) & (high > -_AROUND)).all(axis=1)
        near &= ~np.isin(scene.face_object, left_out)
        used, faces = np.unique(scene.faces[near], return_inverse=True)
        if len(used):
            self._walls = self.world.add_mesh(vertices[used], faces.reshape(-1, 3))

    def _open_up(self) -> None:
        """Take the house out of physics again."""
        if self._walls is not None:
            self.world.remove_body(self._walls)
            self._walls = None
