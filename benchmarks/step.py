"""Cost of a whole navigation step against the cost of its images.

Every step of a batch is timed together with a bare `render_many` of the same camera poses, one
right after the other; times are this thread's CPU time, medians over steps, so that other load
on the machine counts for little. Steps per second are wall-clock.
`embodied bench step` prints steps per second and the ratio step / render.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import compute_camera_poses, render_many
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.navigation.vector import NavigationVectorEnv

CASES: Mapping[str, tuple[str, int, tuple[str, ...], bool]] = {
    "pointnav.64.depth": ("pointnav", 64, ("depth",), False),
    "pointnav.64.depth.expert": ("pointnav", 64, ("depth",), True),
    "pointnav.128.rgbd_semantic": ("pointnav", 128, ("rgb", "depth", "semantic"), False),
    "objectnav.128.rgbd_semantic": ("objectnav", 128, ("rgb", "depth", "semantic"), False),
    "explore.128.depth": ("explore", 128, ("depth",), False),
}
"""name -> (task, pixels, sensors, expert in the observation)."""

ENVIRONMENTS = 16
TARGETS = {"bench.step_over_render": 1.3}


def measure(
    task: str, size: int, outputs: tuple[str, ...], expert: bool, steps: int
) -> tuple[float, float, float]:
    """Time one case.

    Returns:
        CPU seconds per batched step and per bare render (medians), and environment steps per
        second including resets; actions are drawn at random, without STOP.
    """
    env = NavigationVectorEnv(
        ENVIRONMENTS,
        task=task,
        camera=CameraSpec(outputs=outputs, width=size, height=size),
        scene=SceneSource(split="val", count=ENVIRONMENTS, rooms=(3, 8)),
        expert=expert,
    )
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    whole, bare, wall = np.zeros(steps), np.zeros(steps), 0.0
    for k in range(-20, steps):  # the first 20 compile and warm up
        actions = rng.choice([1, 1, 2, 3], ENVIRONMENTS)
        clock, begin = time.perf_counter(), time.thread_time()
        env.step(actions)
        middle = time.thread_time()
        wall += time.perf_counter() - clock if k >= 0 else 0.0
        batch = env.batch
        poses = compute_camera_poses(batch.positions, batch.yaw, batch.camera, batch.pitch)
        casters = [p.world.caster for p in batch.prepared_episodes]
        between = time.thread_time()
        render_many(casters, batch.camera, poses)
        end = time.thread_time()
        if k >= 0:
            whole[k], bare[k] = middle - begin, end - between
    env.close()
    return float(np.median(whole)), float(np.median(bare)), ENVIRONMENTS * steps / wall


def run(quick: bool = False) -> dict[str, float]:
    """Measure every case; keys `bench.step.<case>.*` and `bench.step_over_render`.

    `bench.step_over_render` is the hardest case without the expert: the cheapest images (64x64
    depth), where everything that is not rendering weighs most.
    """
    results: dict[str, float] = {}
    print(f"{ENVIRONMENTS} environments in {ENVIRONMENTS} houses, one process, CPU times")
    print(f"{'case':32}{'step ms':>9}{'render ms':>11}{'ratio':>7}{'steps/s':>9}")
    for name, (task, size, outputs, expert) in CASES.items():
        whole, bare, rate = measure(task, size, outputs, expert, 100 if quick else 600)
        results[f"bench.step.{name}.steps_per_s"] = rate
        results[f"bench.step.{name}.over_render"] = whole / bare
        print(f"{name:32}{whole * 1e3:9.2f}{bare * 1e3:11.2f}{whole / bare:7.2f}{rate:9.0f}")
    results["bench.step_over_render"] = results["bench.step.pointnav.64.depth.over_render"]
    return results


if __name__ == "__main__":
    run()
