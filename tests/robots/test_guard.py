"""The guard: what it lets through, what it cuts, what it refuses, and that nothing gets past it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from embodied.errors import ConfigError
from robots.errors import RobotError
from robots.guard import CommandOutcome, VerdictReason, check_command, find_violation
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import ArmLimits, SafetyConfig, Workspace, build_arm_limits
from robots.model import load_model

NOW = 50.0
FR3 = load_model("fr3")
SAFETY = SafetyConfig(Workspace(floor=0.02, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4))
LIMITS = build_arm_limits(FR3, SAFETY)
KINEMATICS = Kinematics(FR3)
HOME = np.array(FR3.home)
STILL = np.tile(HOME, (3, 1))
PERIOD = 0.01


def asked(
    values: object,
    kind: CommandKind = CommandKind.POSITION,
    *,
    age: float = 0.0,
    seen: float = 0.0,
    gripper: float | None = None,
):
    command = Command(kind, np.asarray(values), NOW - age, NOW - seen, gripper)
    return check_command(command, HOME, LIMITS, KINEMATICS, NOW)


def pose_of(q: np.ndarray) -> np.ndarray:
    pose = KINEMATICS.compute_tool_pose(q)
    return np.concatenate([pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_quat()])


def test_a_good_command_passes_unchanged() -> None:
    verdict = asked(HOME + 0.05, gripper=0.5)
    assert verdict.outcome is CommandOutcome.ALLOWED
    assert verdict.target == pytest.approx(HOME + 0.05)
    assert verdict.gripper == 0.5


def test_limits_are_the_makers_cut_down() -> None:
    joint = FR3.joints[3]
    assert LIMITS.lower[3] == pytest.approx(joint.lower + 0.05)
    assert LIMITS.velocity[3] == pytest.approx(joint.velocity / 4)
    with pytest.raises(ValueError, match="read-only"):
        LIMITS.velocity[0] = 9.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [CommandKind.POSITION, CommandKind.VELOCITY, CommandKind.POSE])
def test_what_is_not_finite_is_refused(bad: float, kind: CommandKind) -> None:
    values = pose_of(HOME) if kind is CommandKind.POSE else HOME.copy()
    values[2] = bad
    assert asked(values, kind).reason is VerdictReason.NOT_FINITE
    assert asked(HOME, gripper=bad).reason is VerdictReason.NOT_FINITE


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (HOME[:6], VerdictReason.SHAPE),
        (HOME[None], VerdictReason.SHAPE),
        (np.float64(0.1), VerdictReason.SHAPE),
        (HOME.astype(complex), VerdictReason.DTYPE),
        (np.array(["0"] * 7), VerdictReason.DTYPE),
        (np.array([None] * 7), VerdictReason.DTYPE),
        (HOME > 0, VerdictReason.DTYPE),
    ],
)
def test_wrong_shapes_and_types_are_refused(values: np.ndarray, reason: VerdictReason) -> None:
    assert asked(values).reason is reason


def test_a_denormal_is_a_number_and_a_huge_one_is_clipped() -> None:
    assert asked(np.where(np.arange(7) == 0, 5e-324, HOME)).outcome is CommandOutcome.ALLOWED
    verdict = asked(np.where(np.arange(7) == 6, 1e300, HOME))
    assert verdict.outcome is CommandOutcome.CLIPPED
    assert verdict.target[6] == pytest.approx(LIMITS.upper[6])
    assert "joint 7" in verdict.detail


@pytest.mark.parametrize(
    ("age", "seen", "reason"),
    [
        (0.151, 0.2, VerdictReason.STALE),
        (0.1, 0.501, VerdictReason.OLD_OBSERVATION),
        (-0.1, 0.0, VerdictReason.FUTURE),
        (0.0, -5.0, VerdictReason.FUTURE),
        (float("nan"), 0.0, VerdictReason.STALE),
        (0.0, float("nan"), VerdictReason.OLD_OBSERVATION),
        (float("inf"), 0.0, VerdictReason.STALE),
    ],
)
def test_old_commands_old_observations_and_mad_stamps_are_refused(
    age: float, seen: float, reason: VerdictReason
) -> None:
    assert asked(HOME, age=age, seen=seen).reason is reason


def test_the_newest_age_that_counts_still_passes() -> None:
    assert asked(HOME, age=0.149, seen=0.499).outcome is CommandOutcome.ALLOWED


def test_velocities_are_clipped_joint_by_joint() -> None:
    verdict = asked([9.0, -9.0, 0.1, 0, 0, 0, 0], CommandKind.VELOCITY)
    assert verdict.outcome is CommandOutcome.CLIPPED
    assert verdict.target[:3] == pytest.approx([LIMITS.velocity[0], -LIMITS.velocity[1], 0.1])


def test_a_target_with_the_tool_in_the_table_is_refused() -> None:
    # The elbow stretched forward and down reaches below the floor.
    verdict = asked([0.0, 1.6, 0.0, -1.0, 0.0, 1.5, 0.0])
    assert verdict.reason is VerdictReason.WORKSPACE
    assert "tool would be at" in verdict.detail


def test_a_pose_becomes_joint_angles_that_reach_it() -> None:
    wanted = HOME + 0.05
    verdict = asked(pose_of(wanted), CommandKind.POSE)
    assert verdict.outcome is CommandOutcome.ALLOWED
    assert KINEMATICS.compute_tool_pose(verdict.target) == pytest.approx(
        KINEMATICS.compute_tool_pose(wanted), abs=5e-4
    )


def test_poses_outside_the_box_out_of_reach_or_far_away() -> None:
    low = pose_of(HOME)
    low[:3] = 0.45, 0.0, -0.3
    verdict = asked(low, CommandKind.POSE)
    if verdict.outcome is CommandOutcome.CLIPPED:
        assert KINEMATICS.compute_tip(verdict.target)[2] >= SAFETY.workspace.floor - 1e-3
    else:
        assert verdict.reason in (VerdictReason.JUMP, VerdictReason.UNREACHABLE)
    far = pose_of(HOME)
    far[:3] = 0.89, 0.89, 1.39
    assert asked(far, CommandKind.POSE).reason is VerdictReason.UNREACHABLE
    careful = build_arm_limits(FR3, SafetyConfig(SAFETY.workspace, jump=0.1))
    turned = Command(CommandKind.POSE, pose_of(HOME + 0.3 * (np.arange(7) == 0)), NOW, NOW)
    assert check_command(turned, HOME, LIMITS, KINEMATICS, NOW).outcome is CommandOutcome.ALLOWED
    assert check_command(turned, HOME, careful, KINEMATICS, NOW).reason is VerdictReason.JUMP
    long = pose_of(HOME)
    long[3:] *= 3
    assert asked(long, CommandKind.POSE).reason is VerdictReason.SHAPE


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (LIMITS.velocity * PERIOD * 1.01, "velocity"),
        (LIMITS.acceleration * PERIOD**2 * 1.05, "acceleration"),
    ],
)
def test_steps_beyond_a_limit_are_found(step: np.ndarray, reason: str) -> None:
    """A step of the last joint only: the tool hardly moves, so its speed is not what is found."""
    only = np.where(np.arange(7) == 6, 1.0, 0.0)
    # Arrive at this speed over three equal steps, so that only the first difference is too large.
    before = HOME + np.outer([-3, -2, -1], step * only) if reason == "velocity" else STILL
    path = (before[-1] + step * only)[None]
    found = find_violation(before, path, LIMITS, KINEMATICS, PERIOD)
    assert found is not None
    assert reason in found


def test_jerk_is_found_where_acceleration_is_within_bounds() -> None:
    slow = build_arm_limits(FR3, SAFETY)
    object.__setattr__(slow, "jerk", slow.jerk * 1e-3)
    only = np.where(np.arange(7) == 6, 1.0, 0.0)
    path = HOME + only * LIMITS.acceleration[6] * PERIOD**2 * 0.5
    assert find_violation(STILL, path[None], LIMITS, KINEMATICS, PERIOD) is None
    assert find_violation(STILL, path[None], slow, KINEMATICS, PERIOD) == "joint jerk limit"


def test_tool_speed_and_workspace_are_found_through_the_kinematics() -> None:
    fast = build_arm_limits(FR3, SafetyConfig(SAFETY.workspace, share=1.0, tool_speed=0.05))
    only = np.where(np.arange(7) == 0, 1.0, 0.0)
    step = only * 0.002  # 0.2 rad/s at 0.3 m from the axis: 6 cm/s
    before = HOME + np.outer([-3, -2, -1], step)
    assert (
        find_violation(before, (before[-1] + step)[None], fast, KINEMATICS, PERIOD)
        == "tool speed limit"
    )
    tight = Workspace(floor=0.6, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4)
    boxed = build_arm_limits(FR3, SafetyConfig(tight))
    assert (
        find_violation(STILL, HOME[None], boxed, KINEMATICS, PERIOD) == "tool outside the workspace"
    )
    assert (
        find_violation(STILL, HOME[None] * np.nan, LIMITS, KINEMATICS, PERIOD)
        == "setpoint not finite"
    )
    out = STILL.copy()
    out[:, 6] = LIMITS.upper[6] + 0.01
    assert find_violation(out, out[:1], LIMITS, KINEMATICS, PERIOD) == "joint position limit"


shapes = st.one_of(
    st.just((7,)), st.just((4, 3, 7)), hnp.array_shapes(min_dims=0, max_dims=3, max_side=8)
)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(list(CommandKind)),
    values=hnp.arrays(np.float64, shapes, elements=st.floats(allow_nan=True, allow_infinity=True)),
    age=st.floats(allow_nan=True, allow_infinity=True),
    seen=st.one_of(st.just(0.0), st.floats(allow_nan=True, allow_infinity=True)),
    gripper=st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
)
def test_whatever_is_asked_a_target_is_finite_within_limits_and_fresh(
    kind: CommandKind, values: np.ndarray, age: float, seen: float, gripper: float | None
) -> None:
    verdict = asked(values, kind, age=age, seen=seen, gripper=gripper)
    if verdict.target is None:
        assert verdict.outcome is CommandOutcome.REFUSED
        assert verdict.reason
        return
    if kind is CommandKind.PATH:  # the shaper looks at each of its steps
        assert verdict.target.shape == (len(values), 3, 7)
        assert np.isfinite(verdict.target).all()
    else:
        check_target(verdict.target, kind, LIMITS)
    assert age <= SAFETY.command_age
    assert seen <= SAFETY.observation_age
    assert verdict.gripper is None or 0 <= verdict.gripper <= 1


def check_target(target: np.ndarray, kind: CommandKind, limits: ArmLimits) -> None:
    assert target.shape == (limits.joints,)
    assert np.isfinite(target).all()
    if kind is CommandKind.VELOCITY:
        assert (np.abs(target) <= limits.velocity).all()
    else:
        assert (target >= limits.lower).all()
        assert (target <= limits.upper).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"share": 1.5}, "share"),
        ({"margin": -0.1}, "margin"),
        ({"tool_speed": float("inf")}, "tool_speed"),
        ({"command_age": 0.0}, "command_age"),
        ({"state_age": float("nan")}, "state_age"),
    ],
)
def test_careless_settings_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SafetyConfig(SAFETY.workspace, **change)


def test_a_workspace_must_be_a_finite_box_and_a_margin_leave_room() -> None:
    with pytest.raises(ConfigError, match="workspace"):
        Workspace(floor=1.0, lower=(-1, -1), upper=(1, 1), ceiling=0.5)
    with pytest.raises(ConfigError, match="workspace"):
        Workspace(floor=float("-inf"), lower=(-1, -1), upper=(1, 1), ceiling=0.5)
    with pytest.raises(TypeError):
        SafetyConfig()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="leaves joint 'joint4' no room"):
        build_arm_limits(FR3, SafetyConfig(SAFETY.workspace, margin=1.45))


@pytest.mark.parametrize(
    "change",
    [
        {"values": [[1.0], [1.0, 2.0]]},
        {"stamp": "now"},
        {"observation_stamp": None},
        {"gripper": [1.0, 2.0]},
    ],
)
def test_what_is_no_command_at_all_is_the_callers_error(change: dict[str, object]) -> None:
    good = {
        "kind": CommandKind.POSITION,
        "values": HOME,
        "stamp": NOW,
        "observation_stamp": NOW,
        "gripper": None,
    }
    with pytest.raises(RobotError, match="this is no command"):
        Command(**(good | change))  # type: ignore[arg-type]


def test_a_path_is_taken_as_it_is_if_it_is_one() -> None:
    path = np.zeros((5, 3, 7))
    path[:, 0] = HOME
    taken = asked(path, CommandKind.PATH)
    assert taken.outcome is CommandOutcome.ALLOWED
    np.testing.assert_array_equal(taken.target, path)
    for wrong in (path[0], path[:, :2], path[..., :6], path[:0], np.zeros((1001, 3, 7)), 1.0):
        assert asked(wrong, CommandKind.PATH).reason is VerdictReason.SHAPE
    path[3, 2, 1] = np.nan
    assert asked(path, CommandKind.PATH).reason is VerdictReason.NOT_FINITE
