"""Where a policy server listens, whom it lets in and what it refuses."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from embodied.errors import ConfigError
from embodied.serving.wire import MessageLimits


@dataclass(frozen=True)
class ServerConfig:
    """How a policy is served.

    Attributes:
        host: address to listen on. Anything but this machine's own loopback needs a key.
        port: 0 takes a free one.
        api_key: what clients must send as `Authorization: Api-Key <key>`; "" lets everybody in.
        allow_anonymous: listen beyond loopback without a key all the same.
        certificate: PEM file; with `private_key` the server speaks TLS (`wss://`).
        private_key: PEM file.
        limits: the largest request.
        max_connections: open at once; more are refused.
        max_queue_size: requests that wait while one is being answered; more are refused.
        deadline: of one request, from its arrival to the answer [s].
        handshake_timeout: for a client to open its connection [s].
        ping_interval: between signs of life asked of every client [s].
        ping_timeout: without one the connection is closed [s].
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str = field(default="", repr=False)
    allow_anonymous: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    limits: MessageLimits = MessageLimits()
    max_connections: int = 32
    max_queue_size: int = 4
    deadline: float = 10.0
    handshake_timeout: float = 5.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0

    def __post_init__(self) -> None:
        for name in ("deadline", "handshake_timeout", "ping_interval", "ping_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"server.{name} = {getattr(self, name)} must be above 0 s")
        for name in ("max_connections", "max_queue_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"server.{name} = {getattr(self, name)} must be at least 1")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"server.port = {self.port} must lie in 0..65535")
        if not (self.api_key.isascii() and self.api_key.isprintable()) or " " in self.api_key:
            raise ConfigError("the API key may hold printable ASCII without spaces only")
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigError("TLS needs both server.certificate and server.private_key")
        if not (self.api_key or self.allow_anonymous or is_loopback(self.host)):
            raise ConfigError(
                f"refusing to serve on {self.host or 'every address'} without an API key: whoever "
                "reaches that address could use the policy. Set server.api_key, listen on "
                "127.0.0.1, or set server.allow_anonymous=true on a network you trust."
            )

    @property
    def scheme(self) -> str:
        """Either "ws" or, with TLS, "wss"."""
        return "wss" if self.certificate else "ws"

    def load_ssl_context(self) -> ssl.SSLContext | None:
        """Load the certificate; None without one.

        Raises:
            ConfigError: a file is missing, or they do not belong together.
        """
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.private_key)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"cannot use the certificate {self.certificate} with the key {self.private_key}: "
                f"{error.strerror or error}. Give PEM files that belong together."
            ) from error
        return context


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be reached from this machine."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def read_key(file: Path | None) -> str:
    """Return the key in a file, "" without one.

    Raises:
        ConfigError: unreadable or empty.
    """
    if file is None:
        return ""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the key from {file}: {error}") from error
    if not key:
        raise ConfigError(f"{file} is empty: put a long random word in it (openssl rand -hex 32)")
    return key
