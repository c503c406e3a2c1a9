from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from embodied.errors import ConfigError
from embodied.serving.client import (
    PolicyClient,
    ServingError,
    ServingFailedError,
    ServingRefusedError,
    ServingTimeoutError,
    ServingUnavailableError,
)
from embodied.serving.protocol import OBSERVED_AT, REQUEST_ID, STAMPS
from embodied.serving.wire import MessageLimits, WireError, decode, encode
from tests.serving.conftest import KEY, Echo, Serve, observation
from tests.serving.test_server import certificate

Handler = Callable[[ServerConnection], Awaitable[None]]


@contextmanager
def foreign(handler: Handler) -> Iterator[str]:
    """Run a websocket server that is not ours; yield its URI."""
    ready, port = threading.Event(), 0
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        nonlocal port
        async with serve_websocket(handler, "127.0.0.1", 0, close_timeout=0.1) as server:
            port = server.sockets[0].getsockname()[1]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield f"ws://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


def answering(*answers: bytes | str, metadata: bytes | str | None = None) -> Handler:
    """Answer requests one after the other, whatever they are, then say nothing more."""

    async def handler(connection: ServerConnection) -> None:
        await connection.send(encode({}) if metadata is None else metadata)
        for answer in answers:
            await connection.recv()
            await connection.send(answer)
        await connection.wait_closed()

    return handler


@pytest.mark.parametrize("key", ["", KEY])
def test_connect_and_infer(serve: Serve, key: str) -> None:
    with PolicyClient(serve(api_key=key).uri, key, timeout=10) as client:
        assert client.metadata == {}
        assert client.connect()["name"] == "echo"
        for number in (1, 2):
            answer = client.infer(observation(), observed_at=number / 8)
            np.testing.assert_array_equal(answer["actions"][0], observation()["state"])
            assert (answer[OBSERVED_AT], answer[REQUEST_ID]) == (number / 8, number)
        assert REQUEST_ID in client.infer(observation())


def test_infer_connects_by_itself(serve: Serve) -> None:
    with PolicyClient(serve().uri, timeout=10) as client:
        assert "actions" in client.infer(observation())


def test_openpi_server_gets_no_stamps() -> None:
    """The reference server hands every key to its policy, and sends a traceback as text."""
    seen: list[dict[str, Any]] = []

    async def openpi(connection: ServerConnection) -> None:
        await connection.send(encode({"reset_pose": [0.0, 1.0]}))
        seen.append(decode(await connection.recv()))  # type: ignore[arg-type]
        await connection.send(encode({"actions": np.ones((2, 3)), "server_timing": {}}))
        await connection.recv()
        await connection.send("Traceback (most recent call last):\n  File x\nKeyError: 'state'\n")
        await connection.close(1011, "Internal server error. Traceback included.")

    with foreign(openpi) as uri, PolicyClient(uri, timeout=10) as client:
        assert client.connect() == {"reset_pose": [0.0, 1.0]}
        assert client.infer(observation(), observed_at=1.0)["actions"].shape == (2, 3)
        with pytest.raises(ServingFailedError, match="KeyError: 'state'$"):
            client.infer(observation())
    assert set(seen[0]) == {"state", "prompt"}


def test_a_stalled_server_costs_no_more_than_the_timeout() -> None:
    with foreign(answering()) as uri, PolicyClient(uri, timeout=10) as client:
        client.connect()
        with pytest.raises(ServingTimeoutError):
            client.infer(observation(), timeout=0.1)


def test_a_server_that_stops_reading_costs_no_more_than_the_timeout() -> None:
    """The buffers of the system fill up, and sending itself would block for ever."""
    release = threading.Event()

    async def frozen(connection: ServerConnection) -> None:
        await connection.send(encode({}))
        release.wait(10)  # the whole event loop, as a stopped process

    with foreign(frozen) as uri, PolicyClient(uri, limits=MessageLimits(bytes=2**26)) as client:
        client.connect(timeout=10)
        start = time.monotonic()
        with pytest.raises(ServingTimeoutError):
            client.infer({"image": np.zeros(2**25, np.uint8)}, timeout=0.2)
        assert time.monotonic() - start < 8  # the server sleeps for longer
        release.set()


def test_a_late_answer_is_not_taken_for_the_next_one(serve: Serve, policy: Echo) -> None:
    with PolicyClient(serve().uri, timeout=10) as client:
        client.connect()
        with pytest.raises(ServingTimeoutError):
            client.infer({**observation("wait"), "state": np.zeros(3)}, timeout=0.1)
        policy.gate.set()
        assert client.infer(observation())["actions"][0, 0] == 0.5


def test_an_answer_to_another_request_is_refused() -> None:
    answer = encode({"actions": np.zeros((1, 3)), REQUEST_ID: 99})
    with (
        foreign(answering(answer, metadata=encode({STAMPS: True}))) as uri,
        PolicyClient(uri, timeout=10) as client,
        pytest.raises(ServingFailedError, match="another request"),
    ):
        client.infer(observation())


def test_reconnects_after_a_restart(serve: Serve) -> None:
    first = serve()
    with PolicyClient(first.uri, timeout=10) as client:
        client.infer(observation())
        first.close()
        with pytest.raises(ServingUnavailableError, match="no policy server"):
            client.infer(observation(), timeout=0.1)
        serve(port=first.port)
        assert "actions" in client.infer(observation())


def test_waits_for_a_server_that_starts_later(serve: Serve) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with PolicyClient(f"ws://127.0.0.1:{port}", timeout=10) as client:
        starter = threading.Timer(0.15, lambda: serve(port=port))
        starter.start()
        try:
            assert client.connect()["name"] == "echo"
        finally:
            starter.join()


