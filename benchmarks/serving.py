"""Cost and toughness of policy serving: `embodied bench serving`.

Round trips over 127.0.0.1 of an observation with two camera images (224, 224, 3) uint8, a state of
8 floats and a prompt, answered by a chunk (16, 7) without inference. `peer` follows openpi's own
server in the same run, blocks of requests in turn: the policy is called in the event loop, arrays
are decoded by an unchecked object hook, there is no key. Both servers are processes of their own
and get the same client. `fuzz` decodes malformed frames in a process of its own and counts those
that end it or raise anything but a `WireError`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgpack
import numpy as np

from embodied.serving.client import PolicyClient
from embodied.serving.config import ServerConfig
from embodied.serving.server import PolicyServer
from embodied.serving.wire import WireError, decode, encode

FRAMES, QUICK_FRAMES = 200_000, 5_000
HORIZON, ACTION_SIZE = 16, 7
TARGETS = {
    "server.roundtrip_p50_ms": 5.0,
    "wire.fuzz.crashes": 0.0,
}
# What is known to kill or to exhaust a careless decoder.
NASTY = (
    b"\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x08AAAAAAAA\xc4\x05dtype\xa2|O\xc4\x05shape\x91\x01",
    b"\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x00\xc4\x05dtype\xa3<f4\xc4\x05shape"
    b"\x92\x00\xce\x3b\x9a\xca\x00",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x91" * 2000,
    b"\x81\xa1x" * 2000,
    b"\xdd\x00\x0f\xff\xff" + b"\xc0" * 2000,
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xc1",
    b"",
)


def observation(seed: int = 0) -> dict[str, Any]:
    """Return what a robot with two cameras sends."""
    rng = np.random.default_rng(seed)
    image = (224, 224, 3)
    return {
        "observation/image": rng.integers(0, 256, image, dtype=np.uint8),
        "observation/wrist_image": rng.integers(0, 256, image, dtype=np.uint8),
        "observation/state": rng.normal(size=8).astype(np.float32),
        "prompt": "put the red block into the bowl",
    }


def frames(seed: int, count: int) -> Iterator[bytes]:
    """Yield malformed messages: nasty ones, random bytes, and valid ones damaged in many ways."""
    rng = np.random.default_rng(seed)
    small = {
        "image": rng.integers(0, 256, (4, 4, 3), dtype=np.uint8),
        "state": rng.normal(size=3),
        "gripper": np.float32(0.5),
        "flags": np.array([True, False]),
        "nested": {"list": [1, -2, 3.5, None, True, "text", b"bytes"], "empty": {}},
        "prompt": "open the drawer",
    }
    seeds = [encode({key: value}) for key, value in small.items()] + [encode(small), *NASTY]
    yield from NASTY[:count]
    for _ in range(count - len(NASTY)):
        frame = bytearray(seeds[rng.integers(len(seeds))])
        for _ in range(rng.integers(1, 5)):
            _damage(frame, rng, seeds)
        yield bytes(frame)


def _damage(frame: bytearray, rng: np.random.Generator, seeds: list[bytes]) -> None:
    at, kind = int(rng.integers(len(frame) + 1)), rng.integers(6)
    if kind == 0 and at < len(frame):
        frame[at] ^= 1 << int(rng.integers(8))
    elif kind == 1 and at < len(frame):
        frame[at] = int(rng.integers(0x80, 0xE0))  # another type or length
    elif kind == 2:
        del frame[at:]
    elif kind == 3:
        frame[at:at] = rng.bytes(int(rng.integers(1, 9)))
    elif kind == 4:
        del frame[at : at + int(rng.integers(1, 9))]
    else:
        frame[at:at] = seeds[rng.integers(len(seeds))]


def fuzz(seed: int, count: int) -> tuple[int, int]:
    """Decode `count` malformed frames; return how many were refused, and how many went wrong."""
    refused = wrong = 0
    for frame in frames(seed, count):
        try:
            decode(frame)
        except WireError:
            refused += 1
        except Exception as error:  # what we look for
            wrong += 1
            print(f"{type(error).__name__}: {error} from {frame.hex()}")
    return refused, wrong


class Constant:
    """A policy that costs nothing."""

    metadata: dict[str, Any] = {"action_size": ACTION_SIZE}
    actions = np.zeros((HORIZON, ACTION_SIZE))

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return the same chunk."""
        return {"actions": self.actions}


def serve_ours() -> None:
    """Serve until standard input ends."""
    with PolicyServer(Constant(), ServerConfig(port=0, api_key="benchmark")) as server:
        print(server.port, flush=True)
        sys.stdin.read()


