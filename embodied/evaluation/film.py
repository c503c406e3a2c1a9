"""Film manipulation episodes: what the front camera sees, and where the policy means to go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.sc_vla.labels import compute_imagined_position
from embodied.rollout import Rollout
from embodied.tasks.tabletop import RATE, TabletopConfig, TabletopVectorEnv
from embodied.tasks.tabletop.views import TableViews
from embodied.types import ArmActions, Observations
from embodied.viz.manipulation import TILE, Image, TileScene, draw_grid, draw_tile, project_points
from embodied.viz.video import write_video

LINGER = RATE
"""Frames that the end of the last episode stays on the screen."""


class _Watched:
    """A policy that shows what it acted on before the environments move."""

    def __init__(self, policy: ChunkPolicy, look: Callable[[Observations], None]) -> None:
        self._policy, self._look = policy, look

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> ArmActions:
        """Choose actions (N, A); see `Policy`."""
        actions = self._policy.act(observations, first)
        self._look(observations)
        return actions


class FilmedTask:
    """Some episodes of one task, filmed step by step.

    Args:
        policy: plays; each take needs it for itself.
        task: of all of them.
        count: of episodes, played side by side.
        seed: number of the first.
    """

    def __init__(self, policy: ChunkPolicy, task: TabletopConfig, count: int, seed: int) -> None:
        self._policy, self._task, self._count = policy, task, count
        self._env = TabletopVectorEnv(count, task)
        self._seed = seed
        self._pixels: dict[str, NDArray[Any]] = {}

    def render_frames(self) -> list[list[Image]]:
        """Return one list of tiles per episode, as long as it took."""
        env, policy, count = self._env, self._policy, self._count
        rollout = Rollout(env, _Watched(policy, self._look))
        rollout.reset(self._seed)
        self._views = TableViews(
            replace(self._task, width=TILE, height=TILE), env.batch.rig, env.batch.cells
        )
        films: list[list[Image]] = [[] for _ in range(count)]
        running = np.ones(count, bool)
        policy.seed(self._seed)
        policy.reset()
        for number, step in enumerate(rollout.play(), start=1):
            progress = policy.predictions.get("progress")
            for row in np.flatnonzero(running).tolist():
                scene = TileScene(
                    np.asarray(self._images[row], np.uint8),
                    self._pixels["plan"][row],
                    self._pixels["aim"][row] if "aim" in self._pixels else None,
                    progress=None if progress is None else float(progress[row]),
                    steps=number,
                )
                films[row].append(draw_tile(scene))
                if step.done[row]:
                    success = bool(step.get_info(row)["success"])
                    films[row].append(draw_tile(replace(scene, success=success, done=True)))
                    running[row] = False
            if not running.any():
                break
        env.close()
        policy.reset()
        return films

    def _look(self, observations: Observations) -> None:
        """See the table as it is when the policy has chosen, and where it means to go."""
        hfov, poses = self._views.camera_spec("front").hfov, self._views.camera_poses("front")
        self._aim(self._pixels, observations["state"], poses, hfov)
        self._images = self._views.render_images(("front",))["front"]["rgb"]

    def _aim(
        self,
        pixels: dict[str, NDArray[Any]],
        states: NDArray[Any],
        poses: NDArray[Any],
        hfov: float,
    ) -> None:
        """Bring plan and imagined place of what was predicted in this step into the image."""
        policy, size = self._policy, (TILE, TILE)
        chunk = policy.get_chunks()
        fresh = policy.count_played_actions() == 1
        way = np.cumsum(chunk[..., :3], axis=1) * self._task.position_step
        plan = np.concatenate([states[:, None, :3], states[:, None, :3] + way], axis=1)
        places = {"plan": plan}
        if "delta_state" in policy.predictions:
            places["aim"] = compute_imagined_position(states, policy.predictions["delta_state"])
        for name, points in places.items():
            made = np.stack(
                [project_points(p, pose, hfov, size) for p, pose in zip(points, poses, strict=True)]
            )
            kept = pixels.setdefault(name, made)
            kept[fresh] = made[fresh]


def write_film(
    path: Path, policy: ChunkPolicy, tasks: Sequence[TabletopConfig], count: int, seed: int
) -> int:
    """Write a film of episodes side by side, each from its beginning; return its frames.

    Args:
        path: of the MP4.
        policy: plays.
        tasks: `count` episodes are shared out among them.
        count: of episodes.
        seed: number of the first of each task.
    """
    shares = [len(range(place, count, len(tasks))) for place in range(len(tasks))]
    reels = [
        reel
        for task, share in zip(tasks, shares, strict=True)
        if share
        for reel in FilmedTask(policy, task, share, seed).render_frames()
    ]
    longest = max(map(len, reels)) + LINGER
    title = f"{policy.name}: {', '.join(task.task for task in tasks[: len(reels)])}"
    wrong = "" if tasks[0].disturbance == "none" else f", {tasks[0].disturbance}"
    note = f"{tasks[0].robot}, level {tasks[0].level}{wrong}, real time"
    pictures = (
        draw_grid([reel[min(moment, len(reel) - 1)] for reel in reels], title, note)
        for moment in range(longest)
    )
    return write_video(path, pictures, RATE)
