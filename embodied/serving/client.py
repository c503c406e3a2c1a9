"""Ask a policy server for actions, from a process that must never wait for ever.

Every call has a deadline that covers all of it: connecting, sending and the answer. After an error
the connection is dropped, because a late answer would be taken for that of the next request; the
next call connects again. Works with openpi's own server as well. No torch here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

from embodied.errors import ConfigError, EmbodiedError
from embodied.serving.protocol import OBSERVED_AT, REQUEST_ID, STAMPS, ErrorCause
from embodied.serving.wire import DEFAULT, MessageLimits, WireError, decode, encode

BACKOFF = (0.05, 2.0)  # [s] first and longest pause between attempts to connect
CLOSE_TIMEOUT = 0.5  # [s] for the server to say goodbye
TOO_BIG = 1009
RETRY_STATUS = range(500, 600)

log = logging.getLogger("embodied.serving")


class ServingError(EmbodiedError):
    """A request that got no usable answer: the base of all errors below."""


class ServingTimeoutError(ServingError):
    """No answer within the deadline."""


class ServingUnavailableError(ServingError):
    """No server there, or one that is full, busy or going away: try again later."""


class ServingRefusedError(ServingError):
    """The server does not want this client or this request: trying again does not help."""


class ServingFailedError(ServingError):
    """The server's policy failed, or its answer is not one."""


class PolicyClient:
    """A connection to a policy server that repairs itself.

    Args:
        uri: `ws://host:port`, or `wss://` for TLS.
        api_key: sent as `Authorization: Api-Key <key>`; "" sends none.
        timeout: of a call that names none [s].
        authority: PEM file of certificates to trust instead of the system's, for `wss://`.
        limits: the largest message, both ways.

    Raises:
        ConfigError: the URI or the certificate file cannot be used.
    """

    def __init__(
        self,
        uri: str = "ws://127.0.0.1:8000",
        api_key: str = "",
        *,
        timeout: float = 1.0,
        authority: Path | None = None,
        limits: MessageLimits = DEFAULT,
    ) -> None:
        self.uri = uri
        self.timeout = timeout
        self._limits = limits
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else {}
        self._tls = _tls(uri, authority)
        self._lock = threading.Lock()
        self._connection: ClientConnection | None = None
        self._metadata: dict[str, Any] = {}
        self._requests = 0
        self._closing = threading.Event()

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server said when it was last connected to; empty before."""
        return self._metadata

    def connect(self, timeout: float | None = None) -> dict[str, Any]:
        """Connect, trying again with growing pauses, and return the server's metadata.

        Raises:
            ServingUnavailableError: no server answered within `timeout` [s].
            ServingRefusedError: the server wants another key, or is not the one we trust.
        """
        with self._locked(self._deadline(timeout)) as deadline:
            self._connected(deadline)
        return self._metadata

    def infer(
        self,
        observation: Mapping[str, Any],
        timeout: float | None = None,
        *,
        observed_at: float | None = None,
    ) -> dict[str, Any]:
        """Send one observation and return the server's answer.

        Args:
            observation: text keys; values as in `wire.encode`.
            timeout: for all of it, connecting again included [s].
            observed_at: when the observation was made, by this machine's monotonic clock [s]. A
                server that knows stamps returns it as `OBSERVED_AT` in the answer.

        Returns:
            The answer, usually with `actions` (horizon, action size). Its arrays are read-only.

        Raises:
            WireError: the observation cannot be encoded.
            ServingTimeoutError: no answer in time.
            ServingUnavailableError: no connection, or it broke, or the server is busy.
            ServingRefusedError: wrong key, or a request the server does not accept.
            ServingFailedError: the policy failed, or the answer is malformed or of another request.
        """
        with self._locked(self._deadline(timeout)) as deadline:
            connection = self._connected(deadline)
            stamps = self._stamps(observed_at)
            message = encode({**observation, **stamps}, self._limits)
            try:
                answer = _exchange(connection, message, deadline)
                result = self._read(answer)
                if any(result.get(key) != value for key, value in stamps.items()):
                    raise ServingFailedError(f"{self.uri} answered another request than this one")
            except BaseException:
                self._drop()
                raise
        return result

    def close(self) -> None:
        """Close; a call in progress in another thread ends with an error."""
        self._closing.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # waits CLOSE_TIMEOUT at most

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    @contextlib.contextmanager
    def _locked(self, deadline: float) -> Iterator[float]:
        """One request at a time; a second thread waits for its turn, within its deadline."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ServingTimeoutError(f"another request to {self.uri} took all the time")
        try:
            yield deadline
        finally:
            self._lock.release()

    def _connected(self, deadline: float) -> ClientConnection:
        """Return the open connection, or open one before the deadline."""
        if self._connection is not None and self._connection.state is State.OPEN:
            return self._connection
        self._drop()
        pause = BACKOFF[0]
        while True:
            if self._closing.is_set():
                raise ServingUnavailableError("the client is closed: make a new one")
            try:
                return self._open(max(1e-3, deadline - time.monotonic()))
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                _raise_if_final(self.uri, error)
                if time.monotonic() + pause >= deadline:
                    raise ServingUnavailableError(
                        f"no policy server at {self.uri}: {_reason(error)}. Start it, or check "
                        "host, port and network."
                    ) from error
            self._closing.wait(pause)
            pause = min(2 * pause, BACKOFF[1])

    def _open(self, timeout: float) -> ClientConnection:
        deadline = time.monotonic() + timeout
        connection = connect(
            self.uri,
            ssl=self._tls,
            additional_headers=self._headers,
            compression=None,
            max_size=self._limits.bytes,
            open_timeout=timeout,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=None,  # the deadline of a request finds a dead server sooner
            proxy=None,  # no detour because of an environment variable
        ).__enter__()
        try:
            first = connection.recv(timeout=max(0.0, deadline - time.monotonic()))
            metadata = decode(first, self._limits) if isinstance(first, bytes) else None
            if not isinstance(metadata, dict):
                raise ServingRefusedError(
                    f"{self.uri} is not a policy server: its first message is no map of metadata"
                )
        except BaseException as error:
            _abort(connection)
            if isinstance(error, WireError):
                raise ServingRefusedError(f"{self.uri} is not a policy server: {error}") from error
            raise
        self._metadata = metadata
        self._connection = connection
        log.info("connected to %s", self.uri)
        return connection

    def _stamps(self, observed_at: float | None) -> dict[str, Any]:
        """Openpi's own server would hand the stamps to its policy, so it gets none."""
        if self._metadata.get(STAMPS) is not True:
            return {}
        self._requests += 1
        stamps: dict[str, Any] = {REQUEST_ID: self._requests}
        return stamps if observed_at is None else {**stamps, OBSERVED_AT: float(observed_at)}

    def _read(self, answer: str | bytes) -> dict[str, Any]:
        if isinstance(answer, str):
            raise _error(self.uri, answer)
        try:
            result = decode(answer, self._limits)
        except WireError as error:
            raise ServingFailedError(f"{self.uri} sent a bad answer: {error}") from error
        if not isinstance(result, dict):
            raise ServingFailedError(f"{self.uri} sent a bad answer: no map of results")
        return result

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _abort(connection)


