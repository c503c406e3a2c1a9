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
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Self

from robots.errors import RobotError

Kind = Literal["tcp", "udp"]
Direction = Literal["up", "down", "both"]
WAYS = ("up", "down")  # to the server, to the client
BLOCK = 64 * 1024


class FaultProxy:
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
        lost_datagrams: how many datagrams were lost so far; UDP.

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
        self.lost_datagrams = 0
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._server: asyncio.Server | None = None
        self._cut = False
        self._open = {way: asyncio.Event() for way in WAYS}
        self._tasks: set[asyncio.Task[None]] = set()
        self._near = _udp()
        self._far: dict[tuple[str, int], socket.socket] = {}
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
        self.clear_faults()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut_connections(self) -> None:
        """Reset every connection, and every new one at once; datagrams are lost."""
        self._do(self._sever())

    def half_open(self, direction: Direction = "both") -> None:
        """Forward nothing in this direction but keep the connections, as a pulled cable does.

        What TCP has sent meanwhile arrives after `resume`; datagrams are lost.
        """
        self._do(self._block(WAYS if direction == "both" else (direction,)))

    def clear_faults(self) -> None:
        """End every fault; who was cut off must connect again."""
        self.delay = self.drop = self.duplicate = 0.0
        self.lost_datagrams = 0
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
        if self.kind == "udp":
            self._near.bind((self.host, self.port))
            self._loop.add_reader(self._near, self._asked)
            self.port = self._near.getsockname()[1]
        else:
            self._server = await asyncio.start_server(self._connected, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

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
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _shut(self) -> None:
        await self._sever()
        if self._server is not None:
            self._server.close()
        for end in (self._near, *self._far.values()):
            self._loop.remove_reader(end)
            end.close()
        await asyncio.sleep(0)  # aborted transports say goodbye in the next turn of the loop

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one TCP connection until both sides have ended, or it is cut."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server's callback is one
        self._tasks.add(task)
        ends = [writer]
        try:
            if not self._cut:
                answers, far = await asyncio.open_connection(*self.target)
                ends.append(far)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, far, "up"))
                    both.create_task(self._pump(answers, writer, "down"))
                for end in ends:
                    end.close()
                    await end.wait_closed()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # refused, reset or cut: the reset below passes that on
        finally:
            for end in ends:
                _reset(end)
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

    def _asked(self) -> None:
        """Take a datagram of a client; each has a socket of its own towards the target."""
        with contextlib.suppress(OSError):
            data, client = self._near.recvfrom(BLOCK)
            if client not in self._far:
                self._far[client] = far = _udp()
                far.connect(self.target)
                self._loop.add_reader(far, self._answered, far, client)
            self._datagram(data, "up", self._far[client].send)

    def _answered(self, far: socket.socket, client: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # nobody listens at the target, as without the proxy
            data = far.recv(BLOCK)
            self._datagram(data, "down", lambda held: self._near.sendto(held, client))

    def _datagram(self, data: bytes, way: str, send: Callable[[bytes], int]) -> None:
        """Pass a datagram on as often, and as late, as the faults have it."""

        def arrive() -> None:
            if self._cut or not self._open[way].is_set():
                self.lost_datagrams += 1
                return
            with contextlib.suppress(OSError):
                send(data)

        if self._random.random() < self.drop:
            self.lost_datagrams += 1
            return
        for _ in range(2 if self._random.random() < self.duplicate else 1):
            self._loop.call_later(self.delay, arrive)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; a connection that has not ended in good order is reset (RST)."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def main() -> None:
    """Relay until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A bad network in front of a server.")
    parser.add_argument("target", metavar="HOST:PORT", help="the server")
    parser.add_argument("--udp", action="store_true", help="datagrams instead of connections")
    parser.add_argument("--port", type=int, default=0, help="to listen on; 0 takes a free one")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="hold all back")
    parser.add_argument("--drop", type=float, default=0.0, metavar="SHARE", help="lose (UDP)")
    given = parser.parse_args()
    host, _, port = given.target.rpartition(":")
    with FaultProxy(host, int(port), "udp" if given.udp else "tcp", port=given.port) as proxy:
        proxy.delay, proxy.drop = given.delay, given.drop
        print(f"{proxy.kind} {proxy.host}:{proxy.port} -> {given.target}; Ctrl-C ends", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
