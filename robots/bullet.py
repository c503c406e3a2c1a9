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
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, MissingExtraError
from robots.arm import ArmFeatures, ArmState, Connected, Joints, Setpoint, StopCategory
from robots.errors import DeviceError, ModelError
from robots.model import ArmModel, Vector
from robots.urdf import read_urdf, urdf_file

RATE = 100.0
_CATCH_UP = 0.25  # most time to simulate in one call [s]; takes some milliseconds
_FINGER_FORCE = 20.0  # where the URDF gives none [N]


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


class BulletArm(Connected):
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
        reference = options.urdf or model.urdf
        if not reference:
            raise ModelError(f"no URDF of {model.name} is known: give one as option urdf")
        self._file = urdf_file(reference)
        self._names = _arm_joints(self._file, model)
        self._fingers = _fingers(self._file, self._names[-1])
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
            self._model.names,
            RATE,
            gripper=bool(self._fingers),
            efforts=True,
            falls_without_power=not self._options.brakes,
        )

    def connect(self) -> None:
        """Build the world, with the arm at rest and holding.

        Raises:
            MissingExtraError: PyBullet is not installed.
            DeviceError: no display for the window, or the URDF cannot be loaded; names the meshes
                that are missing.
        """
        self.disconnect()
        self._bullet = _pybullet()
        if self._options.gui and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            # PyBullet would end the whole process.
            raise DeviceError("there is no display for PyBullet's window: leave out the option gui")
        kind = self._bullet.GUI if self._options.gui else self._bullet.DIRECT
        self._client = self._bullet.connect(kind)
        if self._client < 0:
            raise DeviceError("PyBullet takes no further world: close others, or leave out gui")
        try:
            self._load()
        except self._bullet.error as error:
            self.disconnect()
            raise DeviceError(f"cannot load {self._file}: {error}{_missing(self._file)}") from error

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

    def image(self, width: int = 640, height: int = 480) -> NDArray[np.uint8]:
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
        self._body = bullet.loadURDF(
            str(self._file),
            self._options.base_xyz,
            bullet.getQuaternionFromEuler(self._options.base_rpy),
            useFixedBase=True,
            physicsClientId=client,
        )
        index = {}
        for joint in range(bullet.getNumJoints(self._body, physicsClientId=client)):
            name = bullet.getJointInfo(self._body, joint, physicsClientId=client)[1]
            index[name.decode()] = joint
        self._joints = [index[name] for name in self._names]
        self._finger_joints = [index[name] for name, *_ in self._fingers]
        for joint, angle in zip(self._joints, self._positions, strict=True):
            bullet.resetJointState(self._body, joint, angle, physicsClientId=client)
        for joint, (_, closed, opened, _) in zip(self._finger_joints, self._fingers, strict=True):
            here = closed + self._opening * (opened - closed)
            bullet.resetJointState(self._body, joint, here, physicsClientId=client)
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
        if self._fingers:
            self._bullet.setJointMotorControlArray(
                self._body,
                self._finger_joints,
                self._bullet.POSITION_CONTROL,
                targetPositions=[
                    closed + self._opening * (opened - closed)
                    for _, closed, opened, _ in self._fingers
                ],
                forces=[force for *_, force in self._fingers],
                physicsClientId=self._client,
            )

    def _gripper(self) -> float | None:
        if not self._fingers:
            return None
        read = self._bullet.getJointStates(
            self._body, self._finger_joints, physicsClientId=self._client
        )
        shares = [
            (joint[0] - closed) / (opened - closed)
            for joint, (_, closed, opened, _) in zip(read, self._fingers, strict=True)
        ]
        return float(np.clip(np.mean(shares), 0.0, 1.0))


def _arm_joints(file: Path, model: ArmModel) -> list[str]:
    """Return the URDF's names of the model's joints: the same, or those on the way to its tool."""
    root = _read(file)
    known = [str(joint.get("name")) for joint in root.findall("joint")]
    if set(model.names) <= set(known):
        return list(model.names)
    absent = next(name for name in model.names if name not in known)
    tool = model.tool_link or [str(link.get("name")) for link in root.findall("link")][-1]
    chain = read_urdf(file, tool, accelerations=1.0, jerks=1.0).names
    if len(chain) != len(model.joints):
        raise ModelError(
            f"{file} is not a URDF of {model.name}: it has no joint '{absent}', and "
            f"{len(chain)} moving joints lead to its link '{tool}' ({', '.join(chain)}) where "
            f"{model.name} has {len(model.joints)}. Give another file as option urdf"
        )
    return list(chain)


def _fingers(file: Path, last: str) -> list[tuple[str, float, float, float]]:
    """Return name, closed and open angle or way, and force of the joints beyond the arm's last."""
    joints = {str(joint.get("name")): joint for joint in _read(file).findall("joint")}
    reached, found = {_link(joints[last], "child")}, []
    for _ in joints:  # as often as the longest chain has links, whatever their order in the file
        reached |= {_link(j, "child") for j in joints.values() if _link(j, "parent") in reached}
    for name, joint in joints.items():
        limit = joint.find("limit")
        if limit is None or _link(joint, "parent") not in reached:
            continue
        closed, opened = float(limit.get("lower", 0)), float(limit.get("upper", 0))
        if joint.get("type") in ("prismatic", "revolute") and closed < opened:
            force = float(limit.get("effort", 0)) or _FINGER_FORCE
            found.append((name, closed, opened, force))
    return found


def _read(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()  # noqa: S314 - a file of the user's own
    except (OSError, ElementTree.ParseError) as error:
        raise ModelError(f"cannot read the URDF {file}: {error}") from error


def _link(joint: ElementTree.Element, role: str) -> str:
    element = joint.find(role)
    return "" if element is None else str(element.get("link"))


def _missing(file: Path) -> str:
    """Name the meshes of a URDF that are not there; PyBullet looks in all folders above it."""
    names = {
        str(mesh.get("filename")).removeprefix("package://").removeprefix("file://")
        for mesh in _read(file).iter("mesh")
    }
    absent = sorted(n for n in names if not any((f / n).is_file() for f in file.parents))
    return f" Missing beside or above it: {', '.join(absent[:5])}" if absent else ""


def _pybullet() -> Any:
    try:
        import pybullet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pybullet", "bullet", "The digital twin") from error
    return pybullet
