"""Real habitat-sim behind the interface of the embedded simulator, where a user has it.

Written against habitat-sim 0.3. Agents are ours: habitat-sim holds one body per camera, which is
carried from pose to pose to take the pictures, and answers the navigation queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.categories import MPCAT40
from embodied.errors import MissingExtraError, NavigationError, SensorError
from embodied.simulators.base import AgentSpec, CameraSpec, Scene
from embodied.simulators.embedded import Simulator, World
from embodied.simulators.habitat.convert import load_habitat_scene, matrix_to_xyzw
from embodied.simulators.scenes.labels import to_mpcat40

Array = NDArray[np.float64]


class HabitatSimMissingError(MissingExtraError):
    """habitat-sim is absent; pip cannot install it."""

    def __init__(self) -> None:
        super().__init__(
            "HabitatSimulator needs the package 'habitat_sim', which is not installed and which "
            "pip does not have. Install it with conda: conda install habitat-sim headless "
            "-c conda-forge -c aihabitat-nightly (Python 3.10 and newer; the channel aihabitat "
            "stops at 3.9), or build v0.3 from source: "
            "https://github.com/facebookresearch/habitat-sim. The embedded simulator "
            "(embodied.simulators.embedded.Simulator) reads the same scenes without it.",
        )


def _import() -> Any:
    try:
        import habitat_sim
    except ImportError as cause:
        raise HabitatSimMissingError from cause
    return habitat_sim


class HabitatSimulator(Simulator):
    """N agents in one scene, simulated by habitat-sim; used like `embedded.Simulator`.

    Args:
        scene: what habitat-sim loads: a stage mesh, a configuration, or a name in the dataset.
        cameras: one camera, or several by name. habitat-sim creates them at the start: `render`
            takes no others.
        agent: body and step lengths.
        seed: of every random draw.
        dataset: a `*.scene_dataset_config.json`, or "default".
        gpu: index of the device that renders.

    Raises:
        HabitatSimMissingError: habitat-sim is not installed.
    """

    def __init__(
        self,
        scene: str | Path,
        cameras: CameraSpec | Mapping[str, CameraSpec] | None = None,
        agent: AgentSpec | None = None,
        seed: int = 0,
        *,
        dataset: str = "default",
        gpu: int = 0,
    ) -> None:
        habitat_sim = _import()
        cameras = cameras if cameras is not None else CameraSpec()
        named = {"": cameras} if isinstance(cameras, CameraSpec) else dict(cameras)
        spec = agent or AgentSpec(navmesh="habitat")
        settings = build_configuration(habitat_sim, str(scene), dataset, list(named.values()), spec)
        settings.sim_cfg.random_seed = seed
        settings.sim_cfg.gpu_device_id = gpu
        self.backend = habitat_sim.Simulator(settings)
        world = HabitatWorld(self.backend, str(scene), dataset, list(named.values()), spec)
        super().__init__(world, named, seed=seed)

    def close(self) -> None:
        """Release habitat-sim's renderer."""
        self.backend.close()


def build_configuration(
    habitat_sim: Any,
    scene: str,
    dataset: str,
    cameras: Sequence[CameraSpec],
    agent: AgentSpec,
) -> Any:
    """Return a `habitat_sim.Configuration` with one agent per camera, sensors at its origin."""
    world = habitat_sim.SimulatorConfiguration()
    world.scene_id = scene
    world.scene_dataset_config_file = dataset
    world.allow_sliding = agent.sliding
    navmesh = habitat_sim.NavMeshSettings()
    navmesh.set_defaults()
    navmesh.agent_radius = agent.radius
    navmesh.agent_height = agent.height
    navmesh.agent_max_climb = agent.max_climb
    navmesh.agent_max_slope = agent.max_slope
    navmesh.cell_size = agent.cell_size
    navmesh.cell_height = agent.cell_height
    world.navmesh_settings = navmesh
    bodies = []
    for camera in cameras:
        body = habitat_sim.AgentConfiguration()
        body.radius, body.height = agent.radius, agent.height
        body.sensor_specifications = [
            _sensor(habitat_sim, camera, output) for output in _needed(camera)
        ]
        bodies.append(body)
    return habitat_sim.Configuration(world, bodies)


def _needed(camera: CameraSpec) -> list[str]:
    """Return habitat-sim's images behind our outputs: classes are looked up from instances."""
    return list(dict.fromkeys("instance" if o == "semantic" else o for o in camera.outputs))


