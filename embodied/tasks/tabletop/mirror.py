"""A table in pictures only, for an arm that has no cameras: rehearse what was learned at a table.

The arm in the pictures stands as the real one, or its emulator, measured itself. Nothing else
moves, so a task in which things are carried shows no progress; `reach` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied import config
from embodied.simulators.bullet import Rig
from embodied.tasks.tabletop.task import TaskResult
from embodied.tasks.tabletop.twin import TabletopTwin, TwinOptions, describe_table
from embodied.tasks.tabletop.views import CAMERAS, TableViews
from embodied.tasks.tabletop.workcell import Workcell
from robots.arm import Arm, ArmState
from robots.model import ArmModel

Images = dict[str, NDArray[np.uint8]]


class TableMirror:
    """One episode that an arm is shown in, wherever it is.

    Args:
        model: of an arm that stands at tables here.
        options: which episode.

    Attributes:
        instruction: what the episode asks for.

    Raises:
        ConfigError: another arm, or an unknown task.
        SimulationError: the arm cannot be put into a world.
    """

    def __init__(self, model: ArmModel, options: TwinOptions) -> None:
        table = describe_table(model, options)
        rig = Rig(table.robot)
        self._cell = Workcell(table, rig)
        layout = self._cell.draw_layout(options.seed)
        self._cell.begin_episode(layout)
        self.instruction = layout.instruction
        self._views = TableViews(table, rig, [self._cell])
        self.render_images()  # the first ones take long

    @property
    def verdict(self) -> TaskResult:
        """How the episode stood when the arm was last shown."""
        return self._cell.result

    def show_state(self, state: ArmState) -> None:
        """Put the arm where it was measured."""
        cell = self._cell
        cell.arm.reset_joints(state.positions, 1.0 if state.gripper is None else state.gripper)
        cell.positions, cell.velocities = state.positions, state.velocities
        cell.update_result(cell.rig.compute_tcp_poses(state.positions))

    def render_images(self) -> Images:
        """Return what each camera sees now, (H, W, 3)."""
        found = self._views.render_images()
        return {name: np.asarray(found[name]["rgb"][0], np.uint8) for name in CAMERAS}


class TableSensors:
    """Sees a simulated table: the one an arm stands at, or else a mirror.

    Args:
        arm: a driver, not connected yet.
        model: of it.
        settings: of the mirror, see `TwinOptions`; a table of the arm's own has those of the arm.

    Raises:
        ConfigError: an arm that stands at no table here, or unknown settings.
        SimulationError: the arm cannot be put into a world.
    """

    def __init__(self, arm: Arm, model: ArmModel, settings: Mapping[str, Any]) -> None:
        self._table: TabletopTwin | TableMirror
        if isinstance(arm, TabletopTwin):
            self._table = arm
        else:
            self._table = TableMirror(model, config.build(TwinOptions, settings, source="sensors"))
        self._done = False

    def __call__(self, state: ArmState) -> Images:
        """Return what a policy sees of an arm in a state, beside the joints."""
        if isinstance(self._table, TableMirror):
            self._table.show_state(state)
        self._done |= self._table.verdict.success
        return {f"observation/{name}": image for name, image in self._table.render_images().items()}

    @property
    def verdict(self) -> str:
        """How the episode went, in words; as in the environments, success once is success."""
        reward = self._table.verdict.reward
        how = "done" if self._done else f"not done, reward {reward:.2f} of 1"
        return f"{self._table.instruction}: {how}"
