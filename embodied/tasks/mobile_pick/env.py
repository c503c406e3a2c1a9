"""Find a cube in a house, drive up to it, and pick it up: navigation and manipulation in one.

>>> env = gymnasium.make("embodied/MobilePick-v0")
>>> observation, info = env.reset(seed=0)

A house of the embedded simulator with two stands in it, a cube of another colour on each. A base
that moves as the agents of the navigation tasks do carries an arm of the tabletop tasks.

Modes: `action["mode"]` says which half acts, and only that half's part of the action counts.
DRIVE: `action["base"]` is STOP, FORWARD, LEFT or RIGHT; STOP ends the episode, as in the navigation
tasks: the agent gives up. ARM: `action["arm"]` is an action of `TabletopConfig.control`. The step
that changes the mode does nothing else, and takes as long as unfolding the arm, or letting go and
folding it. Physics runs in ARM only, with the house around the arm in it.

Observation: of the base the camera's outputs, "pose" = (x, y, z, yaw) in the frame of the start and
"goal", the class id of the wanted cube in "semantic" (`CATEGORIES`), as in object navigation; of
the arm "state", "instruction" and, with `arm.observation = "rgb"`, "front" and "wrist", as at a
table; and "mode". Cameras of the half that rests are off: their images are zero. With `expert=True`
also "expert_action" of the arm, from the true state.

Randomisation: the house, the stands' places and wood, the cubes' places, turns and colours, the
mark's place, the start. Episode `seed` plays in house `seed` modulo their number.
Success: as of `embodied/PandaPick-v0`: the wanted cube is within 25 mm of the ball, which hangs 16
to 26 cm above the stand, and the arm is at rest; and the base touches nothing.
Reward: metres of geodesic progress while driving, the change of `PickTask`'s dense reward in ARM,
and `navigation.success_reward`; `navigation.step_penalty` is taken off at each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import NavigationError
from embodied.simulators.bullet import SimulationError
from embodied.simulators.embedded import apply_actions
from embodied.simulators.raycast import apply_noise, compute_camera_poses
from embodied.tasks.env_base import override_config
from embodied.tasks.mobile_pick.config import (
    STAND_HEIGHT,
    MobilePickConfig,
    cube_class_id,
)
from embodied.tasks.mobile_pick.episode_specs import PickEpisodeSpec, draw_episode_spec
from embodied.tasks.mobile_pick.frames import matrix_to_pose, upright_pose
from embodied.tasks.mobile_pick.interface import (
    ARM,
    BASE,
    DRIVE,
    action_space,
    observation_space,
    split_action,
)
from embodied.tasks.mobile_pick.views import MobileBatch, MobileViews
from embodied.tasks.mobile_pick.workcell import CUBE_BODIES, HIDDEN_POSE, MobileCell
from embodied.tasks.navigation import metrics
from embodied.tasks.navigation.observations import relative_pose
from embodied.tasks.navigation.sources import SceneList
from embodied.tasks.navigation.stream import SCENE_TRIALS
from embodied.tasks.tabletop.config import RATE
from embodied.tasks.tabletop.experts import make_expert
from embodied.tasks.tabletop.randomisation import COLORS, Layout
from embodied.tasks.tabletop.views import CAMERAS
from embodied.tasks.tabletop.workcell import VIOLATIONS
from embodied.types import FORWARD, STOP

Array = NDArray[np.float64]
Observation = dict[str, Any]

REACH_TOLERANCE = (0.12, 0.18)
"""A cube no farther than this from the middle of the arm's working space, ahead and aside, lies
where cubes lie at a table [m]."""


class MobilePickEnv(gymnasium.Env):
    """One base with one arm in one house; see the module.

    Args:
        config: the task; keyword overrides are laid over it (`expert=True`).
        render_mode: None or "rgb_array" (the base's camera, in ARM the arm's front camera).

    Attributes:
        batch: the arm's half, as of a tabletop environment.
        episode_spec: what this episode drew.
        mode: DRIVE or ARM.
        position, yaw: of the base in the house, (3,) [m] and [rad].
        cubes: (4, 4) poses in the house by name; in ARM those before the arm began.

    Raises:
        ConfigError: an unknown or unusable setting.
        SimulationError: a URDF that cannot be loaded.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": RATE}  # noqa: RUF012

    def __init__(
        self,
        config: MobilePickConfig | None = None,
        *,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config or MobilePickConfig(), overrides)
        self.render_mode = render_mode
        self.batch = MobileBatch(self.config.arm, 1)
        self._cell: MobileCell = self.batch.cells[0]
        self._houses = SceneList(self.config.navigation.scene, self.config.navigation.agent)
        self._expert = make_expert("pick")
        self.observation_space = observation_space(self.config, self.batch)
        self.action_space = action_space(self.batch)
        self._dark = {
            name: np.zeros(space.shape or (), space.dtype)
            for name, space in self.observation_space.items()
            if name in (*CAMERAS, "rgb", "depth", "semantic")
        }
        self._middle = np.array([*self.batch.rig.spec.center, 0.0])
        self._next: int | None = None
        self._noise = np.random.default_rng()
        self.episode_spec: PickEpisodeSpec | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the episode of a seed; without one, of the number after the last."""
        super().reset(seed=seed)
        if seed is not None or self._next is None:
            self._next = seed if seed is not None else int(self.np_random.integers(2**31))
        self._seed = self._next
        self._next += 1
        self.episode_spec = errand = self._draw(self._seed)
        self._noise = np.random.default_rng((self._seed, 1))
        self.position, self.yaw = errand.position.copy(), errand.yaw
        self._begin = np.array([[*self.position, self.yaw]])
        self.cubes = dict(zip(CUBE_BODIES, errand.cubes.copy(), strict=True))
        self.mode = DRIVE
        self.collided, self.stopped = False, False
        self.steps = self.collisions = self.docks = 0
        self.seconds = self.travelled = 0.0
        self.distance = errand.geodesic_distance
        self._docked: tuple[bool, float] = (False, 0.0)
        cell, world = self._cell, errand.world
        cell.house = world.caster
        classes = np.arange(len(world.scene.categories), dtype=np.int32)
        cell.names = np.where(classes < len(MPCAT40), classes, MPCAT40.index("unlabeled"))
        cell.classes = {
            n: cube_class_id(c) for n, c in zip(CUBE_BODIES, errand.colors, strict=True)
        }
        cell.park_arm(self._layout())
        self._take_along()
        return self._observe(), self._info()

    def step(
        self, action: Mapping[str, Any]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply one action; see the module.

        Raises:
            NavigationError: no episode, or a mode or base action that does not exist.
            SimulationError: an arm action of another shape or with NaN, or physics has diverged.
        """
        if self.episode_spec is None:
            raise NavigationError("there is no episode to step: reset the environment first")
        mode, base = split_action(action)
        reward = -self.config.navigation.step_penalty
        before = self._cell.result.reward if self.mode == ARM else 0.0
        if mode != self.mode:
            self._dock() if mode == ARM else self._leave()
        elif mode == DRIVE:
            reward += self.config.navigation.progress_reward * self._drive(base)
        else:
            self.batch.step(np.asarray(action["arm"])[None])
            self.seconds += 1 / RATE
            reward += self._cell.result.reward - before
        self.steps += 1
        success = self.success
        reward += self.config.navigation.success_reward * success
        ended = success or self.stopped
        cut = not ended and self.steps >= self.config.navigation.max_steps
        return self._observe(), float(reward), ended, cut, self._info()

    @property
    def success(self) -> bool:
        """Whether the cube is held at the ball and the base touches nothing."""
        return self.mode == ARM and self._cell.result.success and not self.collided

    @property
    def frame(self) -> Array:
        """(4, 4) pose of the arm's frame in the house."""
        return upright_pose(self.position + (0.0, STAND_HEIGHT, 0.0), self.yaw)

    def get_reach_offset(self, name: str = "cube") -> Array:
        """Return where a cube is from the middle of the arm's working space, (3,) [m]."""
        place = np.linalg.inv(self.frame) @ self.cubes[name][:, 3]
        return np.asarray(place[:3] - self._middle)

    def put_cube(self, position: Array, name: str = "cube") -> None:
        """Move a cube behind the agent's back, to a place (3,) in the house [m].

        Raises:
            SimulationError: the arm is at work.
        """
        if self.mode == ARM:
            raise SimulationError("cubes can be moved while the base drives: fold the arm first")
        self.cubes[name][:3, 3] = position
        self._take_along()

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture (H, W, 3) in mode "rgb_array"."""
        if self.render_mode != "rgb_array" or self.episode_spec is None:
            return None
        return self.render_camera("front" if self.mode == ARM else BASE)

    def render_camera(self, camera: str, size: int = 0) -> NDArray[np.uint8]:
        """Return what a camera sees now, (H, W, 3), whether it is on or not.

        Args:
            camera: BASE, "front" or "wrist".
            size: height and width; 0 takes the camera's own.

        Raises:
            SensorError: unknown camera.
        """
        views = self._views
        if camera == BASE:
            spec = replace(self.config.navigation.camera, outputs=("rgb",))
            pose = compute_camera_poses(self.position[None], np.array([self.yaw]), spec)[0]
        else:
            spec, pose = views.camera_spec(camera), self.frame @ views.camera_poses(camera)[0]
        if size:
            spec = replace(spec, width=size, height=size)
        return np.asarray(views.render(0, spec, pose)["rgb"], np.uint8)

    def close(self) -> None:
        """Close the world of the arm."""
        self.batch.close()

    # -- the two halves ---

    def _drive(self, base: int) -> float:
        """Move the base and return the geodesic progress [m]."""
        errand, agent = self._errand, self.config.navigation.agent
        self.stopped = base == STOP
        positions, yaw = self.position[None].copy(), np.array([self.yaw])
        paths = errand.world.pathfinder
        touched = apply_actions([paths], agent, positions, yaw, np.zeros(1), np.array([base]))
        self.collided = bool(touched[0])
        self.collisions += self.collided
        self.travelled += float(np.linalg.norm(positions[0] - self.position))
        self.position, self.yaw = positions[0], float(yaw[0])
        self.seconds += self.config.base_seconds
        self._take_along()
        before = self.distance
        if base == FORWARD:
            now = float(errand.dock_distances.get_distances(positions)[0])
            self.distance = now if np.isfinite(now) else before
        return before - self.distance

    def _dock(self) -> None:
        """Begin to use the arm here."""
        errand = self._errand
        stands = range(errand.first_stand, errand.first_stand + len(errand.stands))
        self._cell.dock_base(self._layout(), self.frame, errand.world.scene, stands)
        self.mode = ARM
        self.docks += 1
        self.seconds += self._cell.steps / RATE
        self._expert.reset()
        off = np.abs(self.get_reach_offset())
        inside = bool(
            (off[:2] <= REACH_TOLERANCE).all() and off[2] < STAND_HEIGHT / 2 and not self.collided
        )
        if inside and not self._docked[0]:
            self._docked = (True, self.travelled)

    def _leave(self) -> None:
        """Fold the arm and drive on."""
        begun = self._cell.steps
        self.cubes.update(self._cell.undock_base())
        self.seconds += (self._cell.steps - begun) / RATE
        self.mode = DRIVE
        counts = self._cell.violations.copy()
        self._cell.park_arm(self._layout())
        self._cell.violations[:] = counts
        self._take_along()

    def _take_along(self) -> None:
        self._cell.carry_cubes(self.frame, self.cubes)

    # -- episodes ---

    @property
    def _errand(self) -> PickEpisodeSpec:
        assert self.episode_spec is not None  # noqa: S101 - every caller runs in an episode
        return self.episode_spec

    def _draw(self, seed: int) -> PickEpisodeSpec:
        """Draw an episode; a house without room for it hands over to the next."""
        trials = min(SCENE_TRIALS, len(self._houses))
        for trial in range(trials):
            house = self._houses.load_world((seed + trial) % len(self._houses))
            rng = np.random.default_rng((seed, 0))
            try:
                return draw_episode_spec(house, self.config, float(self._middle[0]), rng)
            except NavigationError:
                if trial == trials - 1:
                    raise
        raise NavigationError("a scene source needs at least one scene")

    def _layout(self) -> Layout:
        """Return where everything is from where the base is now."""
        errand = self._errand
        back = np.linalg.inv(self.frame)
        poses = {name: matrix_to_pose(back @ cube) for name, cube in self.cubes.items()}
        for name, top in zip(CUBE_BODIES, errand.stands, strict=True):
            poses[f"{name} stand"] = matrix_to_pose(back @ upright_pose(top, 0.0))
        poses["goal"] = np.concatenate([self._middle + errand.hold_position, HIDDEN_POSE[3:]])
        colors = dict(zip(CUBE_BODIES, errand.colors, strict=True))
        wanted = self._cell.task.phrases[0].format(cube=colors["cube"], goal="green")
        return Layout(
            self._seed,
            wanted,
            poses,
            {name: COLORS[color] for name, color in colors.items()},
            joint_offsets=np.zeros(len(self.batch.rig.lower)),
        )

    # -- what is seen and said ---

    @property
    def _views(self) -> MobileViews:
        views = self.batch.views
        assert isinstance(views, MobileViews)  # noqa: S101
        return views

    def _look(self) -> dict[str, NDArray[Any]]:
        """Return the images of the base's camera."""
        camera = self.config.navigation.camera
        pose = compute_camera_poses(self.position[None], np.array([self.yaw]), camera)[0]
        return apply_noise(self._views.render(0, camera, pose), camera, self._noise)

    def _observe(self) -> Observation:
        seen: Observation = {name: image.copy() for name, image in self._dark.items()}
        if self.mode == DRIVE:
            seen.update(self._look())
        glances = self.batch.observe(lazy=self.mode == DRIVE)
        keys = ["state", "instruction"]
        if self.mode == ARM and self.config.arm.observation == "rgb":
            keys += CAMERAS
        seen.update({name: glances[name][0] for name in keys})
        place, yaw = self.position[None], np.array([self.yaw])
        seen["pose"] = relative_pose(place, yaw, self._begin)[0]
        seen["goal"] = np.int64(cube_class_id(self._errand.colors[0]))
        seen["mode"] = np.int64(self.mode)
        if self.config.expert:
            idle = np.zeros(self.batch.action_space.shape or (), np.float32)
            works = self.mode == ARM and self._cell.task.is_near
            seen["expert_action"] = self._expert.act(self)[0] if works else idle
        return seen

    def _info(self) -> dict[str, Any]:
        errand, success = self._errand, self.success
        docked, travelled = self._docked
        off = self.get_reach_offset()
        return {
            "success": success,
            "is_success": success,
            "episode_seed": self._seed,
            "mode": self.mode,
            "steps": self.steps,
            "seconds": self.seconds,
            "collided": self.collided,
            "collisions": self.collisions,
            "docks": self.docks,
            "docked": docked,
            "dock_ahead": float(off[0]),
            "dock_aside": float(off[1]),
            "path_length": self.travelled,
            "geodesic": errand.geodesic_distance,
            "distance_to_goal": self.distance,
            "spl": float(metrics.spl(docked, errand.geodesic_distance, travelled)),
            "room": errand.room_type,
            "violations": {
                name: int(count)
                for name, count in zip(VIOLATIONS, self._cell.violations, strict=True)
            },
        }
