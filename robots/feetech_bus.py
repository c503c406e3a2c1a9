"""A line of Feetech STS3215 servos, through the maker's SDK.

Registers and units after Feetech's "SMS/STS series memory table".
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from embodied.extras import require_extra
from robots.calibration import Calibration
from robots.errors import DeviceError

POSIX = importlib.util.find_spec("fcntl") is not None
if POSIX:  # Windows gives a port to one program alone
    import fcntl
    import termios
LINE_ERRORS = (OSError, termios.error) if POSIX else (OSError,)

STS3215 = 777
MODEL_NUMBER = 3
RETURN_DELAY, MIN_POSITION, HOMING_OFFSET, MODE = 7, 9, 31, 33
TORQUE_ENABLE, ACCELERATION, GOAL_POSITION, TORQUE_LIMIT, LOCK = 40, 41, 42, 48, 55
PRESENT_POSITION = 56


class FeetechBus:
    """The servos on one line. Threads may share it.

    Args:
        port: of the USB adapter.
        baudrate: [bit/s].
        ids: servos by name.
    """

    def __init__(self, port: str, baudrate: int, ids: Mapping[str, int]) -> None:
        self.port, self.baudrate, self.ids = port, baudrate, ids
        self._lock = threading.Lock()
        self._sdk: Any = None
        self._packets: Any = None
        self._line: Any = None
        self._claim: int | None = None  # the port once more, locked
        self._extra = 0

    def open(self) -> None:
        """Open the line and see that every servo is there.

        Raises:
            MissingExtraError: the SDK is not installed.
            DeviceError: no such port, in use, or a servo is missing or of another kind.
        """
        self.close()
        self._sdk = _sdk()
        self._packets = self._sdk.PacketHandler(0)
        line = _line(self._sdk, self.port)
        try:
            # Before the SDK opens it, which sets the line and throws away what was received: it may
            # be answers to another program, which is moving the arm.
            if POSIX:
                self._claim = os.open(self.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            line.setBaudRate(self.baudrate)  # opens it, too
            line.ser.timeout, line.ser.write_timeout = 0.005, 0.1
        except LINE_ERRORS as error:
            if line.is_open:
                line.closePort()
            self.close()
            raise DeviceError(
                f"cannot open {self.port}: {error}. Plug the arm in, end other programs that use "
                "it, or give another port (ls /dev/ttyACM* /dev/ttyUSB*)"
            ) from error
        self._line = line
        try:
            self._require_servos()
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Close the line and leave the servos as they are. Safe to call twice."""
        with self._lock:
            if self._line is not None:
                self._line.closePort()
                self._line = None
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None

    @property
    def is_open(self) -> bool:
        """Whether the line is open."""
        return self._line is not None

    def require_open(self) -> None:
        """Check that the line is open.

        Raises:
            DeviceError: it is not.
        """
        if not self.is_open:
            raise DeviceError(f"{self.port} is not connected: connect() first")

    def sync_read(self, address: int, size: int) -> tuple[list[bytes], list[int], float]:
        """Read the same registers of all servos in one exchange; try twice.

        Returns:
            Per servo the bytes and the error bits, and when they were asked for, monotonic [s].

        Raises:
            DeviceError: a servo does not answer, or not in a way that can be understood.
        """
        names = list(self.ids)
        try:
            return self._read(names, address, size)
        except DeviceError:
            return self._read(names, address, size)

    def write(self, name: str, address: int, data: bytes) -> None:
        """Write registers of one servo and wait until it says that it has them; try twice.

        Raises:
            DeviceError: it does not.
        """
        for _ in range(2):
            with self._exchange() as line:
                result, _ = self._packets.writeTxRx(
                    line, self.ids[name], address, len(data), list(data)
                )
            if result == self._sdk.COMM_SUCCESS:
                return
        raise DeviceError(self._complaint(name, result))

    def sync_write(self, address: int, data: Mapping[str, bytes]) -> None:
        """Write registers of many servos at once; none of them answers.

        Raises:
            DeviceError: the line is down.
        """
        size = len(next(iter(data.values())))
        packed = [byte for name, row in data.items() for byte in (self.ids[name], *row)]
        with self._exchange() as line:
            result = self._packets.syncWriteTxOnly(line, address, size, packed, len(packed))
        if result != self._sdk.COMM_SUCCESS:
            raise DeviceError(f"{self.port}: {self._packets.getTxRxResult(result)}")

    def read_positions(self) -> dict[str, int]:
        """Return what every servo reads, its homing offset taken off [ticks].

        Raises:
            DeviceError: see `read`.
        """
        rows, _, _ = self.sync_read(PRESENT_POSITION, 2)
        return {name: decode_word(row) for name, row in zip(self.ids, rows, strict=True)}

    def disable_torque(self) -> None:
        """Cut the torque of all servos: the arm falls.

        Raises:
            DeviceError: a servo does not confirm.
        """
        for name in self.ids:
            self.write(name, TORQUE_ENABLE, b"\x00")

    def write_calibration(self, calibration: Calibration) -> None:
        """Store a calibration in the servos, make them position servos and let them answer at once.

        Raises:
            DeviceError: a servo does not confirm, or has torque: it would jump by the new offset.
        """
        rows, _, _ = self.sync_read(TORQUE_ENABLE, 1)
        if any(row[0] for row in rows):
            raise DeviceError("the servos have torque: support the arm and release() them first")
        for name, servo in calibration.items():
            self.write(name, LOCK, b"\x00")  # else the values are lost with the power
            self.write(name, RETURN_DELAY, b"\x00")
            self.write(
                name, MIN_POSITION, encode_word(servo.range_min) + encode_word(servo.range_max)
            )
            self.write(name, HOMING_OFFSET, encode_word(servo.homing_offset, 11) + b"\x00")
            self.write(name, LOCK, b"\x01")

    def _read(
        self, names: Sequence[str], address: int, size: int
    ) -> tuple[list[bytes], list[int], float]:
        # The protocol does not number its packets. After a failure the next request asks for one
        # byte more, so that an answer to the failed one, should it still come, is told by its size,
        # for the half second until sizes come round again.
        length = size + self._extra
        numbers = [self.ids[name] for name in names]
        rows, errors = [], []
        with self._exchange() as line:
            stamp = time.monotonic()
            result = self._packets.syncReadTx(line, address, length, numbers, len(numbers))
            for name, number in zip(names, numbers, strict=True):
                packet: list[int] = []
                while result == self._sdk.COMM_SUCCESS and packet[2:4] != [number, length + 2]:
                    packet, result = self._packets.rxPacket(line)
                if result != self._sdk.COMM_SUCCESS:
                    self._extra = (self._extra + 1) % 16
                    raise DeviceError(self._complaint(name, result))
                errors.append(packet[4])
                rows.append(bytes(packet[5 : 5 + size]))
        return rows, errors, stamp

    def _require_servos(self) -> None:
        advice = "Check power supply, cables, ids and baudrate"
        try:
            rows, _, _ = self.sync_read(MODEL_NUMBER, 2)
        except DeviceError as error:
            wrong = list(self._missing()) or [str(error)]
            raise DeviceError(f"{self.port}: {'; '.join(wrong)}. {advice}") from error
        models = {name: decode_word(row) for name, row in zip(self.ids, rows, strict=True)}
        for name, model in models.items():
            if model != STS3215:
                raise DeviceError(
                    f"{self.port}: servo {self.ids[name]} ({name}) is model {model}, not an "
                    f"STS3215 ({STS3215}): give the port and ids of the arm"
                )

    def _missing(self) -> Iterator[str]:
        for name in self.ids:
            try:
                self._read([name], MODEL_NUMBER, 2)
            except DeviceError as error:
                yield str(error)

    def _complaint(self, name: str, result: int) -> str:
        who = f"servo {self.ids[name]} ({name})"
        if result == self._sdk.COMM_RX_TIMEOUT:
            return f"{who} does not answer"
        if result == self._sdk.COMM_RX_CORRUPT:
            return f"the answer of {who} is garbled or breaks off"
        return f"{who}: {self._packets.getTxRxResult(result)}"

    @contextmanager
    def _exchange(self) -> Iterator[Any]:
        with self._lock:
            self.require_open()
            self._line.is_using = False  # the SDK forgets to say so after an error
            try:
                yield self._line
            except LINE_ERRORS as error:  # pyserial's errors are OSErrors
                self._extra = (self._extra + 1) % 16
                raise DeviceError(
                    f"{self.port}: the line failed: {error}. Check the USB plug, then connect again"
                ) from error


