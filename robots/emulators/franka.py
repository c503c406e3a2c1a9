"""The Franka without the Franka: `franky-sim` as a process of its own.

It speaks the Franka control interface over TCP and UDP (port 1337, hand on 1338) with MuJoCo
behind it, so the driver under test is the real client library. What it does not show: reflexes and
enforced limits. It steps in Python at 1 kHz and falls behind the clock on a busy machine.

    python -m robots.emulators.franka
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from typing import IO, Self

from embodied.extras import require_package
from robots.errors import DeviceError

# Its own command line, in a process that also ends when its parent does: the pipe on its standard
# input then closes, even after a kill -9.
_PROGRAM = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from franky_sim.run_server import main
main()
"""
_READY = re.compile(r"Connect to the server using '([\d.]+)'")


class FrankaSimulator:
    """A simulated FR3 on the loopback interface. Used as a context manager.

    Args:
        host: loopback address to serve at; "" takes the first free one of 127.0.0.0/8, so that
            several can run side by side.
        render: open MuJoCo's window.
        timeout: how long it may take to start [s].

    Attributes:
        host: where it serves, once started.
    """

    def __init__(self, host: str = "", *, render: bool = False, timeout: float = 60.0) -> None:
        self.host = host
        self._render = render
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process number, for those who want to freeze or kill it."""
        if self._process is None:
            raise DeviceError("the Franka simulator is not running: start() it first")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            MissingExtraError: franky-sim is not installed.
            DeviceError: it ended, or did not get ready in time; quotes what it said.
        """
        require_package("franky_sim", "The Franka simulator")
        command = [sys.executable, "-u", "-c", _PROGRAM, "--simulator", "mujoco"]
        if self.host:
            command += ["--hostname", self.host]
        if self._render:
            command += ["--render"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - a program of our own
            command, stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            self.host = self._wait(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, frozen or not. Safe to call twice."""
        if self._process is not None:
            self._process.kill()  # it has nothing to save, and a frozen process hears nothing else
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def wait(self) -> None:
        """Wait until it ends by itself."""
        if self._process is not None:
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        """Return the address it announces."""
        until = time.monotonic() + self._timeout
        while time.monotonic() < until:
            ended = process.poll() is not None
            ready = _READY.search(self._said())
            if ready:
                return ready.group(1)
            if ended:
                raise DeviceError(f"the Franka simulator ended with: {self._said()[-800:].strip()}")
            time.sleep(0.05)
        said = self._said()[-800:].strip()
        raise DeviceError(f"the Franka simulator was not ready in {self._timeout} s: {said}")

    def _said(self) -> str:
        if self._log is None:
            return ""
        # Not seek and read: the process writes at the same file offset.
        return os.pread(self._log.fileno(), 1 << 16, 0).decode(errors="replace")


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a simulated Franka FR3.")
    parser.add_argument("--host", default="", help="loopback address; default: the first free one")
    parser.add_argument("--render", action="store_true", help="open MuJoCo's window")
    arguments = parser.parse_args()
    with FrankaSimulator(arguments.host, render=arguments.render) as simulator:
        print(f"FR3 at {simulator.host}; end with Ctrl-C", flush=True)
        try:
            simulator.wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
