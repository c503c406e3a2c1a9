"""Who attacks the policy's server disturbs no arm that it drives."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks._rigs import ROOT, Server
from embodied.serving.client import PolicyClient
from robots.audit import TOLERANCE, compute_limit_usage
from robots.bridge import Bridge
from robots.limits import SafetyConfig
from robots.model import load_model
from robots.rollout import RolloutConfig, run_policy
from tests.robots.conftest import CELL, ExactArm

# A busy test machine must not decide the outcome.
CALM = SafetyConfig(CELL, state_age=3.0, command_age=1.0, observation_age=3.0)

# In a process of its own, as attackers are: half a handshake kept open, wrong paths and origins,
# frames that kill careless decoders, and frames beyond the size that is allowed.
ATTACKER = """
import contextlib, itertools, socket, sys, time
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from benchmarks.serving import NASTY, frames

port, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
for one in slow:
    one.sendall(b"GET / HTTP/1.1\\r\\nX-Slow: ")
count = 0
for frame in itertools.cycle([*NASTY, *frames(5, 500), b"\\0" * 20_000_000]):
    if time.monotonic() > end:
        break
    with contextlib.suppress(WebSocketException, OSError, TimeoutError):
        with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:
            connection.recv(timeout=5)
            connection.send(frame)
            connection.recv(timeout=5)
    with contextlib.suppress(WebSocketException, OSError):
        connect(f"ws://127.0.0.1:{port}", origin="https://example.org", proxy=None)
    count += 1
print(count)
"""


@pytest.mark.slow
def test_an_attacked_server_goes_on_driving_its_arm() -> None:
    model = load_model("fr3")
    arm = ExactArm(model, time.monotonic)  # type: ignore[arg-type]
    ending = threading.Event()
    with (
        closing(Server(SimpleNamespace(recipe="fr3_twin"))) as server,  # type: ignore[arg-type]
        PolicyClient(f"ws://127.0.0.1:{server.port}") as client,
        Bridge(arm, model, CALM) as bridge,
    ):
        config = RolloutConfig(action_size=7, action_timeout=60.0)
        runner = threading.Thread(
            target=run_policy, args=(bridge, client.infer, config, 90.0, None, ending.is_set)
        )
        runner.start()
        try:
            await_commands(bridge, 20)
            attacker = subprocess.run(
                [sys.executable, "-c", ATTACKER, str(server.port), "5"],
                cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=120, check=True,
            )  # fmt: skip
            assert int(attacker.stdout) > 10
            await_commands(bridge, bridge.get_status().verdict_counts["allowed"] + 40)
            assert server.process.poll() is None
        finally:
            ending.set()
            runner.join()
        assert bridge.get_status().fault == ""
    sent = np.array([setpoint.positions for setpoint in arm.sent])
    assert np.ptp(sent, axis=0).max() > 0.1
    assert max(compute_limit_usage(sent, bridge.period, model, CALM).values()) <= 1 + TOLERANCE


def await_commands(bridge: Bridge, count: int) -> None:
    end = time.monotonic() + 60
    while bridge.get_status().verdict_counts.get("allowed", 0) < count:
        assert time.monotonic() < end, bridge.get_status()
        assert bridge.get_status().fault == ""
        time.sleep(0.05)
