"""The bridge moves an arm when all is well, and only then. Time is moved by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from robots.arm import StopCategory
from robots.bridge import Bridge
from robots.errors import BridgeError, DeviceError, RobotError
from robots.guard import CommandOutcome, VerdictReason, find_violation
from robots.intent import Command, CommandKind
from robots.limits import SafetyConfig, Workspace
from robots.model import load_model
from robots.state_machine import BridgeState


class Notes:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, Mapping[str, Any]]] = []

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        self.rows.append((kind, stamp, fields))

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [fields for name, _, fields in self.rows if name == kind]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def bridge(exact_arm, model, safety, clock, notes) -> Bridge:
    made = Bridge(exact_arm, model, safety, notes, clock, clock.sleep)
    made.tick()
    return made


def run(bridge: Bridge, ticks: int) -> None:
    for _ in range(ticks):
        bridge._sleep(bridge.period)
        bridge.tick()


def near(bridge: Bridge, by: float = 0.05) -> Command:
    now = bridge._clock()
    return Command(CommandKind.POSITION, np.array(bridge.model.home) + by, now, now)


def drive(bridge: Bridge, token: str, ticks: int, by: float = 0.05) -> None:
    for _ in range(ticks):
        assert bridge.submit_command(token, near(bridge, by)).outcome is CommandOutcome.ALLOWED
        run(bridge, 1)


def test_it_goes_where_it_is_told_and_every_setpoint_is_within_limits(bridge, exact_arm) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 150)
    assert exact_arm.positions == pytest.approx(np.array(bridge.model.home) + 0.05, abs=1e-4)
    assert bridge.get_status().state is BridgeState.RUNNING
    home = np.array(bridge.model.home)
    sent = np.array([home] * 3 + [setpoint.positions for setpoint in exact_arm.sent])
    for end in range(3, len(sent)):
        wrong = find_violation(
            sent[end - 3 : end], sent[end : end + 1], bridge.limits, bridge.kinematics, 0.01
        )
        assert wrong is None


def test_the_first_setpoint_stands_still_whatever_was_asked_for(bridge, exact_arm) -> None:
    begun = exact_arm.positions.copy()
    for _ in range(2):  # the second time as well
        token = bridge.arm("policy")
        bridge.submit_command(token, near(bridge))
        run(bridge, 1)
        np.testing.assert_array_equal(exact_arm.sent[-1].positions, begun)
        run(bridge, 2)
        assert np.abs(exact_arm.sent[-1].positions - begun).max() > 0
        bridge.disarm(token)
        run(bridge, 20)
        begun = exact_arm.positions.copy()


def test_nothing_is_sent_before_somebody_arms_it(bridge, exact_arm) -> None:
    verdict = bridge.submit_command("", near(bridge))
    run(bridge, 20)
    assert verdict.reason is VerdictReason.STATE
    assert not exact_arm.sent


def test_one_commander_at_a_time(bridge) -> None:
    token = bridge.arm("policy")
    with pytest.raises(BridgeError, match="'policy' is in command"):
        bridge.arm("intruder")
    assert bridge.submit_command("0" * 32, near(bridge)).reason is VerdictReason.NOT_COMMANDING
    with pytest.raises(BridgeError, match="not in command"):
        bridge.disarm("0" * 32)
    bridge.disarm(token)
    run(bridge, 3)
    assert bridge.get_status().state is BridgeState.IDLE
    assert bridge.arm("next") != token


def test_a_silent_policy_makes_the_arm_brake_and_hold_and_a_new_command_moves_it_on(
    bridge, exact_arm, safety
) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20, by=0.09)
    last = bridge._clock()
    assert np.abs(exact_arm.velocities).max() > 0.01
    while np.abs(exact_arm.velocities).max() > 1e-3:
        run(bridge, 1)
        assert bridge._clock() - last < 1.5
    run(bridge, 5)
    assert bridge.get_status().state is BridgeState.HOLDING
    still = exact_arm.positions.copy()
    run(bridge, 50)
    assert exact_arm.positions == pytest.approx(still, abs=1e-9)
    drive(bridge, token, 60, by=0.09)
    assert bridge.get_status().state is BridgeState.RUNNING


def test_braking_begins_when_the_command_is_too_old_not_later(bridge, exact_arm, safety) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 12, by=0.09)
    last, speed, braking = bridge._clock(), 0.0, None
    for _ in range(60):
        run(bridge, 1)
        now = float(np.linalg.norm(exact_arm.velocities))
        if now < speed and braking is None:
            braking = bridge._clock() - last
        speed = now
    assert braking is not None
    assert braking <= safety.command_age + 2 * bridge.period + 0.02


def test_a_first_target_far_from_the_arm_is_refused(bridge, exact_arm) -> None:
    token = bridge.arm("policy")
    assert bridge.submit_command(token, near(bridge, by=0.11)).reason is VerdictReason.START
    run(bridge, 10)
    assert exact_arm.positions == pytest.approx(np.array(bridge.model.home))
    assert bridge.submit_command(token, near(bridge, by=0.09)).outcome is CommandOutcome.ALLOWED


def test_hold_refuses_commands_until_resume(bridge, exact_arm) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20)
    bridge.hold()
    assert bridge.submit_command(token, near(bridge)).reason is VerdictReason.HELD
    run(bridge, 100)
    assert bridge.get_status().state is BridgeState.HOLDING
    assert np.abs(exact_arm.velocities).max() < 1e-3
    bridge.resume()
    assert bridge.submit_command(token, near(bridge)).outcome is CommandOutcome.ALLOWED


def test_stop_and_hold_brakes_along_a_checked_path_and_takes_command_away(
    bridge, exact_arm
) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20, by=0.09)
    bridge.stop()
    assert bridge.submit_command(token, near(bridge)).outcome is CommandOutcome.REFUSED
    assert bridge.submit_command("", near(bridge)).outcome is CommandOutcome.REFUSED
    run(bridge, 100)
    assert bridge.get_status().state is BridgeState.IDLE
    assert exact_arm.stops == [StopCategory.STOP_AND_HOLD]


@pytest.mark.parametrize("category", [StopCategory.CUT_POWER, StopCategory.STOP_THEN_POWER_OFF])
def test_harder_stops_are_the_devices_own_and_immediate(bridge, exact_arm, category) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20, by=0.09)
    sent = len(exact_arm.sent)
    bridge.stop(category)
    run(bridge, 1)
    assert exact_arm.stops == [category]
    assert len(exact_arm.sent) == sent


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda arm: setattr(arm, "broken", "cable cut"), "cable cut"),
        (lambda arm: setattr(arm, "silent_since", arm.clock() - 0.2), "s old"),
        (lambda arm: setattr(arm, "silent_since", float("nan")), "s old"),
        (lambda arm: setattr(arm, "fault", "protective stop"), "protective stop"),
        (lambda arm: setattr(arm, "positions", arm.positions + 0.4), "from its setpoint"),
        (lambda arm: setattr(arm, "positions", arm.positions * np.nan), "not finite"),
        (lambda arm: setattr(arm, "positions", arm.positions[:3]), "wrong shape"),
    ],
)
def test_what_is_wrong_with_the_arm_is_a_latched_fault_and_a_category_1_stop(
    bridge, exact_arm, notes, harm, reason
) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20)
    sent = len(exact_arm.sent)
    harm(exact_arm)
    run(bridge, 1)
    status = bridge.get_status()
    assert status.state is BridgeState.FAULT
    assert reason in status.fault
    assert exact_arm.stops == [StopCategory.STOP_THEN_POWER_OFF]
    for _ in range(20):
        assert bridge.submit_command(token, near(bridge)).reason is VerdictReason.STATE
        run(bridge, 1)
    assert len(exact_arm.sent) == sent
    with pytest.raises(BridgeError, match="in fault"):
        bridge.arm("policy")
    assert any(note["event"] == "fault" for note in notes.of("event"))


def test_a_fault_is_cleared_only_when_its_cause_is_gone_and_then_needs_arming(
    bridge, exact_arm
) -> None:
    bridge.arm("policy")
    exact_arm.fault = "protective stop"
    run(bridge, 1)
    with pytest.raises(BridgeError, match="still in fault: the arm reports: protective stop"):
        bridge.reset()
    exact_arm.broken = "cable cut"
    with pytest.raises(DeviceError, match="cable cut"):
        bridge.reset()
    exact_arm.fault = exact_arm.broken = ""
    bridge.reset()
    run(bridge, 5)
    assert bridge.get_status().state is BridgeState.IDLE
    assert not exact_arm.sent
    drive(bridge, bridge.arm("policy"), 5)


def test_a_loop_that_stood_still_faults_instead_of_leaping(bridge, exact_arm, clock) -> None:
    token = bridge.arm("policy")
    drive(bridge, token, 20, by=0.09)
    clock.sleep(3.0)
    bridge.tick()
    assert bridge.get_status().state is BridgeState.FAULT
    assert "stood still for 3.0" in bridge.get_status().fault


def test_a_clock_that_jumps_back_does_not_make_old_commands_young(bridge, clock) -> None:
    token = bridge.arm("policy")
    old = near(bridge)
    drive(bridge, token, 20)
    clock.now -= 5.0
    assert bridge.submit_command(token, old).reason in (VerdictReason.FUTURE, VerdictReason.STALE)


def test_refused_and_clipped_commands_are_in_the_log_with_their_reason(bridge, notes) -> None:
    token = bridge.arm("policy")
    bad = near(bridge).values * np.nan
    now = bridge._clock()
    bridge.submit_command(token, Command(CommandKind.POSITION, bad, now, now))
    bridge.submit_command(token, Command(CommandKind.VELOCITY, np.full_like(bad, 9.0), now, now))
    first, second = notes.of("verdict")
    assert (first["outcome"], first["reason"]) == ("refused", "not finite")
    assert (second["outcome"], second["reason"]) == ("clipped", "joint velocity limit")
    assert bridge.get_status().verdict_counts == {
        "refused: not finite": 1,
        "clipped: joint velocity limit": 1,
    }


def test_the_wrong_model_is_refused_before_anything_moves(exact_arm, safety) -> None:
    with pytest.raises(RobotError, match="choose the model"):
        Bridge(exact_arm, load_model("so101"), safety)


def test_two_threads_that_submit_at_once_leave_a_consistent_count(bridge) -> None:
    token = bridge.arm("policy")

    def submit() -> None:
        for _ in range(200):
            bridge.submit_command(token, near(bridge))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bridge.get_status().verdict_counts == {"allowed": 800}


def test_on_the_real_clock_it_connects_moves_and_leaves_the_arm_stopped(exact_arm, model) -> None:
    cell = Workspace(floor=0.02, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4)
    # Generous ages: a busy test machine must not decide the outcome.
    calm = SafetyConfig(cell, state_age=5.0, command_age=5.0, observation_age=5.0)
    device = type(exact_arm)(model, time.monotonic)
    with Bridge(device, model, calm) as bridge:
        token = bridge.arm("policy")
        deadline = time.monotonic() + 20
        wanted = np.array(model.home) + 0.05
        while np.abs(device.positions - wanted).max() > 1e-3:
            now = time.monotonic()
            assert now < deadline
            bridge.submit_command(token, Command(CommandKind.POSITION, wanted, now, now))
            time.sleep(0.01)
    assert device.stops[-1] is StopCategory.STOP_AND_HOLD
    assert np.abs(device.velocities).max() == 0.0