def _sdk() -> Any:
    with require_extra("An SO-100 or SO-101"):
        import scservo_sdk
    return scservo_sdk


def _line(sdk: Any, port: str) -> Any:
    """Return the SDK's port, made fit for a control loop."""

    class Line(sdk.PortHandler):
        end = 0.0  # [ms]

        def getCurrentTime(self) -> float:  # noqa: N802
            return time.monotonic() * 1e3  # the SDK's own goes by the wall clock, which jumps

        def clearPort(self) -> None:  # noqa: N802
            # The SDK's waits for its own output and leaves late answers to be taken for new ones.
            self.ser.reset_input_buffer()

        def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
            super().setPacketTimeout(packet_length)
            self.end = self.getCurrentTime() + self.packet_timeout + 10

        def readPort(self, length: int) -> bytes:  # noqa: N802
            # The SDK looks for a packet as long as there are bytes, for ever on a line of noise.
            if self.getCurrentTime() > self.end:
                raise TimeoutError("only noise, as from a wrong baudrate")
            return bytes(self.ser.read(length))

    return Line(port)


def encode_word(value: float, sign: int = 15) -> bytes:
    """Return a register: two bytes, little-endian, bit `sign` the sign."""
    if not abs(value) <= (1 << sign) - 1:  # nan ends here too
        raise DeviceError(f"a servo cannot be told {value}")
    ticks = round(value)
    return (abs(ticks) | (ticks < 0) << sign).to_bytes(2, "little")


def decode_word(data: Sequence[int], sign: int = 15) -> int:
    """Return the number in a register of two bytes whose bit `sign` is the sign."""
    raw = data[0] | data[1] << 8
    magnitude = raw & ((1 << sign) - 1)
    return -magnitude if raw >> sign & 1 else magnitude
