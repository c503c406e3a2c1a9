"""Speed of the tabletop simulator, its cameras against PyBullet's, and of the policies:
`embodied bench tabletop`.

Rates are per second of this thread's CPU time, medians over rounds. For the cameras both renderers
draw the same moments of the same workcell at 128x128 in turns: colour, depth and segments, the ray
caster including the reading of all poses, TinyRenderer once with the settings it comes with and
once without shadows. Policies are freshly made ones of the default sizes on one thread: the time
that `act` takes by the clock, when every row predicts a new chunk and when it plays the one it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from embodied.perception.vocabulary import Vocabulary
from embodied.policies.chunk.factory import METHODS, VisuomotorConfig, make_policy
from embodied.policies.chunk.robot_inputs import ACTION, STATE, RobotInputs
from embodied.simulators.base import CameraSpec
from embodied.simulators.bullet import Rig
from embodied.simulators.bullet.cameras import BulletCameras, look_at
from embodied.tasks.tabletop import RATE, TabletopConfig, TabletopVectorEnv, make_expert
from embodied.tasks.tabletop.workcell import Workcell

COUNTS = (1, 8, 32)
BATCHES = (1, 8)
INSTRUCTION = "pick up the red cube and hold it at the green ball"
SIZE, FIELD = 128, 45.0
NEAR, FAR = 0.1, 4.0
OUTPUTS = ("rgb", "depth", "semantic")
TARGETS = {
    "bench.camera.ratio_to_tinyrenderer": 5.0,
    "bench.camera.depth_error_mm": 2.0,
    "bench.camera.segmentation_iou": 0.98,
    **{f"bench.policy.{method}.1.replan.p99_ms": 1000 / RATE for method in METHODS},
}


def control_rate(count: int, observation: str, steps: int) -> float:
    """Control steps per CPU second of the pick task under its expert's actions, resets included."""
    env = TabletopVectorEnv(count, task="pick", observation=observation)
    expert = make_expert("pick")
    env.reset(seed=0)
    taken = []
    for _ in range(steps + 3):
        actions = expert.act(env)
        start = time.thread_time()
        env.step(actions)
        taken.append(time.thread_time() - start)
    env.close()
    return count / float(np.mean(taken[3:]))  # the first compile and warm up


def tiny(cell: Workcell, eye: np.ndarray, target: np.ndarray, plain: bool) -> tuple:
    """TinyRenderer's image; `plain` leaves out what costs extra: shadows."""
    bullet = cell.world.bullet
    lens = list(bullet.computeProjectionMatrixFOV(FIELD, 1, NEAR, FAR))
    lens[8] += 1 / SIZE  # it samples pixels at their corner, the ray caster in the middle
    lens[9] += 1 / SIZE
    return bullet.getCameraImage(
        SIZE,
        SIZE,
        bullet.computeViewMatrix(eye, target, (0, 0, 1)),
        lens,
        shadow=0 if plain else 1,
        renderer=bullet.ER_TINY_RENDERER,
        physicsClientId=cell.world.client,
    )


def bench_cameras(rounds: int) -> dict[str, float]:
    """Frames per CPU second of all renderers, and how well they agree."""
    cell = Workcell(TabletopConfig(task="stack", level=2), Rig("panda"), visuals=True)
    cameras = BulletCameras(cell.world, [cell.world], cell.bodies)
    camera = CameraSpec(OUTPUTS, SIZE, SIZE, FIELD, max_depth=FAR)
    middle = np.array([*cell.rig.spec.center, 0.1])
    # What only catches things that fall is in no image of ours; TinyRenderer draws all there is.
    count = cell.world.bullet.getNumBodies(physicsClientId=cell.world.client)
    unseen = set(range(count)) - set(cell.bodies.values())
    below = np.array([0, 0, -10 * FAR, 0, 0, 0, 1])
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {"caster": [], "tiny": [], "plain": []}
    errors, shared, total = [], 0, 0
    for turn in range(rounds + 1):
        cell.begin_episode(cell.draw_layout(turn))
        for body in unseen:
            cell.world.set_pose(body, below)
        target = middle + rng.uniform(-0.05, 0.05, 3)
        eye = target + rng.uniform((0.3, -0.6, 0.3), (0.6, 0.6, 0.6))

        def trace(eye: np.ndarray = eye, target: np.ndarray = target) -> dict:
            cameras.update_poses()
            return cameras.render(camera, look_at(eye, target)[None])

        def timed(name: str, work: Callable[[], object], turn: int = turn) -> object:
            start = time.thread_time()
            made = work()
            if turn:  # the first round compiles
                times[name].append(time.thread_time() - start)
            return made

        ours = timed("caster", trace)
        theirs = timed("tiny", lambda e=eye, t=target: tiny(cell, e, t, plain=False))
        timed("plain", lambda e=eye, t=target: tiny(cell, e, t, plain=True))
        depth, labels = (np.array(theirs[k]).reshape(SIZE, SIZE) for k in (3, 4))
        depth = FAR * NEAR / (FAR - (FAR - NEAR) * depth)
        both = (ours["depth"][0] > 0) & (labels >= 0)
        errors.append(np.abs(ours["depth"][0] - depth)[both])
        for index, name in enumerate(cameras.labels):
            a = ours["semantic"][0] == index
            b = labels < 0 if index == 0 else labels == cell.bodies[name]
            shared, total = shared + (a & b).sum(), total + (a | b).sum()
    taken = {name: np.array(values) for name, values in times.items()}
    return {
        "bench.camera.frames_per_s": 1 / float(np.median(taken["caster"])),
        "bench.camera.tinyrenderer_frames_per_s": 1 / float(np.median(taken["tiny"])),
        "bench.camera.ratio_to_tinyrenderer": float(np.median(taken["tiny"] / taken["caster"])),
        "bench.camera.ratio_to_tinyrenderer_without_shadows": float(
            np.median(taken["plain"] / taken["caster"])
        ),
        "bench.camera.depth_error_mm": 1e3 * float(np.median(np.concatenate(errors))),
        "bench.camera.segmentation_iou": float(shared / total),
    }


