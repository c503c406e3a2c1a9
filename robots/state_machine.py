"""Who is in command, of what, and whether at all: the bridge's state machine.

    IDLE --arm()--> ARMED --first target--> RUNNING <--> HOLDING
      ^                                        |  no fresh target, or hold()
      |                                        v
      +------------reset()----------------- FAULT   latched: nothing moves until reset() and arm()

It knows no device and no clock of its own, and may be called from any thread.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum

from robots.arm import StopCategory
from robots.errors import BridgeError
from robots.guard import CommandOutcome, Verdict, VerdictReason, check_command_age, refuse_command
from robots.intent import Command
from robots.limits import ArmLimits


class BridgeState(StrEnum):
    """What the bridge is doing."""

    IDLE = "idle"
    ARMED = "armed"
    RUNNING = "running"
    HOLDING = "holding"
    FAULT = "fault"


# A policy that goes on while nobody listens must not push everything else out of sight.
REPEATED = (VerdictReason.HELD, VerdictReason.STATE, VerdictReason.NOT_COMMANDING)
MOVING = (BridgeState.ARMED, BridgeState.RUNNING, BridgeState.HOLDING)


@dataclass(frozen=True)
class AcceptedTarget:
    """An accepted command and what the guard made of it."""

    command: Command
    verdict: Verdict


class ArmStateMachine:
    """The state machine.

    Args:
        limits: their ages decide how long a target counts.
        remembered: verdicts other than "allowed" that are kept for people to see.
    """

    def __init__(self, limits: ArmLimits, remembered: int = 50) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._state = BridgeState.IDLE
        self._counts: Counter[str] = Counter()
        self._recent: deque[tuple[float, Verdict]] = deque(maxlen=remembered)
        self.fault = ""
        self.held = False
        self._forget()

    def _forget(self) -> None:
        self.owner, self._token = "", ""
        self._target: AcceptedTarget | None = None
        self._stop: StopCategory | None = None
        self.started = False

    @property
    def state(self) -> BridgeState:
        """Where the machine is."""
        return self._state

    @property
    def moving(self) -> bool:
        """Whether setpoints are being sent."""
        return self._state in MOVING

    @property
    def requested_stop(self) -> StopCategory | None:
        """The stop somebody asked for, while it lasts."""
        return self._stop

    @property
    def verdict_counts(self) -> dict[str, int]:
        """Commands by outcome and reason."""
        with self._lock:
            return dict(self._counts)

    @property
    def recent_verdicts(self) -> tuple[tuple[float, Verdict], ...]:
        """Newest verdicts other than "allowed", oldest first, with their stamps [s]."""
        with self._lock:
            return tuple(self._recent)

    def arm(self, owner: str) -> str:
        """Give somebody command and return the token that proves it.

        Raises:
            BridgeError: in fault or held, or somebody is in command.
        """
        with self._lock:
            if self._state is BridgeState.FAULT:
                raise BridgeError(f"in fault: {self.fault}. Find the cause, then reset()")
            if self._state is not BridgeState.IDLE:
                raise BridgeError(f"'{self.owner}' is in command; one commander at a time")
            if self.held:
                raise BridgeError("somebody pressed hold: resume() first")
            self._forget()
            self._state, self.owner = BridgeState.ARMED, owner
            self._token = secrets.token_hex(16)
            return self._token

    def is_in_command(self, token: str) -> bool:
        """Whether this token is the one in command."""
        return bool(self._token) and secrets.compare_digest(token, self._token)

    def find_objection(self, token: str) -> Verdict | None:
        """Say why nobody with this token may command now, or None."""
        with self._lock:
            return self._objection(token)

    def _objection(self, token: str) -> Verdict | None:
        if self._state not in MOVING:
            return refuse_command(VerdictReason.STATE, f"it is {self._state}")
        if not self.is_in_command(token):
            return refuse_command(VerdictReason.NOT_COMMANDING, f"'{self.owner}' is")
        if self.held:
            return refuse_command(VerdictReason.HELD, "resume() lets commands through again")
        return None

    def accept_verdict(self, token: str, command: Command, verdict: Verdict, now: float) -> Verdict:
        """Count a verdict and take its target, unless command has changed hands since."""
        with self._lock:
            if verdict.target is not None:
                verdict = self._objection(token) or verdict
            if verdict.target is not None:
                self._target, self.started = AcceptedTarget(command, verdict), True
            name = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else verdict.outcome
            self._counts[str(name)] += 1
            if verdict.outcome is not CommandOutcome.ALLOWED:
                same = bool(self._recent) and self._recent[-1][1].reason is verdict.reason
                if same and verdict.reason in REPEATED:
                    self._recent.pop()
                self._recent.append((now, verdict))
        return verdict

    def get_target(self, now: float) -> AcceptedTarget | None:
        """Return the target, as long as it is fresh."""
        with self._lock:
            target = self._target
            if (
                target is not None
                and check_command_age(target.command, self._limits, now) is not None
            ):
                target = self._target = None
            return target

    def hold(self) -> None:
        """Drop the target and let no command through until `resume`, whoever is in command then."""
        with self._lock:
            self._target, self.held = None, True

    def resume(self) -> None:
        """Let commands through again after `hold`."""
        with self._lock:
            self.held = False

    def request_stop(self, category: StopCategory) -> None:
        """Take command away from whoever has it; the harder of two stops counts."""
        with self._lock:
            if self._state in MOVING:
                self._target, self._token = None, ""
                self._stop = category if self._stop is None else min(category, self._stop)

    def note_setpoint_sent(self, at_rest: bool) -> None:
        """Note that a setpoint was sent: with a target RUNNING, without one, at rest, HOLDING."""
        with self._lock:
            if self._state not in MOVING or not self.started:
                return
            if self._target is not None:
                self._state = BridgeState.RUNNING
            elif at_rest:
                self._state = BridgeState.HOLDING

    def release_command(self) -> None:
        """Nobody is in command any more."""
        with self._lock:
            if self._state in MOVING:
                self._state = BridgeState.IDLE
                self._forget()

    def latch_fault(self, reason: str) -> BridgeState | None:
        """Latch a fault; return the state it came from, or None if there was a fault before."""
        with self._lock:
            if self._state is BridgeState.FAULT:
                return None
            before, self._state, self.fault = self._state, BridgeState.FAULT, reason
            self._forget()
            return before

    def reset(self) -> None:
        """Clear the fault.

        Raises:
            BridgeError: there is none.
        """
        with self._lock:
            if self._state is not BridgeState.FAULT:
                raise BridgeError(f"nothing to reset: the bridge is {self._state}")
            self._state, self.fault = BridgeState.IDLE, ""
