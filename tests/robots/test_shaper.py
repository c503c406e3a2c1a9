"""Setpoints keep every limit at the driver's rate, whatever the targets do, and arrive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robots.guard import check_command, find_violation
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import SafetyConfig, Workspace, build_arm_limits
from robots.model import ArmModel, load_model
from robots.shaper import Shaper

PERIOD = 0.01


def shaper_of(model: ArmModel, safety: SafetyConfig) -> Shaper:
    shaper = Shaper(build_arm_limits(model, safety), Kinematics(model), PERIOD)
    shaper.reset(np.array(model.home))
    return shaper


def follow(
    shaper: Shaper, target: np.ndarray | None, steps: int, kind: CommandKind = CommandKind.POSITION
):
    """Step and let the pure check look at every single setpoint."""
    sent = [shaper.motion.positions] * 3
    for _ in range(steps):
        motion = shaper.step(target, kind)
        wrong = find_violation(
            np.array(sent[-3:]), motion.positions[None], shaper.limits, shaper.kinematics, PERIOD
        )
        assert wrong is None, wrong
        sent.append(motion.positions)
    return np.array(sent)


def test_it_arrives_at_a_target_and_rests(model: ArmModel, safety: SafetyConfig) -> None:
    shaper = shaper_of(model, safety)
    target = np.array(model.home) + 0.2
    follow(shaper, target, 400)
    assert shaper.motion.positions == pytest.approx(target, abs=1e-4)
    assert shaper.at_rest
    assert not shaper.blocked_reason


def test_without_a_target_it_brakes_at_once_and_stays(
    model: ArmModel, safety: SafetyConfig
) -> None:
    shaper = shaper_of(model, safety)
    follow(shaper, np.array(model.home) + 0.5, 60)
    assert not shaper.at_rest
    longest = (shaper.limits.velocity / shaper.limits.acceleration).max()
    ramp = (shaper.limits.acceleration / shaper.limits.jerk).max()
    steps = int((longest + 2 * ramp) / PERIOD) + 2
    sent = np.array([shaper.step(None).positions for _ in range(steps + 50)])
    assert shaper.at_rest
    assert sent[steps:] == pytest.approx(np.tile(sent[-1], (50, 1)), abs=1e-9)


def test_a_velocity_is_reached_and_held(safety: SafetyConfig) -> None:
    shaper = shaper_of(load_model("fr3"), safety)
    wanted = np.array([0, 0, 0, 0, 0, 0, 0.4])
    follow(shaper, wanted, 60, CommandKind.VELOCITY)
    assert shaper.motion.velocities == pytest.approx(wanted, abs=1e-6)


def test_a_velocity_towards_a_joint_limit_ends_within_it(safety: SafetyConfig) -> None:
    shaper = shaper_of(load_model("fr3"), safety)
    follow(shaper, np.array([0, 0, 0, 0, 0, 0, 0.5]), 900, CommandKind.VELOCITY)
    assert shaper.motion.positions[6] <= shaper.limits.upper[6] + 1e-5
    assert shaper.motion.positions[6] > shaper.limits.upper[6] - 0.1
    assert shaper.blocked_reason == "joint position limit"


def test_the_tool_keeps_its_speed_and_uses_it(model: ArmModel, safety: SafetyConfig) -> None:
    shaper = shaper_of(model, safety)
    target = np.array(model.home)
    target[0] += 1.5
    sent = follow(shaper, target, 300)
    speed = np.linalg.norm(np.diff(shaper.kinematics.compute_tip(sent), axis=0), axis=1) / PERIOD
    assert speed.max() <= safety.tool_speed * 1.00001
    assert speed.max() > 0.75 * safety.tool_speed


@pytest.mark.parametrize("name", ["fr3", "kuka_iiwa", "ur3e", "ur10e", "so101"])
def test_wild_targets_never_break_a_limit(name: str, safety: SafetyConfig) -> None:
    model = load_model(name)
    shaper = shaper_of(model, safety)
    limits, kinematics = shaper.limits, shaper.kinematics
    rng = np.random.default_rng(0)
    sent = [shaper.motion.positions] * 3
    moved = 0.0
    for _ in range(60):
        kind = CommandKind.VELOCITY if rng.random() < 0.4 else CommandKind.POSITION
        values = rng.uniform(limits.lower, limits.upper) * rng.choice([0.1, 1.0, 5.0])
        verdict = check_command(Command(kind, values, 1.0, 1.0), sent[-1], limits, kinematics, 1.0)
        for _ in range(int(rng.integers(1, 40))):
            motion = shaper.step(verdict.target, kind)
            before = np.array(sent[-3:])
            wrong = find_violation(before, motion.positions[None], limits, kinematics, PERIOD)
            assert wrong is None, wrong
            moved += float(np.abs(motion.positions - sent[-1]).sum())
            sent.append(motion.positions)
    assert moved > 1.0


def test_from_every_setpoint_there_is_a_checked_way_to_rest(
    model: ArmModel, safety: SafetyConfig
) -> None:
    """Stop at a random moment of wild motion: the whole braking path keeps all limits."""
    rng = np.random.default_rng(3)
    for seed in range(12):
        shaper = shaper_of(model, safety)
        limits = shaper.limits
        sent = [shaper.motion.positions] * 3
        for _ in range(int(rng.integers(5, 80))):
            if rng.random() < 0.1 or seed == 0:
                target = rng.uniform(limits.lower, limits.upper)
            else:
                target = np.array(model.home) + rng.uniform(-0.8, 0.8, limits.joints)
            sent.append(shaper.step(np.clip(target, limits.lower, limits.upper)).positions)
        path = np.array([shaper.step(None).positions for _ in range(150)])
        before = np.array(sent[-3:])
        assert find_violation(before, path, limits, shaper.kinematics, PERIOD) is None
        assert shaper.at_rest


def test_a_target_a_hair_away_never_stops_the_loop(safety: SafetyConfig) -> None:
    """Ruckig gives up on ways of some 1e-14 rad; the arm then stays where it is."""
    shaper = shaper_of(load_model("so101"), replace(safety, workspace=Workspace(**WIDE)))
    rng = np.random.default_rng(0)
    target = np.array(load_model("so101").home) + 0.1
    follow(shaper, target, 200)
    for _ in range(2000):
        near = shaper.motion.positions + rng.normal(0, 1e-14, 5)
        shaper.step(near)
    assert shaper.motion.positions == pytest.approx(target, abs=1e-6)


WIDE = {"floor": -1.0, "lower": (-1.0, -1.0), "upper": (1.0, 1.0), "ceiling": 1.0}
