from __future__ import annotations

import hmac
import itertools
import logging
import os
import resource
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from benchmarks.serving import NASTY, frames
from embodied.errors import ConfigError
from embodied.serving import server as server_module
from embodied.serving.client import PolicyClient
from embodied.serving.config import ServerConfig, is_loopback
from embodied.serving.protocol import OBSERVED_AT, REQUEST_ID, STAMPS, ServedPolicy
from embodied.serving.server import PROBES, PolicyServer, ServerError
from embodied.serving.wire import MessageLimits, decode, encode
from tests.serving.conftest import KEY, Echo, Serve, http_get, observation

AUTHORIZED = f"Authorization: Api-Key {KEY}"


def dial(server: PolicyServer, key: str = "", **options: Any) -> ClientConnection:
    """Connect without any of our client's code."""
    headers = {"Authorization": f"Api-Key {key}"} if key else {}
    defaults: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None}
    options = defaults | options
    return connect(server.uri, additional_headers=headers, **options).__enter__()


def ask(connection: ClientConnection, message: bytes | str) -> Any:
    """Send one message; return the answer, an error as text."""
    connection.send(message)
    answer = connection.recv(timeout=10)
    return decode(answer) if isinstance(answer, bytes) else answer


def test_metadata_then_answers_with_timing(serve: Serve, policy: Echo) -> None:
    assert isinstance(policy, ServedPolicy)
    with dial(serve()) as connection:
        assert decode(connection.recv(timeout=5)) == {**policy.metadata, STAMPS: True}
        first = ask(connection, encode(observation()))
        np.testing.assert_array_equal(first["actions"][0], observation()["state"])
        assert set(first["server_timing"]) == {"infer_ms", "queue_ms"}
        second = ask(connection, encode(observation()))
        assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"]
    assert len(policy.threads) == 1


def test_stamps_come_back_and_never_reach_the_policy(serve: Serve, policy: Echo) -> None:
    with dial(serve()) as connection:
        connection.recv(timeout=5)
        answer = ask(connection, encode({**observation(), OBSERVED_AT: 12.5, REQUEST_ID: 7}))
        assert (answer[OBSERVED_AT], answer[REQUEST_ID]) == (12.5, 7)
        assert set(policy.seen) == {"state", "prompt"}
        assert "finite" in ask(connection, encode({OBSERVED_AT: float("nan")}))


def test_unmodified_openpi_client(serve: Serve) -> None:
    module = pytest.importorskip(
        "openpi_client.websocket_client_policy", reason="openpi-client is absent"
    )
    server = serve(api_key=KEY)
    client = module.WebsocketClientPolicy(server.uri, api_key=KEY)
    assert client.get_server_metadata()["name"] == "echo"
    for _ in range(3):
        actions = client.infer(observation())["actions"]
        np.testing.assert_array_equal(actions, np.tile(observation()["state"], (4, 1)))
    with pytest.raises(RuntimeError, match="policy: it failed with RuntimeError"):
        client.infer(observation("raise"))
    with pytest.raises(InvalidStatus):
        module.WebsocketClientPolicy(server.uri, api_key="another")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("raise", "policy: it failed with RuntimeError; the server's log says why"),
        ("explain", "policy: the arm needs 7 joints, 3 were sent"),
        ("nothing", "policy: it returned no map of results"),
        ("object", "policy: its answer cannot be sent"),
    ],
)
def test_an_error_is_one_line_without_internals(
    serve: Serve, prompt: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    with dial(server) as connection, caplog.at_level(logging.ERROR):
        connection.recv(timeout=5)
        answer = ask(connection, encode(observation(prompt)))
        assert answer.startswith(expected)
        assert not any(word in answer for word in ("\n", "Traceback", "secret", "/home"))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=5)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    if prompt == "raise":
        assert "secret" in caplog.text  # the operator does learn it
    with dial(server) as connection:  # and the server lives on
        connection.recv(timeout=5)
        assert "actions" in ask(connection, encode(observation()))


def test_malformed_messages_never_reach_the_policy(serve: Serve, policy: Echo) -> None:
    server = serve()
    for message in (*NASTY, encode([1]), encode(3), "text", *itertools.islice(frames(3, 60), 60)):
        with dial(server) as connection:
            connection.recv(timeout=5)
            answer = ask(connection, message)
            assert isinstance(answer, dict) or answer.startswith(("request: ", "policy: "))
    assert server.metrics.get_value("requests_total", outcome="request") >= len(NASTY) + 3
    with dial(server) as connection:
        connection.recv(timeout=5)
        assert "actions" in ask(connection, encode(observation()))


