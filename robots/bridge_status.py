"""What the bridge says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from robots.arm import ArmState, Setpoint
from robots.guard import Verdict
from robots.state_machine import BridgeState


@dataclass(frozen=True)
class BridgeStatus:
    """A picture of the bridge for people and programs.

    Attributes:
        state: of the bridge.
        fault: why it is in `FAULT`; "" otherwise.
        owner: who is in command; "" for nobody.
        held: whether somebody pressed hold.
        arm_state: the newest measurement, or None.
        setpoint: what was sent last, or None.
        blocked_reason: what keeps the arm from making for its target; "" if nothing.
        verdict_counts: commands by outcome and reason.
        recent_verdicts: newest verdicts other than "allowed", oldest first, with their stamps [s].
        tick_delay: the newest tick was late by so much [s].
    """

    state: BridgeState
    fault: str
    owner: str
    held: bool
    arm_state: ArmState | None
    setpoint: Setpoint | None
    blocked_reason: str
    verdict_counts: dict[str, int]
    recent_verdicts: tuple[tuple[float, Verdict], ...]
    tick_delay: float
