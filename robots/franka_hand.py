"""The connection to a Franka Hand, kept by a process of its own.

franky waits for the hand's next state with Python's lock held, 0.1 s on a robot and up to 0.5 s in
franky-sim, and the arm's control loop would stand still for as long. So a second process talks to
the hand, in lines of text: what it prints is how far the hand is open, or `!` and what went wrong;
what it reads is where the hand shall go. It ends when its standard input does, so also when its
parent is killed.

    python -m robots.franka_hand HOST SPEED FORCE
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

from robots.franka_line import FrankaLine

_PAUSE = 0.02  # between two looks at the hand [s]
_FINGERS = 0.02  # smallest change of opening worth a motion


class FrankaHandLine(FrankaLine):
    """The connection to the Franka Hand, which works off one motion after the other.

    Args:
        franky: the SDK.
        host: address of the robot's FCI.
        speed: of the fingers [m/s].
        force: with which it closes [N].
        silence: see Line; shorter ones than 1.5 s are not told from its usual pauses.
    """

    def __init__(self, franky: Any, host: str, speed: float, force: float, silence: float) -> None:
        # Its states come some ten times a second; the SDK itself waits for a second.
        super().__init__(franky, f"the Franka Hand at {host}", max(1.5, silence))
        self._command = [sys.executable, "-m", "robots.franka_hand", host, str(speed), str(force)]
        self._opening = 0.0
        self._wanted: float | None = None
        self._process: subprocess.Popen[str] | None = None

    def get_opening(self) -> float:
        """Return how far it is open, 0 to 1."""
        with self._changed:
            self._check()
            return self._opening

    def set_opening(self, opening: float) -> None:
        """Say where it shall be, 0 to 1; done as soon as the motion before has ended."""
        with self._changed:
            self._check()
            if opening == self._wanted or self._process is None or self._process.stdin is None:
                return
            self._wanted = opening
            try:
                os.write(self._process.stdin.fileno(), f"{opening}\n".encode())
            except OSError as error:
                self._failure = self._words(error)

    def _serve(self) -> None:
        pipe = subprocess.PIPE
        with subprocess.Popen(  # noqa: S603 - a program of our own
            self._command, stdin=pipe, stdout=pipe, text=True,
            start_new_session=True,  # Ctrl-C is for us; it ends with its standard input
        ) as process:  # fmt: skip
            self._process = process
            for line in process.stdout or ():
                if line.startswith("!"):
                    raise RuntimeError(line[1:].strip())
                with self._changed:
                    self._seen, self._opening = time.monotonic(), float(line)
                    self._changed.notify_all()
                    if self._closing and process.stdin is not None:
                        process.stdin.close()  # it finishes the motion it is in, and ends
        if not self._closing:
            raise RuntimeError("its process ended")


class _Hand:
    """The hand, in the process that alone talks to it."""

    def __init__(self, franky: Any, host: str, speed: float, force: float) -> None:
        self._gripper = franky.Gripper(host)
        self._speed = speed
        self._force = force
        self._sent: float | None = None
        self._motion: Any = None

    def turn(self, wanted: float | None) -> float:
        """Start the next motion if one is wanted and none runs; return how far it is open."""
        state = self._gripper.state
        here = min(1.0, max(0.0, float(state.width / (state.max_width or 1.0))))
        if self._motion is not None and self._motion.wait(0.0):
            self._motion.get()  # raises what went wrong
            self._motion = None
        last = here if self._sent is None else self._sent
        if self._motion is None and wanted is not None and abs(wanted - last) > _FINGERS:
            self._motion = self._start(wanted, state.max_width, opens=wanted > here)
            self._sent = wanted
        return here

    def finish(self) -> None:
        """Wait for the motion: the process would crash if the gripper went away under it."""
        if self._motion is not None:
            self._motion.wait()

    def _start(self, opening: float, widest: float, *, opens: bool) -> Any:
        if opens:
            return self._gripper.move_async(opening * widest, self._speed)
        # Closing is a grasp, with any width allowed: a plain motion fails at the object.
        width, grasp = opening * widest, self._gripper.grasp_async
        return grasp(width, self._speed, self._force, widest, widest)


def main() -> None:
    """Serve the hand named on the command line until standard input ends."""
    import franky

    host, speed, force = sys.argv[1:]
    wanted: list[float | None] = [None]
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            wanted[0] = float(line)
        ended.set()

    try:
        hand = _Hand(franky, host, float(speed), float(force))
        threading.Thread(target=listen, daemon=True).start()
        try:
            while not ended.wait(_PAUSE):
                print(hand.turn(wanted[0]), flush=True)
        finally:
            hand.finish()
    except (franky.Exception, RuntimeError) as error:
        print("!" + " ".join(str(error).split()), flush=True)


if __name__ == "__main__":
    main()
