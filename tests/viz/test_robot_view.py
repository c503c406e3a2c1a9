"""The live view shows what the bridge knows, and lets only its own page act."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.viz.robot_view import LARGEST_BODY, RobotView, status_json
from robots.arm import ArmDriver, ArmFeatures, ArmState, Setpoint, StopCategory
from robots.bridge import Bridge
from robots.intent import Command, CommandKind
from robots.limits import SafetyConfig, Workspace
from robots.model import ArmModel, load_model
from robots.state_machine import BridgeState
from tests.viz.browser import Browser, headless, until

# Ages are generous: a busy test machine must not decide the outcome.
SAFETY = SafetyConfig(
    Workspace(floor=0.02, lower=(-0.9, -0.9), upper=(0.9, 0.9), ceiling=1.4),
    command_age=2.0, observation_age=5.0, state_age=5.0,
)  # fmt: skip


@dataclass
class ObedientArm(ArmDriver):
    """Is where it was told to be."""

    model: ArmModel
    fault: str = ""

    def __post_init__(self) -> None:
        self.positions = np.array(self.model.home)
        self.velocities = np.zeros(len(self.positions))
        self.gripper: float | None = 1.0

    @property
    def features(self) -> ArmFeatures:
        return ArmFeatures(self.model.name, self.model.joint_names, rate=50.0, gripper=True)

    def connect(self) -> None:
        pass

    def disconnect(self) -> None:
        pass

    def state(self) -> ArmState:
        return ArmState(
            time.monotonic(), self.positions, self.velocities, None, self.gripper, self.fault
        )

    def command(self, setpoint: Setpoint) -> None:
        self.positions, self.velocities = setpoint.positions, setpoint.velocities

    def stop(self, category: StopCategory) -> None:
        self.velocities = np.zeros(len(self.positions))


@pytest.fixture
def arm() -> ObedientArm:
    return ObedientArm(load_model("fr3"))


@pytest.fixture
def bridge(arm: ObedientArm) -> Iterator[Bridge]:
    with Bridge(arm, arm.model, SAFETY) as made:
        yield made


@pytest.fixture
def view(bridge: Bridge) -> Iterator[RobotView]:
    with RobotView(bridge) as made:
        yield made


def submit(bridge: Bridge, token: str, values: Any) -> None:
    now = time.monotonic()
    bridge.submit_command(token, Command(CommandKind.POSITION, np.asarray(values, float), now, now))


@contextmanager
def driven(bridge: Bridge) -> Iterator[str]:
    """Let somebody command the bridge all the time, a little beside its home."""
    token, ending = bridge.arm("policy"), threading.Event()

    def go_on() -> None:
        while not ending.wait(0.05):
            submit(bridge, token, np.array(bridge.model.home) + 0.05)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        until(lambda: bridge.get_status().state is BridgeState.RUNNING)
        yield token
    finally:
        ending.set()
        thread.join()


def ask(
    view: RobotView, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", int(view.url.split(":")[2][:-1]), timeout=20)
    try:
        line.request(method, path, body, headers or {})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def token_of(view: RobotView) -> str:
    found = re.search(r'data-token="([0-9a-f]+)"', ask(view, "GET", "/")[1].decode())
    assert found
    return found[1]


def act(view: RobotView, action: str, **headers: str) -> tuple[int, dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    code, body = ask(view, "POST", f"/{action}", {"X-Token": token_of(view)} | named)
    return code, json.loads(body)


def test_the_status_says_where_the_arm_is_within_which_limits(bridge, view) -> None:
    idle = json.loads(ask(view, "GET", "/status")[1])
    assert (idle["state"], idle["owner"], idle["fault"]) == ("idle", "", "")
    assert idle["joints"][0]["setpoint"] is None
    with driven(bridge) as token:
        submit(bridge, token, [np.nan] * 7)
        submit(bridge, token, [*bridge.model.home[:6], 9.0])
        seen = json.loads(ask(view, "GET", "/status")[1])
        until(lambda: abs(status_json(bridge)["joints"][6]["position"] - 0.785) > 0.03)
    assert (seen["state"], seen["owner"]) == ("running", "policy")
    for joint, known in zip(seen["joints"], bridge.model.joints, strict=True):
        assert joint["name"] == known.name
        assert joint["hard_lower"] + SAFETY.margin == pytest.approx(joint["lower"])
        assert joint["upper"] + SAFETY.margin == pytest.approx(joint["hard_upper"])
        assert joint["max_velocity"] == pytest.approx(known.velocity * SAFETY.share)
        assert joint["lower"] < joint["setpoint"] < joint["upper"]
    reasons = [(row["outcome"], row["reason"]) for row in seen["recent"]]
    assert reasons == [("clipped", "joint position limit"), ("refused", "not finite")]
    assert "joint 7: asked 9" in seen["recent"][0]["detail"]
    assert 0 <= seen["recent"][0]["age"] <= seen["recent"][1]["age"] < 20
    assert seen["counts"]["refused: not finite"] == 1
    assert seen["counts"]["allowed"] >= 1


def test_the_tool_is_where_kinematics_puts_it_and_as_fast_as_it_moves(bridge, arm) -> None:
    arm.velocities = np.array([0.2, 0, 0, 0, 0, 0, 0.0])  # about the vertical through the base
    until(lambda: status_json(bridge)["joints"][0]["velocity"] == 0.2)
    tool = status_json(bridge)["tool"]
    x, y, _ = tool["position"]
    assert tool["position"] == pytest.approx(bridge.kinematics.compute_tip(arm.positions).tolist())
    assert tool["speed"] == pytest.approx(0.2 * np.hypot(x, y))
    assert tool["box"] == [[-0.9, -0.9, 0.02], [0.9, 0.9, 1.4]]


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.full(7, -np.inf), np.zeros(3)])
def test_what_is_not_a_number_or_has_a_wrong_shape_is_null_and_a_fault(
    bridge, arm, view, bad
) -> None:
    arm.positions, arm.gripper = bad, float("nan")
    until(lambda: bridge.get_status().state is BridgeState.FAULT)
    code, body = ask(view, "GET", "/status")
    assert code == 200
    seen = json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} in the status"))
    assert {joint["position"] for joint in seen["joints"]} == {None}
    assert seen["gripper"] is seen["tool"]["position"] is seen["tool"]["speed"] is None
    assert "not finite or of a wrong shape" in seen["fault"]


def test_hold_resume_and_stop_reach_the_bridge(bridge, view) -> None:
    with driven(bridge):
        code, answer = act(view, "hold")
        assert (code, answer["held"]) == (200, True)
        until(lambda: bridge.get_status().state is BridgeState.HOLDING)
        assert act(view, "resume")[1]["held"] is False
        until(lambda: bridge.get_status().state is BridgeState.RUNNING)
        assert act(view, "stop")[0] == 200
        until(lambda: bridge.get_status().state is BridgeState.IDLE)
        assert bridge.get_status().owner == ""


def test_reset_says_why_not_and_works_once_the_cause_is_gone(bridge, arm, view) -> None:
    code, answer = act(view, "reset")
    assert (code, answer["error"]) == (409, "nothing to reset: the bridge is idle")
    arm.fault = "joint 3 too hot"
    until(lambda: bridge.get_status().state is BridgeState.FAULT)
    code, answer = act(view, "reset")
    assert code == 409
    assert "joint 3 too hot" in answer["error"]
    arm.fault = ""
    code, answer = act(view, "reset")
    assert (code, answer["state"], answer["fault"]) == (200, "idle", "")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Token": ""}, 403),
        ({"X-Token": "0" * 32}, 403),
        ({"X-Token": "\xe9" * 32}, 403),
        ({"Host": "robot.example"}, 403),
        ({"Host": "127.0.0.1.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Content-Length": str(LARGEST_BODY + 1)}, 413),
        ({"Content-Length": "0" * 10 + str(10**9)}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
@pytest.mark.parametrize("action", ["hold", "stop"])
def test_nobody_but_the_page_may_act(bridge, view, headers, code, action) -> None:
    with driven(bridge):
        assert act(view, action, **headers)[0] == code
        status = bridge.get_status()
        assert (status.state, status.owner, status.held) == (BridgeState.RUNNING, "policy", False)


def test_a_page_of_another_name_learns_nothing_and_actions_are_no_links(bridge, view) -> None:
    for path in ("/", "/status", "/camera.jpg"):
        code, body = ask(view, "GET", path, {"Host": "evil.example"})
        assert code == 403
        assert token_of(view) not in body.decode()
        assert ask(view, "GET", path, {"Origin": "http://evil.example"})[0] == 403
    for action in ("hold", "resume", "stop", "reset"):
        assert ask(view, "GET", f"/{action}", {"X-Token": token_of(view)})[0] == 405
    assert not bridge.get_status().held
    assert act(view, "destroy")[0] == 404
    assert ask(view, "GET", "/../../etc/passwd")[0] == 404
    # Through a tunnel the port is another one, and the page's own origin with it.
    assert act(view, "hold", Host="localhost:9", Origin="http://localhost:9")[0] == 200


def test_the_page_fetches_nothing_from_elsewhere_and_cannot_be_framed(view) -> None:
    with urllib.request.urlopen(view.url) as answer:  # noqa: S310
        policy, page = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert set(re.findall(r"https?://[^\"']*", page)) == {"http://www.w3.org/2000/svg"}


def test_the_camera_is_asked_by_one_at_a_time_and_its_failure_is_said(bridge) -> None:
    inside, most = [], []

    def camera() -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        if len(most) > 1:
            raise OSError("cable out")
        return np.full((30, 40, 3), (255, 0, 0), np.uint8)

    with RobotView(bridge, camera=camera) as view:
        code, first = ask(view, "GET", "/camera.jpg")
        assert (code, first[:2]) == (200, b"\xff\xd8")
        until(lambda: ask(view, "GET", "/camera.jpg")[0] == 503)
        threads = [
            threading.Thread(target=ask, args=(view, "GET", "/camera.jpg")) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert b"cable out" in ask(view, "GET", "/camera.jpg")[1]
    assert max(most) == 1
    with RobotView(bridge) as view:
        assert b"no camera" in ask(view, "GET", "/camera.jpg")[1]


def test_it_closes_with_a_silent_client_connected_and_frees_its_port(bridge) -> None:
    with RobotView(bridge) as view:
        port = int(view.url.split(":")[2][:-1])
        silent = socket.create_connection(("127.0.0.1", port))
        with pytest.raises(ConfigError, match="Choose another port"), RobotView(bridge, port):
            pass
        begun = time.monotonic()
    assert time.monotonic() - begun < 4.0
    silent.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not [thread for thread in threading.enumerate() if thread.name == "robot view"]
    with RobotView(bridge, port):
        pass
    with pytest.raises(ConfigError, match="allowed are 1 to 65535"):
        RobotView(bridge, 70000)


def test_the_command_shows_the_twin_until_it_is_interrupted() -> None:
    pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")
    command = [sys.executable, "-m", "embodied", "view", "robot", "fr3_twin", "safety.share=0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout
        try:
            found = re.search(r"http://\S+", shown.stdout.readline())
            while not found:
                found = re.search(r"http://\S+", shown.stdout.readline())
            with urllib.request.urlopen(f"{found[0]}status") as answer:  # noqa: S310
                status = json.load(answer)
            assert (status["name"], status["state"]) == ("fr3", "idle")
            assert status["safety"]["share"] == 0.1
            with urllib.request.urlopen(f"{found[0]}camera.jpg") as answer:  # noqa: S310
                assert answer.read(2) == b"\xff\xd8"
        finally:
            shown.send_signal(signal.SIGTERM)
        try:
            assert shown.wait(30) == 0
        finally:
            shown.kill()  # leaving this block waits for it


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with headless() as found:
        yield found


def test_in_a_browser_a_click_on_hold_holds_and_the_space_bar_too(bridge, view, browser) -> None:
    with driven(bridge):
        browser.open(view.url)
        until(lambda: browser.value("document.querySelector('.machine li.on').textContent")
              == "running")  # fmt: skip
        assert browser.value("document.querySelectorAll('#joints .joint').length") == 8
        assert browser.value("document.querySelector('#owner').textContent") == (
            "policy is in command"
        )
        marks = "[...document.querySelectorAll('#joints .bar:first-child .here')]"
        assert browser.value(f"{marks}.every(mark => mark.style.left.endsWith('%'))")
        browser.click("#hold")
        until(lambda: bridge.get_status().state is BridgeState.HOLDING)
        until(lambda: "Held" in browser.value("document.querySelector('#held').textContent"))
        browser.click("#resume")
        until(lambda: bridge.get_status().state is BridgeState.RUNNING)
        for kind in ("keyDown", "keyUp"):  # "Resume" has the focus, and must not be pressed by it
            browser.call(
                "Input.dispatchKeyEvent",
                type=kind, key=" ", code="Space", windowsVirtualKeyCode=32, text=" ",
            )  # fmt: skip
        until(lambda: bridge.get_status().state is BridgeState.HOLDING)
        assert bridge.get_status().held


def test_in_a_browser_a_fault_is_reset_only_after_a_question(bridge, arm, view, browser) -> None:
    arm.fault = "<b>joint 3</b> too hot"
    browser.open(view.url, 400, 800)
    until(lambda: browser.value("document.querySelector('#fault').textContent").endswith(
        "<b>joint 3</b> too hot"))  # fmt: skip
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    arm.fault = ""
    browser.click("#reset")
    until(lambda: browser.value("document.querySelector('#sure').open"))
    assert bridge.get_status().state is BridgeState.FAULT
    browser.click("#yes")
    until(lambda: bridge.get_status().state is BridgeState.IDLE)


def test_in_a_browser_a_bridge_that_is_gone_is_said_loudly(bridge, browser) -> None:
    with RobotView(bridge) as view:
        browser.open(view.url)
        assert browser.value("document.querySelector('#lost').hidden")
    until(lambda: not browser.value("document.querySelector('#lost').hidden"))
    assert "NO ANSWER" in browser.value("document.querySelector('#lost').textContent")
    browser.click("#hold")
    until(lambda: "HOLD WAS NOT DONE" in browser.value(
        "document.querySelector('#undone').textContent"))  # fmt: skip
