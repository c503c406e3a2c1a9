"""Policies to serve, a server on a free port, and sockets that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from embodied.errors import EmbodiedError
from embodied.serving.config import ServerConfig
from embodied.serving.server import PolicyServer

KEY = "correct-horse-battery-staple"


class Echo:
    """Answers with the state it was sent; `prompt` makes it misbehave."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {"name": "echo", "action_size": 3}
        self.calls = 0
        self.threads: set[int] = set()
        self.seen: dict[str, Any] = {}
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        self.seen = observation
        self.threads.add(threading.get_ident())
        prompt = observation.get("prompt")
        if prompt == "wait":
            self.entered.release()
            self.gate.wait(10)
        if prompt == "raise":
            raise RuntimeError("secret at /home/someone/weights\nsecond line")
        if prompt == "explain":
            raise EmbodiedError("the arm needs 7 joints,\n3 were sent")
        if prompt == "nothing":
            return None  # type: ignore[return-value]
        if prompt == "object":
            return {"actions": object()}
        return {"actions": np.tile(observation["state"], (4, 1))}


def observation(prompt: str = "go") -> dict[str, Any]:
    return {"state": np.array([0.5, -1.0, np.pi]), "prompt": prompt}


Serve = Callable[..., PolicyServer]


@pytest.fixture
def policy() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.gate.set()


@pytest.fixture
def serve(policy: Echo) -> Iterator[Serve]:
    """Start servers of `policy` with any settings; all are closed at the end of the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> PolicyServer:
            config = ServerConfig(**{"port": 0, **settings})
            server = stack.enter_context(PolicyServer(policy, config))
            stack.callback(policy.gate.set)
            return server

        yield start


def http_get(port: int, path: str, *headers: str) -> tuple[int, str]:
    """Send a plain HTTP request; return its status and body."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body