def _exchange(connection: ClientConnection, message: bytes, deadline: float) -> str | bytes:
    """Send a message and return the next one.

    Raises:
        ServingTimeoutError: not before the deadline [s], which counts for a server that has stopped
            reading as well.
        ServingUnavailableError: the connection broke.
        ServingRefusedError: the server found the message too big.
    """
    try:
        connection.socket.settimeout(max(1e-3, deadline - time.monotonic()))
        connection.send(message)
        return connection.recv(timeout=max(0.0, deadline - time.monotonic()))
    except (ConnectionClosed, OSError) as error:
        if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            raise ServingTimeoutError(
                "no answer from the policy server in time; it is slow, stuck or out of reach"
            ) from error
        if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == TOO_BIG:
            raise ServingRefusedError(
                f"the server refused a message of {len(message)} bytes as too big"
            ) from error
        raise ServingUnavailableError(
            f"the connection to the policy server broke: {_reason(error)}. The next call connects "
            "again."
        ) from error


def _abort(connection: ClientConnection) -> None:
    """Close without waiting for the other side: the receiving thread sees the end and cleans up."""
    with contextlib.suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)


def _error(uri: str, text: str) -> ServingError:
    """Turn an error message into an exception; openpi sends a whole traceback, its end tells."""
    cause, _, message = text.partition(": ")
    kinds: dict[str, type[ServingError]] = {
        ErrorCause.BUSY: ServingUnavailableError,
        ErrorCause.DEADLINE: ServingTimeoutError,
        ErrorCause.REQUEST: ServingRefusedError,
        ErrorCause.POLICY: ServingFailedError,
    }
    if cause in kinds:
        return kinds[cause](f"{uri}: {message}")
    lines = text.strip().splitlines() or ["no reason given"]
    return ServingFailedError(f"{uri}: the server failed: {lines[-1][:400]}")


def _raise_if_final(uri: str, error: Exception) -> None:
    """Raise what no further attempt will change."""
    if isinstance(error, ssl.SSLCertVerificationError):
        raise ServingRefusedError(
            f"{uri} has a certificate that is not trusted ({error.verify_message}). Pass the "
            "certificate of its authority, or check the host name."
        ) from error
    if isinstance(error, InvalidStatus) and error.response.status_code not in RETRY_STATUS:
        status = error.response.status_code
        hint = "Check the API key." if status == 401 else "Check host and port."
        raise ServingRefusedError(
            f"{uri} refused the connection (HTTP {status}). {hint}"
        ) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tls(uri: str, authority: Path | None) -> ssl.SSLContext | None:
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"the server's address '{uri}' must read ws://host:port or wss://...")
    if parts.scheme == "ws":
        if authority is not None:
            raise ConfigError(f"'{uri}' is not encrypted: a certificate needs wss://")
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ConfigError(
            f"cannot read the certificates in {authority}: {error.strerror or error}. Give a PEM "
            "file."
        ) from error
