"""Every order of calls keeps the promises of the state machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from robots.arm import StopCategory
from robots.errors import BridgeError
from robots.guard import CommandOutcome, Verdict, VerdictReason, refuse_command
from robots.intent import Command, CommandKind
from robots.limits import SafetyConfig, Workspace, build_arm_limits
from robots.model import load_model
from robots.state_machine import MOVING, ArmStateMachine, BridgeState

LIMITS = build_arm_limits(
    load_model("fr3"),
    SafetyConfig(Workspace(floor=0.0, lower=(-1, -1), upper=(1, 1), ceiling=1.5)),
)


def command(stamp: float) -> Command:
    return Command(CommandKind.POSITION, np.zeros(7), stamp, stamp)


def allowed() -> Verdict:
    return Verdict(CommandOutcome.ALLOWED, target=np.zeros(7))


class EveryOrder(RuleBasedStateMachine):
    """Beside the real machine a model of its promises: who holds the token, was there a fault."""

    @initialize()
    def begin(self) -> None:
        self.machine = ArmStateMachine(LIMITS)
        self.now = 10.0
        self.tokens: list[str] = []
        self.faulty = False
        self.accepted: float | None = None

    @property
    def newest(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    @rule(owner=st.sampled_from(["policy", "person"]))
    def arm(self, owner: str) -> None:
        if self.machine.state is BridgeState.IDLE and not self.machine.held:
            token = self.machine.arm(owner)
            assert token not in self.tokens
            self.tokens.append(token)
            self.accepted = None
            assert self.machine.state is BridgeState.ARMED
        else:
            with pytest.raises(BridgeError):
                self.machine.arm(owner)

    @rule(which=st.sampled_from(["newest", "older", "empty", "forged"]), refused=st.booleans())
    def submit(self, which: str, refused: bool) -> None:
        token = {
            "newest": self.newest,
            "older": self.tokens[0] if len(self.tokens) > 1 else "",
            "empty": "",
            "forged": "0" * 32,
        }[which]
        verdict = refuse_command(VerdictReason.NOT_FINITE) if refused else allowed()
        may = self.machine.is_in_command(token) and self.machine.moving and not self.machine.held
        given = self.machine.accept_verdict(token, command(self.now), verdict, self.now)
        if may and not refused:
            assert given.target is not None
            self.accepted = self.now
        else:
            assert given.target is None
        if which != "newest":
            assert not may

    @rule(seconds=st.floats(0.0, 0.4))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(at_rest=st.booleans())
    def tick(self, at_rest: bool) -> None:
        target = self.machine.get_target(self.now)
        if target is not None:
            assert self.machine.moving
            assert self.accepted is not None
            assert self.now - target.command.stamp <= LIMITS.safety.command_age
        before = self.machine.state
        self.machine.note_setpoint_sent(at_rest)
        if target is not None:
            assert self.machine.state is BridgeState.RUNNING
        elif before is BridgeState.RUNNING and at_rest:
            assert self.machine.state is BridgeState.HOLDING
        if self.machine.requested_stop is not None and at_rest:
            self.machine.release_command()
            assert self.machine.state is BridgeState.IDLE

    @rule()
    def hold(self) -> None:
        self.machine.hold()
        assert self.machine.get_target(self.now) is None

    @rule()
    def resume(self) -> None:
        self.machine.resume()

    @rule(category=st.sampled_from(list(StopCategory)))
    def stop(self, category: StopCategory) -> None:
        before = self.machine.requested_stop
        self.machine.request_stop(category)
        if self.machine.moving:
            hardest = category if before is None else min(before, category)
            assert self.machine.requested_stop is hardest
            assert not self.machine.is_in_command(self.newest)

    @rule()
    def fail(self) -> None:
        self.machine.latch_fault("cable cut")
        self.faulty = True

    @rule()
    def reset(self) -> None:
        if self.faulty:
            self.machine.reset()
            self.faulty = False
            assert self.machine.state is BridgeState.IDLE
        else:
            with pytest.raises(BridgeError):
                self.machine.reset()

    @invariant()
    def a_fault_is_latched_and_nothing_moves_in_it(self) -> None:
        if not hasattr(self, "machine"):
            return
        assert (self.machine.state is BridgeState.FAULT) == self.faulty
        if self.machine.state not in MOVING:
            assert self.machine.get_target(self.now) is None
            assert not any(self.machine.is_in_command(token) for token in self.tokens)


EveryOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestEveryOrder = EveryOrder.TestCase


def test_a_fault_keeps_its_first_reason_and_shows_it() -> None:
    machine = ArmStateMachine(LIMITS)
    assert machine.latch_fault("cable cut") is BridgeState.IDLE
    assert machine.latch_fault("and then some") is None
    with pytest.raises(BridgeError, match=r"cable cut.*reset"):
        machine.arm("policy")


def test_counts_and_recent_tell_what_was_refused() -> None:
    machine = ArmStateMachine(LIMITS, remembered=2)
    token = machine.arm("policy")
    machine.accept_verdict(token, command(1.0), allowed(), 1.0)
    for stamp in (2.0, 3.0, 4.0):
        machine.accept_verdict(
            token, command(stamp), refuse_command(VerdictReason.NOT_FINITE, "values nan"), stamp
        )
    assert machine.verdict_counts == {"allowed": 1, "refused: not finite": 3}
    assert [stamp for stamp, _ in machine.recent_verdicts] == [3.0, 4.0]


def test_a_hold_pressed_before_arming_counts() -> None:
    machine = ArmStateMachine(LIMITS)
    machine.hold()
    with pytest.raises(BridgeError, match=r"hold.*resume"):
        machine.arm("policy")
    machine.resume()
    assert machine.arm("policy")


def test_a_policy_that_nobody_listens_to_is_remembered_once() -> None:
    machine = ArmStateMachine(LIMITS)
    token = machine.arm("policy")
    machine.accept_verdict(token, command(1.0), refuse_command(VerdictReason.NOT_FINITE), 1.0)
    machine.hold()
    for stamp in (2.0, 3.0, 4.0):
        machine.accept_verdict(token, command(stamp), allowed(), stamp)
    assert [(stamp, verdict.reason) for stamp, verdict in machine.recent_verdicts] == [
        (1.0, VerdictReason.NOT_FINITE),
        (4.0, VerdictReason.HELD),
    ]
    assert machine.verdict_counts["refused: held"] == 3
