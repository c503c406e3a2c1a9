"""A policy drives the twin through the bridge, in process and over the network, and may fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.policies.chunk.reach import ReachPolicy
from embodied.serving.client import PolicyClient
from embodied.serving.config import ServerConfig
from embodied.serving.server import PolicyServer
from robots.bridge import Bridge
from robots.errors import BridgeError
from robots.robot_config import load_robot
from robots.rollout import RolloutConfig, move_to_joints, run_policy
from robots.state_machine import BridgeState

pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")

# A busy test machine must not decide the outcome: ages are generous where they are not the matter.
CALM = ["safety.state_age=3.0", "safety.command_age=1.0", "safety.observation_age=3.0"]


@pytest.fixture
def cell():
    return load_robot("fr3_twin", CALM)


def infer_of(policy: ReachPolicy):
    def infer(observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        return policy.infer(observation)

    return infer


def test_the_reach_policy_visits_its_places_on_the_twin(cell) -> None:
    policy = ReachPolicy(cell.model.home, reach=0.05, tolerance=0.02)
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        outcome = run_policy(
            bridge,
            infer_of(policy),
            RolloutConfig(action_size=7),
            60.0,
            stopping=lambda: policy.visited >= 3,
        )
        status = bridge.get_status()
    assert outcome.end_reason == "asked to stop", (outcome, status.fault)
    assert policy.visited >= 3
    assert set(status.verdict_counts) <= {"allowed"} | {
        n for n in status.verdict_counts if "old" in n
    }
    assert status.state in (BridgeState.IDLE, BridgeState.RUNNING, BridgeState.HOLDING)


def test_the_same_over_the_network_and_a_killed_server_ends_in_hold(cell) -> None:
    policy = ReachPolicy(cell.model.home, reach=0.05)
    config = RolloutConfig(action_size=7, action_timeout=1.5)
    server = PolicyServer(policy, ServerConfig(port=0)).start()
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        with PolicyClient(server.uri, timeout=0.5) as client:
            result: list[Any] = []
            thread = threading.Thread(
                target=lambda: result.append(run_policy(bridge, client.infer, config, 60.0))
            )
            thread.start()
            _until(lambda: bridge.get_status().verdict_counts.get("allowed", 0) > 5)
            server.close()
            thread.join(30)
        assert result
        assert "policy" in result[0].end_reason or "server" in result[0].end_reason, result[
            0
        ].end_reason
        _until(lambda: bridge.get_status().state is BridgeState.IDLE)
        assert np.abs(bridge.get_status().setpoint.velocities).max() < 1e-3


def test_a_policy_that_answers_nonsense_never_moves_the_arm(cell) -> None:
    def infer(observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        return {"actions": np.full((5, 7), np.nan)}

    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        before = bridge.get_status().arm_state.positions
        outcome = run_policy(bridge, infer, RolloutConfig(action_size=7, action_timeout=0.5), 30.0)
        after = bridge.get_status().arm_state.positions
    assert "NaN" in outcome.end_reason
    assert outcome.commands == 0
    assert after == pytest.approx(before, abs=1e-3)


def test_somebody_else_stopping_the_arm_ends_the_run(cell) -> None:
    policy = ReachPolicy(cell.model.home, reach=0.05)
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        timer = threading.Timer(0.5, bridge.stop)
        timer.start()
        outcome = run_policy(bridge, infer_of(policy), RolloutConfig(action_size=7), 30.0)
    assert outcome.end_reason == "somebody stopped the arm"


def test_the_reach_policy_speaks_of_what_it_needs() -> None:
    policy = ReachPolicy([0.0] * 7)
    with pytest.raises(ConfigError, match="moves 7 joints"):
        policy.infer({"observation/state": np.zeros(5)})
    with pytest.raises(ConfigError, match="moves 7 joints"):
        policy.infer({})
    with pytest.raises(ConfigError, match="above 0"):
        ReachPolicy([0.0], speed=0.0)
    chunk = policy.infer({"observation/state": np.zeros(8)})["actions"]
    assert chunk.shape == (20, 7)
    assert np.abs(np.diff(chunk, axis=0)).max() <= 0.3 * 0.05 + 1e-9


def _until(true: Any) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_going_to_a_far_pose_takes_small_steps_and_arrives(cell) -> None:
    target = np.array(cell.model.home)
    target[0] += 0.4
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:
        move_to_joints(bridge, target)
        assert bridge.get_status().arm_state.positions == pytest.approx(target, abs=0.03)
        assert not any(name.startswith("refused") for name in bridge.get_status().verdict_counts)
        _until(lambda: bridge.get_status().state is BridgeState.IDLE)
        beyond = np.array([0.0, 1.6, 0.0, -1.0, 0.0, 1.5, 0.0])  # the tool would be in the table
        with pytest.raises(BridgeError, match="did not get there"):
            move_to_joints(bridge, beyond, timeout=20.0)
