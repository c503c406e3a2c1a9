"""Let a policy drive an arm through the bridge: observations up, checked actions down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.serving.chunks import ChunkBroker, ChunkConfig, ChunkError, InferFunction
from robots.arm import ArmState, Joints
from robots.bridge import Bridge
from robots.errors import BridgeError
from robots.guard import CommandOutcome
from robots.intent import Command, CommandKind
from robots.state_machine import BridgeState

Sensors = Callable[[ArmState], Mapping[str, Any]]


@dataclass(frozen=True)
class RolloutConfig:
    """How a policy is run.

    Attributes:
        prompt: the instruction.
        rate: observations and commands per second [Hz].
        action_period: time between two actions of a chunk [s].
        action_size: values per action, joints first; 0 takes as many as the arm has, and a gripper.
        blend: how overlapping chunks join; see `ChunkConfig`.
        action_timeout: give up after so long without an action that may be executed [s].
    """

    prompt: str = ""
    rate: float = 20.0
    action_period: float = 0.05
    action_size: int = 0
    blend: str = "linear"
    action_timeout: float = 5.0

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.action_period > 0 and self.action_timeout > 0):
            raise ConfigError("rate, period and patience must be above 0")

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any], prompt: str = "") -> RolloutConfig:
        """Take from a policy's metadata what it says; a server of openpi's says nothing of this."""
        usual = RolloutConfig()
        return RolloutConfig(
            prompt=prompt,
            action_period=float(metadata.get("period", usual.action_period)),
            action_size=int(metadata.get("action_size", usual.action_size)),
        )


@dataclass
class RolloutResult:
    """How a run went.

    Attributes:
        seconds: it took.
        commands: given to the bridge.
        end_reason: why it ended.
    """

    seconds: float = 0.0
    commands: int = 0
    end_reason: str = ""


def build_observation(state: ArmState, prompt: str) -> dict[str, Any]:
    """Return what policies see of an arm: "observation/state" (J,) or (J + 1,) with the gripper."""
    gripper = [] if state.gripper is None else [state.gripper]
    return {"observation/state": np.concatenate([state.positions, gripper]), "prompt": prompt}


def run_policy(
    bridge: Bridge,
    infer: InferFunction,
    config: RolloutConfig,
    seconds: float,
    sensors: Sensors | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> RolloutResult:
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
        config.action_period,
        max_age=limits.safety.observation_age,
        blend=config.blend,  # type: ignore[arg-type]
    )
    token = bridge.arm("policy")
    outcome = RolloutResult()
    begun = heard = time.monotonic()
    with ChunkBroker(infer, chunks) as broker:
        due = begun
        while not outcome.end_reason:
            now = time.monotonic()
            status = bridge.get_status()
            if status.state in (BridgeState.FAULT, BridgeState.IDLE):
                outcome.end_reason = status.fault or "somebody stopped the arm"
                break
            if status.arm_state is not None:
                seen = build_observation(status.arm_state, config.prompt)
                seen |= sensors(status.arm_state) if sensors else {}
                broker.offer_observation(seen, status.arm_state.stamp)
            try:
                action = broker.next_action(now)
            except ChunkError as error:
                action = None
                if now - heard > config.action_timeout:
                    outcome.end_reason = str(error)
            if action is not None:
                heard = now
                values, opening = np.split(action.values, [limits.joints])
                command = Command(
                    CommandKind.POSITION,
                    values,
                    now,
                    now - action.age,
                    opening[0] if opening.size else None,
                )
                bridge.submit_command(token, command)
                outcome.commands += 1
            elif not outcome.end_reason and now - heard > config.action_timeout:
                outcome.end_reason = f"no action from the policy for {config.action_timeout} s"
            if now - begun >= seconds:
                outcome.end_reason = outcome.end_reason or "time is up"
            elif stopping():
                outcome.end_reason = outcome.end_reason or "asked to stop"
            due = max(due + 1 / config.rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    if bridge.state_machine.is_in_command(token):
        bridge.disarm(token)
    outcome.seconds = time.monotonic() - begun
    return outcome


def move_to_joints(
    bridge: Bridge, target: Joints, tolerance: float = 0.02, timeout: float = 60.0
) -> None:
    """Move a running bridge's arm to joint angles and wait until it is there.

    Args:
        bridge: with nobody in command.
        target: (J,) [rad]; approached in small steps, since first targets must be near.
        tolerance: largest distance that counts as there [rad].
        timeout: for all of it [s].

    Raises:
        BridgeError: the bridge cannot be armed, refused a command or faulted, or time ran out.
    """
    token = bridge.arm("go_to")
    deadline = time.monotonic() + timeout
    stride = bridge.limits.safety.start_distance / 2
    while (arm := bridge.get_status().arm_state) is not None:
        way = target - arm.positions
        far = float(np.abs(way).max())
        if far <= tolerance:
            break
        now = time.monotonic()
        aim = arm.positions + way * min(1.0, stride / far)
        verdict = bridge.submit_command(token, Command(CommandKind.POSITION, aim, now, now))
        if verdict.outcome is CommandOutcome.REFUSED or now > deadline:
            wrong = bridge.get_status().fault or verdict.detail or str(verdict.reason)
            bridge.stop()
            raise BridgeError(f"did not get there: {wrong or f'{timeout} s were not enough'}")
        time.sleep(1 / 20)
    bridge.disarm(token)
    while bridge.state_machine.moving and time.monotonic() < deadline:
        time.sleep(bridge.period)


def require_arm(metadata: Mapping[str, Any], model: str) -> None:
    """Check that a policy's joint angles are those of this arm.

    Args:
        metadata: what the policy says of itself.
        model: name of the arm's model.

    Raises:
        ConfigError: it says that they are of another.
    """
    arm = str(metadata.get("arm", "")) or model
    if arm != model:
        raise ConfigError(
            f"the policy answers with joint angles of '{arm}', and this arm is '{model}'. Serve it "
            "for this one: embodied serve RUN --robot RECIPE"
        )


def read_start(metadata: Mapping[str, Any]) -> Joints:
    """Return the joint angles (J,) at which a policy learned to begin [rad].

    Args:
        metadata: what the policy says of itself.

    Raises:
        ConfigError: it does not say.
    """
    if not len(metadata.get("start", ())):
        raise ConfigError("the policy does not say where it begins: leave out --go-to-start")
    return np.array(metadata["start"], np.float64)