def _sensor(habitat_sim: Any, camera: CameraSpec, output: str) -> Any:
    pinhole = camera.projection == "pinhole"
    spec = habitat_sim.CameraSensorSpec() if pinhole else habitat_sim.EquirectangularSensorSpec()
    kinds = habitat_sim.SensorType
    spec.uuid = output
    spec.sensor_type = {"rgb": kinds.COLOR, "depth": kinds.DEPTH, "instance": kinds.SEMANTIC}[
        output
    ]
    spec.channels = 4 if output == "rgb" else 1
    spec.resolution = [camera.height, camera.width]
    spec.position = [0.0, 0.0, 0.0]
    spec.orientation = [0.0, 0.0, 0.0]
    spec.far = camera.max_depth
    if pinhole:
        spec.sensor_subtype = habitat_sim.SensorSubType.PINHOLE
        spec.hfov = camera.hfov
    return spec


class HabitatWorld(World):
    """Scene, pictures and navigation of a running habitat-sim."""

    def __init__(
        self,
        backend: Any,
        path: str,
        dataset: str,
        cameras: Sequence[CameraSpec],
        agent: AgentSpec,
    ) -> None:
        self.agent = agent
        self._backend, self._path, self._dataset, self._cameras = backend, path, dataset, cameras

    @cached_property
    def scene(self) -> Scene:  # type: ignore[override]
        """The triangles, read by our own loader when first asked for."""
        return load_habitat_scene(self._path, self._dataset)

    @cached_property
    def caster(self) -> Any:
        """What takes the pictures."""
        return HabitatCamera(self._backend, self._cameras)

    @cached_property
    def pathfinder(self) -> Any:
        """What answers navigation queries."""
        return HabitatNavigation(self._backend.pathfinder)


class HabitatCamera:
    """`render` of `RayCaster`, by habitat-sim."""

    def __init__(self, backend: Any, cameras: Sequence[CameraSpec]) -> None:
        self._backend, self._cameras = backend, list(cameras)

    def render(self, camera: CameraSpec, poses: Array) -> dict[str, NDArray[Any]]:
        """Render camera-to-world poses (N, 4, 4): output -> (N, H, W[, 3]).

        Raises:
            SensorError: a camera the simulator was not created with.
        """
        if camera not in self._cameras:
            raise SensorError(
                "habitat-sim creates its cameras at the start; pass this one to HabitatSimulator "
                "in `cameras`"
            )
        body = self._cameras.index(camera)
        agent = self._backend.get_agent(body)
        images: dict[str, list[NDArray[Any]]] = {output: [] for output in camera.outputs}
        for pose in poses:
            state = agent.get_state()
            state.position = np.asarray(pose[:3, 3], np.float32)
            state.rotation = matrix_to_xyzw(pose).tolist()
            state.sensor_states = {}
            agent.set_state(state)
            seen = self._backend.get_sensor_observations(agent_ids=body)
            for output, image in convert_images(seen, camera, self._classes).items():
                images[output].append(image)
        return {output: np.stack(stack) for output, stack in images.items()}

    @cached_property
    def _classes(self) -> NDArray[np.int32]:
        """Class id of each instance id."""
        numbers = {label: i for i, label in enumerate(MPCAT40)}
        found: dict[int, int] = {}
        for thing in self._backend.semantic_scene.objects:
            if thing is not None and thing.category is not None:
                label = to_mpcat40(thing.category.name()) or "unlabeled"
                found[int(thing.semantic_id)] = numbers[label]
        table = np.full(max(found, default=0) + 1, numbers["unlabeled"], np.int32)
        table[list(found)] = list(found.values())
        return table


