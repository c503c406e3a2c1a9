"""A network that misbehaves when told to: a relay between a client and a server on this machine.

It stands in the way of the policy's websocket, of franky-sim, or of anything else on TCP or UDP,
and its faults are switched while data flow:

    with Proxy("127.0.0.1", server.port) as proxy, PolicyClient(f"ws://127.0.0.1:{proxy.port}"):
        proxy.delay = 0.7       # every byte comes later; nothing is lost or overtaken
        proxy.half_open("down") # the answers stay away, the connection stands
        proxy.cut()             # connections are reset, and new ones too
        proxy.resume()

TCP loses and repeats nothing, whatever the cable does: its lost packets are delays. So `drop` and
`duplicate` are for UDP alone.

`python -m robots.emulators.proxy 127.0.0.1:8000 --delay 0.2` puts one before a server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self

from robots.errors import RobotError

Kind = Literal["tcp", "udp"]
Direction = Literal["up", "down", "both"]
Address = tuple[str, int]
WAYS = ("up", "down")  # to the server, to the client
BLOCK = 64 * 1024


class Proxy:
    """Relays from `host:port` to a target; runs in a thread of its own.

    Args:
        target_host: of the server.
        target_port: of the server.
        kind: "tcp" or "udp".
        host: loopback address to listen on.
        port: to listen on; 0 takes a free one.
        seed: of what is dropped and duplicated.

    Attributes:
        delay: how long everything is held back, in both directions [s].
        drop: share of the datagrams that is lost, 0 to 1; UDP.
        duplicate: share of the datagrams that arrives twice, 0 to 1; UDP.

    Raises:
        RobotError: an address beyond this machine, or a kind that is not known.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        kind: Kind = "tcp",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ) -> None:
        if kind not in ("tcp", "udp"):
            raise RobotError(f"proxy for '{kind}': tcp and udp are possible")
        if not ipaddress.ip_address(host).is_loopback:
            raise RobotError(f"proxy on {host}: only loopback addresses, as 127.0.0.1, are allowed")
        self.target, self.kind, self.host, self.port = (target_host, target_port), kind, host, port
        self.delay = self.drop = self.duplicate = 0.0
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._cut = False
        self._open = {way: asyncio.Event() for way in WAYS}
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[asyncio.BaseTransport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._do(self._listen())
        except OSError as error:
            self.close()
            raise RobotError(
                f"cannot listen on {self.host}:{self.port}: {error}. Choose another port"
            ) from error
        self.resume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """Clients that are connected, or have sent a datagram, now."""
        return len(self._links) // (2 if self.kind == "tcp" else 1)

    def cut(self) -> None:
        """Reset every connection, and every new one at once; datagrams are lost."""
        self._do(self._sever())

    def half_open(self, direction: Direction = "both") -> None:
        """Forward nothing in this direction but keep the connections, as a pulled cable does.

        What TCP has sent meanwhile arrives after `resume`; datagrams are lost.
        """
        self._do(self._block(WAYS if direction == "both" else (direction,)))

    def resume(self) -> None:
        """End every fault; who was cut off must connect again."""
        self.delay = self.drop = self.duplicate = 0.0
        self._do(self._restore())

    def close(self) -> None:
        """Close everything. Safe to call twice."""
        if self._thread.is_alive():
            self._do(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        """Run in the thread of the relay, and wait: a fault is there when its call returns."""
        asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _listen(self) -> None:
        if self.kind == "tcp":
            self._server = await asyncio.start_server(self._connected, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        else:
            self._transport, _ = await self._loop.create_datagram_endpoint(
                lambda: _Clients(self), local_addr=(self.host, self.port)
            )
            self.port = self._transport.get_extra_info("sockname")[1]

    async def _restore(self) -> None:
        self._cut = False
        for event in self._open.values():
            event.set()

    async def _block(self, ways: tuple[str, ...]) -> None:
        for way in ways:
            self._open[way].clear()

    async def _sever(self) -> None:
        self._cut = True
        for task in self._tasks:
            task.cancel()
        for link in self._links:
            _abort(link)

    async def _shut(self) -> None:
        await self._sever()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.kind == "tcp" and hasattr(self, "_server"):
            self._server.close()
        elif hasattr(self, "_transport"):
            self._transport.close()
        await asyncio.sleep(0)  # aborted transports say goodbye in the next turn of the loop

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Relay one TCP connection until both sides have ended, or it is cut."""
        if self._cut:
            writer.transport.abort()
            return
        self._links.add(writer.transport)
        far: asyncio.StreamWriter | None = None
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            answers, far = await asyncio.open_connection(*self.target)
            self._links.add(far.transport)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far, "up"))
                both.create_task(self._pump(answers, writer, "down"))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # refused, reset or cut: the other side is told by the abort below
        finally:
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()
                    self._links.discard(end.transport)
            if task is not None:
                self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        """Carry one direction; what waits for its time is bounded, so that senders are held up."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def take() -> None:
            while data := await reader.read(BLOCK):
                await queue.put((self._loop.time() + self.delay, data))
            await queue.put((self._loop.time() + self.delay, b""))

        async def give() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._open[way].wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(give())

    def _datagram(self, data: bytes, way: str, send: Callable[[bytes], None]) -> None:
        """Pass a datagram on as often, and as late, as the faults have it."""
        if self._cut or not self._open[way].is_set() or self._random.random() < self.drop:
            return
        for _ in range(2 if self._random.random() < self.duplicate else 1):
            self._loop.call_later(self.delay, send, data)


class _Clients(asyncio.DatagramProtocol):
    """Where UDP clients send to; each gets a socket of its own towards the target."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._ways: dict[Address, asyncio.Future[asyncio.DatagramTransport]] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._near = transport

    def datagram_received(self, data: bytes, client: Address) -> None:
        if client not in self._ways:
            self._ways[client] = asyncio.ensure_future(self._reach(client))
        self._proxy._datagram(
            data, "up", lambda held: _when(self._ways.get(client), lambda far: far.sendto(held))
        )

    async def _reach(self, client: Address) -> asyncio.DatagramTransport:
        proxy = self._proxy

        class Answers(asyncio.DatagramProtocol):
            def datagram_received(_, data: bytes, address: Address) -> None:  # noqa: N805
                proxy._datagram(data, "down", lambda held: self._near.sendto(held, client))

        loop = asyncio.get_running_loop()
        far, _ = await loop.create_datagram_endpoint(Answers, remote_addr=proxy.target)
        proxy._links.add(far)
        return far
