"""The compiled parts of the loop against others: Ruckig's braking, numpy's differences."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

from robots.errors import RobotError
from robots.guard import SLACK, find_violation
from robots.kernels import plan_braking
from robots.kinematics import Kinematics
from robots.limits import ArmLimits, SafetyConfig, Workspace, build_arm_limits
from robots.model import load_model

PERIOD = 0.01
FR3 = load_model("fr3")
SAFETY = SafetyConfig(Workspace(floor=0.02, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4))
LIMITS = build_arm_limits(FR3, SAFETY)
KINEMATICS = Kinematics(FR3)
HOME = np.array(FR3.home)

shares = hnp.arrays(np.float64, 7, elements=st.floats(-1, 1))


def ruckigs_braking(start: np.ndarray, limits: ArmLimits) -> np.ndarray:
    """(3, K, J) as `braking` gives it."""
    count = limits.joints
    planner, plan, request = Ruckig(count, PERIOD), Trajectory(count), InputParameter(count)
    request.control_interface = ControlInterface.Velocity
    request.synchronization = Synchronization.No
    request.target_velocity = [0.0] * count
    for name in ("velocity", "acceleration", "jerk"):
        setattr(request, f"max_{name}", getattr(limits, name).tolist())
    request.current_position, request.current_velocity, request.current_acceleration = (
        start.tolist()
    )
    planner.calculate(request, plan)
    rows = max(1, ceil(plan.duration / PERIOD))
    samples = [start, *(np.array(plan.at_time(PERIOD * (row + 1))) for row in range(rows))]
    return np.stack(samples, axis=1)


@settings(max_examples=300, deadline=None)
@given(speed=shares, rate=shares)
def test_braking_is_as_fast_as_ruckigs(speed: np.ndarray, rate: np.ndarray) -> None:
    start = np.stack([HOME, speed * LIMITS.velocity, rate * LIMITS.acceleration])
    ours, theirs = plan_braking(start, LIMITS.bounds, PERIOD), ruckigs_braking(start, LIMITS)
    assert abs(ours.shape[1] - theirs.shape[1]) <= 1  # the last row may be a rounding's
    rows = min(ours.shape[1], theirs.shape[1])
    np.testing.assert_allclose(ours[0, :rows], theirs[0, :rows], atol=1e-8)
    np.testing.assert_allclose(ours[1, :rows], theirs[1, :rows], atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], start, atol=1e-12)
    np.testing.assert_array_equal(ours[1:, -1], 0)
    assert (np.abs(ours[2]) <= LIMITS.acceleration * (1 + 1e-9)).all()


def test_who_stands_still_stays() -> None:
    start = np.stack([HOME, np.zeros(7), np.zeros(7)])
    path = plan_braking(start, LIMITS.bounds, PERIOD)
    assert path.shape == (3, 2, 7)
    np.testing.assert_array_equal(path[:, 1], start)


def plainly_wrong_with(before: np.ndarray, path: np.ndarray, limits: ArmLimits) -> str | None:
    """`violation` once more, a line a limit."""
    if not np.isfinite(path).all():
        return "setpoint not finite"
    if (path < limits.lower - SLACK).any() or (path > limits.upper + SLACK).any():
        return "joint position limit"
    tools = KINEMATICS.compute_tool_pose(np.concatenate([before[2:], path]))[:, :3, 3]
    if (tools[1:] < limits.box[0] - SLACK).any() or (tools[1:] > limits.box[1] + SLACK).any():
        return "tool outside the workspace"
    speeds = np.linalg.norm(np.diff(tools, axis=0), axis=1) / PERIOD
    if (speeds > limits.safety.tool_speed * (1 + SLACK)).any():
        return "tool speed limit"
    series = np.concatenate([before, path])
    for name in ("velocity", "acceleration", "jerk"):
        series = np.diff(series, axis=0) / PERIOD
        most = getattr(limits, name) * (1 + SLACK) + SLACK / PERIOD
        if (np.abs(series[-len(path) :]) > most).any():
            return f"joint {name} limit"
    return None


def test_each_kind_of_violation_is_found_as_numpy_finds_it() -> None:
    rng, seen = np.random.default_rng(0), set()
    calm = build_arm_limits(FR3, SafetyConfig(SAFETY.workspace, tool_speed=10.0))
    smooth = replace(LIMITS, jerk=LIMITS.jerk * 1e-3)  # else a jerk too high is always more besides
    for _ in range(4000):
        limits = (LIMITS, calm, smooth)[int(rng.integers(3))]
        base = rng.uniform(limits.lower, limits.upper) if rng.random() < 0.3 else HOME
        speed = rng.normal(0, rng.choice([0.1, 1.0]), 7) * limits.velocity
        rows = int(rng.integers(1, 30))
        series = base + np.outer(np.arange(rows + 3) * PERIOD, speed * (rng.random(7) < 0.3))
        series[3:] += rng.normal(0, 10.0 ** rng.integers(-9, -1), (rows, 7)) * (rng.random(7) < 0.2)
        if rng.random() < 0.05:
            series[-1, 3] = rng.choice([np.nan, np.inf, -np.inf])
        before, path = series[:3], series[3:]
        expected = plainly_wrong_with(before, path, limits)
        assert find_violation(before, path, limits, KINEMATICS, PERIOD) == expected
        seen.add(expected)
    assert len(seen) == 8, seen


@pytest.mark.parametrize(("before", "path"), [((2, 7), (1, 7)), ((3, 6), (1, 6)), ((3, 7), (7,))])
def test_setpoints_of_another_arm_are_an_error(
    before: tuple[int, ...], path: tuple[int, ...]
) -> None:
    with pytest.raises(RobotError, match="7 joints"):
        find_violation(np.zeros(before), np.zeros(path), LIMITS, KINEMATICS, PERIOD)
