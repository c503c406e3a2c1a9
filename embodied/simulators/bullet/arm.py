"""An arm with a gripper in a PyBullet world: motors, fingers, touch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet.errors import SimulationError
from embodied.simulators.bullet.rigs import Rig
from embodied.simulators.bullet.world import BulletWorld

Array = NDArray[np.float64]

_STIFFNESS = 0.25  # share of the position error that a motor takes away per physics step
_FINGER_FRICTION = 1.5
_MIRROR_FORCE = 50.0  # that keeps two fingers at equal distance from the middle [N]


class TableArm:
    """One arm, its base fixed at the world's origin.

    Args:
        world: where it stands.
        rig: the arm.

    Attributes:
        body: its number in the world.
        fingers: numbers of the links that grip.

    Raises:
        SimulationError: the URDF cannot be loaded; names the meshes that are missing.
    """

    def __init__(self, world: BulletWorld, rig: Rig) -> None:
        self._world, self._rig = world, rig
        bullet, client = world.bullet, world.client
        flags = 0 if world.visuals else bullet.URDF_IGNORE_VISUAL_SHAPES
        try:
            self.body, self._joints, self.fingers = rig.urdf.load_body(
                bullet, client, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), flags
            )
        except bullet.error as error:
            raise SimulationError(
                f"cannot load {rig.urdf.file}: {error}{rig.urdf.list_missing_meshes()}"
            ) from error
        for finger in self.fingers:
            bullet.changeDynamics(
                self.body,
                finger,
                lateralFriction=_FINGER_FRICTION,
                spinningFriction=0.005,
                physicsClientId=client,
            )
        if len(self.fingers) == 2:
            gear = bullet.createConstraint(
                self.body, self.fingers[0], self.body, self.fingers[1], bullet.JOINT_GEAR,
                (1, 0, 0), (0, 0, 0), (0, 0, 0), physicsClientId=client,
            )  # fmt: skip
            bullet.changeConstraint(
                gear, gearRatio=-1, erp=0.1, maxForce=_MIRROR_FORCE, physicsClientId=client
            )
        self._all = [*self._joints, *self.fingers]
        self._forces = [*rig.efforts, *(finger.force for finger in rig.urdf.fingers)]
        self._gains = [_STIFFNESS] * len(self._all)

    def reset_joints(self, positions: Array, opening: float = 1.0) -> None:
        """Put the arm somewhere at rest, and tell the motors to stay there."""
        travels = self._rig.urdf.opening_to_travels(opening)
        for joint, at in zip(self._all, [*positions.tolist(), *travels], strict=True):
            self._world.bullet.resetJointState(
                self.body, joint, at, 0.0, physicsClientId=self._world.client
            )
        self.set_joint_targets(positions, opening)

    def set_joint_targets(self, positions: Array, opening: float) -> None:
        """Tell the motors where to go: joint angles (J,) [rad] and opening in [0, 1]."""
        bullet = self._world.bullet
        bullet.setJointMotorControlArray(
            self.body,
            self._all,
            bullet.POSITION_CONTROL,
            targetPositions=[*positions.tolist(), *self._rig.urdf.opening_to_travels(opening)],
            forces=self._forces,
            positionGains=self._gains,
            physicsClientId=self._world.client,
        )

    def read_joints(self) -> tuple[Array, Array, float]:
        """Return joint angles (J,) [rad], velocities (J,) [rad/s] and the opening in [0, 1].

        Raises:
            SimulationError: physics has diverged.
        """
        read = self._world.bullet.getJointStates(
            self.body, self._all, physicsClientId=self._world.client
        )
        count = len(self._joints)
        values = np.array([joint[:2] for joint in read])
        if not np.isfinite(values).all():
            self._world.diverged = True
            raise SimulationError(
                "the arm's joints are not numbers any more: physics has diverged. Reset the "
                "environment"
            )
        opening = self._rig.urdf.travels_to_opening(values[count:, 0].tolist())
        return values[:count, 0], values[:count, 1], opening

    def is_holding(self, body: int) -> bool:
        """Tell whether every finger touches a body."""
        return all(self._world.is_touching(body, self.body, finger) for finger in self.fingers)

    def measure_contact_force(self) -> float:
        """Return the largest force with which one other body presses on the arm [N].

        What two fingers squeeze presses on both, which cancels.
        """
        points = self._world.bullet.getContactPoints(self.body, physicsClientId=self._world.client)
        total: dict[int, Array] = {}
        for point in points:
            push = point[9] * np.array(point[7])
            total[point[2]] = total.get(point[2], np.zeros(3)) + push
        total.pop(self.body, None)
        return max((float(np.linalg.norm(push)) for push in total.values()), default=0.0)