def convert_images(
    seen: Mapping[str, Any], camera: CameraSpec, classes: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    """Turn habitat-sim's buffers of one picture into our outputs (copies).

    Args:
        seen: "rgb" (H, W, 4) uint8, "depth" (H, W) float32 [m], "instance" (H, W) uint32.
        camera: what is wanted.
        classes: class id of each instance id; ids beyond it are unlabelled.
    """
    images: dict[str, NDArray[Any]] = {}
    for output in camera.outputs:
        if output == "rgb":
            images[output] = np.array(seen["rgb"][..., :3])
        elif output == "depth":
            depth = np.array(seen["depth"], np.float32)
            near = np.where(depth > 0, np.maximum(depth, np.float32(camera.min_depth)), depth)
            images[output] = np.where(depth > camera.max_depth, np.float32(0), near)
        else:
            ids = np.asarray(seen["instance"]).astype(np.int64)
            if output == "semantic":
                unlabeled = MPCAT40.index("unlabeled")
                known = ids < len(classes)
                ids = np.where(known, classes[np.where(known, ids, 0)], unlabeled)
            images[output] = ids.astype(np.int32)
    return images


class HabitatDistances:
    """`DistanceField` by habitat-sim: one path query per point."""

    def __init__(self, finder: Any, goals: NDArray[np.float32]) -> None:
        self._finder = finder
        self._path = _import().MultiGoalShortestPath()
        self._path.requested_ends = goals

    def get_distances(self, points: ArrayLike) -> Array:
        """Distance [m] of each point (N, 3) to the nearest goal: (N,), inf without a way."""
        result = []
        for point in _rows(points):
            self._path.requested_start = point
            self._finder.find_path(self._path)
            result.append(float(self._path.geodesic_distance))
        return np.array(result)


class HabitatNavigation:
    """`PathFinder`'s queries by habitat-sim's, which take one point at a time."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    @property
    def bounds(self) -> Array:
        """(2, 3) lowest and highest corner [m]."""
        return np.array(self.finder.get_bounds(), np.float64)

    @property
    def navigable_area(self) -> float:
        """All islands together [m^2]."""
        return float(self.finder.navigable_area)

    @property
    def num_islands(self) -> int:
        """Number of parts with no way between them."""
        return int(self.finder.num_islands)

    @property
    def largest_island(self) -> int:
        """The island with the greatest area."""
        return int(np.argmax([self.finder.island_area(i) for i in range(self.num_islands)]))

    def is_navigable(self, points: ArrayLike, max_y_delta: float = 0.5) -> NDArray[np.bool_]:
        """Tell which points (N, 3) an agent can stand at."""
        return np.array(
            [
                bool(np.isfinite(p).all()) and bool(self.finder.is_navigable(p, max_y_delta))
                for p in _rows(points)
            ],
            bool,
        )

    def snap_points(self, points: ArrayLike) -> Array:
        """Move points (N, 3) to the nearest navigable place, NaN when none."""
        return _stack([np.array(self.finder.snap_point(p)) for p in _rows(points)])

    def get_island(self, points: ArrayLike) -> NDArray[np.int32]:
        """Island of each point (N,), -1 for points off the surface."""
        good = self.is_navigable(points)
        islands = [self.finder.get_island(p) for p in _rows(points)]
        return np.where(good, islands, -1).astype(np.int32)

    def island_radius(self, points: ArrayLike) -> Array:
        """Radius of the island of each point (N,) [m]."""
        return np.array([float(self.finder.island_radius(p)) for p in _rows(points)])

    def distance_to_closest_obstacle(self, points: ArrayLike, max_radius: float = 2.0) -> Array:
        """Distance [m] from each point (N,) to the nearest obstacle, at most `max_radius`."""
        return np.array(
            [float(self.finder.distance_to_closest_obstacle(p, max_radius)) for p in _rows(points)]
        )

    def get_topdown_view(self, height: float, cell_size: float = 0.05) -> NDArray[np.bool_]:
        """Navigable mask within 0.5 m of a height [m]: rows along z, columns along x."""
        return np.array(self.finder.get_topdown_view(cell_size, height), bool)

    def sample_points(
        self, rng: np.random.Generator, count: int = 1, island: int | None = None
    ) -> Array:
        """Draw navigable points (count, 3), uniform by area; None = any island.

        Raises:
            NavigationError: nothing to stand on was found.
        """
        self.finder.seed(int(rng.integers(2**31 - 1)))
        index = -1 if island is None else island
        points = _stack(
            [
                np.array(self.finder.get_random_navigable_point(max_tries=100, island_index=index))
                for _ in range(count)
            ]
        )
        if not np.isfinite(points).all():
            raise NavigationError(f"habitat-sim found no navigable point on island {index}")
        return points

    def compute_distance_field(self, goals: ArrayLike) -> HabitatDistances:
        """Measure the way to the nearest of the goals (K, 3)."""
        return HabitatDistances(self.finder, _rows(goals))

    def geodesic_distance(self, start: ArrayLike, ends: ArrayLike) -> Array:
        """Length of the shortest way from one start (3,) to each end (K, 3): (K,) [m]."""
        return HabitatDistances(self.finder, _rows(start)[:1]).get_distances(ends)

    def find_shortest_path(self, start: ArrayLike, end: ArrayLike) -> Array:
        """Corners of the shortest way: (M, 3), (0, 3) when there is none."""
        path = _import().ShortestPath()
        path.requested_start = _rows(start)[0]
        path.requested_end = _rows(end)[0]
        self.finder.find_path(path)
        return _stack([np.array(point) for point in path.points])

    def step(
        self, positions: ArrayLike, targets: ArrayLike, sliding: bool = True
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Move agents (N, 3) towards targets (N, 3): new positions and who touched something."""
        move = self.finder.try_step if sliding else self.finder.try_step_no_sliding
        starts, wanted = _rows(positions), _rows(targets)
        ends = _stack([np.array(move(a, b)) for a, b in zip(starts, wanted, strict=True)])
        asked = np.linalg.norm((wanted - starts)[:, [0, 2]], axis=1)
        moved = np.linalg.norm((ends - starts)[:, [0, 2]], axis=1)
        return ends, moved + 1e-5 < asked


def _rows(points: ArrayLike) -> NDArray[np.float32]:
    """Return points as (N, 3) in habitat-sim's own precision."""
    return np.asarray(points, np.float32).reshape(-1, 3)


def _stack(points: Sequence[NDArray[Any]]) -> Array:
    return np.array(points, np.float64).reshape(-1, 3)
