"""Follow an episode with a good camera: a film frame and a recorded step for each action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.policies.base import Policy
from embodied.rollout import Rollout, get_row
from embodied.simulators.embedded import World
from embodied.simulators.raycast import compute_camera_poses
from embodied.tasks.navigation.envs import NavigationEnv
from embodied.viz.recorder import RecordingWriter
from embodied.viz.video import PANEL, VideoWriter, compose_frame
from maps.drawing import Image, draw_map
from maps.grid.frontiers import extract_frontiers
from maps.grid.occupancy import OccupancyMap

MIN_INFORMATION = 0.15
"""Frontiers that promise less unknown floor are not drawn [m2]."""

Note = Callable[[Mapping[str, Any]], str]


@dataclass
class FilmedEpisode:
    """What one filmed episode left behind.

    Attributes:
        info: the metrics at the end.
        path: (T, 3) feet [m].
        metric_curve: metrics after each step.
        map_snapshots: (step, copy of the map) at regular intervals.
        last_images: the last images of the film camera.
        final_map: the map at the end.
        headings: (T,) [rad].
        world: where it took place.
    """

    world: World
    info: Mapping[str, Any] = field(default_factory=dict)
    path: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    metric_curve: list[Mapping[str, Any]] = field(default_factory=list)
    map_snapshots: list[tuple[int, OccupancyMap]] = field(default_factory=list)
    last_images: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    final_map: OccupancyMap = field(default_factory=OccupancyMap)
    headings: list[float] = field(default_factory=list)


def film_episode(
    env: NavigationEnv,
    policy: Policy,
    *,
    seed: int,
    title: str,
    note: Note,
    film: VideoWriter | None = None,
    recorder: RecordingWriter | None = None,
    every: int = 10,
    hold: int = 12,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> FilmedEpisode:
    """Play one episode and show it.

    Args:
        env: a navigation environment; its next episode is played.
        policy: acts on the environment's own observations, not on the film camera's.
        seed: of the episode.
        title: heading of the film.
        note: turns the metrics into the text at the right of the heading.
        film: receives one frame per step.
        recorder: receives one step per step.
        every: steps between kept maps.
        hold: times the last frame is repeated.
        progress: called with the metrics after each step.
    """
    rollout = Rollout(env, policy)
    info = get_row(rollout.reset(seed)[1], 0)
    batch = env.batch
    world = batch.prepared_episodes[0].world
    camera = replace(
        env.config.camera,
        outputs=("rgb", "depth", "semantic"),
        width=PANEL,
        height=PANEL,
        max_depth=max(10.0, env.config.camera.max_depth),
    )
    episode = FilmedEpisode(world, final_map=OccupancyMap(floor=float(batch.positions[0, 1])))
    box = _box(world)
    path: list[NDArray[np.float64]] = []
    done, frame = False, None
    while True:
        position, yaw = batch.positions[0].copy(), float(batch.yaw[0])
        path.append(position)
        episode.headings.append(yaw)
        pose = compute_camera_poses(batch.positions, batch.yaw, camera, batch.pitch)
        images = world.caster.render(camera, pose)
        rgb, depth = images["rgb"][0], images["depth"][0]
        episode.final_map.integrate_depth(depth, pose[0], camera.hfov, floor=float(position[1]))
        episode.metric_curve.append(info)
        if (len(path) - 1) % every == 0:
            episode.map_snapshots.append((len(path) - 1, episode.final_map.crop_explored()))
        if recorder is not None:
            recorder.add_step(rgb, depth, position, yaw, pose[0], title if len(path) == 1 else "")
        if film is not None:
            chart = _chart(episode.final_map, box, np.array(path), yaw)
            frame = compose_frame(rgb, depth, chart, title, note(info))
            film.add_frame(frame)
        if done:
            break
        step = rollout.play_step()
        info, done = step.get_info(0), bool(step.done[0])
        if progress is not None:
            progress(info)
    for _ in range(hold if film is not None and frame is not None else 0):
        film.add_frame(frame)  # type: ignore[union-attr, arg-type]
    episode.info, episode.path = info, np.array(path)
    episode.last_images = {name: values[0] for name, values in images.items()}
    return episode


def _box(world: World) -> tuple[tuple[float, float], tuple[float, float]]:
    """The square around the walkable area, so that the map keeps its scale through the film."""
    low, high = world.pathfinder.bounds[:, [0, 2]]
    center, half = (low + high) / 2, float((high - low).max()) / 2 + 0.6
    (x0, z0), (x1, z1) = center - half, center + half
    return (float(x0), float(z0)), (float(x1), float(z1))


def _chart(
    grid: OccupancyMap,
    box: tuple[tuple[float, float], tuple[float, float]],
    path: NDArray[np.float64],
    yaw: float,
) -> Image:
    found = extract_frontiers(grid.free, ~grid.explored, grid.cell_size, first=grid.first)
    return draw_map(
        grid,
        size=(PANEL, PANEL),
        box=box,
        path=path,
        frontiers=[f for f in found if f.unknown_area >= MIN_INFORMATION],
        agent=(path[-1], yaw),
    )
