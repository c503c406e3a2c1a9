"""Every order of calls keeps the promises of the state machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from robots.arm import StopCategory
from robots.errors import BridgeError
from robots.guard import Outcome, Reason, Verdict, refuse
from robots.intent import Command, Kind
from robots.limits import SafetyConfig, Workspace, limits_of
from robots.model import load_model
from robots.state_machine import MOVING, Commander, State

LIMITS = limits_of(
    load_model("fr3"),
    SafetyConfig(Workspace(floor=0.0, lower=(-1, -1), upper=(1, 1), ceiling=1.5)),
)


def command(stamp: float) -> Command:
    return Command(Kind.POSITION, np.zeros(7), stamp, stamp)


def allowed() -> Verdict:
    return Verdict(Outcome.ALLOWED, target=np.zeros(7))


class EveryOrder(RuleBasedStateMachine):
    """Beside the real machine a model of its promises: who holds the token, was there a fault."""

    @initialize()
    def begin(self) -> None:
        self.machine = Commander(LIMITS)
        self.now = 10.0
        self.tokens: list[str] = []
        self.faulty = False
        self.accepted: float | None = None

    @property
    def newest(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    @rule(owner=st.sampled_from(["policy", "person"]))
    def arm(self, owner: str) -> None:
        if self.machine.state is State.IDLE and not self.machine.held:
            token = self.machine.arm(owner)
            assert token not in self.tokens
            self.tokens.append(token)
            self.accepted = None
            assert self.machine.state is State.ARMED
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
        verdict = refuse(Reason.NOT_FINITE) if refused else allowed()
        may = self.machine.commands(token) and self.machine.moving and not self.machine.held
        given = self.machine.accept(token, command(self.now), verdict, self.now)
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
        target = self.machine.target(self.now)
        if target is not None:
            assert self.machine.moving
            assert self.accepted is not None
            assert self.now - target.command.stamp <= LIMITS.safety.command_age
        before = self.machine.state
        self.machine.moved(at_rest)
        if target is not None:
            assert self.machine.state is State.RUNNING
        elif before is State.RUNNING and at_rest:
            assert self.machine.state is State.HOLDING
        if self.machine.wanted_stop is not None and at_rest:
            self.machine.end()
            assert self.machine.state is State.IDLE

    @rule()
    def hold(self) -> None:
        self.machine.hold()
        assert self.machine.target(self.now) is None

    @rule()
    def resume(self) -> None:
        self.machine.resume()

    @rule(category=st.sampled_from(list(StopCategory)))
    def stop(self, category: StopCategory) -> None:
        before = self.machine.wanted_stop
        self.machine.ask_stop(category)
        if self.machine.moving:
            hardest = category if before is None else min(before, category)
            assert self.machine.wanted_stop is hardest
            assert not self.machine.commands(self.newest)

    @rule()
    def fail(self) -> None:
        self.machine.fail("cable cut")
        self.faulty = True

    @rule()
    def reset(self) -> None:
        if self.faulty:
            self.machine.reset()
            self.faulty = False
            assert self.machine.state is State.IDLE
        else:
            with pytest.raises(BridgeError):
                self.machine.reset()

    @invariant()
    def a_fault_is_latched_and_nothing_moves_in_it(self) -> None:
        if not hasattr(self, "machine"):
            return
        assert (self.machine.state is State.FAULT) == self.faulty
        if self.machine.state not in MOVING:
            assert self.machine.target(self.now) is None
            assert not any(self.machine.commands(token) for token in self.tokens)


EveryOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestEveryOrder = EveryOrder.TestCase


def test_a_fault_keeps_its_first_reason_and_shows_it() -> None:
    machine = Commander(LIMITS)
    assert machine.fail("cable cut") is State.IDLE
    assert machine.fail("and then some") is None
    with pytest.raises(BridgeError, match=r"cable cut.*reset"):
        machine.arm("policy")


def test_counts_and_recent_tell_what_was_refused() -> None:
    machine = Commander(LIMITS, remembered=2)
    token = machine.arm("policy")
    machine.accept(token, command(1.0), allowed(), 1.0)
    for stamp in (2.0, 3.0, 4.0):
        machine.accept(token, command(stamp), refuse(Reason.NOT_FINITE, "values nan"), stamp)
    assert machine.counts == {"allowed": 1, "refused: not finite": 3}
    assert [stamp for stamp, _ in machine.recent] == [3.0, 4.0]


def test_a_hold_pressed_before_arming_counts() -> None:
    machine = Commander(LIMITS)
    machine.hold()
    with pytest.raises(BridgeError, match=r"hold.*resume"):
        machine.arm("policy")
    machine.resume()
    assert machine.arm("policy")


def test_a_policy_that_nobody_listens_to_is_remembered_once() -> None:
    machine = Commander(LIMITS)
    token = machine.arm("policy")
    machine.accept(token, command(1.0), refuse(Reason.NOT_FINITE), 1.0)
    machine.hold()
    for stamp in (2.0, 3.0, 4.0):
        machine.accept(token, command(stamp), allowed(), stamp)
    assert [(stamp, verdict.reason) for stamp, verdict in machine.recent] == [
        (1.0, Reason.NOT_FINITE),
        (4.0, Reason.HELD),
    ]
    assert machine.counts["refused: held"] == 3
