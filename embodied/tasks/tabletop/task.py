"""What every tabletop task shares: its bodies, the hand as it is now, the verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet import BulletWorld, Rig, TableArm
from embodied.tasks.tabletop.randomisation import Layout, LayoutSampler
from embodied.types import quaternion_to_matrix

Array = NDArray[np.float64]

STATIC = 0.03
"""An object slower than this is at rest [m/s]."""

_ARM_STATIC = 0.2  # rad/s, as ManiSkill's is_static


@dataclass(frozen=True)
class Hand:
    """The arm's end as it is now.

    Attributes:
        pose: (4, 4) of the tool centre point in the base frame.
        opening: of the gripper in [0, 1].
        speed: of the fastest joint [rad/s].
    """

    pose: Array
    opening: float
    speed: float

    @property
    def position(self) -> Array:
        """(3,) [m]."""
        return self.pose[:3, 3]

    @property
    def is_still(self) -> bool:
        """Whether the arm is at rest."""
        return self.speed < _ARM_STATIC


class TaskResult(NamedTuple):
    """How an episode stands.

    Attributes:
        success: the task is done.
        reward: dense, in [0, 1], 1 on success.
    """

    success: bool
    reward: float


class Task(ABC):
    """A task in one world.

    A subclass builds its bodies in its constructor, with `self.bodies[name] = number`, draws
    layouts, and judges the state.

    Args:
        world: with the table.
        arm: on it.
        rig: the arm's.
        level: of randomisation (distractors are there from level 2 on).

    Attributes:
        bodies: number of each body by name.
        masses: nominal mass of each body that moves [kg].
        goals: names of markers among the bodies, which nothing collides with.
        goal: (7,) pose asked for in this episode; the position counts.
    """

    max_steps: ClassVar[int] = 150
    observed: ClassVar[tuple[str, ...]] = ()
    """Bodies whose poses the privileged observation holds, before the goal."""

    subject: ClassVar[str] = "cube"
    """Body that the task is about: the one a disturbance shoves aside."""

    def __init__(self, world: BulletWorld, arm: TableArm, rig: Rig, level: int) -> None:
        self.world, self.arm, self.rig, self.level = world, arm, rig, level
        self.scale = rig.spec.scale
        self.bodies: dict[str, int] = {}
        self.masses: dict[str, float] = {}
        self.goal = np.zeros(7)
        self.build_bodies()

    @abstractmethod
    def build_bodies(self) -> None:
        """Put the bodies into the world."""

    @abstractmethod
    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Draw an episode."""

    @abstractmethod
    def evaluate_task(self, hand: Hand) -> TaskResult:
        """Say how the episode stands."""

    @property
    def objects_size(self) -> int:
        """Numbers in the privileged observation."""
        return 7 * (len(self.observed) + 1)

    def apply_layout(self, layout: Layout) -> None:
        """Put every body where the layout says, at rest."""
        for name, body in self.bodies.items():
            self.world.set_pose(body, layout.poses[name])
            if name in self.masses:
                self.world.set_mass(body, self.masses[name] * layout.mass_scale)
                self.world.set_friction(body, layout.friction)
        self.goal = layout.poses["goal"]

    def observe_objects(self) -> NDArray[np.float32]:
        """Return the privileged observation: poses (7,) of `observed` and the goal's."""
        poses = [self.world.get_pose(self.bodies[name]) for name in self.observed]
        return np.concatenate([*poses, self.goal]).astype(np.float32)

    def get_approach_point(self) -> Array:
        """Return what the hand goes for first, (3,) [m]."""
        return self.get_position(self.subject)

    def displace_body(self, name: str, way: Array) -> None:
        """Shove a body along the table by a way (2,) [m]; the goal goes along with what is fixed to
        it.
        """
        step = np.array([*way, 0, 0, 0, 0, 0])
        self.world.set_pose(self.bodies[name], self.world.get_pose(self.bodies[name]) + step)
        if name not in self.masses:
            self.goal = self.goal + step

    def get_position(self, name: str) -> Array:
        """Return where a body is, (3,) [m]."""
        return self.world.get_pose(self.bodies[name])[:3]

    def is_at_rest(self, name: str) -> bool:
        """Tell whether a body is at rest."""
        return self.world.get_speed(self.bodies[name]) < STATIC

    def is_held(self, name: str) -> bool:
        """Tell whether the fingers hold a body."""
        return self.arm.is_holding(self.bodies[name])


def make_pose(position: Array | tuple[float, float, float], yaw: float = 0.0) -> Array:
    """Return a pose (7,) turned about the vertical [rad]."""
    return np.concatenate([position, [0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)]])


def yaw_of(pose: Array) -> float:
    """Return the turn about the vertical of a pose (7,) [rad]."""
    x, y, z, w = pose[3:]
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def axes_of(pose: Array) -> Array:
    """Return the rotation matrix (3, 3) of a pose (7,)."""
    return quaternion_to_matrix(pose[3:])


def to_local(frame: Array, point: Array) -> Array:
    """Return a point (3,) of the base frame in the frame of a pose (7,)."""
    return np.asarray(axes_of(frame).T @ (point - frame[:3]))


def proximity_reward(distance: float, scale: float = 1.0) -> float:
    """Return a reward in [0, 1] that rises as a distance [m] falls (ManiSkill's 1 - tanh 5 d)."""
    return float(1 - np.tanh(5 * distance / scale))
