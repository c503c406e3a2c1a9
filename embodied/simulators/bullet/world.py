"""A PyBullet world without a window; a process may hold several.

Frames: z up, metres, right-handed; quaternions xyzw (PyBullet's own conventions).

Source: PyBullet Quickstart Guide (createMultiBody, saveBullet, restoreState).
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet.errors import SimulationError
from robots.bullet_body import import_pybullet

Array = NDArray[np.float64]
Triple = tuple[float, float, float]

TIMESTEP = 1 / 240
"""Length of a physics step [s]."""

_SOLVER_ITERATIONS = 50
_POST = 0.25  # radius of the post below a marker, in radii of the marker
_POST_COLOR = (0.12, 0.12, 0.13)  # unlike the marker's, which shall stand out from its post
_FARTHEST = 10.0  # a body beyond has left the table for good [m]
_NOWHERE = 1000.0  # nothing is thrown so far: physics has diverged [m]


@dataclass(frozen=True)
class BodyBox:
    """One box of a body.

    Attributes:
        half: half its edges [m].
        center: in the body's frame [m].
        color: RGB in [0, 1].
    """

    half: Triple
    center: Triple = (0.0, 0.0, 0.0)
    color: Triple = (0.7, 0.7, 0.7)


@dataclass(frozen=True)
class SlidingPart:
    """A part that slides in a body along x, as a drawer does.

    Attributes:
        blocks: what it is made of, in the body's frame when it is closed.
        mass: [kg].
        travel: how far it comes out, towards -x [m].
        damping: against motion [N s/m].
    """

    blocks: tuple[BodyBox, ...]
    mass: float
    travel: float
    damping: float = 2.0


class BulletWorld:
    """Gravity, bodies and time.

    Args:
        visuals: keep the meshes that are drawn; only renderers need them, and loading takes longer.

    Attributes:
        bullet: the module `pybullet`.
        client: number of this world.
        diverged: positions were no numbers any more since the last `clear`.

    Raises:
        MissingExtraError: PyBullet is not installed.
        SimulationError: PyBullet takes no further world.
    """

    def __init__(self, visuals: bool = False) -> None:
        self.bullet: Any = import_pybullet("The tabletop simulator")
        self.visuals = visuals
        self.client: int = self.bullet.connect(self.bullet.DIRECT)
        if self.client < 0:
            raise SimulationError("PyBullet takes no further world: close environments not in use")
        self.close = weakref.finalize(self, _disconnect, self.bullet, self.client)
        self.clear()

    def clear(self) -> None:
        """Remove everything; bodies that are added again in the same order get the same numbers.

        After NaN nothing less will do: placed anew, bodies would fall through each other.
        """
        self.diverged = False
        self.bullet.resetSimulation(physicsClientId=self.client)
        self.bullet.setGravity(0, 0, -9.81, physicsClientId=self.client)
        self.bullet.setTimeStep(TIMESTEP, physicsClientId=self.client)
        self.bullet.setPhysicsEngineParameter(
            numSolverIterations=_SOLVER_ITERATIONS,
            deterministicOverlappingPairs=1,
            enableConeFriction=1,
            physicsClientId=self.client,
        )

    def add_body(
        self,
        blocks: Sequence[BodyBox],
        mass: float = 0.0,
        position: Triple = (0.0, 0.0, 0.0),
        friction: float = 0.8,
        slide: SlidingPart | None = None,
    ) -> int:
        """Build a body of boxes and return its number.

        Args:
            blocks: its boxes; they do not collide with each other.
            mass: [kg]; 0 stands fixed.
            position: of its frame, unturned [m].
            friction: lateral, dimensionless.
            slide: a part that slides in it.
        """
        bullet, client = self.bullet, self.client
        moving: dict[str, Any] = {}
        if slide is not None:
            moving = {
                "linkMasses": [slide.mass],
                "linkCollisionShapeIndices": [self._collision(slide.blocks)],
                "linkVisualShapeIndices": [self._visual(slide.blocks)],
                "linkPositions": [(0, 0, 0)],
                "linkOrientations": [(0, 0, 0, 1)],
                "linkInertialFramePositions": [(0, 0, 0)],
                "linkInertialFrameOrientations": [(0, 0, 0, 1)],
                "linkParentIndices": [0],
                "linkJointTypes": [bullet.JOINT_PRISMATIC],
                "linkJointAxis": [(-1, 0, 0)],
            }
        body = int(
            bullet.createMultiBody(
                mass,
                self._collision(blocks),
                self._visual(blocks),
                position,
                (0, 0, 0, 1),
                physicsClientId=client,
                **moving,
            )
        )
        self.set_friction(body, friction)
        if slide is not None:
            bullet.changeDynamics(
                body,
                0,
                jointLowerLimit=0.0,
                jointUpperLimit=slide.travel,
                jointDamping=slide.damping,
                physicsClientId=client,
            )
            bullet.setJointMotorControl2(
                body, 0, bullet.VELOCITY_CONTROL, force=0.0, physicsClientId=client
            )
        return body

    def add_mesh(self, vertices: Array, faces: NDArray[np.integer]) -> int:
        """Build a body that stands fixed and is not drawn, from triangles (F, 3) that may form
        hollows, and return its number.
        """
        shape = self.bullet.createCollisionShape(
            self.bullet.GEOM_MESH,
            vertices=np.asarray(vertices, np.float64).tolist(),
            indices=np.asarray(faces).ravel().tolist(),
            flags=self.bullet.GEOM_FORCE_CONCAVE_TRIMESH,
            physicsClientId=self.client,
        )
        return int(self.bullet.createMultiBody(0, shape, -1, physicsClientId=self.client))

    def remove_body(self, body: int) -> None:
        """Take a body out of the world."""
        self.bullet.removeBody(body, physicsClientId=self.client)

    def add_marker(
        self, radius: float, color: Triple, flat: bool = False, post: float = 0.0
    ) -> int:
        """Build something that is only seen, a ball or a disc, and return its number.

        Args:
            radius: [m].
            color: RGB in [0, 1].
            flat: a disc.
            post: length of a thin post below a ball [m]; where it meets the table shows how far
                away the ball is, which one camera cannot tell from the ball alone.
        """
        bullet, client = self.bullet, self.client
        kinds = [bullet.GEOM_CYLINDER if flat else bullet.GEOM_SPHERE]
        radii, lengths, places = [radius], [0.002], [(0.0, 0.0, 0.0)]
        if post:
            kinds.append(bullet.GEOM_CYLINDER)
            radii.append(_POST * radius)
            lengths.append(post)
            places.append((0.0, 0.0, -post / 2))
        shape = bullet.createVisualShapeArray(
            shapeTypes=kinds,
            radii=radii,
            lengths=lengths,
            visualFramePositions=places,
            rgbaColors=[(*color, 1), (*_POST_COLOR, 1)][: len(kinds)],
            physicsClientId=client,
        )
        return int(bullet.createMultiBody(0, -1, shape, physicsClientId=client))

    def set_friction(self, body: int, friction: float) -> None:
        """Set the lateral friction of every link of a body."""
        links = self.bullet.getNumJoints(body, physicsClientId=self.client)
        for link in range(-1, links):
            self.bullet.changeDynamics(
                body,
                link,
                lateralFriction=friction,
                spinningFriction=0.002 * friction,
                physicsClientId=self.client,
            )

    def set_mass(self, body: int, mass: float, slide: bool = False) -> None:
        """Set the mass of a body, or of its slide [kg]; its inertia keeps in step."""
        link = 0 if slide else -1
        self.bullet.changeDynamics(body, link, mass=mass, physicsClientId=self.client)

    def set_pose(self, body: int, pose: Array) -> None:
        """Put a body at rest at a pose (7,): position, quaternion."""
        self.bullet.resetBasePositionAndOrientation(
            body, pose[:3].tolist(), pose[3:].tolist(), physicsClientId=self.client
        )
        self.bullet.resetBaseVelocity(body, (0, 0, 0), (0, 0, 0), physicsClientId=self.client)

    def get_pose(self, body: int) -> Array:
        """Return where a body is, (7,): position [m], at most 10 m off, and quaternion.

        Raises:
            SimulationError: physics has diverged.
        """
        position, rotation = self.bullet.getBasePositionAndOrientation(
            body, physicsClientId=self.client
        )
        pose = np.array((*position, *rotation))
        farthest = np.abs(pose).max()
        if not farthest < _NOWHERE:  # catches NaN as well
            self.diverged = True
            raise SimulationError(
                f"body {body} is at {position}: physics has diverged. Reset the environment; if it "
                "happens again, command smaller steps or less force"
            )
        if farthest > _FARTHEST:
            pose = np.clip(pose, -_FARTHEST, _FARTHEST)
        return pose

    def get_speed(self, body: int) -> float:
        """Return how fast a body moves [m/s]."""
        linear, _ = self.bullet.getBaseVelocity(body, physicsClientId=self.client)
        return float(np.linalg.norm(linear))

    def is_touching(self, body: int, other: int, link: int | None = None) -> bool:
        """Tell whether a body touches another, or one link of it."""
        limits = {} if link is None else {"linkIndexB": link}
        points = self.bullet.getContactPoints(body, other, physicsClientId=self.client, **limits)
        return len(points) > 0

    def get_travel(self, body: int) -> float:
        """Return how far a body's slide is out [m]."""
        return float(self.bullet.getJointState(body, 0, physicsClientId=self.client)[0])

    def get_travel_speed(self, body: int) -> float:
        """Return how fast a body's slide moves [m/s]."""
        return abs(float(self.bullet.getJointState(body, 0, physicsClientId=self.client)[1]))

    def set_travel(self, body: int, travel: float) -> None:
        """Put a body's slide somewhere, at rest [m]."""
        self.bullet.resetJointState(body, 0, travel, 0.0, physicsClientId=self.client)

    def step(self, count: int = 1) -> None:
        """Let time pass, `count` steps of `TIMESTEP`."""
        for _ in range(count):
            self.bullet.stepSimulation(physicsClientId=self.client)

    def detect_contacts(self) -> None:
        """Find contacts anew without letting time pass."""
        self.bullet.performCollisionDetection(physicsClientId=self.client)

    def save_snapshot(self) -> int:
        """Keep the state in memory and return its number; for few states, they are never freed."""
        return int(self.bullet.saveState(physicsClientId=self.client))

    def restore_snapshot(self, number: int) -> None:
        """Return to a state that was remembered."""
        self.bullet.restoreState(number, physicsClientId=self.client)

    def export_state(self) -> bytes:
        """Return the state of every body, joint and contact: the same continuation after `load`.

        What motors are told is not part of it, nor are friction and masses.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "world.bullet"
            self.bullet.saveBullet(str(file), physicsClientId=self.client)
            return file.read_bytes()

    def import_state(self, state: bytes) -> None:
        """Return to a state that this world, or one built alike, was in.

        Raises:
            SimulationError: the state is not one of a world with these bodies.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "world.bullet"
            file.write_bytes(state)
            try:
                self.bullet.restoreState(fileName=str(file), physicsClientId=self.client)
            except self.bullet.error as error:
                raise SimulationError(
                    f"a saved state of {len(state)} bytes does not fit this world ({error}): "
                    "restore it in an environment of the same task, robot and version"
                ) from error

    def _collision(self, blocks: Sequence[BodyBox]) -> int:
        return int(
            self.bullet.createCollisionShapeArray(
                shapeTypes=[self.bullet.GEOM_BOX] * len(blocks),
                halfExtents=[block.half for block in blocks],
                collisionFramePositions=[block.center for block in blocks],
                physicsClientId=self.client,
            )
        )

    def _visual(self, blocks: Sequence[BodyBox]) -> int:
        return int(
            self.bullet.createVisualShapeArray(
                shapeTypes=[self.bullet.GEOM_BOX] * len(blocks),
                halfExtents=[block.half for block in blocks],
                visualFramePositions=[block.center for block in blocks],
                rgbaColors=[(*block.color, 1.0) for block in blocks],
                physicsClientId=self.client,
            )
        )


def _disconnect(bullet: Any, client: int) -> None:
    if bullet.isConnected(client):
        bullet.disconnect(client)
