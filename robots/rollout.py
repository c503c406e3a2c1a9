"""Let a policy drive an arm through the bridge: observations up, checked actions down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.serving.chunks import ChunkBroker, ChunkConfig, ChunkError, Infer
from robots.arm import ArmState, Joints
from robots.bridge import Bridge
from robots.errors import BridgeError
from robots.guard import Outcome
from robots.intent import Command, Kind
from robots.state_machine import State

Sensors = Callable[[ArmState], Mapping[str, Any]]


@dataclass(frozen=True)
class RunConfig:
    """How a policy is run.

    Attributes:
        prompt: the instruction.
        rate: observations and commands per second [Hz].
        period: time between two actions of a chunk [s].
        action_size: values per action, joints first; 0 takes as many as the arm has, and a gripper.
        blend: how overlapping chunks join; see `ChunkConfig`.
        patience: give up after so long without an action that may be executed [s].
    """

    prompt: str = ""
    rate: float = 20.0
    period: float = 0.05
    action_size: int = 0
    blend: str = "linear"
    patience: float = 5.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.period > 0 and self.patience > 0):
            raise ConfigError("rate, period and patience must be above 0")


@dataclass
class Run:
    """How a run went.

    Attributes:
        seconds: it took.
        commands: given to the bridge.
        ended: why it ended.
    """

    seconds: float = 0.0
    commands: int = 0
    ended: str = ""


def observation_of(state: ArmState, prompt: str) -> dict[str, Any]:
    """Return what policies see of an arm: "observation/state" (J,) or (J + 1,) with the gripper."""
    gripper = [] if state.gripper is None else [state.gripper]
    return {"observation/state": np.concatenate([state.positions, gripper]), "prompt": prompt}


def run_policy(
    bridge: Bridge,
    infer: Infer,
    config: RunConfig,
    seconds: float,
    sensors: Sensors | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Run:
    """Drive the arm of a running bridge until time is up, the bridge faults or the policy is gone.

    The policy thinks in a thread of its own; the arm executes what it said before, as long as that
    is young enough. When nothing is, no command is given, and the bridge brakes and holds.

    Args:
        bridge: connected and running; it is armed here and disarmed at the end.
        infer: answers observations with chunks of joint positions, gripper last if there is one.
        config: rates and blending.
        seconds: how long.
        sensors: further observations, e.g. camera images, made when the arm was in a state.
        stopping: asked every step; True ends the run.

    Raises:
        BridgeError: the bridge cannot be armed.
        ConfigError: the policy is for an arm with another number of joints.
    """
    limits = bridge.limits
    size = config.action_size or limits.joints + bridge.device.features.gripper
    if size not in (limits.joints, limits.joints + 1):
        raise ConfigError(f"the policy gives {size} values; this arm has {limits.joints} joints")
    chunks = ChunkConfig(
        size,
        config.period,
        max_age=limits.safety.observation_age,
        blend=config.blend,  # type: ignore[arg-type]
    )
    token = bridge.arm("policy")
    outcome = Run()
    begun = heard = time.monotonic()
    with ChunkBroker(infer, chunks) as broker:
        due = begun
        while not outcome.ended:
            now = time.monotonic()
            status = bridge.status()
            if status.state in (State.FAULT, State.IDLE):
                outcome.ended = status.fault or "somebody stopped the arm"
                break
            if status.arm is not None:
                seen = observation_of(status.arm, config.prompt)
                seen |= sensors(status.arm) if sensors else {}
                broker.observe(seen, status.arm.stamp)
            try:
                action = broker.next(now)
            except ChunkError as error:
                action = None
                if now - heard > config.patience:
                    outcome.ended = str(error)
            if action is not None:
                heard = now
                values, opening = np.split(action.values, [limits.joints])
                command = Command(
                    Kind.POSITION,
                    values,
                    now,
                    now - action.age,
                    opening[0] if opening.size else None,
                )
                bridge.submit(token, command)
                outcome.commands += 1
            elif not outcome.ended and now - heard > config.patience:
                outcome.ended = f"no action from the policy for {config.patience} s"
            if now - begun >= seconds:
                outcome.ended = outcome.ended or "time is up"
            elif stopping():
                outcome.ended = outcome.ended or "asked to stop"
            due = max(due + 1 / config.rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    if bridge.commander.commands(token):
        bridge.disarm(token)
    outcome.seconds = time.monotonic() - begun
    return outcome


def go_to(bridge: Bridge, target: Joints, tolerance: float = 0.02, patience: float = 60.0) -> None:
    """Move a running bridge's arm to joint angles and wait until it is there.

    Args:
        bridge: with nobody in command.
        target: (J,) [rad]; approached in small steps, since first targets must be near.
        tolerance: largest distance that counts as there [rad].
        patience: for all of it [s].

    Raises:
        BridgeError: the bridge cannot be armed, refused a command or faulted, or time ran out.
    """
    token = bridge.arm("go_to")
    deadline = time.monotonic() + patience
    stride = bridge.limits.safety.start_distance / 2
    while (arm := bridge.status().arm) is not None:
        way = target - arm.positions
        far = float(np.abs(way).max())
        if far <= tolerance:
            break
        now = time.monotonic()
        aim = arm.positions + way * min(1.0, stride / far)
        verdict = bridge.submit(token, Command(Kind.POSITION, aim, now, now))
        if verdict.outcome is Outcome.REFUSED or now > deadline:
            wrong = bridge.status().fault or verdict.detail or str(verdict.reason)
            bridge.stop()
            raise BridgeError(f"did not get there: {wrong or f'{patience} s were not enough'}")
        time.sleep(1 / 20)
    bridge.disarm(token)
    while bridge.commander.moving and time.monotonic() < deadline:
        time.sleep(bridge.period)
