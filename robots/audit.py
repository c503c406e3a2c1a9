"""Was it within every limit? A second opinion on setpoints and on what an arm then did.

It shares nothing with guard, shaper and kinematics but the arm's description and the promises: its
own kinematics (quaternions instead of matrices), its own differences, and the settings as they are
written. `audit_episode` reads a recording (`embodied deploy --record` ends with it);
`compute_limit_usage` looks at any series of setpoints, with kinematics of yet another kind where
there are some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robots.episode import EpisodeError, RecordedEpisode, RecordingOrigin
from robots.limits import SafetyConfig
from robots.model import ArmModel

Array = NDArray[np.float64]
Tools = Callable[[Array], Array]

# The guard itself compares with a slack of 1e-5; single precision loses more.
TOLERANCE = 1e-3
# Of what was measured: the arm swings a little beyond its setpoints, and measures with noise.
OVERSHOOT = 1.2  # of a speed, over `WINDOW` [s]
WINDOW = 0.1
STRAY = 0.02  # of the tool beyond its box [m]
# So many setpoints of a loop that was late may come one period too soon, and by some jitter more.
BURST, SOON = 20, 2
MOVING = ("armed", "running", "holding")


@dataclass(frozen=True)
class AuditReport:
    """What was looked at and what was found.

    Attributes:
        setpoints: that moved the arm, and were checked.
        states: measured meanwhile, and checked.
        limit_usage: the largest share of each limit that setpoints used; 1 is the limit.
        findings: what was beyond a limit, in words; empty if nothing was.
    """

    setpoints: int
    states: int
    limit_usage: dict[str, float]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        if self.findings:
            return f"AUDIT: {len(self.findings)} findings: {'; '.join(self.findings)}"
        most = ", ".join(f"{share:.0%} of {name}" for name, share in self.limit_usage.items())
        counts = f"{self.setpoints} setpoints and {self.states} states"
        return f"audit: {counts} within every limit" + (f" (at most {most})" if most else "")


def audit_episode(
    episode: RecordedEpisode, model: ArmModel, safety: SafetyConfig, rate: float
) -> AuditReport:
    """Check a recording of an arm against what was promised of it.

    Setpoints: position, velocity, acceleration, jerk, the tool's place and speed, the pace at which
    they came, and that none moved the arm once commands were too old. Measured: position within the
    maker's limits, velocity, the tool's place and speed, the distance from the setpoints.

    Args:
        episode: of this arm.
        model: of it.
        safety: that was in force.
        rate: of the driver [Hz].

    Raises:
        EpisodeError: the recording was made with another model or other limits.
    """
    now = RecordingOrigin.describe_arm(episode.origin.robot, model, safety)
    if (episode.origin.model, episode.origin.limits) != (now.model, now.limits):
        raise EpisodeError(
            f"{episode.folder} was recorded with the model '{episode.origin.model}' and limits "
            f"{episode.origin.limits or 'unknown'}; these are '{now.model}' and {now.limits}: use "
            "the recipe and the settings it was made with"
        )
    period, used, count = 1 / rate, dict[str, float](), 0
    findings = [f"the recording is incomplete: {lost}" for lost in episode.lost]
    for rows in episode.find_journeys():
        positions = episode["setpoint"].get_array("positions")[rows]
        for name, share in compute_limit_usage(positions, period, model, safety).items():
            used[name] = max(share, used.get(name, 0.0))
        count += len(positions)
        findings += _hurried(episode["setpoint"].stamps[rows], period)
    findings += [
        f"setpoints used {share:.1%} of {name}"
        for name, share in used.items()
        if not share <= 1 + TOLERANCE
    ]
    findings += _late(episode, model, safety, period)
    states, wrong = _measured(episode, model, safety)
    return AuditReport(count, states, used, (*findings, *wrong))


def compute_limit_usage(
    positions: Array,
    period: float,
    model: ArmModel,
    safety: SafetyConfig,
    tools: Tools | None = None,
) -> dict[str, float]:
    """Return the largest share of each limit that a series of setpoints used; 1 is the limit.

    Args:
        positions: (N, J) setpoints, one a period, beginning at rest [rad].
        period: of the driver [s].
        model: of the arm.
        safety: what was promised.
        tools: where the tool is for (N, J) angles, (N, 3) [m]; `compute_tool_positions` of the
            model if None.
    """
    if not np.isfinite(positions).all():
        return {"finite": float("inf")}
    lower = _column(model, "lower") + safety.margin
    upper = _column(model, "upper") - safety.margin
    used = {"position": _deep(positions, lower, upper)}
    series = np.vstack([positions[:1]] * 3 + [positions])
    for name in ("velocity", "acceleration", "jerk"):
        series = (series[1:] - series[:-1]) / period
        used[name] = float((np.abs(series) / (_column(model, name) * safety.share)).max())
    places = compute_tool_positions(model, positions) if tools is None else tools(positions)
    ways = np.sqrt((np.diff(places, axis=0) ** 2).sum(axis=1))
    used["tool speed"] = float(ways.max(initial=0.0)) / period / safety.tool_speed
    used["workspace"] = _deep(places, *_box(safety))
    return used


def compute_tool_positions(model: ArmModel, positions: Array) -> Array:
    """Return where the tool centre point is for (N, J) joint angles, (N, 3) [m]."""
    turn, place = np.tile([0.0, 0.0, 0.0, 1.0], (len(positions), 1)), np.zeros((len(positions), 3))
    for joint, angles in zip(model.joints, positions.T, strict=True):
        place = place + _turned(turn, np.array(joint.xyz))
        roll, pitch, yaw = joint.rpy
        for axis, angle in ((2, yaw), (1, pitch), (0, roll)):
            turn = _product(turn, _about(np.eye(3)[axis], np.array([angle])))
        turn = _product(turn, _about(np.array(joint.axis, np.float64), angles))
    return np.asarray(place + _turned(turn, np.array(model.tool_xyz)))


def _about(axis: Array, angles: Array) -> Array:
    """Return the unit quaternions xyzw (N, 4) of turns about an axis."""
    half = angles[:, None] / 2
    return np.hstack([np.sin(half) * axis / np.sqrt(axis @ axis), np.cos(half)])


def _product(first: Array, second: Array) -> Array:
    u, v, a, b = first[:, :3], second[:, :3], first[:, 3:], second[:, 3:]
    scalar = a * b - (u * v).sum(axis=1, keepdims=True)
    return np.hstack([a * v + b * u + np.cross(u, v), scalar])


def _turned(turn: Array, vector: Array) -> Array:
    u, w = turn[:, :3], turn[:, 3:]
    across = 2 * np.cross(u, vector)
    return np.asarray(vector + w * across + np.cross(u, across))


def _apart(earlier: Array, later: Array, cuts: Array) -> NDArray[np.bool_]:
    """Say which pairs of stamps have a cut between them."""
    return np.searchsorted(cuts, later, "right") > np.searchsorted(cuts, earlier, "right")


def _hurried(stamps: Array, period: float) -> list[str]:
    """Say whether setpoints came faster than the rate they were made for."""
    if len(stamps) <= BURST:
        return []
    fewest = float((stamps[BURST:] - stamps[:-BURST]).min())
    if fewest >= (BURST - SOON) * period:
        return []
    return [f"{BURST} setpoints came within {fewest:.3f} s instead of {BURST * period:.3f} s"]


def _late(
    episode: RecordedEpisode, model: ArmModel, safety: SafetyConfig, period: float
) -> list[str]:
    """Say whether a setpoint moved the arm when the last command was too old to count."""
    setpoints, verdicts = episode["setpoint"], episode["verdict"]
    if len(setpoints) < 2:
        return []
    speeds = np.abs(np.diff(setpoints.get_array("positions"), axis=0)).max(axis=1) / period
    taken = verdicts.stamps[verdicts.get_array("outcome") != "refused"] if len(verdicts) else []
    given = np.concatenate([[-np.inf], np.sort(taken)])
    before, stamps = setpoints.stamps[:-1], setpoints.stamps[1:]
    age = stamps - given[np.searchsorted(given, stamps, side="right") - 1]
    v, a, j = (_column(model, name) for name in ("velocity", "acceleration", "jerk"))
    allowed = safety.command_age + float((v / a + 2 * a / j).max()) + SOON * period
    moved = (age > allowed) & (speeds > 1e-3) & ~_apart(before, stamps, episode.find_cuts())
    if not moved.any():
        return []
    return [f"{moved.sum()} setpoints moved the arm up to {age[moved].max():.2f} s after a command"]


def _measured(
    episode: RecordedEpisode, model: ArmModel, safety: SafetyConfig
) -> tuple[int, list[str]]:
    """Check what was measured while the arm was in command."""
    states, setpoints = episode["state"], episode["setpoint"]
    if not len(states) or not len(setpoints):
        return 0, []
    _, first = np.unique(states.stamps, return_index=True)  # a slow device repeats itself
    rows = first[np.isin(states.get_array("bridge")[first], MOVING)]
    if not len(rows):
        return 0, []
    stamps, positions = states.stamps[rows], states.get_array("positions")[rows]
    if not np.isfinite(positions).all():
        return len(rows), ["a measurement is not finite"]
    findings = []
    if _deep(positions, _column(model, "lower"), _column(model, "upper")) > 1 + TOLERANCE:
        findings.append("the arm was measured beyond a maker's joint limit")
    low, high = _box(safety)
    places = compute_tool_positions(model, positions)
    if (places < low - STRAY).any() or (places > high + STRAY).any():
        findings.append(f"the tool was measured more than {STRAY} m outside its workspace")
    later = np.searchsorted(stamps, stamps + WINDOW)
    here = np.flatnonzero(later < len(stamps))
    here = here[~_apart(stamps[here], stamps[later[here]], episode.find_cuts())]
    past = (stamps[later[here]] - stamps[here])[:, None]
    speeds = np.abs(positions[later[here]] - positions[here]) / past
    fastest = speeds / (_column(model, "velocity") * safety.share)
    tool = np.sqrt(((places[later[here]] - places[here]) ** 2).sum(axis=1)) / past[:, 0]
    for name, share in (("velocity", fastest), ("tool speed", tool / safety.tool_speed)):
        if share.max(initial=0.0) > OVERSHOOT:
            findings.append(f"{share.max():.0%} of {name} was measured over {WINDOW} s")
    told = np.searchsorted(setpoints.stamps, stamps, side="right") - 1
    close = told >= 0
    lag = np.abs(positions[close] - setpoints.get_array("positions")[told[close]]).max(initial=0.0)
    if lag > safety.tracking:
        findings.append(f"the arm was {lag:.3f} rad from its setpoint")
    return len(rows), findings


def _deep(values: Array, low: Array, high: Array) -> float:
    """Return how far from the middle of its span the worst value lies; 1 is an end."""
    return float((np.abs(values - (high + low) / 2) / ((high - low) / 2)).max())


def _box(safety: SafetyConfig) -> tuple[Array, Array]:
    box = safety.workspace
    return np.array([*box.lower, box.floor]), np.array([*box.upper, box.ceiling])


def _column(model: ArmModel, name: str) -> Array:
    return np.array([getattr(joint, name) for joint in model.joints], np.float64)
