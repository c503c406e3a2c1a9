"""Serve a policy over websockets: an openpi-client understands it, strangers get nowhere.

A key is compared before a single byte is decoded, messages are bounded, browsers are refused, and
the policy runs in one thread of its own, so that pings, `/healthz` and other clients never wait for
it. An error is one line without internals; the rest goes to the log `embodied.serving`.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import math
import threading
import time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from embodied.errors import ConfigError, EmbodiedError
from embodied.serving.config import ServerConfig, is_loopback
from embodied.serving.metrics import CONTENT_TYPE, ServerMetrics
from embodied.serving.protocol import (
    OBSERVED_AT,
    REQUEST_ID,
    STAMPS,
    TIMING,
    ErrorCause,
    ServedPolicy,
)
from embodied.serving.wire import WireError, decode, encode
from embodied.serving.worker import InferenceWorker, RequestError

INTERNAL_ERROR = 1011
PROBES = 16  # connections beyond the cap, so that a full server still answers /healthz
CLOSE_TIMEOUT = 2.0  # [s] for a client to say goodbye

log = logging.getLogger("embodied.serving")
# Every scan of the port would otherwise fill the disk with tracebacks of failed handshakes.
_quiet = logging.getLogger("embodied.serving.connections")
_quiet.setLevel(logging.CRITICAL)


class ServerError(EmbodiedError):
    """A server that cannot listen."""


class PolicyServer:
    """Serves one policy in a background thread, until it is closed.

    with PolicyServer(policy, ServerConfig(port=8000)) as server:
        server.wait()

    Args:
        policy: see `ServedPolicy`.
        config: where to listen and what to refuse.

    Raises:
        ConfigError: the certificate or the policy's metadata cannot be used.
    """

    def __init__(self, policy: ServedPolicy, config: ServerConfig | None = None) -> None:
        self.config = config or ServerConfig()
        self._connections = 0
        self.metrics = ServerMetrics(lambda: self._connections)
        self._policy = policy
        self._tls = self.config.load_ssl_context()
        try:
            self._metadata = encode({**policy.metadata, STAMPS: True})
        except (TypeError, WireError) as error:
            raise ConfigError(f"the policy's metadata cannot be sent: {error}") from error
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._port = self.config.port
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._worker: InferenceWorker

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def uri(self) -> str:
        """What clients connect to."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"{self.config.scheme}://{host}:{self._port}"

    def start(self) -> PolicyServer:
        """Listen, and return as soon as clients can connect.

        Raises:
            ServerError: the address or port is taken or not of this machine.
        """
        self._thread = threading.Thread(target=self._run, name="policy-server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise ServerError(
                f"cannot listen on {self.uri}: {self._failure}. Choose another host or port, or "
                "end the process that has it."
            ) from self._failure
        log.info("serving on %s", self.uri)
        if self.config.scheme == "ws" and not is_loopback(self.config.host):
            log.warning("key and data cross the network in the clear: set a certificate")
        return self

    def wait(self) -> None:
        """Block until the server is closed, e.g. by another thread or Ctrl-C."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Close every connection and stop; safe to call twice."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def __enter__(self) -> PolicyServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        config = self.config
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await serve(
            self._serve,
            config.host,
            config.port,
            ssl=self._tls,
            process_request=self._admit,
            create_connection=self._capped(),
            origins=[None],  # no browser: a web page must not reach a robot through its user
            compression=None,  # as openpi; and nothing small unpacks to something huge
            max_size=config.limits.bytes,
            max_queue=1,  # one request at a time: read no further ahead
            open_timeout=config.handshake_timeout,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            close_timeout=CLOSE_TIMEOUT,
            server_header=None,
            logger=_quiet,
        )
        self._port = server.sockets[0].getsockname()[1]
        self._worker = InferenceWorker(self._policy, config.max_queue_size)
        self._ready.set()
        async with server:
            await self._stop.wait()
        self._worker.close(timeout=CLOSE_TIMEOUT)

    def _capped(self) -> type[ServerConnection]:
        """Drop connections beyond the cap before they cost a handshake."""
        most = self.config.max_connections + PROBES
        refused = self.metrics.refused
        present: set[ServerConnection] = set()

        class Connection(ServerConnection):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                present.add(self)
                if len(present) > most:
                    refused.labels("full").inc()
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                present.discard(self)
                super().connection_lost(exc)

        return Connection

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a HTTP request, or return None to let a websocket begin."""
        if request.path == "/healthz":
            stuck = self._worker.busy_seconds() > self.config.deadline
            if stuck:
                return connection.respond(
                    http.HTTPStatus.SERVICE_UNAVAILABLE, "the policy does not answer\n"
                )
            return connection.respond(http.HTTPStatus.OK, "ok\n")
        if not self._authorized(request):
            self.metrics.refused.labels("key").inc()
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "send the header 'Authorization: Api-Key <key>'\n"
            )
        if request.path == "/metrics":
            response = connection.respond(http.HTTPStatus.OK, self.metrics.render())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = CONTENT_TYPE
            return response
        if self._connections >= self.config.max_connections:
            self.metrics.refused.labels("full").inc()
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self.config.max_connections} clients are connected already\n",
            )
        return None

    def _authorized(self, request: Request) -> bool:
        if not self.config.api_key:
            return True
        expected = f"Api-Key {self.config.api_key}".encode()
        given = request.headers.get_all("Authorization")
        return len(given) == 1 and hmac.compare_digest(
            given[0].encode("utf-8", "surrogateescape"), expected
        )

    async def _serve(self, connection: ServerConnection) -> None:
        """Talk to one client until it leaves or errs."""
        self._connections += 1
        closed = asyncio.create_task(connection.wait_closed())
        previous: float | None = None
        try:
            await connection.send(self._metadata)
            while True:
                message = await connection.recv()
                start = time.monotonic()
                try:
                    answer = await self._answer(message, closed, previous)
                except RequestError as error:
                    outcome = "left" if closed.done() else error.cause
                    self.metrics.requests.labels(outcome).inc()
                    await connection.send(_one_line(f"{error.cause}: {error}"))
                    await connection.close(INTERNAL_ERROR, error.cause)
                    return
                await connection.send(answer)
                self.metrics.requests.labels("ok").inc()
                previous = time.monotonic() - start
        except ConnectionClosed:
            pass  # clients may leave at any time
        finally:
            closed.cancel()
            self._connections -= 1

    async def _answer(
        self, message: str | bytes, closed: asyncio.Task[None], previous: float | None
    ) -> bytes:
        """Return the encoded answer to one message.

        Raises:
            RequestError: malformed, too late, or the policy failed.
        """
        observation, stamps = self._read(message)
        future = self._worker.submit(observation)
        either: set[asyncio.Future[Any]] = {future, closed}
        with self.metrics.waiting.track_inprogress():
            try:
                await asyncio.wait(
                    either, timeout=self.config.deadline, return_when=asyncio.FIRST_COMPLETED
                )
                if not future.done():
                    raise RequestError(
                        ErrorCause.DEADLINE,
                        f"no answer within {self.config.deadline:g} s; try again",
                    )
                answer = future.result()
            finally:
                future.cancel()  # a job that has not begun is skipped
        self.metrics.infer_seconds.observe(answer.infer_seconds)
        timing = {"infer_ms": answer.infer_seconds * 1e3, "queue_ms": answer.queue_seconds * 1e3}
        if previous is not None:
            timing["prev_total_ms"] = previous * 1e3
        try:
            return encode({**answer.result, TIMING: timing, **stamps}, self.config.limits)
        except WireError as error:
            log.exception("the policy's answer cannot be sent")
            raise RequestError(ErrorCause.POLICY, f"its answer cannot be sent: {error}") from error

    def _read(self, message: str | bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Decode a request into the observation and its stamps."""
        if isinstance(message, str):
            raise RequestError(ErrorCause.REQUEST, "send a binary message, not text")
        try:
            observation = decode(message, self.config.limits)
        except WireError as error:
            raise RequestError(ErrorCause.REQUEST, str(error)) from error
        if not isinstance(observation, dict):
            raise RequestError(ErrorCause.REQUEST, "an observation is a map with text keys")
        stamps = {k: observation.pop(k) for k in (OBSERVED_AT, REQUEST_ID) if k in observation}
        if not all(_is_number(value) for value in stamps.values()):
            raise RequestError(
                ErrorCause.REQUEST, f"{OBSERVED_AT} and {REQUEST_ID} are finite numbers"
            )
        return observation, stamps


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _one_line(text: str, limit: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}..."