def policy_latency(method: str, count: int, chunks: int) -> dict[str, float]:
    """Milliseconds of one `act` for some environments, when replanning and when not."""
    words = Vocabulary.from_texts([INSTRUCTION]).words
    inputs = RobotInputs(("front", "wrist"), (96, 96), 8, 7, 3, RATE, "ee_delta", words)
    policy = make_policy(inputs, VisuomotorConfig(method=method))
    ranges = {STATE: 8, ACTION: 7}
    policy.normalization = {k: {"min": [-1.0] * n, "max": [1.0] * n} for k, n in ranges.items()}
    policy.network.eval()
    rng = np.random.default_rng(0)
    seen: dict[str, object] = {
        camera: rng.integers(0, 256, (count, 96, 96, 3), np.uint8) for camera in inputs.cameras
    }
    seen |= {"state": rng.uniform(-1, 1, (count, 8)), "instruction": [INSTRUCTION] * count}
    taken: dict[str, list[float]] = {"replan": [], "cached": []}
    for turn in range(chunks + 3):
        for step in range(policy.n_action_steps):
            start = time.perf_counter()
            policy.act(seen, np.zeros(count, bool))
            if turn >= 3:  # the first ones warm up
                taken["cached" if step else "replan"].append(1e3 * (time.perf_counter() - start))
    return {
        f"bench.policy.{method}.{count}.{kind}.p{share}_ms": float(np.percentile(times, share))
        for kind, times in taken.items()
        for share in (50, 99)
    }


def bench_policies(chunks: int) -> dict[str, float]:
    """Print and return the latencies of every method."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    for method in METHODS:
        for count in BATCHES:
            found |= policy_latency(method, count, chunks)
            p50, p99, cached = (
                found[f"bench.policy.{method}.{count}.{kind}"]
                for kind in ("replan.p50_ms", "replan.p99_ms", "cached.p50_ms")
            )
            print(
                f"{method}, {count} environments: {p50:.1f} ms to plan (p99 {p99:.1f} ms), "
                f"{cached:.2f} ms to play on"
            )
    torch.set_num_threads(threads)
    return found


def run(quick: bool = False) -> dict[str, float]:
    """Measure, print and return the figures by dotted key."""
    found: dict[str, float] = {}
    for count in COUNTS[:2] if quick else COUNTS:
        steps = max(6, (100 if quick else 400) // count)
        for name, observation in (("state", "state"), ("rgb", "rgb")):
            rate = control_rate(count, observation, steps)
            found[f"bench.tabletop.{name}.{count}.steps_per_s"] = rate
        state, rgb = (found[f"bench.tabletop.{n}.{count}.steps_per_s"] for n in ("state", "rgb"))
        print(
            f"{count:>3} environments: {state:.0f} control steps per CPU second, {rgb:.0f} with "
            "two 96x96 cameras"
        )
    found |= bench_cameras(8 if quick else 40)
    print(
        f"camera 128x128: {found['bench.camera.frames_per_s']:.0f} frames per CPU second, "
        f"TinyRenderer {found['bench.camera.tinyrenderer_frames_per_s']:.0f}; without shadows the "
        f"ratio is {found['bench.camera.ratio_to_tinyrenderer_without_shadows']:.1f}"
    )
    found |= bench_policies(20 if quick else 300)
    for key, target in TARGETS.items():
        met = found[key] <= target if key.endswith(("_mm", "_ms")) else found[key] >= target
        print(f"{key}: {found[key]:.4g} (target {target:g}) {'met' if met else 'NOT MET'}")
    return found


if __name__ == "__main__":
    run()
