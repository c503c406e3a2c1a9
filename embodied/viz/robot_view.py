"""The live view of a robot: one local web page with its state, its readings and a hold button.

The page asks for `/status` ten times a second. It acts by POST requests with a token that only the
page knows, and answers nothing to a browser that was led here by another name (DNS rebinding) or
from another page (request forgery). It is served on 127.0.0.1 only; to see it from elsewhere,
tunnel the port: ssh -L 8080:127.0.0.1:8080 robot.

It is a convenience beside the emergency stop, not one.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, EmbodiedError
from robots.bridge import Bridge
from robots.bridge_status import BridgeStatus
from robots.errors import RobotError
from robots.state_machine import BridgeState

Camera = Callable[[], NDArray[np.uint8]]

TEMPLATE = Path(__file__).with_name("robot_view.html")
ACTIONS: Mapping[str, Callable[[Bridge], None]] = {
    "hold": Bridge.hold,
    "resume": Bridge.resume,
    "stop": Bridge.stop,
    "reset": Bridge.reset,
}
LOOPBACK = ("127.0.0.1", "localhost")
LARGEST_BODY = 1024  # actions need none at all
PICTURE_EVERY = 0.5  # [s]
PICTURE_SHARE = 0.25  # of the time that a camera may be busy; a slow one is asked less often


def status_json(bridge: Bridge) -> dict[str, Any]:
    """Return what there is to see as plain JSON values; what is unknown or not finite is None.

    Angles are in rad, lengths in m, times in s; the newest of `recent` comes first. Ages are on
    `time.monotonic`, the bridge's own clock unless it was given another.
    """
    now, status, limits = time.monotonic(), bridge.get_status(), bridge.limits
    measured, sent = status.arm_state, status.setpoint
    count = limits.joints
    positions = _numbers(getattr(measured, "positions", None), count)
    velocities = _numbers(getattr(measured, "velocities", None), count)
    setpoints = _numbers(getattr(sent, "positions", None), count)
    joints = [
        {
            "name": joint.name,
            "position": positions[i],
            "velocity": velocities[i],
            "setpoint": setpoints[i],
            "lower": _number(limits.lower[i]),
            "upper": _number(limits.upper[i]),
            "hard_lower": _number(joint.lower),
            "hard_upper": _number(joint.upper),
            "max_velocity": float(limits.velocity[i]),
        }
        for i, joint in enumerate(bridge.model.joints)
    ]
    return {
        "name": bridge.model.name,
        "state": str(status.state),
        "states": [str(state) for state in BridgeState],
        "fault": status.fault,
        "owner": status.owner,
        "held": status.held,
        "blocked": status.blocked_reason,
        "joints": joints,
        "gripper": _number(getattr(measured, "gripper", None)),
        "gripper_setpoint": _number(getattr(sent, "gripper", None)),
        "tool": _tool(bridge, positions, velocities, setpoints),
        "counts": status.verdict_counts,
        "recent": _recent(status, now),
        "age": None if measured is None else _number(now - measured.stamp),
        "late": _number(status.tick_delay),
        "period": bridge.period,
        "safety": asdict(limits.safety),
    }


def _tool(
    bridge: Bridge,
    positions: list[float | None],
    velocities: list[float | None],
    setpoints: list[float | None],
) -> dict[str, Any]:
    """Return where the tool is, where it is to be and how fast it moves, within its limits."""
    speed: float | None = None
    if None not in positions and None not in velocities:
        jacobian = bridge.kinematics.compute_jacobian(np.array(positions))[:3]
        speed = float(np.linalg.norm(jacobian @ np.array(velocities)))
    return {
        "position": _tip(bridge, positions),
        "setpoint": _tip(bridge, setpoints),
        "speed": _number(speed),
        "max_speed": bridge.limits.safety.tool_speed,
        "box": bridge.limits.box.tolist(),
    }


def _tip(bridge: Bridge, positions: list[float | None]) -> list[float] | None:
    if None in positions:
        return None
    point: list[float] = bridge.kinematics.compute_tip(np.array(positions)).tolist()
    return point


def _recent(status: BridgeStatus, now: float) -> list[dict[str, Any]]:
    return [
        {
            "outcome": str(verdict.outcome),
            "reason": str(verdict.reason),
            "detail": verdict.detail,
            "age": _number(now - stamp),
        }
        for stamp, verdict in reversed(status.recent_verdicts)
    ]


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _numbers(values: NDArray[np.float64] | None, count: int) -> list[float | None]:
    """Return so many numbers; none is known of an array of another shape, which a driver may send.

    The bridge faults on such a measurement; the page has to survive it to say so.
    """
    if values is None or values.shape != (count,):
        return [None] * count
    return [_number(value) for value in values.tolist()]


class RobotView:
    """Serves the page of one bridge while it is open; as a context manager.

    Args:
        bridge: connected and running; its loop is not touched.
        port: on 127.0.0.1; 0 takes a free one.
        camera: returns a (H, W, 3) RGB picture; called in threads of the server, one at a time.

    Raises:
        ConfigError: no such port, or it is taken.
    """

    def __init__(self, bridge: Bridge, port: int = 0, camera: Camera | None = None) -> None:
        if not 0 <= port <= 65535:
            raise ConfigError(f"port {port}: allowed are 1 to 65535, or 0 for any free one")
        self.bridge = bridge
        self._port, self._camera = port, camera
        self._token, self._instance = secrets.token_hex(16), secrets.token_hex(8)
        self._drawing = threading.Lock()
        self._jpeg, self._next_picture = b"", 0.0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is, while it is served."""
        return f"http://127.0.0.1:{self._port}/"

    def render_page(self, nonce: str) -> str:
        """Return the page; its script runs under `nonce`."""
        return str(
            _template().render(
                name=self.bridge.model.name,
                token=self._token,
                instance=self._instance,
                camera=self._camera is not None,
                nonce=nonce,
            )
        )

    def get_status(self) -> dict[str, Any]:
        """Return the status, and which view this is: a page of an earlier one loads itself anew."""
        return {**status_json(self.bridge), "instance": self._instance}

    def is_valid_token(self, token: str) -> bool:
        """Whether a request comes from the page."""
        return secrets.compare_digest(token.encode(), self._token.encode())

    def read_picture(self) -> bytes:
        """Return a JPEG, at most `PICTURE_EVERY` old if the camera is quick enough.

        Raises:
            EmbodiedError: there is no camera, or it fails.
        """
        with self._drawing:
            if self._camera is None:
                raise EmbodiedError("this robot has no camera")
            begun = time.monotonic()
            if begun >= self._next_picture:
                bgr = cv2.cvtColor(self._camera(), cv2.COLOR_RGB2BGR)
                took = time.monotonic() - begun
                self._next_picture = begun + max(PICTURE_EVERY, took / PICTURE_SHARE)
                self._jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
            return self._jpeg

    def __enter__(self) -> Self:
        try:
            self._server = _Server(self, self._port)
        except OSError as error:
            raise ConfigError(
                f"the view cannot be served on 127.0.0.1:{self._port}: {error.strerror}. "
                "Choose another port, or 0 for any free one"
            ) from error
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="robot view", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        # No picture may be under way when the arm is disconnected, but nor may a camera that hangs
        # keep the arm from being stopped.
        if self._drawing.acquire(timeout=2.0):
            self._camera = None
            self._drawing.release()


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, view: RobotView, port: int) -> None:
        self.view = view
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request: HTTP/1.0, so that no connection outlives the view."""

    server: _Server
    timeout = 5.0
    server_version, sys_version = "embodied", ""

    def do_GET(self) -> None:
        view, path = self.server.view, self.path.partition("?")[0]
        if self._is_foreign():
            return
        if path == "/":
            nonce = secrets.token_hex(8)
            self._send(200, view.render_page(nonce).encode(), "text/html; charset=utf-8", nonce)
        elif path == "/status":
            self._send_json(200, view.get_status())
        elif path == "/camera.jpg":
            self._send_picture()
        elif path[1:] in ACTIONS:
            self._refuse(405, "actions are POST requests")
        else:
            self._refuse(404, "no such page")

    def do_POST(self) -> None:
        view, action = self.server.view, ACTIONS.get(self.path[1:])
        if self._is_foreign():
            return
        length = self.headers.get("Content-Length", "0")
        if action is None:
            self._refuse(404, f"no such action; there are {', '.join(ACTIONS)}")
        elif not view.is_valid_token(self.headers.get("X-Token", "")):
            self._refuse(403, "wrong token: load the page again")
        elif "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse(411, "say the length of the body; actions need none")
        elif len(length) > 9 or int(length) > LARGEST_BODY:
            self._refuse(413, f"{LARGEST_BODY} bytes are allowed; actions need none")
        else:
            self.rfile.read(int(length))
            try:
                action(view.bridge)
            except RobotError as error:
                self._refuse(409, str(error))
                return
            self._send_json(200, view.get_status())

    def _is_foreign(self) -> bool:
        """Refuse a request for another name, or from another page; any port may be tunnelled."""
        hosts, origin = self.headers.get_all("Host") or [], self.headers.get("Origin")
        if len(hosts) != 1 or hosts[0].partition(":")[0] not in LOOPBACK:
            self._refuse(403, f"this page is {self.server.view.url} and has no other name")
        elif origin is not None and origin != f"http://{hosts[0]}":
            self._refuse(403, "another page may not ask this")
        else:
            return False
        return True

    def _send_picture(self) -> None:
        try:
            picture = self.server.view.read_picture()
        except Exception as error:  # of a camera of the user's own; the page says it and asks again
            self._refuse(503, f"no picture: {error}")
        else:
            self._send(200, picture, "image/jpeg")

    def _refuse(self, code: int, why: str) -> None:
        self._send_json(code, {"error": why})

    def _send_json(self, code: int, tree: Mapping[str, Any]) -> None:
        self._send(code, json.dumps(tree, allow_nan=False).encode(), "application/json")

    def _send(self, code: int, body: bytes, kind: str, nonce: str = "") -> None:
        script = f"script-src 'nonce-{nonce}'; " if nonce else ""
        self.send_response(code)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            (
                "Content-Security-Policy",
                f"default-src 'none'; {script}style-src 'unsafe-inline'; img-src 'self' data:; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        ):
            self.send_header(name, value)
        if code == 405:
            self.send_header("Allow", "POST")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the page was closed meanwhile

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the run."""
