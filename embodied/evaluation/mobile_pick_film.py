"""Film mobile picks: the base's camera, depth and map while it drives, the arm's cameras then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from embodied.evaluation.mobile_pick_episode import (
    MobilePickEvalConfig,
    PickStep,
    build_policy,
    iter_steps,
    task_of,
)
from embodied.files import atomic_write
from embodied.tasks.mobile_pick import ARM, MobilePickEnv
from embodied.tasks.mobile_pick.interface import BASE
from embodied.viz.video import PANEL, Image, colorize_depth, compose_panels, write_video
from maps.drawing import draw_map

FPS = 12
LINGER = 2 * FPS
"""Frames that the end of an episode stays on the screen."""

_ARM_STEPS = 3  # of the arm's steps, one in so many is shown


def write_film(path: Path, settings: MobilePickEvalConfig, which: str, count: int) -> int:
    """Write a film of episodes one after the other; return its frames.

    Args:
        path: of the MP4.
        settings: of the evaluation.
        which: checkpoint of the arm's policy, "latest" or "best".
        count: of episodes.
    """
    policy, env = build_policy(settings, which), MobilePickEnv(task_of(settings))
    try:
        seeds = range(settings.evaluation.seed, settings.evaluation.seed + count)
        frames = (frame for seed in seeds for frame in _frames(iter_steps(env, policy, seed)))
        return write_video(path, frames, FPS)
    finally:
        env.close()


def _frames(episode: Iterator[PickStep]) -> Iterator[Image]:
    for number, moment in enumerate(episode):
        if moment.done or moment.env.mode != ARM or number % _ARM_STEPS == 0:
            frame = draw_step(moment)
            yield from [frame] * (LINGER if moment.done else 1)


def draw_step(step: PickStep) -> Image:
    """Draw one step: (508, 1280, 3) uint8."""
    env, agent = step.env, step.agent
    mapper, place = agent.mapper, agent.memory.find_best_sighting()
    chart = draw_map(
        mapper.grid,
        size=(PANEL, PANEL),
        path=mapper.track,
        plan=mapper.path,
        goal=None if place is None else place.position,
        agent=(mapper.position, mapper.yaw),
    )
    if env.mode == ARM:
        pictures = (env.render_camera("front", PANEL), env.render_camera("wrist", PANEL), chart)
        names = ("camera beside the arm", "camera on the wrist", "map, and where it was seen")
    else:
        depth = np.asarray(step.observation["depth"])
        pictures = (env.render_camera(BASE, PANEL), colorize_depth(depth), chart)
        names = ("camera of the base", "depth", "map, and where it was seen")
    reason = f": {agent.trace[-1].reason}" if agent.trace else ""
    end = "picked up" if step.info["success"] else "failed" if step.done else agent.phase
    return compose_panels(
        pictures, names, str(step.observation["instruction"]), f"{end}{reason}, "
        f"{step.info['seconds']:.1f} s",
    )  # fmt: skip


class Stills:
    """One picture of each change of phase of an episode, and of its end."""

    def __init__(self) -> None:
        self._known = 0
        self._taken: list[Image] = []

    def add_step(self, step: PickStep) -> None:
        """Take in one step."""
        if step.done or len(step.agent.trace) > self._known:
            self._known = len(step.agent.trace)
            self._taken.append(draw_step(step))

    def write(self, path: Path) -> None:
        """Write them below each other, as JPEG."""
        column = np.concatenate(self._taken)[..., ::-1]
        _, data = cv2.imencode(".jpg", column, [cv2.IMWRITE_JPEG_QUALITY, 85])
        with atomic_write(path) as temporary:
            temporary.write_bytes(data.tobytes())