def test_a_lost_connection_is_reported_and_repaired(serve: Serve, policy: Echo) -> None:
    first = serve()
    with PolicyClient(first.uri, timeout=10) as client:
        client.connect()
        closer = threading.Thread(target=lambda: policy.entered.acquire() and first.close())
        closer.start()
        with pytest.raises(ServingUnavailableError, match="broke"):
            client.infer(observation("wait"))
        policy.gate.set()
        closer.join()
        serve(port=first.port)
        assert "actions" in client.infer(observation())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("busy: 4 wait", ServingUnavailableError),
        ("deadline: no answer", ServingTimeoutError),
        ("request: malformed", ServingRefusedError),
        ("policy: it failed", ServingFailedError),
        ("", ServingFailedError),
        ("unknown", ServingFailedError),
    ],
)
def test_errors_have_types(text: str, kind: type[ServingError]) -> None:
    with (
        foreign(answering(text)) as uri,
        PolicyClient(uri, timeout=10) as client,
        pytest.raises(kind, match=uri),
    ):
        client.infer(observation())


@pytest.mark.parametrize("answer", [b"\xc1", encode([1]), encode({"x": 1})[:-1]])
def test_malformed_answers(answer: bytes) -> None:
    with (
        foreign(answering(answer)) as uri,
        PolicyClient(uri, timeout=10) as client,
        pytest.raises(ServingFailedError, match="bad answer"),
    ):
        client.infer(observation())


@pytest.mark.parametrize("metadata", ["hello", b"\xc1", encode(3)])
def test_something_else_than_a_policy_server(metadata: bytes | str) -> None:
    with (
        foreign(answering(metadata=metadata)) as uri,
        PolicyClient(uri, timeout=10) as client,
        pytest.raises(ServingRefusedError, match="not a policy server"),
    ):
        client.connect()


@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_wrong_key_is_not_tried_again(serve: Serve, key: str) -> None:
    server = serve(api_key=KEY)
    with (
        PolicyClient(server.uri, key, timeout=10) as client,
        pytest.raises(ServingRefusedError, match="API key"),
    ):
        client.connect()
    assert server.metrics.get_value("refused_total", reason="key") == 1


def test_a_full_server_is_tried_again(serve: Serve) -> None:
    server = serve(max_connections=1)
    with PolicyClient(server.uri, timeout=10) as first, PolicyClient(server.uri) as second:
        first.connect()
        with pytest.raises(ServingUnavailableError, match="503"):
            second.connect(timeout=0.2)
        first.close()
        assert "actions" in second.infer(observation(), timeout=10)


def test_an_untrusted_certificate(serve: Serve, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    server = serve(certificate=chain, private_key=key)
    with (
        PolicyClient(server.uri, timeout=10) as client,
        pytest.raises(ServingRefusedError, match="not trusted"),
    ):
        client.connect()


def test_no_server_at_all() -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        uri = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with (
            PolicyClient(uri) as client,
            pytest.raises(ServingUnavailableError, match=f"{uri}.*Start it"),
        ):
            client.connect(timeout=0.1)


def test_closing_ends_a_request(serve: Serve, policy: Echo) -> None:
    client = PolicyClient(serve().uri, timeout=10)
    client.connect()
    closer = threading.Thread(target=lambda: policy.entered.acquire() and client.close())
    closer.start()
    with pytest.raises(ServingUnavailableError):
        client.infer(observation("wait"))
    closer.join()
    with pytest.raises(ServingUnavailableError, match="closed"):
        client.infer(observation())
    client.close()


def test_two_threads_take_turns(serve: Serve, policy: Echo) -> None:
    with PolicyClient(serve().uri, timeout=10) as client:
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(client.infer(observation("wait"))))
        first.start()
        assert policy.entered.acquire(timeout=5)
        with pytest.raises(ServingTimeoutError, match="another request"):
            client.infer(observation(), timeout=0.05)
        policy.gate.set()
        answers.append(client.infer(observation()))
        first.join()
    assert len(answers) == 2


def test_what_cannot_be_sent_leaves_the_connection_alone(serve: Serve) -> None:
    server = serve(limits=MessageLimits(bytes=10_000))
    with PolicyClient(server.uri, timeout=10) as client:
        client.connect()
        with pytest.raises(WireError, match="cannot encode"):
            client.infer({"image": object()})
        assert "actions" in client.infer(observation())
        assert server.metrics.get_value("connections") == 1
        with pytest.raises(ServingRefusedError, match="too big"):
            client.infer({"image": np.zeros(20_000, np.uint8)})
        assert "actions" in client.infer(observation())


def test_environment_proxies_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("no_proxy", "")
    with PolicyClient(serve().uri, timeout=10) as client:
        assert client.connect()["name"] == "echo"


@pytest.mark.parametrize("uri", ["127.0.0.1:8000", "http://127.0.0.1", "ws://", "wss:/x", ""])
def test_unusable_addresses(uri: str) -> None:
    with pytest.raises(ConfigError, match="ws://host:port"):
        PolicyClient(uri)


def test_unusable_authorities(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        PolicyClient("wss://127.0.0.1", authority=tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match="wss"):
        PolicyClient("ws://127.0.0.1", authority=tmp_path / "missing.pem")


def test_a_timeout_of_zero_is_over_at_once(serve: Serve) -> None:
    with PolicyClient(serve().uri) as client:
        start = time.monotonic()
        with pytest.raises(ServingError):
            client.infer(observation("wait"), timeout=0.0)
        assert time.monotonic() - start < 5
