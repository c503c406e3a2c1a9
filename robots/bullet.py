"""The digital twin: any arm with a URDF, in PyBullet, behind the protocol of the real ones.

Its time is the clock's: whenever the arm is asked or told something, physics catches up in steps of
`BulletOptions.timestep`. There is no thread, so a test with a clock of its own gets the same motion
every time. Joints are driven by PyBullet's position motors with the model's torques as their limit.

Source: PyBullet Quickstart Guide (setJointMotorControlArray, getCameraImage).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError
from robots.arm import ArmDriver, ArmFeatures, ArmState, Joints, Setpoint, StopCategory
from robots.bullet_body import ArmUrdf, import_pybullet
from robots.errors import DeviceError, ModelError
from robots.model import ArmModel, Vector

RATE = 100.0
_CATCH_UP = 0.25  # most time to simulate in one call [s]; takes some milliseconds


@dataclass(frozen=True)
class BulletOptions:
    """Which body, where, and how it is shown.

    Attributes:
        urdf: file of the arm, or "package:path"; "" takes that of the model.
        gui: open PyBullet's window.
        timestep: of physics, 1/240 or finer [s].
        brakes: the arm locks when its power is cut, as industrial arms do; False lets it fall.
        base_xyz: where it stands in the world [m].
        base_rpy: and how, roll, pitch, yaw [rad].
        camera_eye: where `image` looks from, in the world [m].
        camera_target: and at what [m].
    """

    urdf: str = ""
    gui: bool = False
    timestep: float = 1 / 240
    brakes: bool = True
    base_xyz: Vector = (0.0, 0.0, 0.0)
    base_rpy: Vector = (0.0, 0.0, 0.0)
    camera_eye: Vector = (1.3, -1.0, 0.9)
    camera_target: Vector = (0.2, 0.0, 0.35)

    def __post_init__(self) -> None:
        if not 1e-4 <= self.timestep <= 1 / 240:
            raise ConfigError(f"timestep = {self.timestep}: allowed are 0.0001 to 1/240 s")
        if self.camera_eye == self.camera_target:
            raise ConfigError("camera_eye and camera_target are the same point")


class BulletArm(ArmDriver):
    """An arm in a PyBullet world of its own.

    Where the arm was is kept when it is disconnected; at first it is at the model's home.

    Args:
        model: limits and home; its joints are found in the URDF by name, or else by their order on
            the way to its tool link.
        options: see there.
        clock: rising time [s]; a test may give its own.

    Raises:
        ModelError: no URDF, or not one of this arm.
    """

    options_type: ClassVar[type] = BulletOptions

    def __init__(
        self,
        model: ArmModel,
        options: BulletOptions = BulletOptions(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._options = options
        self._clock = clock
        self._urdf = ArmUrdf(model, options.urdf)
        self._positions: Joints = np.array(model.home)
        self._opening = 1.0
        self._efforts = [joint.effort for joint in model.joints]
        self._decelerations = np.array([joint.acceleration for joint in model.joints])
        self._bullet: Any = None
        self._client = self._body = -1
        self._joints: list[int] = []
        self._finger_joints: list[int] = []
        self._time = 0.0  # to which physics has come
        # What the motors follow, positions and velocities, and when it comes to a halt.
        self._reference: tuple[Joints, Joints] = (self._positions, np.zeros(len(model.joints)))
        self._until = 0.0
        self._slowing = False
        self._powered = False

    @property
    def features(self) -> ArmFeatures:
        """What the arm is."""
        return ArmFeatures(
            self._model.name,
            self._model.joint_names,
            RATE,
            gripper=bool(self._urdf.fingers),
            efforts=True,
            falls_without_power=not self._options.brakes,
        )

    def connect(self) -> None:
        """Build the world, with the arm at rest and holding.

        Raises:
            MissingExtraError: PyBullet is not installed.
            DeviceError: no display for the window, or the URDF cannot be loaded; names the meshes
                that are missing.
            ModelError: a collision mesh holds no shape.
        """
        self.disconnect()
        self._bullet = import_pybullet("The digital twin")
        if self._options.gui and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            # PyBullet would end the whole process.
            raise DeviceError("there is no display for PyBullet's window: leave out the option gui")
        kind = self._bullet.GUI if self._options.gui else self._bullet.DIRECT
        self._client = self._bullet.connect(kind)
        if self._client < 0:
            raise DeviceError("PyBullet takes no further world: close others, or leave out gui")
        try:
            self._load()
        except ModelError:
            self.disconnect()
            raise
        except self._bullet.error as error:
            self.disconnect()
            raise DeviceError(
                f"cannot load {self._urdf.file}: {error}{self._urdf.list_missing_meshes()}"
            ) from error

    def disconnect(self) -> None:
        """Close the world."""
        if self._client >= 0:
            client, self._client = self._client, -1
            if self._bullet.isConnected(client):
                self._bullet.disconnect(client)

    def state(self) -> ArmState:
        """Let physics catch up and return the state after its last step.

        Raises:
            DeviceError: not connected, or the window was closed.
        """
        with self._world() as bullet:
            self._advance()
            read = bullet.getJointStates(self._body, self._joints, physicsClientId=self._client)
            self._positions = np.array([joint[0] for joint in read])
            velocities, efforts = (np.array([joint[i] for joint in read]) for i in (1, 3))
            fault = "" if self._powered else "the power is cut: connect again"
            return ArmState(
                self._time, self._positions.copy(), velocities, efforts, self._gripper(), fault
            )

    def command(self, setpoint: Setpoint) -> None:
        """Let physics catch up and give the motors a new target.

        Raises:
            DeviceError: not connected, or the power was cut.
        """
        with self._world():
            self._advance()
            if not self._powered:
                raise DeviceError("the power of the arm was cut by stop(): connect again")
            self._slowing = False
            # The setpoint lies a period ahead: the reference moves there, and waits for the next.
            self._until = self._clock() + 1 / RATE
            velocities = np.array(setpoint.velocities)
            self._follow(setpoint.positions - velocities * (self._until - self._time), velocities)
            if setpoint.gripper is not None:
                self._opening = min(1.0, max(0.0, setpoint.gripper))
                self._grip()

    def stop(self, category: StopCategory) -> None:
        """Stop: 2 holds here and now, 1 slows down first, 0 cuts the power.

        Without power an arm with brakes locks, one without falls.

        Raises:
            DeviceError: not connected.
        """
        state = self.state()
        with self._world() as bullet:
            if category is StopCategory.CUT_POWER:
                self._powered = self._slowing = False
                lock = 1e4 if self._options.brakes else 0.0
                bullet.setJointMotorControlArray(
                    self._body,
                    self._joints,
                    bullet.VELOCITY_CONTROL,
                    targetVelocities=[0.0] * len(self._joints),
                    forces=[lock] * len(self._joints),
                    physicsClientId=self._client,
                )
            elif self._powered:
                self._slowing = category is StopCategory.STOP_THEN_POWER_OFF
                self._follow(state.positions, state.velocities * self._slowing)

    def render_image(self, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
        """Return a (height, width, 3) RGB picture, by PyBullet's own renderer, which needs no GPU.

        It takes some 0.1 s: call it beside the control loop, not in it, and not from two threads.

        Raises:
            DeviceError: not connected.
        """
        options = self._options
        with self._world() as bullet:
            view = bullet.computeViewMatrix(options.camera_eye, options.camera_target, (0, 0, 1))
            lens = bullet.computeProjectionMatrixFOV(50, width / height, 0.02, 10)
            kind, client = bullet.ER_TINY_RENDERER, self._client
            taken = bullet.getCameraImage(
                width, height, view, lens, renderer=kind, physicsClientId=client
            )
        return np.array(taken[2], np.uint8).reshape(height, width, 4)[:, :, :3].copy()

    @contextmanager
    def _world(self) -> Iterator[Any]:
        if self._client < 0:
            raise DeviceError(f"the twin of {self._model.name} is not connected: connect() first")
        try:
            yield self._bullet
        except self._bullet.error as error:
            raise DeviceError(f"PyBullet: {error}; was its window closed? Connect again") from error

    def _load(self) -> None:
        bullet, client = self._bullet, self._client
        bullet.setGravity(0, 0, -9.81, physicsClientId=client)
        bullet.setTimeStep(self._options.timestep, physicsClientId=client)
        options = self._options
        self._body, self._joints, self._finger_joints = self._urdf.load_body(
            bullet, client, options.base_xyz, bullet.getQuaternionFromEuler(options.base_rpy)
        )
        for joint, angle in zip(self._joints, self._positions, strict=True):
            bullet.resetJointState(self._body, joint, angle, physicsClientId=client)
        for joint, at in zip(
            self._finger_joints, self._urdf.opening_to_travels(self._opening), strict=True
        ):
            bullet.resetJointState(self._body, joint, at, physicsClientId=client)
        self._time = self._clock()
        self._powered, self._slowing = True, False
        self._follow(self._positions, np.zeros(len(self._joints)))
        self._grip()

    def _advance(self) -> None:
        """Step to the clock's time; after a long pause of the program the rest is left out."""
        now, step = self._clock(), self._options.timestep
        # The small share keeps a clock that ticks in whole steps from losing one by rounding.
        due = int((now - self._time) / step + 1e-6)
        for _ in range(min(due, round(_CATCH_UP / step))):
            self._drive(step)
            self._bullet.stepSimulation(physicsClientId=self._client)
            self._time += step
        if now - self._time > 2 * step:
            self._time = now

    def _drive(self, step: float) -> None:
        """Bring the reference one step further."""
        positions, velocities = self._reference
        if not self._powered or not velocities.any():
            return
        if self._slowing:
            slower = np.maximum(0.0, np.abs(velocities) - self._decelerations * step)
            velocities = np.sign(velocities) * slower
        elif self._time > self._until - step / 2:
            velocities = np.zeros(len(positions))
        # The motor moves on with the velocity by itself; its target is where it should be now.
        self._follow(positions, velocities)
        self._reference = (positions + velocities * step, velocities)

    def _follow(self, positions: Joints, velocities: Joints) -> None:
        self._reference = (positions, velocities)
        self._bullet.setJointMotorControlArray(
            self._body,
            self._joints,
            self._bullet.POSITION_CONTROL,
            targetPositions=positions,
            targetVelocities=velocities,
            forces=self._efforts,
            physicsClientId=self._client,
        )

    def _grip(self) -> None:
        if self._finger_joints:
            self._bullet.setJointMotorControlArray(
                self._body,
                self._finger_joints,
                self._bullet.POSITION_CONTROL,
                targetPositions=self._urdf.opening_to_travels(self._opening),
                forces=[finger.force for finger in self._urdf.fingers],
                physicsClientId=self._client,
            )

    def _gripper(self) -> float | None:
        if not self._finger_joints:
            return None
        read = self._bullet.getJointStates(
            self._body, self._finger_joints, physicsClientId=self._client
        )
        return self._urdf.travels_to_opening([joint[0] for joint in read])
