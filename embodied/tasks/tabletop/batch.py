"""The core of every tabletop environment: N workcells controlled as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from embodied.errors import ConfigError
from embodied.simulators.bullet import Rig, SimulationError
from embodied.simulators.bullet.rotations import from_rotvec, to_quaternion, to_rotvec
from embodied.tasks.tabletop.config import RATE, TabletopConfig
from embodied.tasks.tabletop.lazy_images import LazyImage, LazyRender
from embodied.tasks.tabletop.views import CAMERAS, TableViews
from embodied.tasks.tabletop.workcell import VIOLATIONS, Workcell, WorkcellSnapshot

Array = NDArray[np.float64]

_LEAD = 0.06  # most the target may run ahead of the tool, else pressing would wind up [m]
_LEAD_TURN = 0.5  # likewise [rad]
_FARTHEST = 10.0  # bounds of the observation spaces [m]
_STATE = np.array([[-_FARTHEST] * 3 + [-1.0] * 4 + [0.0], [_FARTHEST] * 3 + [1.0] * 5], np.float32)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.'-"


class TabletopBatch:
    """Plays N episodes at once.

    Args:
        config: the task.
        num_envs: number of workcells.

    Attributes:
        rig: the arm.
        cells: the workcells.
        observation_space, action_space: of one environment.

    Raises:
        SimulationError: unknown robot, or a URDF that cannot be loaded.
        ModelError: no URDF, or not one of this arm.
    """

    def __init__(self, config: TabletopConfig, num_envs: int) -> None:
        if num_envs < 1:
            raise ConfigError(f"number of environments = {num_envs} must be at least 1")
        self.config, self.num_envs = config, num_envs
        self.rig = Rig(config.robot, config.urdf)
        self.cells = [self.build_cell() for _ in range(num_envs)]
        self._views: TableViews | None = None
        self._moment: LazyRender | None = None
        joints = len(self.rig.lower)
        size = 7 if config.control == "ee_delta" else joints + 1
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        entries: dict[str, spaces.Space[Any]] = {
            "state": spaces.Box(_STATE[0], _STATE[1], dtype=np.float32),
            "instruction": spaces.Text(120, charset=_CHARACTERS),
        }
        if config.observation == "rgb":
            shape = (config.height, config.width, 3)
            entries.update({camera: spaces.Box(0, 255, shape, np.uint8) for camera in CAMERAS})
        if config.privileged:
            numbers = self.cells[0].task.objects_size
            entries["objects"] = spaces.Box(-_FARTHEST, _FARTHEST, (numbers,), np.float32)
        self.observation_space = spaces.Dict(entries)

    def begin_episodes(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Start the episodes of some seeds in some workcells."""
        self._move_on()
        for row, seed in zip(rows, seeds, strict=True):
            cell = self.cells[row]
            cell.begin_episode(cell.draw_layout(seed))
            self._relook(row)

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply one action to each workcell.

        Args:
            actions: (N, A), cut to [-1, 1].

        Returns:
            Rewards (N,), terminated (N,), truncated (N,).

        Raises:
            SimulationError: an action has another shape or holds NaN, or physics has diverged.
        """
        given = self._checked(actions)
        self._move_on()
        arrived: Array = np.stack(
            [cell.delay_action(action) for cell, action in zip(self.cells, given, strict=True)]
        )
        if self.config.control == "ee_delta":
            commands = self._follow(arrived)
        else:
            commands = self._joints(arrived[:, :-1])
        openings = (arrived[:, -1] + 1) / 2
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for row, cell in enumerate(self.cells):
            cell.move_joints(commands[row], float(openings[row]))
        tips = self.rig.compute_tcp_poses(np.stack([cell.positions for cell in self.cells]))
        for row, cell in enumerate(self.cells):
            cell.update_result(tips[row])
            success, reward = cell.result
            rewards[row] = reward if self.config.reward == "dense" else float(success)
            terminated[row] = success
            truncated[row] = not success and cell.steps >= cell.max_steps
        return rewards, terminated, truncated

    @property
    def views(self) -> TableViews:
        """The cameras; made when they are first asked for."""
        if self._views is None:
            self._views = self.build_views()
        return self._views

    def build_cell(self) -> Workcell:
        """Make one workcell."""
        return Workcell(self.config, self.rig)

    def build_views(self) -> TableViews:
        """Make the cameras."""
        return TableViews(self.config, self.rig, self.cells)

    def restore_state(self, row: int, state: WorkcellSnapshot) -> None:
        """Put a workcell into a state.

        Raises:
            SimulationError: a state of another task or robot.
        """
        self._move_on()
        self.cells[row].restore_state(state)
        self._relook(row)

    def observe(self, lazy: bool = False) -> dict[str, Any]:
        """Return the observations: arrays (N, ...) and a tuple of instructions.

        Args:
            lazy: images are `LazyImage`s, rendered where they are looked at before the next step.
        """
        poses = np.stack([cell.hand.pose for cell in self.cells])
        openings = np.array([[cell.hand.opening] for cell in self.cells])
        turns = to_quaternion(poses[:, :3, :3])
        state = np.concatenate([poses[:, :3, 3], turns, openings], axis=1)
        seen: dict[str, Any] = {"state": state.astype(np.float32)}
        seen["instruction"] = tuple(
            cell.layout.instruction if cell.layout else "" for cell in self.cells
        )
        if self.config.observation == "rgb" and lazy:
            size = (self.config.height, self.config.width)
            self._moment = LazyRender(self.views, self.num_envs, size)
            seen.update({camera: LazyImage(self._moment, camera) for camera in CAMERAS})
        elif self.config.observation == "rgb":
            images = self.views.render_images()
            seen.update({camera: images[camera]["rgb"] for camera in CAMERAS})
        if self.config.privileged:
            seen["objects"] = np.stack([cell.task.observe_objects() for cell in self.cells])
        return seen

    def collect_info(self) -> dict[str, Any]:
        """Return how each episode stands, arrays (N,); "violations" has one for each kind."""
        success = np.array([cell.result.success for cell in self.cells])
        seeds = [cell.layout.seed if cell.layout else -1 for cell in self.cells]
        counts = np.stack([cell.violations for cell in self.cells])
        return {
            "success": success,
            "is_success": success.copy(),
            "episode_seed": np.array(seeds, np.int64),
            "steps": np.array([cell.steps for cell in self.cells], np.int64),
            "violations": {name: counts[:, i].copy() for i, name in enumerate(VIOLATIONS)},
        }

    def close(self) -> None:
        """Close the worlds."""
        for cell in self.cells:
            cell.world.close()

    def _move_on(self) -> None:
        if self._moment is not None:
            self._moment.mark_stale()

    def _relook(self, row: int) -> None:
        if self._views is not None:
            self._views.apply_appearance(row)

    def _checked(self, actions: NDArray[np.floating]) -> Array:
        shape = (self.num_envs, *(self.action_space.shape or ()))
        given = np.asarray(actions, np.float64)
        if given.shape != shape:
            raise SimulationError(
                f"actions have shape {given.shape}: {self.config.control} of {self.rig.name} takes "
                f"{shape}"
            )
        if not np.isfinite(given).all():
            row = int(np.flatnonzero(~np.isfinite(given).all(axis=1))[0])
            raise SimulationError(
                f"action of environment {row} holds NaN or infinity: {given[row].tolist()}. "
                "Nothing was moved; look for the cause in the policy"
            )
        return np.clip(given, -1.0, 1.0)

    def _joints(self, joints: Array) -> Array:
        """Return joint angles (N, J) that joint actions (N, J) ask for."""
        now = np.stack([cell.command for cell in self.cells])
        lower, upper = self.rig.lower, self.rig.upper
        commands = (
            lower + (joints + 1) / 2 * (upper - lower)
            if self.config.control == "joint_position"
            else now + joints * self.rig.velocity / RATE
        )
        for cell, tip in zip(self.cells, self.rig.compute_tcp_poses(commands), strict=True):
            cell.check_workspace(tip[:3, 3])
        return np.asarray(commands)

    def _follow(self, actions: Array) -> Array:
        """Move the targets on and return joint angles (N, J) that lead there."""
        config = self.config
        poses = np.stack([cell.hand.pose for cell in self.cells])
        targets = np.stack([cell.target for cell in self.cells])
        ahead = targets[:, :3, 3] - poses[:, :3, 3] + actions[:, :3] * config.position_step
        turns = from_rotvec(actions[:, 3:6] * config.rotation_step) @ targets[:, :3, :3]
        turned = to_rotvec(turns @ np.swapaxes(poses[:, :3, :3], 1, 2))
        targets[:, :3, 3] = poses[:, :3, 3] + _at_most(ahead, _LEAD)
        targets[:, :3, :3] = from_rotvec(_at_most(turned, _LEAD_TURN)) @ poses[:, :3, :3]
        for cell, target in zip(self.cells, targets, strict=True):
            cell.set_target(target)
        held = np.stack([cell.target for cell in self.cells])
        now = np.stack([cell.command for cell in self.cells])
        return self.rig.solve_ik(held, now)


def _at_most(vectors: Array, length: float) -> Array:
    """Shorten vectors (N, 3) that are longer than that."""
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors * np.minimum(1.0, length / np.maximum(lengths, 1e-12)))
