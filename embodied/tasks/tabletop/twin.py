"""A tabletop task behind the protocol of real arms: try a deployment before the robot is there.

The bridge commands it like any arm, and what the policy sees comes from its cameras; its time is
the clock's, as that of `robots.bullet`. Bridge and policy have a thread each, so that a lock guards
the world.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, suggest_nearest
from embodied.simulators.bullet import RIGS, Rig, SimulationError
from embodied.simulators.bullet.world import TIMESTEP
from embodied.tasks.tabletop.config import TabletopConfig
from embodied.tasks.tabletop.task import TaskResult
from embodied.tasks.tabletop.views import CAMERAS, TableViews
from embodied.tasks.tabletop.workcell import Workcell
from robots.arm import ArmDriver, ArmFeatures, ArmState, Joints, Setpoint, StopCategory
from robots.errors import DeviceError
from robots.model import ArmModel

RATE = 100.0
_CATCH_UP = 0.25  # most time to simulate in one call [s]


@dataclass(frozen=True)
class TwinOptions:
    """Which episode.

    Attributes:
        task: one of `TASKS`.
        level: of randomisation.
        seed: of the episode.
        width, height: pixels of both cameras.
    """

    task: str = "pick"
    level: int = 1
    seed: int = 0
    width: int = 96
    height: int = 96


def describe_table(model: ArmModel, options: TwinOptions) -> TabletopConfig:
    """Describe the table that an arm of this model stands at.

    Raises:
        ConfigError: an arm that stands at none here, or an unknown task.
    """
    rigs = {spec.model: name for name, spec in RIGS.items()}
    if model.name not in rigs:
        raise ConfigError(f"no table for '{model.name}': {suggest_nearest(model.name, rigs)}")
    return TabletopConfig(
        options.task, rigs[model.name], observation="rgb", level=options.level,
        width=options.width, height=options.height,
    )  # fmt: skip


class TabletopTwin(ArmDriver):
    """One episode that waits for an arm's commands instead of an environment's actions.

    Args:
        model: of an arm that stands at tables here.
        options: which episode.
        clock: rising time [s]; a test may give its own.

    Raises:
        ConfigError: another arm, or an unknown task.
    """

    options_type: ClassVar[type] = TwinOptions

    def __init__(
        self,
        model: ArmModel,
        options: TwinOptions = TwinOptions(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._seed, self._clock = model, options.seed, clock
        self._config = describe_table(model, options)
        self._cell: Workcell | None = None
        self._lock = threading.RLock()
        self._time = 0.0
        self._target: Joints = np.zeros(len(model.joints))
        self._opening = 1.0

    @property
    def features(self) -> ArmFeatures:
        """What the arm is."""
        return ArmFeatures(self._model.name, self._model.joint_names, RATE, gripper=True)

    @property
    def instruction(self) -> str:
        """What the episode asks for."""
        layout = self._there().layout
        return layout.instruction if layout else ""

    @property
    def verdict(self) -> TaskResult:
        """How the episode stands."""
        with self._lock:
            self._advance()
            return self._sensed().result

    def connect(self) -> None:
        """Begin the episode.

        Raises:
            DeviceError: the arm cannot be put into a world.
        """
        self.disconnect()
        try:
            rig = Rig(self._config.robot)
            cell = Workcell(self._config, rig)
        except SimulationError as error:
            raise DeviceError(str(error)) from error
        cell.begin_episode(cell.draw_layout(self._seed))
        self._cell, self._views = cell, TableViews(self._config, rig, [cell])
        self._target, self._opening = np.array(cell.positions), 1.0
        self._time = self._clock()
        self.render_images()  # the first ones take long, and the bridge would miss its measurements

    def disconnect(self) -> None:
        """Close the world."""
        with self._lock:
            if self._cell is not None:
                self._cell.world.close()
                self._cell = None

    def state(self) -> ArmState:
        """Let physics catch up and return the state after its last step.

        Raises:
            DeviceError: not connected.
        """
        with self._lock:
            self._advance()
            positions, velocities, opening = self._there().arm.read_joints()
            return ArmState(self._time, positions, velocities, gripper=opening)

    def command(self, setpoint: Setpoint) -> None:
        """Let physics catch up and give the motors a new target.

        Raises:
            DeviceError: not connected.
        """
        with self._lock:
            self._advance()
            self._target = np.array(setpoint.positions)
            if setpoint.gripper is not None:
                self._opening = min(1.0, max(0.0, setpoint.gripper))

    def stop(self, category: StopCategory) -> None:
        """Hold here and now, whatever the category: the motors brake within their torques.

        Raises:
            DeviceError: not connected.
        """
        with self._lock:
            self._target = self.state().positions

    def render_images(self) -> dict[str, NDArray[np.uint8]]:
        """Return what each camera sees now, (H, W, 3).

        Raises:
            DeviceError: not connected.
        """
        with self._lock:
            self._sensed()
            found = self._views.render_images()
        return {name: np.asarray(found[name]["rgb"][0], np.uint8) for name in CAMERAS}

    def _there(self) -> Workcell:
        if self._cell is None:
            raise DeviceError(f"the twin of {self._model.name} is not connected: connect() first")
        return self._cell

    def _sensed(self) -> Workcell:
        """Bring hand and verdict to the present."""
        cell = self._there()
        cell.positions, cell.velocities, _ = cell.arm.read_joints()
        cell.update_result(cell.rig.compute_tcp_poses(cell.positions))
        return cell

    def _advance(self) -> None:
        """Step to the clock's time; after a long pause of the program the rest is left out."""
        cell, now = self._there(), self._clock()
        due = int((now - self._time) / TIMESTEP + 1e-6)
        for _ in range(min(due, round(_CATCH_UP / TIMESTEP))):
            cell.arm.set_joint_targets(self._target, self._opening)
            cell.world.step()
            self._time += TIMESTEP
        if now - self._time > 2 * TIMESTEP:
            self._time = now
