"""What was recorded of an arm it does once more: the same path, through the same guard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.robots import swing
from robots.audit import audit_episode
from robots.bridge import Bridge
from robots.episode import EpisodeError, RecordedEpisode, RecordingOrigin, read_episode
from robots.errors import BridgeError
from robots.guard import find_violation
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import SafetyConfig, build_arm_limits
from robots.model import ArmModel, load_model
from robots.recorder import Recorder
from robots.replay import replay_episode
from robots.robot_config import RobotSetup, load_robot
from robots.rollout import RolloutConfig, run_policy
from robots.shaper import Shaper
from robots.state_machine import BridgeState

PERIOD = 0.01
CALM = ["safety.state_age=3.0", "safety.command_age=3.0", "safety.observation_age=3.0"]


@pytest.fixture(scope="module")
def cell() -> RobotSetup:
    pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")
    pytest.importorskip("mcap", reason="recording: pip install 'embodied-stack[record]'")
    return load_robot("fr3_twin", CALM)


def recorded(cell: RobotSetup, folder: Path, work: Callable[[Bridge], Any]) -> RecordedEpisode:
    """Record what a bridge on the twin does."""
    with (
        cell.open_arm() as arm,
        Recorder(folder, RecordingOrigin.describe_arm("twin", cell.model, cell.safety)) as log,
    ):
        with Bridge(arm, cell.model, cell.safety, log) as bridge:
            work(bridge)
        rate = arm.features.rate
    episode = read_episode(folder)
    found = audit_episode(episode, cell.model, cell.safety, rate)
    assert found.findings == ()
    return episode


@pytest.fixture(scope="module")
def first(cell: RobotSetup, tmp_path_factory: pytest.TempPathFactory) -> RecordedEpisode:
    """A curved motion of all joints: each joint swings at a pace of its own."""
    home = np.array(cell.model.home)
    paces = np.linspace(0.6, 1.4, len(home))
    began = time.monotonic()

    def infer(observation: Any, *, observed_at: float) -> dict[str, Any]:
        times = time.monotonic() - began + 0.05 * np.arange(20)[:, None]
        return {"actions": home + 0.15 * np.sin(paces * times) * np.minimum(times, 1.0)}

    def work(bridge: Bridge) -> None:
        nonlocal began
        began = time.monotonic()
        run_policy(bridge, infer, RolloutConfig(action_size=len(home)), 3.0)

    return recorded(cell, tmp_path_factory.mktemp("first") / "run", work)


def setpoints(episode: RecordedEpisode) -> np.ndarray:
    return episode["setpoint"].get_array("positions")[episode.find_journeys()[-1]]


def measured(episode: RecordedEpisode) -> np.ndarray:
    """Joint angles while the last journey lasted."""
    stamps, states = episode["setpoint"].stamps[episode.find_journeys()[-1]], episode["state"]
    during = (states.stamps >= stamps[0]) & (states.stamps <= stamps[-1])
    return states.get_array("positions")[during]


def off_path(points: np.ndarray, path: np.ndarray) -> float:
    """How far the worst of some points is from the nearest place of a polyline, any joint [rad]."""
    ways, worst = np.diff(path, axis=0), 0.0
    lengths = np.maximum((ways**2).sum(axis=1), 1e-18)
    for point in points:
        at = np.clip(((point - path[:-1]) * ways).sum(axis=1) / lengths, 0, 1)[:, None]
        worst = max(worst, np.abs(point - path[:-1] - at * ways).max(axis=1).min())
    return worst


def test_a_replay_makes_the_same_setpoints_and_the_arm_the_same_path(
    cell: RobotSetup, first: RecordedEpisode, tmp_path: Path
) -> None:
    counts = []
    again = recorded(
        cell, tmp_path / "run", lambda bridge: counts.append(replay_episode(bridge, first))
    )
    assert counts == [len(setpoints(first))]
    assert np.ptp(setpoints(first), axis=0).min() > 0.05
    assert off_path(setpoints(first), setpoints(again)) < 1e-9
    assert off_path(measured(first), measured(again)) < 1e-3
    assert off_path(measured(again), measured(first)) < 1e-3


def test_a_replay_that_is_held_brakes_and_says_so(cell: RobotSetup, first: RecordedEpisode) -> None:
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        timer = threading.Timer(1.0, bridge.hold)
        timer.start()
        with pytest.raises(BridgeError, match="resume"):
            replay_episode(bridge, first)
        end = time.monotonic() + 20
        while bridge.get_status().state is not BridgeState.IDLE:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert np.abs(bridge.get_status().setpoint.velocities).max() < 1e-3


def test_a_replay_within_tighter_limits_is_not_done(
    cell: RobotSetup, first: RecordedEpisode
) -> None:
    slower = SafetyConfig(**{**vars(cell.safety), "share": 0.05})
    with cell.open_arm() as arm, Bridge(arm, cell.model, slower) as bridge:
        with pytest.raises(BridgeError, match="limit"):
            replay_episode(bridge, first)
        assert bridge.get_status().state is not BridgeState.FAULT


def test_what_is_not_of_this_arm_or_not_whole_is_refused(
    cell: RobotSetup, first: RecordedEpisode
) -> None:
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        with pytest.raises(EpisodeError, match="the end"):
            replay_episode(bridge, replace(first, lost=("the end",)))
        other = replace(first, origin=replace(first.origin, joints=("a", "b")))
        with pytest.raises(EpisodeError, match="joints a, b"):
            replay_episode(bridge, other)
        still = replace(first, channels={})
        with pytest.raises(EpisodeError, match="no motion"):
            replay_episode(bridge, still)


def shaper_at_home(model: ArmModel, safety: SafetyConfig) -> Shaper:
    made = Shaper(build_arm_limits(model, safety), Kinematics(model), PERIOD)
    made.reset(np.array(model.home))
    return made


def test_a_path_within_limits_is_followed_exactly_and_left_at_rest(safety: SafetyConfig) -> None:
    model = load_model("fr3")
    shaper = shaper_at_home(model, safety)
    path = swing(np.array(model.home), np.full(7, 0.03), 3.0)
    for row in path[1:100]:
        motion = shaper.step(path, CommandKind.PATH)
        assert not shaper.blocked_reason
        np.testing.assert_array_equal([motion.positions, motion.velocities], row[:2])
    sent = [shaper._before.copy()]
    for _ in range(100):
        sent.append(shaper.step(None).positions[None])
    series = np.concatenate(sent)
    assert find_violation(series[:3], series[3:], shaper.limits, shaper.kinematics, PERIOD) is None
    assert shaper.at_rest


def test_who_is_not_on_the_path_stays_where_it_is(safety: SafetyConfig) -> None:
    model = load_model("fr3")
    shaper = shaper_at_home(model, safety)
    path = swing(np.array(model.home) + 0.01, np.full(7, 0.03), 3.0)
    for _ in range(5):
        motion = shaper.step(path, CommandKind.PATH)
        assert "rad away" in shaper.blocked_reason
        np.testing.assert_array_equal(motion.positions, model.home)


def test_a_path_that_leaps_is_left_before_the_leap(safety: SafetyConfig) -> None:
    model = load_model("fr3")
    shaper = shaper_at_home(model, safety)
    path = swing(np.array(model.home), np.full(7, 0.03), 3.0)
    path[50:, 0, 6] += 0.02
    sent = [np.tile(model.home, (3, 1))]
    for _ in range(120):
        sent.append(shaper.step(path, CommandKind.PATH).positions[None])
    series = np.concatenate(sent)
    assert find_violation(series[:3], series[3:], shaper.limits, shaper.kinematics, PERIOD) is None
    assert shaper.at_rest
    assert shaper.blocked_reason


def test_a_first_path_far_from_the_arm_is_refused(exact_arm, model, safety, clock) -> None:
    bridge = Bridge(exact_arm, model, safety, None, clock, clock.sleep)
    bridge.tick()
    token = bridge.arm("test")
    path = swing(np.array(model.home) + 0.3, np.full(len(model.joints), 0.03), 3.0)
    verdict = bridge.submit_command(token, Command(CommandKind.PATH, path, clock(), clock()))
    assert verdict.reason == "first target too far from the arm"