def serve_peer() -> None:
    """Serve the way of openpi's `WebsocketPolicyServer`."""
    from websockets.asyncio.server import ServerConnection, serve

    policy = Constant()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(encode(policy.metadata))
        async for message in connection:
            result = policy.infer(msgpack.unpackb(message, object_hook=_unchecked))
            await connection.send(encode(result))

    async def main() -> None:
        options: dict[str, Any] = {"compression": None, "max_size": None}
        async with serve(handler, "127.0.0.1", 0, **options) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main())


def _unchecked(fields: dict[Any, Any]) -> Any:
    if b"__ndarray__" in fields:
        return np.ndarray(
            buffer=fields[b"data"], dtype=np.dtype(fields[b"dtype"]), shape=fields[b"shape"]
        )
    return fields


@contextmanager
def _child(mode: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run this file as another process; it ends with our standard input."""
    command = [sys.executable, __file__, mode, *map(str, args)]
    with subprocess.Popen(  # noqa: S603 - our own file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def _client(stack: ExitStack, mode: str) -> PolicyClient:
    process = stack.enter_context(_child(mode))
    assert process.stdout  # noqa: S101 - for the type checker
    uri = f"ws://127.0.0.1:{int(process.stdout.readline())}"
    client = stack.enter_context(PolicyClient(uri, "benchmark", timeout=10.0))
    client.connect()
    return client


def roundtrips(blocks: int, size: int = 25) -> dict[str, float]:
    """Time requests to both servers in turn [ms]."""
    seen = observation()
    times: dict[str, list[float]] = {"server": [], "peer": []}
    with ExitStack() as stack:
        clients = {
            "server": _client(stack, "--serve-ours"),
            "peer": _client(stack, "--serve-peer"),
        }
        for block in range(blocks + 1):
            for name, client in clients.items():
                for _ in range(size):
                    start = time.perf_counter()
                    client.infer(seen)
                    if block:  # the first one warms up
                        times[name].append((time.perf_counter() - start) * 1e3)
    found = {}
    for name, samples in times.items():
        prefix = "server.roundtrip" if name == "server" else "server.roundtrip.peer"
        found[f"{prefix}_p50_ms"] = float(np.percentile(samples, 50))
        found[f"{prefix}_p99_ms"] = float(np.percentile(samples, 99))
    found["server.roundtrip_over_peer"] = float(
        found["server.roundtrip_p50_ms"] / found["server.roundtrip.peer_p50_ms"]
    )
    return found


def codec(repeats: int) -> dict[str, float]:
    """Time encoding and decoding of one observation alone [ms]."""
    seen = observation()
    message = encode(seen)
    work: dict[str, Callable[[], object]] = {
        "wire.encode_ms": lambda: encode(seen),
        "wire.decode_ms": lambda: decode(message),
        "wire.decode.peer_ms": lambda: msgpack.unpackb(message, object_hook=_unchecked),
    }
    return {key: _median_ms(call, repeats) for key, call in work.items()}


def _median_ms(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def fuzzed(count: int, batch: int = 20_000) -> dict[str, float]:
    """Decode malformed frames in other processes; one that dies counts as a crash."""
    crashes = refused = 0
    for seed, start in enumerate(range(0, count, batch)):
        with _child("--fuzz", seed, min(batch, count - start)) as process:
            output, _ = process.communicate()
        lines = output.splitlines()
        if process.returncode != 0 or not lines:
            crashes += 1
            continue
        for line in lines[:-1]:
            print(line)
        refused += int(lines[-1].split()[0])
        crashes += int(lines[-1].split()[1])
    return {
        "wire.fuzz.frames": float(count),
        "wire.fuzz.refused": float(refused),
        "wire.fuzz.crashes": float(crashes),
    }


def run(quick: bool = False) -> dict[str, float]:
    """Measure and print."""
    found = {
        **roundtrips(blocks=4 if quick else 40),
        **codec(repeats=50 if quick else 500),
        **fuzzed(QUICK_FRAMES if quick else FRAMES),
    }
    for key, value in found.items():
        limit = f"   (limit {TARGETS[key]:g})" if key in TARGETS else ""
        print(f"{key:<36}{value:12.3f}{limit}")
    return found


if __name__ == "__main__":
    modes: dict[str, Callable[[], object]] = {
        "--serve-ours": serve_ours,
        "--serve-peer": serve_peer,
        "--fuzz": lambda: print(*fuzz(int(sys.argv[2]), int(sys.argv[3]))),
    }
    modes[sys.argv[1]]()
