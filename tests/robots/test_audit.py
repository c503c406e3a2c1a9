"""The second opinion on recordings: it agrees with what is well, and finds what is planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robots.audit import audit_episode, compute_limit_usage, compute_tool_positions
from robots.bridge import Bridge
from robots.episode import (
    EpisodeError,
    RecordedChannel,
    RecordedEpisode,
    RecordingOrigin,
    read_episode,
)
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import SafetyConfig
from robots.model import list_models, load_model
from robots.recorder import Recorder
from tests.robots.conftest import CELL, Clock, ExactArm

pytest.importorskip("mcap", reason="recording needs mcap")

FR3 = load_model("fr3")
SAFETY = SafetyConfig(CELL)
RATE = 100.0


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> RecordedEpisode:
    """A bridge and an exact arm in time that is moved by hand: there, back, and armed anew."""
    clock = Clock()
    arm = ExactArm(FR3, clock)
    folder = tmp_path_factory.mktemp("audited") / "run"
    with Recorder(folder, RecordingOrigin.describe_arm("mine", FR3, SAFETY)) as log:
        bridge = Bridge(arm, FR3, SAFETY, log, clock, clock.sleep)
        bridge.tick()
        for by in (0.4, -0.1):
            token = bridge.arm("test")
            for tick in range(250):
                if tick < 200:
                    target = np.array(FR3.home) + by if tick else arm.positions
                    bridge.submit_command(
                        token, Command(CommandKind.POSITION, target, clock(), clock())
                    )
                clock.sleep(1 / RATE)
                bridge.tick()
            bridge.stop()
            bridge.tick()
            arm.positions = arm.positions + 0.05  # as if a hand had moved it meanwhile
            clock.sleep(1 / RATE)
            bridge.tick()
    return read_episode(folder)


def changed(episode: RecordedEpisode, kind: str, **columns: Any) -> RecordedEpisode:
    """The same with other columns in a channel; `stamps` are its stamps."""
    channel = episode[kind]
    stamps = columns.pop("stamps", channel.stamps)
    made = RecordedChannel(stamps, {**channel.columns, **columns})
    return replace(episode, channels={**episode.channels, kind: made})


def findings(episode: RecordedEpisode, safety: SafetyConfig = SAFETY) -> str:
    return "; ".join(audit_episode(episode, FR3, safety, RATE).findings)


def test_a_run_within_its_limits_has_no_findings_and_used_them(episode: RecordedEpisode) -> None:
    found = audit_episode(episode, FR3, SAFETY, RATE)
    assert found.findings == ()
    assert found.setpoints > 200
    assert found.states > 200
    assert set(found.limit_usage) == {
        "position", "velocity", "acceleration", "jerk", "tool speed", "workspace",
    }  # fmt: skip
    assert max(found.limit_usage.values()) <= 1 + 1e-9
    assert found.limit_usage["acceleration"] > 0.9
    assert "within every limit" in str(found)


@pytest.mark.parametrize("name", list_models())
def test_its_kinematics_agree_with_the_others(name: str) -> None:
    model = load_model(name)
    rng = np.random.default_rng(0)
    angles = rng.uniform(-2, 2, (50, len(model.joints)))
    expected = Kinematics(model).compute_tool_pose(angles)[:, :3, 3]
    np.testing.assert_allclose(compute_tool_positions(model, angles), expected, atol=1e-12)


def planted(
    episode: RecordedEpisode, kind: str, row: int, joint: int, by: float
) -> RecordedEpisode:
    positions = episode[kind].get_array("positions").copy()
    positions[row:, joint] += by
    return changed(episode, kind, positions=positions)


def test_a_step_too_far_in_one_setpoint_is_found(episode: RecordedEpisode) -> None:
    assert "of jerk" in findings(planted(episode, "setpoint", 30, 6, 0.004))
    assert "of velocity" in findings(planted(episode, "setpoint", 30, 6, 0.05))


def test_a_setpoint_beyond_a_joint_or_the_workspace_is_found(episode: RecordedEpisode) -> None:
    far = planted(episode, "setpoint", 30, 6, 3.0)
    assert "of position" in findings(far)
    low = SafetyConfig(replace(CELL, ceiling=0.5))
    moved = replace(episode, origin=RecordingOrigin.describe_arm("mine", FR3, low))
    assert "of workspace" in findings(moved, low)
    slow = SafetyConfig(CELL, tool_speed=0.05)
    moved = replace(episode, origin=RecordingOrigin.describe_arm("mine", FR3, slow))
    assert "of tool speed" in findings(moved, slow)


def test_setpoints_that_are_no_numbers_are_found(episode: RecordedEpisode) -> None:
    assert "finite" in findings(planted(episode, "setpoint", 30, 0, np.nan))
    assert "not finite" in findings(planted(episode, "state", 30, 0, np.nan))


def test_a_loop_that_hurries_is_found(episode: RecordedEpisode) -> None:
    stamps = episode["setpoint"].stamps.copy()
    stamps[40:80] = stamps[40] + np.arange(40) * 0.004
    assert "setpoints came within" in findings(changed(episode, "setpoint", stamps=stamps))


def test_motion_long_after_the_last_command_is_found(episode: RecordedEpisode) -> None:
    verdicts = episode["verdict"]
    refused = np.where(
        (verdicts.stamps > verdicts.stamps[5]) & (verdicts.stamps < verdicts.stamps[199]),
        "refused",
        verdicts.get_array("outcome"),
    )
    assert "after a command" in findings(changed(episode, "verdict", outcome=refused))


def test_an_arm_that_does_something_else_is_found(episode: RecordedEpisode) -> None:
    assert "from its setpoint" in findings(planted(episode, "state", 50, 0, 0.4))
    assert "joint limit" in findings(planted(episode, "state", 50, 3, 2.5))
    assert "of velocity was measured" in findings(planted(episode, "state", 50, 6, 0.25))


def test_what_is_missing_is_a_finding(episode: RecordedEpisode) -> None:
    cut = replace(episode, lost=("the end",))
    assert findings(cut) == "the recording is incomplete: the end"
    assert str(audit_episode(cut, FR3, SAFETY, RATE)).startswith("AUDIT: 1 findings")


def test_other_limits_than_those_of_the_recording_are_an_error(episode: RecordedEpisode) -> None:
    with pytest.raises(EpisodeError, match="recorded with"):
        audit_episode(episode, FR3, SafetyConfig(CELL, share=0.5), RATE)
    with pytest.raises(EpisodeError, match="recorded with"):
        audit_episode(episode, load_model("panda"), SAFETY, RATE)


def test_where_nothing_moved_nothing_is_wrong(tmp_path: Path) -> None:
    with Recorder(tmp_path / "still", RecordingOrigin.describe_arm("mine", FR3, SAFETY)) as log:
        log.record_message("event", 1.0, {"event": "armed"})
    found = audit_episode(read_episode(tmp_path / "still"), FR3, SAFETY, RATE)
    assert (found.setpoints, found.states, found.findings) == (0, 0, ())


def test_shares_take_kinematics_of_another_kind() -> None:
    still = np.tile(FR3.home, (5, 1))
    used = compute_limit_usage(still, 0.01, FR3, SAFETY, lambda q: np.full((len(q), 3), 10.0))
    assert used["workspace"] > 1
