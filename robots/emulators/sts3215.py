"""One Feetech STS3215 servo: its registers and how it moves.

Registers follow Feetech's "SMS/STS series memory table": words are little-endian, negative numbers
a sign bit over a magnitude. Motion is a joint of the SO-100 in outline: towards the goal with
limited speed and acceleration, or, without torque, down to its stop.
"""

from __future__ import annotations

from math import copysign, sqrt

ID, MIN_POSITION, MAX_POSITION, HOMING_OFFSET = 5, 9, 11, 31
TORQUE_ENABLE, ACCELERATION, GOAL_POSITION, GOAL_SPEED, LOCK = 40, 41, 42, 46, 55
PRESENT_POSITION, PRESENT_SPEED, PRESENT_LOAD, STATUS, MOVING = 56, 58, 60, 65, 66
MEASURED = range(PRESENT_POSITION, 71)  # read-only; 64 is the pending REG_WRITE
EEPROM = 40  # registers below it outlast a power cut, when they were written unlocked

RESOLUTION = 4096  # ticks of a turn
FASTEST = 3073.0  # [ticks/s]: 0.222 s for 60 deg at 7.4 V
QUICKEST = 25400.0  # [ticks/s^2]: 254, the largest value of the register, in its unit of 100
FALL, FALL_SPEED = 3000.0, 1000.0  # [ticks/s^2], [ticks/s]: what gravity does to a free joint
STEP = 0.002  # [s] of the simulated motion

# (address, bytes, value) of a servo as it comes out of the box, with 7.4 V on the bus at 30 deg C.
FACTORY = [
    (0, 1, 3),
    (1, 1, 10),
    (3, 2, 777),
    (7, 1, 250),
    (8, 1, 1),
    (MAX_POSITION, 2, RESOLUTION - 1),
    (13, 1, 70),
    (14, 1, 80),
    (15, 1, 40),
    (16, 2, 1000),
    (21, 1, 32),
    (22, 1, 32),
    (48, 2, 1000),
    (LOCK, 1, 1),
    (62, 1, 74),
    (63, 1, 30),
]


class ServoEmulator:
    """Registers and motion of one servo.

    Args:
        number: its id.
        position: of the encoder, before the homing offset is taken off [ticks].
        falls: whether gravity pulls the joint to its lower stop when the torque is off.
        stops: the joint's mechanical ends, as the encoder sees them [ticks].
    """

    def __init__(
        self,
        number: int,
        position: float = 2047.0,
        falls: bool = True,
        stops: tuple[float, float] = (0.0, RESOLUTION - 1.0),
    ) -> None:
        self.registers = bytearray(512)  # more than the longest instruction can reach
        for address, size, value in FACTORY:
            self.registers[address : address + size] = value.to_bytes(size, "little")
        self.registers[ID] = number
        self.encoder, self.speed = position, 0.0
        self.falls, self.stops = falls, stops
        self._saved = bytes(self.registers[:EEPROM])
        self._pending: tuple[int, bytes] | None = None
        self._measure()
        self.write_word(GOAL_POSITION, self.position)

    @property
    def position(self) -> int:
        """Where it says it is [ticks], homing offset taken off."""
        return round(self._angle) % RESOLUTION

    @property
    def _angle(self) -> float:
        return (self.encoder - self.read_word(HOMING_OFFSET, 11)) % RESOLUTION

    @property
    def torque(self) -> bool:
        """Whether the motor is on."""
        return self.registers[TORQUE_ENABLE] == 1

    def read_word(self, address: int, sign: int = 15) -> int:
        """Return a two-byte register whose bit `sign` is the sign."""
        raw = int.from_bytes(self.registers[address : address + 2], "little")
        magnitude = raw & ((1 << sign) - 1)
        return -magnitude if raw >> sign & 1 else magnitude

    def write_word(self, address: int, value: int, sign: int = 15) -> None:
        """Set a two-byte register whose bit `sign` is the sign."""
        raw = abs(value) | (value < 0) << sign
        self.registers[address : address + 2] = raw.to_bytes(2, "little")

    def write(self, address: int, data: bytes) -> None:
        """Write registers as an instruction does: read-only ones keep their value."""
        for place, byte in enumerate(data, start=address):
            if place > 4 and place not in MEASURED:
                self.registers[place] = byte
        if address < EEPROM and not self.registers[LOCK]:
            self._saved = bytes(self.registers[:EEPROM])
        self._measure()

    def register_write(self, address: int, data: bytes) -> None:
        """Keep a write until `action`."""
        self._pending, self.registers[64] = (address, data), 1

    def action(self) -> None:
        """Do the write that was kept, if there is one."""
        if self._pending is not None:
            (address, data), self._pending, self.registers[64] = self._pending, None, 0
            self.write(address, data)

    def power_cycle(self) -> None:
        """Lose what was not saved: torque, goals, and registers written while locked."""
        self.registers[:EEPROM] = self._saved
        self.registers[TORQUE_ENABLE], self.registers[LOCK], self.speed = 0, 1, 0.0
        self._measure()

    def step(self, seconds: float) -> None:
        """Let time pass."""
        lower, upper = self.stops
        while seconds > 0:
            step, before = min(STEP, seconds), (self.encoder, self.speed)
            seconds -= step
            if self.torque:
                self._drive(step)
            elif self.falls:
                self.speed = max(self.speed - FALL * step, -FALL_SPEED)
            else:
                self.speed = 0.0
            self.encoder += self.speed * step
            if not lower <= self.encoder <= upper:
                self.encoder, self.speed = min(max(self.encoder, lower), upper), 0.0
            if (self.encoder, self.speed) == before:
                break  # at rest, however long the time
        self._measure()

    def _drive(self, step: float) -> None:
        acceleration = self.registers[ACCELERATION] * 100.0 or QUICKEST
        fastest = min(abs(self.read_word(GOAL_SPEED)) or FASTEST, FASTEST)
        goal = self.read_word(GOAL_POSITION)
        limits = self.read_word(MIN_POSITION), self.read_word(MAX_POSITION)
        if any(limits):
            goal = min(max(goal, limits[0]), limits[1])
        left = goal - self._angle
        if abs(left) < 0.5 and abs(self.speed) <= acceleration * step:
            self.speed = 0.0
            return
        # The largest speed from which it still stops in time, counting the step itself.
        change = acceleration * step
        reachable = sqrt(change**2 + 2 * acceleration * abs(left)) - change
        wanted = copysign(min(reachable, fastest), left)
        self.speed += min(max(wanted - self.speed, -change), change)

    def _measure(self) -> None:
        self.write_word(PRESENT_POSITION, self.position)
        self.write_word(PRESENT_SPEED, round(self.speed))
        self.write_word(PRESENT_LOAD, round(self.speed / 10), 10)
        self.registers[MOVING] = abs(self.speed) >= 1
