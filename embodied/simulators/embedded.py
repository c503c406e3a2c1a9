"""The embedded simulator: load a mesh, place agents, move them, render, ask the navigation grid.

Frames as in `embodied.types`: y up, metres, yaw 0 looks along -z, positions are at the feet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import NavigationError, SceneError, SensorError, suggest_nearest
from embodied.simulators.base import AgentSpec, CameraSpec, Scene
from embodied.simulators.pathfinder import PathFinder
from embodied.simulators.raycast import RayCaster, apply_noise, compute_camera_poses
from embodied.types import FORWARD, LEFT, LOOK_DOWN, LOOK_UP, RIGHT, STOP

Array = NDArray[np.float64]

MAX_PITCH = np.pi / 2

MAX_CELLS = 4e8
"""Largest navigation grid: one square kilometre at 5 cm, some gigabytes while it is built."""


class World:
    """One scene with its ray caster and navigation grid, each built when first asked for.

    Args:
        scene: the triangles, or the path of a file `load_scene` reads.
        agent: the body the navigation grid is built for.

    Raises:
        SceneError: the file is missing, unreadable or without usable geometry.
    """

    def __init__(self, scene: Scene | str | Path, agent: AgentSpec | None = None) -> None:
        if not isinstance(scene, Scene):
            from embodied.simulators.scenes import load_scene

            scene = load_scene(scene)
        self.scene = scene
        self.agent = agent or AgentSpec()

    @cached_property
    def caster(self) -> RayCaster:
        """The scene's ray caster."""
        return RayCaster(self.scene)

    @cached_property
    def pathfinder(self) -> PathFinder:
        """The navigation grid for `agent` in this scene.

        Raises:
            NavigationError: nothing in it can be walked on.
            SceneError: it is so large that its unit cannot be metres.
        """
        (x, _, z), cell = np.ptp(self.scene.bounds, axis=0), self.agent.cell_size
        if x * z / cell**2 > MAX_CELLS:
            raise SceneError(
                f"scene '{self.scene.name}' is {x:.0f} x {z:.0f} m large, too much for a grid of "
                f"{cell} m cells. If its unit is not the metre (often the millimetre), scale the "
                "mesh; else set a larger agent cell_size."
            )
        try:
            return PathFinder(self.scene.vertices, self.scene.faces, self.agent)
        except NavigationError as cause:
            raise NavigationError(f"scene '{self.scene.name}': {cause}") from cause

    def require_navigable(self, positions: Array, what: str = "agent {}") -> None:
        """Check that every point (N, 3) lies on the navigable area.

        `what` names a point in the error; `{}` in it stands for the point's row.

        Raises:
            NavigationError: names the first point off the area and the nearest one on it.
        """
        good = self.pathfinder.is_navigable(positions)
        if good.all():
            return
        bad = int(np.argmin(good))
        near = self.pathfinder.snap_points(positions[bad : bad + 1])[0]
        remedy = (
            f"the nearest navigable point is {_show(near)}"
            if np.isfinite(near).all()
            else "no navigable point is near; draw one with pathfinder.sample(rng)"
        )
        raise NavigationError(
            f"{what.format(bad)} at {_show(positions[bad])} is not navigable in scene "
            f"'{self.scene.name}' (inside a wall, in the air or outside): {remedy}"
        )