def test_oversized_messages_are_refused(serve: Serve) -> None:
    server = serve(limits=MessageLimits(bytes=10_000))
    with dial(server) as connection:
        connection.recv(timeout=5)
        connection.send(b"\0" * 10_001)
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=5)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", "ключ"])
def test_a_wrong_key_is_refused_before_decoding(
    serve: Serve, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    monkeypatch.setattr(server_module, "decode", lambda *_: pytest.fail("decoded"))
    server = serve(api_key=KEY)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        lines = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        lines += [f"Authorization: Api-Key {key}"] if key else []
        # The frame follows at once: an eager server would read it with the request.
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + b"\x82\x81\0\0\0\0\x80")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    assert len(compared) == (1 if key else 0)
    assert server.metrics.get_value("refused_total", reason="key") == 1


def test_the_right_key_is_accepted_once(serve: Serve) -> None:
    server = serve(api_key=KEY)
    with dial(server, KEY) as connection:
        assert decode(connection.recv(timeout=5))["name"] == "echo"
    twice = http_get(server.port, "/metrics", AUTHORIZED, AUTHORIZED)
    assert twice[0] == 401


def test_browsers_are_refused(serve: Serve) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        dial(serve(), origin="https://example.org")


def test_health_and_metrics(serve: Serve, policy: Echo) -> None:
    server = serve(api_key=KEY)
    assert http_get(server.port, "/healthz") == (200, "ok\n")
    assert http_get(server.port, "/metrics")[0] == 401
    with dial(server, KEY) as connection:
        connection.recv(timeout=5)
        ask(connection, encode(observation()))
        status, body = http_get(server.port, "/metrics", AUTHORIZED)
    assert status == 200
    assert "embodied_serving_connections 1.0\n" in body
    assert 'embodied_serving_requests_total{outcome="ok"} 1.0\n' in body
    assert 'embodied_serving_refused_total{reason="key"} 1.0\n' in body
    assert "embodied_serving_infer_seconds_count 1.0\n" in body
    assert "# TYPE embodied_serving_requests_total counter\n" in body


def test_a_slow_policy_meets_the_deadline_and_shows_in_health(serve: Serve, policy: Echo) -> None:
    server = serve(deadline=0.2)
    with dial(server) as connection:
        connection.recv(timeout=5)
        assert ask(connection, encode(observation("wait"))).startswith("deadline: ")
    assert http_get(server.port, "/healthz")[0] == 503
    policy.gate.set()
    with dial(server) as connection:
        connection.recv(timeout=5)
        assert "actions" in ask(connection, encode(observation()))
    assert http_get(server.port, "/healthz")[0] == 200


def test_a_full_queue_refuses_and_those_who_left_are_skipped(serve: Serve, policy: Echo) -> None:
    server = serve(max_queue_size=1)
    with dial(server) as running, dial(server) as waiting, dial(server) as refused:
        for connection in (running, waiting, refused):
            connection.recv(timeout=5)
        running.send(encode(observation("wait")))
        assert policy.entered.acquire(timeout=5)
        waiting.send(encode(observation("left")))
        until_waiting(server, 2)
        assert ask(refused, encode(observation())).startswith("busy: ")
        waiting.close()
        until_waiting(server, 1)
        policy.gate.set()
        assert "actions" in decode(running.recv(timeout=5))
    assert policy.calls == 1
    assert server.metrics.get_value("requests_total", outcome="left") == 1


def until_waiting(server: PolicyServer, count: int) -> None:
    """Ask the server until that many requests wait: each question takes its turn in its loop."""
    for _ in range(2000):
        if f"requests_waiting {count}.0\n" in http_get(server.port, "/metrics")[1]:
            return
    pytest.fail(f"never {count} requests at once")


def test_slow_handshakes_are_cut(serve: Serve) -> None:
    server = serve(handshake_timeout=0.2)
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            for _ in range(10)
        ]
        for connection in slow[:5]:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with dial(server) as connection:  # others are served meanwhile
            connection.recv(timeout=5)
            assert "actions" in ask(connection, encode(observation()))
        for connection in slow:
            assert _ended(connection)


def test_silent_clients_are_cut(serve: Serve) -> None:
    server = serve(ping_interval=0.1, ping_timeout=0.1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            b"\x82\xfe\xff\xff"  # a message that is announced and never comes
        )
        assert _ended(connection)


