"""The guard under fuzz, and what the bridge's loop costs: `embodied bench robots`.

`guard.fuzz`: random commands, sane and insane, go through guard and shaper as in the bridge; every
setpoint that would have reached a driver is checked again by code that shares nothing with them:
forward kinematics by PyBullet, limits and differences by `robots.audit`.
`bridge.jitter`: how late the ticks of a 100 Hz bridge on the PyBullet twin are, with this machine
otherwise idle and with one core kept busy; `bare_loop` does nothing but keep the time, and shows
what the machine itself can do. `guard.us`: one judged command and one shaped setpoint; `guard.cpu`
counts only the processor's time of that, without what other programs took from it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.audit import TOLERANCE, compute_limit_usage
from robots.bridge import Bridge
from robots.guard import check_command
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import SafetyConfig, Workspace, build_arm_limits
from robots.model import ArmModel, load_model
from robots.pace import LoopTimer, freeze_gc, request_realtime
from robots.robot_config import load_robot
from robots.shaper import Shaper
from robots.urdf import find_urdf

PERIOD = 0.01
TARGETS = {
    "guard.fuzz.violations": 0.0,
    "guard.p99_us": 200.0,
    "bridge.jitter_p99_ms": 2.0,
    "bridge.busy.jitter_p99_ms": 5.0,
}
# A box that wild targets keep running into.
SAFETY = SafetyConfig(Workspace(floor=0.3, lower=(0.0, -0.3), upper=(0.65, 0.3), ceiling=0.7))
NASTY = (np.nan, np.inf, -np.inf, 5e-324, 1e300, -1e300, 0.0)


class Checker:
    """Looks at setpoints with eyes of its own.

    Args:
        model: of an arm with a URDF.
        safety: what was promised.
    """

    def __init__(self, model: ArmModel, safety: SafetyConfig) -> None:
        import pybullet

        self._bullet = pybullet
        self._client = pybullet.connect(pybullet.DIRECT)
        body = pybullet.loadURDF(
            str(find_urdf(model.urdf)), useFixedBase=True, physicsClientId=self._client
        )
        count = pybullet.getNumJoints(body, physicsClientId=self._client)
        rows = [pybullet.getJointInfo(body, i, physicsClientId=self._client) for i in range(count)]
        turning = [row[0] for row in rows if row[2] == pybullet.JOINT_REVOLUTE]
        self._joints = turning[: len(model.joints)]
        self._tool = next(row[0] for row in rows if row[12].decode() == model.tool_link)
        self._body, self._model, self._safety = body, model, safety

    def close(self) -> None:
        """End PyBullet's world."""
        self._bullet.disconnect(self._client)

    def tools(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where PyBullet has the tool for each of (N, J) configurations, (N, 3) [m]."""
        found = np.empty((len(positions), 3))
        for row, angles in enumerate(positions):
            for joint, angle in zip(self._joints, angles, strict=True):
                self._bullet.resetJointState(self._body, joint, angle, physicsClientId=self._client)
            found[row] = self._bullet.getLinkState(
                self._body, self._tool, computeForwardKinematics=1, physicsClientId=self._client
            )[4]
        return found

    def worst(self, positions: NDArray[np.float64], period: float) -> dict[str, float]:
        """Return the largest share of each limit that was used; see `compute_limit_usage`."""
        return compute_limit_usage(positions, period, self._model, self._safety, self.tools)


def nasty_command(
    rng: np.random.Generator, home: NDArray[np.float64], here: NDArray[np.float64]
) -> Command:
    """Draw a command of age 0: sane, wild, malformed, not finite, stale or from the future.

    Args:
        rng: draws.
        home: (J,) [rad].
        here: (J,) where the arm has been told to be [rad]; paths begin there.
    """
    count = len(home)
    kind = list(CommandKind)[int(rng.choice(4, p=[0.55, 0.25, 0.1, 0.1]))]
    spread = float(rng.choice([0.05, 0.5, 3.0, 100.0]))
    values: NDArray[Any] = rng.normal(0, spread, 7 if kind is CommandKind.POSE else count)
    if kind is CommandKind.POSITION:
        values = home + values
    elif kind is CommandKind.PATH:
        values = swing(here, values / 10, float(rng.uniform(0.5, 3.0)))
    size, fate = len(values), rng.random()
    if fate < 0.1:
        values.reshape(-1)[int(rng.integers(values.size))] = rng.choice(NASTY)
    elif fate < 0.14:
        values = values[: int(rng.integers(size))]
    elif fate < 0.16:
        values = values.astype(complex)
    elif fate < 0.18:
        values = values.astype(str)
    age = float(
        rng.choice([0.0, 0.05, 0.2, 3.0, -1.0, np.nan], p=[0.8, 0.1, 0.04, 0.02, 0.02, 0.02])
    )
    gripper = None if rng.random() < 0.5 else float(rng.choice([0.0, 1.0, 0.3, 7.0, *NASTY]))
    return Command(kind, values, -age, -age, gripper)


def swing(
    here: NDArray[np.float64], sizes: NDArray[np.float64], pace: float, count: int = 150
) -> NDArray[np.float64]:
    """Return a path (count, 3, J) that swings away from where the arm is and back.

    Args:
        here: (J,) [rad].
        sizes: (J,) of each joint's swing [rad].
        pace: angular frequency [rad/s].
        count: of setpoints.
    """
    phase = pace * PERIOD * np.arange(count)[:, None]
    rows = 1 - np.cos(phase), pace * np.sin(phase), pace**2 * np.cos(phase)
    path = np.stack([row * sizes for row in rows], axis=1)
    path[:, 0] += here
    return path


def fuzz(name: str, commands: int, seed: int = 0, burst: int = 10) -> dict[str, float]:
    """Throw commands at guard and shaper of one arm and check every setpoint.

    Args:
        name: of a model with a URDF.
        commands: how many.
        seed: of the draws.
        burst: commands per period of the loop.

    Returns:
        Commands, setpoints, violations, the share of commands that became targets, and the largest
        share of each limit that was used.
    """
    model = load_model(name)
    limits, kinematics = build_arm_limits(model, SAFETY), Kinematics(model)
    shaper = Shaper(limits, kinematics, PERIOD)
    home = np.array(model.home)
    shaper.reset(home)
    rng = np.random.default_rng(seed)
    sent, stale = [home], 0
    outcomes: Counter[str] = Counter()
    target: Command | None = None
    wanted = None
    now = 1000.0
    repeat = 0
    for number in range(commands):
        if repeat == 0:
            # Some last long enough to reach full speed; and now and then it goes home, or the arm
            # would lie against a limit most of the time.
            repeat = int(rng.choice([1, burst, 40 * burst], p=[0.8, 0.16, 0.04]))
            away = nasty_command(rng, home, shaper.motion.positions)
            drawn = (
                Command(CommandKind.POSITION, home, 0.0, 0.0) if number // 2000 % 3 == 2 else away
            )
        repeat -= 1
        command = replace(
            drawn, stamp=drawn.stamp + now, observation_stamp=drawn.observation_stamp + now
        )
        verdict = check_command(command, shaper.motion.positions, limits, kinematics, now)
        outcomes[verdict.outcome] += 1
        if verdict.target is not None:
            target, wanted = command, verdict.target
        if number % burst == burst - 1:
            fresh = target is not None and now - target.stamp <= SAFETY.command_age
            motion = shaper.step(wanted, target.kind) if fresh and target else shaper.step(None)
            stale += int(fresh and target is not None and not now - target.observation_stamp <= 0.5)
            sent.append(motion.positions)
            now += PERIOD
    checker = Checker(model, SAFETY)
    try:
        used = checker.worst(np.array(sent), PERIOD)
    finally:
        checker.close()
    violations = stale + sum(not share <= 1 + TOLERANCE for share in used.values())
    taken = outcomes["allowed"] + outcomes["clipped"]
    return {
        "commands": float(commands),
        "setpoints": float(len(sent)),
        "violations": float(violations),
        "taken_share": taken / commands,
    } | {f"used.{name.replace(' ', '_')}": share for name, share in used.items()}


def cost(name: str = "fr3", ticks: int = 4000) -> NDArray[np.float64]:
    """Return the time of one judged command and one setpoint, by the wall and by the processor.

    Args:
        name: of a model.
        ticks: how many.

    Returns:
        (2, ticks) [us].
    """
    model = load_model(name)
    limits, kinematics = build_arm_limits(model, SAFETY), Kinematics(model)
    shaper = Shaper(limits, kinematics, PERIOD)
    home = np.array(model.home)
    shaper.reset(home)
    rng = np.random.default_rng(0)
    times = np.empty((2, ticks))
    aim = home
    freeze_gc()  # as the bridge does
    for tick in range(ticks):
        if tick % 50 == 0:
            aim = home + rng.uniform(-0.5, 0.5, len(home))
        command = Command(CommandKind.POSITION, aim, tick * PERIOD, tick * PERIOD)
        begun, ran = time.perf_counter_ns(), time.thread_time_ns()
        verdict = check_command(command, shaper.motion.positions, limits, kinematics, tick * PERIOD)
        shaper.step(verdict.target)
        times[:, tick] = time.perf_counter_ns() - begun, time.thread_time_ns() - ran
    return times[:, 100:] / 1e3


def jitter(seconds: float, busy: int = 0) -> NDArray[np.float64]:
    """Return how late each tick of a moving bridge on the twin was [ms].

    Args:
        seconds: how long to watch.
        busy: cores kept busy by other processes.
    """
    cell = load_robot("fr3_twin")
    hogs = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(busy)]
    for hog in hogs:
        hog.start()
    late: list[float] = []
    try:
        with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
            tick = bridge.tick

            def watched() -> None:
                late.append(bridge.get_status().tick_delay * 1e3)
                tick()

            bridge.tick = watched  # type: ignore[method-assign]
            token = bridge.arm("benchmark")
            home = np.array(cell.model.home)
            end = time.monotonic() + seconds
            while (now := time.monotonic()) < end:
                aim = home + 0.05 * np.sin(now)
                bridge.submit_command(token, Command(CommandKind.POSITION, aim, now, now))
                time.sleep(0.05)
    finally:
        for hog in hogs:
            hog.kill()
    return np.array(late[50:])


def bare_jitter(seconds: float) -> NDArray[np.float64]:
    """Return the same of a loop that does nothing: what this machine's scheduler can do [ms]."""
    pace = LoopTimer(PERIOD, time.monotonic, time.sleep)
    late = np.empty(int(seconds / PERIOD))
    with request_realtime(PERIOD):
        for tick in range(len(late)):
            pace.wait_tick()
            late[tick] = pace.tick_delay * 1e3
    return late[50:]


def _burn() -> None:
    while True:
        pass


def run(quick: bool = False) -> dict[str, float]:
    """Measure and print."""
    found: dict[str, float] = {}
    arms = ("fr3", "panda", "kuka_iiwa")
    total = 30_000 if quick else 1_020_000
    results = {name: fuzz(name, total // len(arms), seed) for seed, name in enumerate(arms)}
    for key in ("commands", "setpoints", "violations"):
        found[f"guard.fuzz.{key}"] = sum(result[key] for result in results.values())
    for key in results[arms[0]]:
        if key.startswith("used."):
            found[f"guard.fuzz.{key}"] = max(result[key] for result in results.values())
    for start, times in zip(
        ("guard", "guard.cpu"), cost(ticks=1000 if quick else 10_000), strict=True
    ):
        found[f"{start}.p50_us"], found[f"{start}.p99_us"] = np.percentile(times, [50, 99]).tolist()
    seconds = 5.0 if quick else 40.0
    late = bare_jitter(seconds)
    found["bridge.bare_loop.jitter_p99_ms"] = float(np.percentile(late, 99))
    found["bridge.bare_loop.jitter_max_ms"] = float(late.max())
    for start, busy in (("bridge", 0), ("bridge.busy", 1)):
        late = jitter(seconds, busy)
        found[f"{start}.jitter_p50_ms"] = float(np.percentile(late, 50))
        found[f"{start}.jitter_p99_ms"] = float(np.percentile(late, 99))
        found[f"{start}.jitter_max_ms"] = float(late.max())
    for key, value in found.items():
        target = f"  target <= {TARGETS[key]:g}" if key in TARGETS else ""
        print(f"{key:38s} {value:12.4g}{target}")
    return found
