"""The embedded simulator as a simulator of stock habitat-lab. Loaded by `register_with_habitat`,
never before.

It answers what habitat-lab's navigation tasks, sensors, measures and tools ask of `Sim-v0`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import quaternion
from gym import spaces
from habitat.core.simulator import Observations, SensorSuite, Simulator
from numpy.typing import NDArray

from embodied.errors import NavigationError, SensorError
from embodied.simulators.base import AgentSpec
from embodied.simulators.embedded import Simulator as Embedded
from embodied.simulators.embedded import World
from embodied.simulators.habitat import convert
from embodied.simulators.habitat.annotations import SemanticScene
from embodied.simulators.habitat.pathfinding import (
    GreedyFollower,
    HabitatPathFinder,
    find_straight_path,
)
from embodied.simulators.habitat.sensors import build_sensors
from embodied.simulators.pathfinder import DistanceField
from embodied.types import FORWARD, LEFT, RIGHT, STOP

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SixDOFPose:
    """Pose of a sensor: position (3,) [m] and rotation (numpy-quaternion)."""

    position: Array
    rotation: Any


class AgentState:
    """Pose of the agent: position (3,) [m] and rotation (numpy-quaternion)."""

    def __init__(
        self, position: Array, rotation: Any, place_sensors: Callable[[], dict[str, SixDOFPose]]
    ) -> None:
        self.position = position
        self.rotation = rotation
        self._place_sensors = place_sensors

    @cached_property
    def sensor_states(self) -> dict[str, SixDOFPose]:
        """Poses of the sensors, by name; computed when asked for, which is seldom."""
        return self._place_sensors()


class HabitatAgent:
    """habitat-sim's view of an agent, as far as habitat-lab's navigation code looks."""

    def __init__(self, simulator: EmbodiedSimulator) -> None:
        self._simulator = simulator

    def get_state(self) -> AgentState:
        """Return the pose."""
        return self._simulator.get_agent_state()

    def set_state(self, state: Any, reset_sensors: bool = True) -> None:
        """Move to the position and rotation of a state."""
        self._simulator.set_agent_state(state.position, state.rotation, reset_sensors=reset_sensors)

    state = property(get_state, set_state)


class EmbodiedSimulator(Simulator):
    """The embedded simulator under habitat-lab's simulator interface; one agent.

    Args:
        config: habitat-lab's `habitat.simulator`.

    Raises:
        SceneError: the scene is missing or unreadable.
        SensorError: a sensor the embedded simulator lacks.
        NavigationError: more than one agent.
    """

    def __init__(self, config: Any) -> None:
        self.habitat_config = config
        self._rng = np.random.default_rng(int(config.seed))
        sensors = self._agent_config.sim_sensors.values()
        self._sensor_suite, self._views = build_sensors(sensors)
        self._action_space = spaces.Discrete(4)
        self._loaded: tuple[Any, ...] = ()
        self._load()
        self.agents = [HabitatAgent(self)]
        self.position = np.zeros(3)
        self.rotation = np.array([0.0, 0.0, 0.0, 1.0])
        self._pitch = 0.0
        self._collided = False
        self._place_at_start()

    # --- construction ---

    @property
    def _agent_config(self) -> Any:
        return self.habitat_config.agents[self.habitat_config.agents_order[0]]

    def _load(self) -> None:
        """Load scene and body, unless they are the ones in place."""
        config = self.habitat_config
        self.agent_spec: AgentSpec = convert.read_agent_spec(config)
        wanted = (str(config.scene), str(config.scene_dataset), self.agent_spec)
        if wanted != self._loaded:
            scene = convert.load_habitat_scene(*wanted[:2])
            self._embedded = Embedded(World(scene, self.agent_spec))
            self._embedded.rng = self._rng
            self._pathfinder: HabitatPathFinder | None = None
            self._annotations = SemanticScene(scene)
            self._loaded = wanted

    def _place_at_start(self) -> None:
        agent = self._agent_config
        if agent.is_set_start_state:
            self.set_agent_state(list(agent.start_position), list(agent.start_rotation))

    # --- life cycle ---

    @property
    def sensor_suite(self) -> SensorSuite:
        """The cameras of `agents.<name>.sim_sensors`."""
        return self._sensor_suite

    @property
    def action_space(self) -> spaces.Discrete:
        """Stop, forward, left, right."""
        return self._action_space

    def seed(self, seed: int) -> None:
        """Restart every random draw."""
        self._rng = np.random.default_rng(seed)
        self._embedded.rng = self._rng
        self._pathfinder = None

    def reconfigure(self, config: Any, episode: Any = None, **_: Any) -> None:
        """Take a new configuration: another scene, body or start pose."""
        self.habitat_config = config
        self._load()
        self._place_at_start()

    def reset(self) -> Observations:
        """Go to the start pose, level the cameras and look."""
        self._pitch = 0.0
        self._collided = False
        self._place_at_start()
        return self.get_sensor_observations()

    def step(self, action: int | None, *args: Any, **kwargs: Any) -> Observations:
        """Move (0 stop, 1 forward, 2 left, 3 right), or only look when `action` is None.

        Raises:
            NavigationError: another action.
        """
        self._collided = False
        if action == FORWARD:
            yaw = convert.compute_yaw(self.rotation)
            ahead = np.array([-np.sin(yaw), 0.0, -np.cos(yaw)])
            self.move_agent(self.agent_spec.forward * ahead, self.agent_spec.sliding)
        elif action in (LEFT, RIGHT):
            angle = np.deg2rad(self.agent_spec.turn)
            self.rotation = convert.turn_rotation(
                self.rotation, angle if action == LEFT else -angle
            )
        elif action not in (None, STOP):
            raise NavigationError(
                f"action {action!r} is unknown; use 0 stop, 1 forward, 2 left, 3 right or None"
            )
        return self.get_sensor_observations()

    def move_agent(self, move: Array, sliding: bool) -> None:
        """Move the agent by (3,) [m] as far as the walls let it, and note contacts."""
        self.position, self._collided = self.pathfinder.step(
            self.position, self.position + move, sliding
        )

    def step_physics(self, dt: float) -> None:
        """Do nothing: the world is static."""

    def close(self, destroy: bool = True) -> None:
        """Nothing to release."""

    # --- pose ---

    def get_agent(self, agent_id: int = 0) -> HabitatAgent:
        """Return the only agent."""
        return self.agents[agent_id]

    def get_agent_state(self, agent_id: int = 0) -> AgentState:
        """Return the pose of the agent and its sensors."""
        position, rotation, pitch = self.position.copy(), self.rotation.copy(), self._pitch

        def place_sensors() -> dict[str, SixDOFPose]:
            body = convert.build_body_matrix(position, rotation)
            sensors = {}
            for view in self._views:
                pose = body @ view.mount @ convert.build_tilt_matrix(pitch)
                placed = SixDOFPose(pose[:3, 3], quaternion.from_rotation_matrix(pose[:3, :3]))
                sensors.update(dict.fromkeys(view.uuids.values(), placed))
            return sensors

        x, y, z, w = rotation
        return AgentState(position, quaternion.quaternion(w, x, y, z), place_sensors)

    def set_agent_state(
        self,
        position: Sequence[float],
        rotation: Any,
        agent_id: int = 0,
        reset_sensors: bool = True,
    ) -> bool:
        """Put the agent anywhere, walls included, as habitat-sim does.

        Args:
            position: (3,) [m].
            rotation: quaternion, a list xyzw or a numpy-quaternion.
            agent_id: 0.
            reset_sensors: level the cameras.
        """
        self.position = convert.to_position(position)
        self.rotation = convert.to_xyzw(rotation)
        if reset_sensors:
            self._pitch = 0.0
        return True

    def tilt_cameras(self, degrees: float) -> None:
        """Turn every camera up (+) or down (-)."""
        self._pitch += np.deg2rad(degrees)

    # --- images ---

    def get_sensor_observations(self) -> Observations:
        """Render every camera from the agent's pose."""
        body = convert.build_body_matrix(self.position, self.rotation)
        images: dict[str, NDArray[Any]] = {}
        for view in self._views:
            pose = body @ view.mount @ convert.build_tilt_matrix(self._pitch)
            rendered = self._embedded.render(view.camera, pose)
            images.update({view.uuids[name]: image[0] for name, image in rendered.items()})
        return self._sensor_suite.get_observations(images)

    def get_observations_at(
        self,
        position: Sequence[float] | None = None,
        rotation: Any = None,
        keep_agent_at_new_pose: bool = False,
    ) -> Observations:
        """Render from another pose (list xyzw or numpy-quaternion), then go back or stay."""
        before = self.position, self.rotation
        if position is not None and rotation is not None:
            self.set_agent_state(position, rotation, reset_sensors=False)
        self._collided = False
        observations = self.get_sensor_observations()
        if not keep_agent_at_new_pose:
            self.position, self.rotation = before
        return observations

    def render(self, mode: str = "rgb") -> NDArray[Any]:
        """Return the image of the sensor called `mode`.

        Raises:
            SensorError: there is no such sensor.
        """
        observations = self.get_sensor_observations()
        if mode not in observations:
            raise SensorError(f"no sensor '{mode}' is active; there are {', '.join(observations)}")
        return observations[mode]

    # --- questions ---

    @property
    def previous_step_collided(self) -> bool:
        """Whether the last step touched something; a property, as habitat-lab reads it."""
        return self._collided

    @property
    def pathfinder(self) -> HabitatPathFinder:
        """Navigation queries under habitat-sim's names."""
        if self._pathfinder is None:
            self._pathfinder = HabitatPathFinder(self._embedded.pathfinder, self._rng)
        return self._pathfinder

    @property
    def semantic_scene(self) -> SemanticScene:
        """Objects, regions and levels of the scene."""
        return self._annotations

    def semantic_annotations(self) -> SemanticScene:
        """Return the objects, regions and levels of the scene."""
        return self._annotations

    def geodesic_distance(
        self,
        position_a: Sequence[float],
        position_b: Sequence[float] | Sequence[Sequence[float]],
        episode: Any = None,
    ) -> float:
        """Return the distance on foot [m] to the nearest of the goals, inf when there is no way.

        As in habitat-sim, the goals an episode was first asked about are kept until its reset.
        """
        known = getattr(episode, "_shortest_path_cache", None)
        way = known if isinstance(known, DistanceField) else None
        if way is None:
            way = self.pathfinder.compute_distance_field(np.asarray(position_b, np.float64))
            if episode is not None:
                episode._shortest_path_cache = way
        return (
            np.inf
            if way is None
            else float(way.get_distances(convert.to_position(position_a)[None])[0])
        )

    def get_straight_shortest_path_points(
        self, position_a: Sequence[float], position_b: Sequence[float]
    ) -> list[Array]:
        """Return the corners of the shortest way, empty when there is none."""
        return find_straight_path(self._embedded.pathfinder, position_a, position_b)

    def distance_to_closest_obstacle(
        self, position: Sequence[float], max_search_radius: float = 2.0
    ) -> float:
        """Return how far the edge of the navigable area is [m]."""
        return self.pathfinder.distance_to_closest_obstacle(position, max_search_radius)

    def island_radius(self, position: Sequence[float]) -> float:
        """Return the radius of the island a point is on [m]."""
        return self.pathfinder.island_radius(position)

    def is_navigable(self, point: Sequence[float]) -> bool:
        """Tell whether the agent can stand there."""
        return self.pathfinder.is_navigable(point)

    def sample_navigable_point(self) -> list[float]:
        """Draw a point, uniform by area."""
        return self.pathfinder.get_random_navigable_point().tolist()

    def make_greedy_follower(
        self,
        agent_id: int = 0,
        goal_radius: float | None = None,
        **keys: Any,
    ) -> GreedyFollower:
        """Return a follower of shortest paths; `keys` name what it returns for each action."""
        return GreedyFollower(self, goal_radius, **keys)

    @property
    def up_vector(self) -> Array:
        """(0, 1, 0)."""
        return np.array([0.0, 1.0, 0.0])

    @property
    def forward_vector(self) -> Array:
        """(0, 0, -1)."""
        return np.array([0.0, 0.0, -1.0])
