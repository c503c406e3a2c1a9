"""One agent's live map and how it walks on it: shared by the policies that act on maps only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.errors import ConfigError
from embodied.types import FORWARD, LEFT, RIGHT
from maps.grid.occupancy import OccupancyMap
from maps.paths.planning import compute_cost_field, compute_cost_weights, is_line_clear, trace_path


@dataclass(frozen=True)
class BodyConfig:
    """The agent's body, its depth camera and its steps, as the policy believes them to be.

    Attributes:
        radius, height: cylinder [m].
        step_height: highest step it walks over [m].
        forward: length of one forward step [m].
        turn: angle of one turn [deg].
        camera_position: of the lens, from the feet, in the agent's frame [m].
        hfov: horizontal field of view [deg].
        pitch: tilt of the camera [deg], positive looks up.
        max_range: depth beyond this horizontal range is not used [m].
        cell_size: of the map [m].
        comfort: distance from obstacles it likes to keep [m].
        storey: a change of height that means another floor, with a map of its own [m].
    """

    radius: float = 0.2
    height: float = 1.5
    step_height: float = 0.2
    forward: float = 0.25
    turn: float = 30.0
    camera_position: tuple[float, float, float] = (0.0, 1.25, 0.0)
    hfov: float = 90.0
    pitch: float = 0.0
    max_range: float = 10.0
    cell_size: float = 0.05
    comfort: float = 0.4
    storey: float = 1.0

    def __post_init__(self) -> None:
        for name in ("radius", "step_height", "forward", "turn", "max_range", "cell_size"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"body {name} = {getattr(self, name)} must be positive")
        if not 0 < self.hfov < 180:
            raise ConfigError(
                f"body hfov = {self.hfov} must lie strictly between 0 and 180 degrees"
            )
        if self.height <= self.step_height:
            raise ConfigError(
                f"body height {self.height} must exceed step_height {self.step_height}"
            )


def compute_camera_pose(body: BodyConfig, position: ArrayLike, yaw: float) -> NDArray[np.float64]:
    """Return the (4, 4) camera-to-world pose on an agent at `position` (3,) [m], heading [rad]."""
    tilt = np.deg2rad(body.pitch)
    cos, sin, up, lean = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, up, -lean], [0.0, lean, up]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ pitch
    pose[:3, 3] = np.asarray(position, np.float64) + turn @ np.asarray(body.camera_position)
    return pose


class Mapper:
    """Keeps the map of one episode, notices bumps, plans and follows paths.

    Attributes:
        grid: the map of the floor the agent is on.
        position: (3,) feet [m], in the frame of the episode's start.
        yaw: heading [rad].
        track: positions so far.
        path: (M, 3) the path being followed, for drawing.
    """

    def __init__(self, body: BodyConfig) -> None:
        self.body = body
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self.grid = self._new_grid(0.0)
        self._floors = [self.grid]
        self.position = np.zeros(3)
        self.yaw = 0.0
        self.track: list[NDArray[np.float64]] = []
        self.path = np.zeros((0, 3))
        self.bumped = False
        self._last = -1
        self._window = (slice(0, 0), slice(0, 0))
        self._weight = np.zeros((0, 0), np.uint8)
        self._field = np.zeros((0, 0), np.float32)

    def _new_grid(self, floor: float) -> OccupancyMap:
        body = self.body
        return OccupancyMap(
            body.cell_size,
            floor=floor,
            obstacle_height=(body.step_height, body.height),
            max_range=body.max_range,
        )

    def observe(self, depth: NDArray[np.float32], pose: NDArray[np.float32]) -> None:
        """Take in a depth image (H, W[, 1]) and the pose (4,) = x, y, z, yaw."""
        before = self.position
        self.position = np.asarray(pose[:3], np.float64)
        self.yaw = float(pose[3])
        self.track.append(self.position)
        if abs(self.position[1] - self.grid.floor) > self.body.storey:
            near = [g for g in self._floors if abs(self.position[1] - g.floor) < self.body.storey]
            if not near:
                near = [self._new_grid(float(self.position[1]))]
                self._floors.append(near[0])
            self.grid = min(near, key=lambda g: abs(self.position[1] - g.floor))
            self._window = (slice(0, 0), slice(0, 0))
        self._integrate(depth)
        self._free_footprint()
        self.bumped = False
        if self._last == FORWARD:
            ahead = np.array([-np.sin(self.yaw), 0.0, -np.cos(self.yaw)])
            if float((self.position - before) @ ahead) < 0.4 * self.body.forward:
                self.bumped = True
                wall = self.position + ahead * (self.body.radius + 1.5 * self.body.cell_size)
                # a weak mark: seeing the floor there a few times from elsewhere takes it back
                self.grid.mark_points(
                    wall, occupied=True, radius=self.body.cell_size, log_odds=self.grid.hit
                )

    def _integrate(self, depth: NDArray[np.float32]) -> None:
        """Add the depth seen from the present pose to the map."""
        pose, floor = (
            compute_camera_pose(self.body, self.position, self.yaw),
            float(self.position[1]),
        )
        self.grid.integrate_depth(depth, pose, self.body.hfov, floor=floor)

    def _free_footprint(self) -> None:
        """Where the body stands there is floor, whatever the camera cannot see below itself."""
        grid = self.grid
        row, column = grid.to_cell(self.position)
        reach = max(1, int(0.5 * self.body.radius / grid.cell_size))
        rows, columns = (
            slice(row - reach, row + reach + 1),
            slice(column - reach, column + reach + 1),
        )
        if not (
            grid.contains([row - reach, column - reach])
            and grid.contains([row + reach, column + reach])
        ):
            grid.mark_points(self.position, occupied=False, radius=0.5 * self.body.radius)
            return
        if grid.occupied[rows, columns].any() or not grid.explored[rows, columns].all():
            grid.mark_points(self.position, occupied=False, radius=0.5 * self.body.radius)

    # -- planning ---

    def plan_costs(
        self, optimistic: bool = False, margin: float = 1.0, squeeze: float = 1.0
    ) -> None:
        """Measure the travel cost from here to every cell of the known map.

        Args:
            optimistic: treat unknown cells as free.
            margin: how far around the explored part to plan [m] (useful with `optimistic`).
            squeeze: share of the body's radius kept free; below 1 for passages that look too
                narrow on the grid.
        """
        body, grid = self.body, self.grid
        if optimistic:
            reach = margin + body.radius
            grid.grow_to_cover(
                tuple(self.position[[0, 2]] - reach), tuple(self.position[[0, 2]] + reach)
            )
        self._window = grid.find_explored_window(margin)
        rows, columns = self._window
        clearance = grid.compute_clearance()[rows, columns]
        walkable = ~grid.occupied[rows, columns] if optimistic else grid.free[rows, columns]
        weight = compute_cost_weights(walkable, clearance, squeeze * body.radius, body.comfort)
        row, column = self.to_window_cell(self.position)
        self._release(weight, row, column, grid.occupied[rows, columns])
        self._weight = weight
        self._field = compute_cost_field(weight, (row, column), grid.cell_size)

    def _release(
        self, weight: NDArray[np.uint8], row: int, column: int, occupied: NDArray[np.bool_]
    ) -> None:
        """Let an agent that touches something get away: its own surroundings are passable."""
        reach = int(np.ceil(1.5 * self.body.radius / self.grid.cell_size))
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        near = weight[rows, columns]
        near[(near == 0) & ~occupied[rows, columns]] = 8

    def to_window_cell(self, point: ArrayLike) -> tuple[int, int]:
        """Map a point (3,) to (row, column) of the planning window, clipped into it."""
        row, column = self.grid.to_cell(np.asarray(point, np.float64))
        rows, columns = self._window
        return (
            int(np.clip(row - rows.start, 0, max(0, rows.stop - rows.start - 1))),
            int(np.clip(column - columns.start, 0, max(0, columns.stop - columns.start - 1))),
        )

    def get_cell_center(self, cell: tuple[int, int]) -> NDArray[np.float64]:
        """Map a cell (row, column) of the planning window to its centre (3,) [m]."""
        rows, columns = self._window
        return self.grid.to_world([cell[0] + rows.start, cell[1] + columns.start])

    @property
    def window_origin(self) -> tuple[int, int]:
        """Lattice index of the planning window's cell (0, 0)."""
        return (
            self.grid.first[0] + self._window[0].start,
            self.grid.first[1] + self._window[1].start,
        )

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the planning window in the grid."""
        return self._window

    @property
    def travel_costs(self) -> NDArray[np.float32]:
        """(H, W) travel cost over the planning window, inf where unreachable."""
        return self._field

    @property
    def cell_weights(self) -> NDArray[np.uint8]:
        """(H, W) cost per metre over the planning window, 0 where the body cannot stand."""
        return self._weight

    def set_path(self, end: tuple[int, int]) -> bool:
        """Head for a cell of the planning window; False if it cannot be reached."""
        cells = trace_path(self._field, end)
        if len(cells) == 0:
            return False
        self.path = self.grid.to_world(
            cells + np.array([self._window[0].start, self._window[1].start])
        )
        return True

    def set_best_path(self, merit: NDArray[np.floating], corner: tuple[int, int] = (0, 0)) -> bool:
        """Head for the cell of least merit; False if none is finite or it cannot be reached.

        Args:
            merit: (h, w) what it costs to end at each cell of a part of the planning window; inf
                where not to.
            corner: cell of the window that the part begins at.
        """
        row, column = np.unravel_index(int(np.argmin(merit)), merit.shape)
        if not np.isfinite(merit[row, column]):
            return False
        return self.set_path((int(row) + corner[0], int(column) + corner[1]))

    # -- moving ---

    def get_remaining_length(self) -> float:
        """Length of the path ahead [m]."""
        if len(self.path) == 0:
            return 0.0
        at = self._nearest()
        ahead = np.diff(self.path[at:, [0, 2]], axis=0)
        return float(np.hypot(*(self.path[at] - self.position)[[0, 2]])) + float(
            np.hypot(ahead[:, 0], ahead[:, 1]).sum()
        )

    def _nearest(self) -> int:
        gap = self.path[:, [0, 2]] - self.position[[0, 2]]
        return int(np.argmin((gap**2).sum(axis=1)))

    def compute_bearing(self, point: ArrayLike) -> float:
        """Angle to turn left to face a point (3,) [rad], in [-pi, pi)."""
        dx, _, dz = np.asarray(point, np.float64) - self.position
        return float((np.arctan2(-dx, -dz) - self.yaw + np.pi) % (2 * np.pi) - np.pi)

    def turn_to(self, point: ArrayLike) -> int | None:
        """Turn towards a point (3,); None when it is ahead as well as the turning angle allows."""
        error = self.compute_bearing(point)
        if abs(error) <= np.deg2rad(self.body.turn) * 0.55:
            return None
        return self._note(LEFT if error > 0 else RIGHT)

    def follow_path(self) -> int:
        """Take the next action along the path."""
        aim = self._aim()
        turn = np.deg2rad(self.body.turn)
        best, best_cost = 0, np.inf
        half = int(np.pi / turn + 0.5)
        wanted = self.compute_bearing(aim)
        for k in range(-half, half + 1):
            angle = k * turn
            off = abs((wanted - angle + np.pi) % (2 * np.pi) - np.pi)
            cost = off + (0.0 if self._open(self.yaw + angle) else 1.2) + 0.02 * abs(k)
            if cost < best_cost - 1e-6:
                best, best_cost = k, cost
        if best == 0:
            return self._note(FORWARD)
        return self._note(LEFT if best > 0 else RIGHT)

    def turn_left(self) -> int:
        """Turn left once."""
        return self._note(LEFT)

    def force_action(self, action: int) -> int:
        """Take an action chosen by somebody else; a forward one will be checked for a bump."""
        return self._note(action)

    def _note(self, action: int) -> int:
        self._last = action
        return action

    def clear_last_action(self) -> None:
        """Remember that no step forward was taken."""
        self._last = -1

    def _aim(self, reach: float = 1.5) -> NDArray[np.float64]:
        """The farthest path point in a clear line within `reach` [m]."""
        at = self._nearest()
        step = max(1, int(0.15 / self.grid.cell_size))
        here = self._fraction(self.position)
        aim = self.path[min(at + step, len(self.path) - 1)]
        cap = max(2, int(self._weight_at(self.position)))
        for index in range(at + step, len(self.path), step):
            point = self.path[index]
            if np.hypot(*(point - self.position)[[0, 2]]) > reach:
                break
            if not is_line_clear(self._weight, *here, *self._fraction(point), cap):
                break
            aim = point
        else:
            last = self.path[-1]
            if np.hypot(*(last - self.position)[[0, 2]]) <= reach and is_line_clear(
                self._weight, *here, *self._fraction(last), cap
            ):
                aim = last
        return aim

    def _open(self, yaw: float) -> bool:
        """Whether one step in a direction keeps the body off the obstacles known at the last
        plan.
        """
        length = self.body.forward + 0.5 * self.grid.cell_size
        end = self.position + length * np.array([-np.sin(yaw), 0.0, -np.cos(yaw)])
        return bool(
            is_line_clear(self._weight, *self._fraction(self.position), *self._fraction(end), 8)
        )

    def _fraction(self, point: NDArray[np.float64]) -> tuple[float, float]:
        first, cell = self.window_origin, self.grid.cell_size
        return float(point[2] / cell - first[0]), float(point[0] / cell - first[1])

    def _weight_at(self, point: NDArray[np.float64]) -> int:
        row, column = self.to_window_cell(point)
        return int(self._weight[row, column])
