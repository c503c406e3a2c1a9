"""A Universal Robots e-Series controller without the robot, for the real `ur_rtde` client.

    python -m robots.emulators.ur --host 127.0.0.2 --model ur5e

It listens where a controller does, as clients cannot be told other ports: dashboard 29999, URScript
30001 to 30003, RTDE 30004. Several emulators run side by side on different loopback addresses. What
goes wrong in life is typed in, one word a line: see `UrEmulator.faults`. To freeze it: kill -STOP.

Emulated: RTDE 2, the dashboard commands of `ur_controller`, and of ur_rtde's control script the
commands listed in `ur_script`. Not emulated: other URScript, the state packages of ports 30001 to
30003, forces, contacts, self-collision, the safety configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self

from robots.emulators.ur_controller import PERIOD, UrController
from robots.emulators.ur_rtde import RtdeConnection
from robots.model import ArmModel, load_model

DASHBOARD_PORT = 29999
SCRIPT_PORTS = (30001, 30002, 30003)
RTDE_PORT = 30004
LONGEST_SCRIPT = 1 << 20  # bytes
# A process that was held up for longer [s] does not make up for the steps it missed.
CATCH_UP = 0.1

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class UrEmulator:
    """An emulator in a thread of this process. Used as a context manager.

    A Python program that holds the interpreter's lock stops this thread. The constructors of
    `ur_rtde` do just that: connect to an emulator from another process.

    Args:
        model: the arm: ur3e, ur5e, ur10e.
        host: loopback address to listen on.
        unlock_after: seconds for which a protective stop cannot be unlocked.

    Attributes:
        controller: its state; look at it from any thread, change it through `inject_fault`.
    """

    def __init__(
        self, model: ArmModel | str = "ur5e", host: str = "127.0.0.1", unlock_after: float = 5.0
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"host {host}: an emulator listens on 127.x.x.x only")
        model = model if isinstance(model, ArmModel) else load_model(model)
        self.host = host
        self.controller = UrController(model, unlock_after=unlock_after)
        self.faults: dict[str, Callable[[], None]] = {
            "protective": self.controller.protective_stop,
            "emergency": self.controller.emergency_stop,
            "release": self.controller.release_emergency_stop,
            "silent": lambda: self._silence(True),
            "speak": lambda: self._silence(False),
            "drop": self._drop,
            "local": lambda: setattr(self.controller, "remote", False),
            "remote": lambda: setattr(self.controller, "remote", True),
        }
        self._silent = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[RtdeConnection] = set()
        self._owners: dict[str, RtdeConnection] = {}
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: a port is taken; another emulator has this address.
        """
        try:
            servers = self._loop.run_until_complete(self._listen())
        except OSError:
            self._loop.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(servers,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections. Safe to call twice."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None

    def inject_fault(self, fault: str) -> None:
        """Make one of `faults` happen, and return when it has."""
        done = threading.Event()

        def make() -> None:
            self.faults[fault]()
            done.set()

        if fault not in self.faults:
            raise ValueError(f"fault '{fault}': one of {', '.join(self.faults)}")
        self._loop.call_soon_threadsafe(make)
        done.wait()

    def get_report(self) -> dict[str, Any]:
        """Return the state by name and the commands given so far; see `UrController` for more."""
        controller = self.controller
        return {
            "clock": controller.clock,
            "mode": controller.mode.name,
            "safety": controller.safety.name,
            "runtime": controller.runtime.name,
            "scripts": len(controller.scripts),
            "positions": controller.arm.positions.tolist(),
            "commands": list(controller.commands.copy()),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _listen(self) -> list[asyncio.Server]:
        handlers: dict[int, Handler] = {
            DASHBOARD_PORT: self._dashboard,
            **dict.fromkeys(SCRIPT_PORTS, self._script),
            RTDE_PORT: self._rtde,
        }
        async with contextlib.AsyncExitStack() as stack:
            servers = []
            for port, handler in handlers.items():
                server = await asyncio.start_server(self._tracked(handler), self.host, port)
                stack.callback(server.close)
                servers.append(server)
            stack.pop_all()
        return servers

    def _run(self, servers: list[asyncio.Server]) -> None:
        ticking = self._loop.create_task(self._tick())
        self._loop.run_forever()
        for server in servers:
            server.close()
        self._drop()
        ticking.cancel()
        tasks = asyncio.all_tasks(self._loop)
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _tick(self) -> None:
        """Step the controller in real time and publish."""
        due, steps = time.monotonic(), 0
        while True:
            due = max(due + PERIOD, time.monotonic() - CATCH_UP)
            # Even when late, other tasks get their turn between two steps: inputs are not held up.
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.controller.step()
            steps += 1
            if not self._silent:
                for client in self._clients:
                    client.publish_data(steps)

    def _tracked(self, handler: Handler) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass  # the client is gone
            finally:
                self._writers.discard(writer)
                writer.close()

        return handle

    async def _dashboard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Connected: Universal Robots Dashboard Server\n")
        while line := await reader.readline():
            command = line.decode("utf-8", "replace").strip()
            if command.lower() in ("quit", "shutdown"):
                writer.write(b"Disconnected\n")
                return
            if command:
                writer.write(f"{self.controller.answer_dashboard(command)}\n".encode())

    async def _script(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        """Collect programs: from a `def` to the `end` that is not indented."""
        program = ""
        while line := await reader.readline():
            program += line.decode("utf-8", "replace")
            if not program.startswith("def ") or line.strip() == line.rstrip() == b"end":
                self.controller.load_program(program)
                program = ""
            elif len(program) > LONGEST_SCRIPT:
                return

    async def _rtde(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = RtdeConnection(self.controller, writer, self._owners)
        self._clients.add(client)
        try:
            await client.serve_frames(reader)
        finally:
            self._clients.discard(client)

    def _silence(self, silent: bool) -> None:
        self._silent = silent

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


def main() -> None:
    """Run one emulator until the input says `quit` or the process is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--model", default="ur5e", help="ur3e, ur5e or ur10e")
    parser.add_argument("--unlock-after", type=float, default=5.0, metavar="SECONDS")
    given = parser.parse_args()
    with UrEmulator(given.model, given.host, given.unlock_after) as emulator:
        print(f"{given.model} at {given.host}; type {', '.join(emulator.faults)}, report, quit")
        sys.stdout.flush()
        for line in sys.stdin:
            word = line.strip()
            if word == "quit":
                return
            answer = "ok"
            if word == "report":
                answer = json.dumps(emulator.get_report())
            elif word in emulator.faults:
                emulator.inject_fault(word)
            else:
                answer = f"'{word}': one of {', '.join(emulator.faults)}, report, quit"
            print(answer, flush=True)
        threading.Event().wait()  # no input, as in the background: until interrupted


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
