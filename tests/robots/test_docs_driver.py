"""The driver in docs/robots.md, taken from the page itself, moves an arm through the bridge."""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest

from robots.arm import StopCategory
from robots.bridge import Bridge
from robots.errors import DeviceError
from robots.intent import Command, CommandKind
from robots.limits import SafetyConfig, Workspace
from robots.model import load_model
from robots.robot_config import make_arm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "robots.md"
MODEL = load_model("ur5e")
CALM = SafetyConfig(
    Workspace(floor=0.0, lower=(-1, -1), upper=(1, 1), ceiling=1.5),
    state_age=5.0,
    command_age=5.0,
    observation_age=5.0,
)


@pytest.fixture
def module():
    """Run the page's code as a module that a recipe can name."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if "class JsonArm" in block]
    # A busy test machine must not decide the outcome.
    assert "settimeout(0.05)" in code
    code = code.replace("settimeout(0.05)", "settimeout(5.0)")
    made = types.ModuleType("json_arm_of_the_docs")
    sys.modules[made.__name__] = made
    exec(compile(code, str(PAGE), "exec"), made.__dict__)  # noqa: S102 - our own page
    yield made
    del sys.modules[made.__name__]


class Device(socketserver.StreamRequestHandler):
    """The arm's side of the line."""

    def handle(self) -> None:
        for line in self.rfile:
            request = json.loads(line)
            server = self.server
            if "move" in request:
                server.q = request["move"]
            if "stop" in request:
                server.stops.append(request["stop"])
            self.wfile.write(json.dumps({"q": server.q, "dq": [0.0] * 6}).encode() + b"\n")


@pytest.fixture
def device():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Device)
    server.daemon_threads = True
    server.q, server.stops = list(MODEL.home), []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_driver_of_the_page_moves_an_arm(module, device) -> None:
    options = {"port": device.server_address[1]}
    arm = make_arm("json_arm_of_the_docs:JsonArm", MODEL, options)
    wanted = np.array(MODEL.home) + 0.05
    with Bridge(arm, MODEL, CALM) as bridge:
        token = bridge.arm("docs")
        deadline = time.monotonic() + 30
        while np.abs(np.array(device.q) - wanted).max() > 1e-3:
            now = time.monotonic()
            assert now < deadline, bridge.get_status()
            bridge.submit_command(token, Command(CommandKind.POSITION, wanted, now, now))
            time.sleep(0.01)
    assert device.stops[-1] == StopCategory.STOP_AND_HOLD


def test_it_says_what_to_do_when_nobody_answers(module) -> None:
    arm = make_arm("json_arm_of_the_docs:JsonArm", MODEL, {"port": 1})
    with pytest.raises(DeviceError, match="Is it switched on"):
        arm.connect()
    with pytest.raises(DeviceError, match="connect\\(\\) first"):
        arm.state()


def test_the_example_in_python_moves_the_twin(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if "load_robot(" in block]
    # A busy test machine must not decide the outcome.
    code = code.replace(
        '"fr3_twin"', '"fr3_twin", ["safety.state_age=5.0", "safety.command_age=5.0"]'
    )
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - our own page
    assert "allowed" in capsys.readouterr().out