def _ended(connection: socket.socket) -> bool:
    """Read to the end of a connection; False if none comes within its timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_connections_are_capped(serve: Serve) -> None:
    server = serve(max_connections=2, handshake_timeout=60)
    with dial(server) as first, dial(server) as second:
        for connection in (first, second):
            connection.recv(timeout=5)
        with pytest.raises(InvalidStatus, match="503"):
            dial(server)
        assert http_get(server.port, "/healthz")[0] == 200
        with ExitStack() as stack:
            idle = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
                for _ in range(PROBES + 1)
            ]
            assert _ended(idle[-1])  # before it has said a word
        assert "actions" in ask(first, encode(observation()))
        assert server.metrics.get_value("refused_total", reason="full") == 2
    with dial(server) as connection:  # and room again
        assert decode(connection.recv(timeout=5))["name"] == "echo"


def resident() -> float:
    """Memory of this process, which is both ends of every connection here [KB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_connections_at_once_and_again_leave_nothing_behind(
    serve: Serve, policy: Echo, count: int
) -> None:
    server = serve(max_connections=count, max_queue_size=count, deadline=60)
    options: dict[str, Any] = {"open_timeout": 60, "ping_interval": None}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 6 * count + 200:  # what both ends of a connection take in one process
        pytest.skip(f"at most {most} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before, peaks = resident(), []
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool, ExitStack() as stack:
            opened = list(pool.map(lambda _: dial(server, **options), range(count)))
            stack.callback(lambda opened=opened: list(pool.map(lambda c: c.close(), opened)))
            for connection in opened:
                assert decode(connection.recv(timeout=60))["name"] == "echo"
            for connection in opened:
                connection.send(encode(observation()))
            for connection in opened:
                assert "actions" in decode(connection.recv(timeout=60))
            peaks.append(resident())
        until_connected(server, 0)
    assert policy.calls == 3 * count
    assert len(policy.threads) == 1
    # Some 50 KB for both ends of each while it lasts; who kept the server's would add 14 a round.
    assert peaks[0] - before < 200 * count
    assert peaks[2] - peaks[0] < 12 * count + 2000


def until_connected(server: PolicyServer, count: int) -> None:
    """Wait until the server counts that many connections."""
    for _ in range(2000):
        if f"embodied_serving_connections {count}.0\n" in http_get(server.port, "/metrics")[1]:
            return
    pytest.fail(f"never {count} connections")


def certificate(folder: Path, name: str = "server", password: str = "") -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command += ["-passout", f"pass:{password}"] if password else ["-nodes"]
    try:
        subprocess.run(
            [*command, "-out", str(files[0]), "-keyout", str(files[1])],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("needs the command openssl to make a certificate")
    return files


def test_tls(serve: Serve, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    server = serve(certificate=chain, private_key=key, api_key=KEY)
    assert server.uri.startswith("wss://")
    with PolicyClient(server.uri, KEY, authority=chain, timeout=10) as client:
        assert client.connect()["name"] == "echo"
        assert client.infer(observation())["actions"].shape == (4, 3)


def test_unusable_certificates(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    _, other = certificate(tmp_path, "other")
    locked = certificate(tmp_path, "locked", password="secret")  # noqa: S106
    missing = tmp_path / "missing.pem"
    for files in ((missing, key), (chain, missing), (chain, other), locked):
        with pytest.raises(ConfigError, match="cannot use the certificate"):
            PolicyServer(Echo(), ServerConfig(certificate=files[0], private_key=files[1]))
    with pytest.raises(ConfigError, match="both"):
        ServerConfig(certificate=chain)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.0.2.7", "no.such.host.invalid"],  # noqa: S104
)
def test_serving_beyond_loopback_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match="without an API key"):
        ServerConfig(host=host)
    assert ServerConfig(host=host, api_key=KEY).host == host
    assert ServerConfig(host=host, allow_anonymous=True).host == host


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    assert KEY not in repr(ServerConfig(api_key=KEY))


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline": 0.0},
        {"ping_timeout": float("nan")},
        {"max_queue_size": 0},
        {"max_connections": 0},
        {"port": 65536},
        {"api_key": "with space"},
        {"api_key": "line\nbreak"},
        {"api_key": "schlüssel"},
    ],
)
def test_unusable_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ServerConfig(**settings)


def test_a_taken_port_is_named(serve: Serve) -> None:
    port = serve().port
    with pytest.raises(ServerError, match=f"127.0.0.1:{port}.*Choose another"):
        PolicyServer(Echo(), ServerConfig(port=port)).start()


def test_metadata_that_cannot_be_sent(policy: Echo) -> None:
    policy.metadata = {"network": object()}
    with pytest.raises(ConfigError, match="metadata"):
        PolicyServer(policy)


def test_closing_with_a_request_in_progress(serve: Serve, policy: Echo) -> None:
    server = serve()
    with dial(server) as connection:
        connection.recv(timeout=5)
        connection.send(encode(observation("wait")))
        assert policy.entered.acquire(timeout=5)
        policy.gate.set()
        server.close()
        server.close()
    with pytest.raises(OSError, match="refused"):
        dial(server)