def wrap_angle(angle: Array) -> Array:
    """Wrap angles [rad] into [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi


def apply_actions(
    pathfinders: Sequence[PathFinder],
    agent: AgentSpec,
    positions: Array,
    yaw: Array,
    pitch: Array,
    actions: NDArray[np.integer],
) -> NDArray[np.bool_]:
    """Apply one discrete action per agent, in place; agent i moves in pathfinders[i].

    Args:
        pathfinders: one per agent, repeated where agents share a scene.
        agent: step lengths and whether to slide.
        positions: (N, 3) feet [m], updated.
        yaw: (N,) headings [rad], updated.
        pitch: (N,) looks [rad], updated.
        actions: (N,) STOP, FORWARD, LEFT, RIGHT, LOOK_UP or LOOK_DOWN.

    Returns:
        (N,) whether the body touched something.
    """
    turn, look = np.deg2rad(agent.turn), np.deg2rad(agent.look)
    turns = (actions == LEFT).astype(np.float64) - (actions == RIGHT)
    yaw[:] = np.where(turns != 0, wrap_angle(yaw + turn * turns), yaw)
    if actions.max(initial=0) >= LOOK_UP:
        looks = (actions == LOOK_UP).astype(np.float64) - (actions == LOOK_DOWN)
        pitch[:] = np.clip(pitch + look * looks, -MAX_PITCH, MAX_PITCH)
    collided = np.zeros(len(positions), bool)
    moving = np.flatnonzero(actions == FORWARD)
    if len(moving):
        targets = positions[moving]
        targets[:, 0] -= agent.forward * np.sin(yaw[moving])
        targets[:, 2] -= agent.forward * np.cos(yaw[moving])
        positions[moving], collided[moving] = _move(
            [pathfinders[int(i)] for i in moving], positions[moving], targets, agent.sliding
        )
    return collided


def _move(
    pathfinders: Sequence[PathFinder], positions: Array, targets: Array, sliding: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """Move agents towards targets (N, 3), with one call per distinct pathfinder."""
    groups: dict[int, list[int]] = {}
    for row, pathfinder in enumerate(pathfinders):
        groups.setdefault(id(pathfinder), []).append(row)
    if len(groups) == 1:
        return pathfinders[0].step(positions, targets, sliding)
    moved, collided = positions.copy(), np.zeros(len(positions), bool)
    for rows in groups.values():
        moved[rows], collided[rows] = pathfinders[rows[0]].step(
            positions[rows], targets[rows], sliding
        )
    return moved, collided


class Simulator:
    """N agents in one scene.

    >>> simulator = Simulator("house.glb", CameraSpec(outputs=("rgb", "depth")))
    >>> start = simulator.pathfinder.sample(simulator.rng)
    >>> simulator.place_agents(start, [0.0])
    >>> collided = simulator.step([FORWARD])
    >>> images = simulator.observe()          # {"rgb": (1, H, W, 3), "depth": (1, H, W)}

    Args:
        scene: a `Scene`, the path of a file `load_scene` reads, or a `World` to share.
        cameras: one camera, or several by name; each agent carries all of them.
        agent: body and step lengths; ignored in favour of its own when `scene` is a `World`.
        seed: seeds `rng`, the only source of chance.

    Attributes:
        positions: (N, 3) feet [m].
        yaw, pitch: (N,) [rad].
        collided: (N,) whether the last step touched something.

    Raises:
        SceneError: the scene file is missing, unreadable or without usable geometry.
    """

    def __init__(
        self,
        scene: Scene | World | str | Path,
        cameras: CameraSpec | Mapping[str, CameraSpec] | None = None,
        agent: AgentSpec | None = None,
        seed: int = 0,
    ) -> None:
        self.world = scene if isinstance(scene, World) else World(scene, agent)
        cameras = cameras if cameras is not None else CameraSpec()
        self.cameras = {"": cameras} if isinstance(cameras, CameraSpec) else dict(cameras)
        if not self.cameras:
            raise SensorError("a simulator needs at least one camera; give a CameraSpec")
        self.rng = np.random.default_rng(seed)
        self.positions = np.zeros((0, 3))
        self.yaw = np.zeros(0)
        self.pitch = np.zeros(0)
        self.collided = np.zeros(0, bool)

    @property
    def scene(self) -> Scene:
        """The triangles and objects of the world."""
        return self.world.scene

    @property
    def agent(self) -> AgentSpec:
        """The body every agent has."""
        return self.world.agent

    @property
    def pathfinder(self) -> PathFinder:
        """Navigation queries: is_navigable, snap, sample, geodesic, shortest_path, topdown, ..."""
        return self.world.pathfinder

    @property
    def caster(self) -> RayCaster:
        """Rays and images without agents."""
        return self.world.caster

    def place_agents(
        self, positions: Sequence[Sequence[float]] | Array, yaw: Sequence[float] | Array = (0.0,)
    ) -> None:
        """Put N agents into the scene; the number of rows decides N.

        Args:
            positions: (N, 3) feet [m], navigable.
            yaw: (N,) or (1,) headings [rad].

        Raises:
            NavigationError: a position inside a wall or off the floor (names the nearest good one).
        """
        points = np.array(positions, np.float64).reshape(-1, 3)
        headings = np.broadcast_to(np.asarray(yaw, np.float64), (len(points),))
        if not (np.isfinite(points).all() and np.isfinite(headings).all()):
            raise NavigationError("positions and yaw must be finite numbers")
        self.world.require_navigable(points)
        self.positions, self.yaw = self.pathfinder.snap_points(points), wrap_angle(headings.copy())
        self.pitch = np.zeros(len(points))
        self.collided = np.zeros(len(points), bool)

    def place_randomly(self, count: int = 1) -> None:
        """Put `count` agents on random points of the largest island with random headings."""
        points = self.pathfinder.sample_points(
            self.rng, count, island=self.pathfinder.largest_island
        )
        self.place_agents(points, self.rng.uniform(-np.pi, np.pi, count))

    def step(self, actions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.bool_]:
        """Apply one discrete action per agent and return (N,) whether each touched something.

        Raises:
            NavigationError: no agent placed, a wrong number of actions or an unknown action.
        """
        chosen = np.asarray(actions)
        self._require_agents(chosen, "actions")
        if chosen.dtype.kind not in "iu" or chosen.min() < STOP or chosen.max() > LOOK_DOWN:
            raise NavigationError(
                f"actions must be integers in 0..{LOOK_DOWN} (stop, forward, left, right, look up, "
                f"look down); got {chosen.min()}..{chosen.max()}"
            )
        paths = [self.pathfinder] * len(self.positions)
        self.collided = apply_actions(
            paths, self.agent, self.positions, self.yaw, self.pitch, chosen
        )
        return self.collided

    def apply_velocities(
        self, linear: Sequence[float] | Array, angular: Sequence[float] | Array, dt: float
    ) -> NDArray[np.bool_]:
        """Drive with constant velocities for `dt` seconds, along the exact arc of a unicycle.

        Args:
            linear: (N,) forward speed [m/s].
            angular: (N,) turn rate [rad/s], positive is left.
            dt: duration [s].

        Returns:
            (N,) whether each touched something.
        """
        speed, rate = np.asarray(linear, np.float64), np.asarray(angular, np.float64)
        self._require_agents(speed, "linear velocities")
        self._require_agents(rate, "angular velocities")
        if not (np.isfinite(speed).all() and np.isfinite(rate).all() and 0 < dt < np.inf):
            raise NavigationError("velocities must be finite and dt positive")
        # Short pieces keep the arc: the grid moves bodies along straight segments.
        length, angle = np.abs(speed).max() * dt, np.abs(rate).max() * dt
        pieces = max(1, int(np.ceil(max(length / 0.1, angle / np.deg2rad(10)))))
        collided = np.zeros(len(speed), bool)
        for _ in range(pieces):
            middle = self.yaw + rate * dt / pieces / 2
            step = (speed * dt / pieces)[:, None]
            heading = np.stack([-np.sin(middle), np.zeros_like(middle), -np.cos(middle)], axis=1)
            self.positions, touched = self.pathfinder.step(
                self.positions, self.positions + step * heading, self.agent.sliding
            )
            collided |= touched
            self.yaw = wrap_angle(self.yaw + rate * dt / pieces)
        self.collided = collided
        return collided

    def get_observations(self) -> dict[str, NDArray]:
        """Render every agent's cameras.

        Returns:
            Output name -> (N, H, W[, 3]); with named cameras the keys are "camera.output".
        """
        if not len(self.positions):
            raise NavigationError("no agent is placed yet: call place() or place_randomly() first")
        images = {}
        for name, camera in self.cameras.items():
            poses = compute_camera_poses(self.positions, self.yaw, camera, self.pitch)
            for output, image in self._render(camera, poses).items():
                images[f"{name}.{output}" if name else output] = image
        return images

    def render(self, camera: CameraSpec | str, poses: Array) -> dict[str, NDArray]:
        """Render from free poses, agents aside.

        Args:
            camera: a camera description, or the name of one of `cameras`.
            poses: (N, 4, 4) or (4, 4) camera-to-world transforms.

        Returns:
            Output name -> (N, H, W[, 3]).

        Raises:
            SensorError: an unknown camera name or poses of another shape.
        """
        if isinstance(camera, str):
            if camera not in self.cameras:
                raise SensorError(
                    f"unknown camera '{camera}': {suggest_nearest(camera, self.cameras)}"
                )
            camera = self.cameras[camera]
        poses = np.asarray(poses, np.float64)
        if poses.shape[-2:] != (4, 4) or poses.ndim not in (2, 3) or not np.isfinite(poses).all():
            raise SensorError(f"poses must be finite (N, 4, 4) transforms, got {poses.shape}")
        return self._render(camera, poses.reshape(-1, 4, 4))

    def _render(self, camera: CameraSpec, poses: Array) -> dict[str, NDArray]:
        return apply_noise(self.caster.render(camera, poses), camera, self.rng)

    def _require_agents(self, values: NDArray, what: str) -> None:
        if values.shape != self.yaw.shape or not len(values):
            raise NavigationError(
                f"{what} {values.shape} do not match the {len(self.yaw)} placed agents; "
                "place() decides their number"
            )


def _show(point: Array) -> str:
    return "(" + ", ".join(f"{v:.2f}" for v in point) + ")"
