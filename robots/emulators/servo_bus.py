"""A bus of Feetech STS3215 servos behind a pseudo-terminal, byte for byte.

Instructions follow Feetech's "Communication protocol user manual": packets
`FF FF id length instruction parameters checksum`, status packets with the error bits in the
instruction's place. Not modelled: the time bytes take on the wire and the USB adapter's latency.

`python -m robots.emulators.servo_bus --link /tmp/so101` offers an arm without the arm.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import threading
import time
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from robots.emulators.sts3215 import ID, ServoEmulator

BROADCAST = 0xFE
PING, READ, WRITE, REG_WRITE, ACTION, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83


@dataclass
class BusFaults:
    """What is wrong with the bus; set at any time.

    Attributes:
        silent: ids of servos that do not answer.
        corrupt: ids whose answers carry a wrong checksum.
        half: ids whose answers break off in the middle.
        errors: id -> error bits of its answers: 1 voltage, 2 angle, 4 heat, 8 current, 32 overload.
        late: how long answers are held back [s].
        babble: every request is answered with bytes that never end.
    """

    silent: set[int] = field(default_factory=set)
    corrupt: set[int] = field(default_factory=set)
    half: set[int] = field(default_factory=set)
    errors: dict[int, int] = field(default_factory=dict)
    late: float = 0.0
    babble: bool = False


class ServoBus:
    """Servos on a pseudo-terminal, served by a thread.

    Args:
        ids: of the servos.
        clock: seconds; what the servos' motion goes by.
        falls: whether joints without torque fall.
    """

    def __init__(
        self,
        ids: Iterable[int] = range(1, 7),
        clock: Callable[[], float] = time.monotonic,
        falls: bool = True,
    ) -> None:
        self._servos = [ServoEmulator(number, falls=falls) for number in ids]
        self.faults = BusFaults()
        self.rejected = 0  # packets that no servo understood
        self._clock, self._then = clock, clock()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="servo bus", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_servo(self, number: int) -> ServoEmulator:
        """Return a servo as it is now.

        Raises:
            KeyError: no servo has that id.
        """
        with self._lock:
            self._advance()
            return {servo.registers[ID]: servo for servo in self._servos}[number]

    @contextmanager
    def edit_servo(self, number: int) -> Iterator[ServoEmulator]:
        """Give a servo to change while the bus waits: turned by hand, or made of another kind."""
        servo = self.get_servo(number)
        with self._lock:
            yield servo
            servo.step(0.0)

    def power_cycle(self) -> None:
        """Cut the servos' power and give it back."""
        with self._lock:
            self._advance()
            for servo in self._servos:
                servo.power_cycle()

    def close(self) -> None:
        """Pull the USB plug: whoever has the port open gets an input/output error."""
        if not self._stop.is_set():
            self._stop.set()
            os.write(self._waker, b"x")
            self._thread.join()
            for descriptor in (self._master, self._slave, self._wake, self._waker):
                os.close(descriptor)

    def _advance(self) -> None:
        now = self._clock()
        for servo in self._servos:
            servo.step(now - self._then)
        self._then = now

    def _serve(self) -> None:
        buffer = bytearray()
        while not self._stop.is_set():
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._master in ready:
                buffer += os.read(self._master, 4096)
                for packet in self._packets(buffer):
                    try:
                        answers = self._answer(packet)
                    except (IndexError, ValueError):  # too short for its instruction
                        self.rejected += 1
                    else:
                        self._send(answers)

    def _packets(self, buffer: bytearray) -> Iterator[bytes]:
        """Take whole packets off the buffer: id, instruction and parameters of each."""
        while (start := buffer.find(b"\xff\xff")) >= 0:
            del buffer[:start]
            # A third FF belongs to no header: an id is never FF.
            if len(buffer) > 2 and buffer[2] == 0xFF:
                del buffer[0]
                continue
            if len(buffer) < 4 or len(buffer) < 4 + buffer[3]:
                return
            packet = bytes(buffer[2 : 4 + buffer[3]])
            del buffer[: 4 + packet[1]]
            if len(packet) < 4 or compute_checksum(packet[:-1]) != packet[-1]:
                self.rejected += 1
                continue
            yield bytes([packet[0], *packet[2:-1]])

    def _answer(self, packet: bytes) -> list[bytes]:
        """Carry out an instruction; return the status packets."""
        number, instruction, parameters = packet[0], packet[1], packet[2:]
        with self._lock:
            self._advance()
            servos = {servo.registers[ID]: servo for servo in self._servos}
            if instruction == SYNC_READ:
                address, size = parameters[:2]
                asked = [(i, servos[i]) for i in parameters[2:] if i in servos]
                return [self._status(i, s.registers[address : address + size]) for i, s in asked]
            if instruction == SYNC_WRITE:
                address, size = parameters[:2]
                for at in range(2, len(parameters), size + 1):
                    if parameters[at] in servos:
                        servos[parameters[at]].write(address, parameters[at + 1 : at + 1 + size])
                return []
            answers = []
            for i, servo in servos.items():
                if number not in (i, BROADCAST):
                    continue
                data = b""
                if instruction == READ:
                    data = bytes(servo.registers[parameters[0] : parameters[0] + parameters[1]])
                elif instruction == WRITE:
                    servo.write(parameters[0], parameters[1:])
                elif instruction == REG_WRITE:
                    servo.register_write(parameters[0], parameters[1:])
                elif instruction == ACTION:
                    servo.action()
                elif instruction != PING:
                    continue
                answers.append(self._status(i, data))
            # A broadcast is not answered, but for the PING that asks who is there.
            return answers if number != BROADCAST or instruction == PING else []

    def _status(self, number: int, data: bytes | bytearray) -> bytes:
        faults = self.faults
        if number in faults.silent:
            return b""
        body = bytes([number, len(data) + 2, faults.errors.get(number, 0), *data])
        wrong = number in faults.corrupt
        packet = b"\xff\xff" + body + bytes([compute_checksum(body) ^ (0xFF if wrong else 0)])
        return packet[: len(packet) // 2] if number in faults.half else packet

    def _send(self, answers: list[bytes]) -> None:
        if self.faults.late:
            self._stop.wait(self.faults.late)
        while self.faults.babble and not self._stop.wait(0.001):
            # Nobody may be reading: never wait for room.
            if select.select([], [self._master], [], 0)[1]:
                os.write(self._master, bytes(64))
        if not self._stop.is_set():
            os.write(self._master, b"".join(answers))


def compute_checksum(body: bytes) -> int:
    """Return the last byte of a packet whose bytes between header and checksum are `body`."""
    return ~sum(body) & 0xFF


def main() -> None:
    """Offer a bus until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Six STS3215 servos without the arm.")
    parser.add_argument("--link", type=Path, help="make a link of this name to the port")
    link = parser.parse_args().link
    if link and link.exists() and not link.is_symlink():
        parser.error(f"{link} exists and is no link: give another name")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        bus = stack.enter_context(ServoBus())
        if link:
            link.unlink(missing_ok=True)
            link.symlink_to(bus.port)
            stack.callback(link.unlink, missing_ok=True)
        print(f"servos 1 to 6 on {link or bus.port}; Ctrl-C ends", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
