"""The RTDE server of the emulated Universal Robots controller (TCP port 30004).

Protocol version 2 of the "Real-Time Data Exchange (RTDE) Guide", docs.universal-robots.com: frames
of a 16 bit length, a type and a payload, all big endian. A client names the outputs it wants and
the inputs it will write. It is answered with the TYPE of each, and from then on values travel
packed in that order.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from math import isfinite

from robots.emulators.ur_controller import PERIOD, RobotMode, RuntimeState, SafetyMode, UrController
from robots.emulators.ur_script import REGISTERS

HEADER = struct.Struct(">HB")
VERSION = 2
FASTEST = 1 / PERIOD
BACKLOG = 1 << 16  # bytes a client may leave unread before packages to it are dropped

FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "INT32": "i",
    "UINT32": "I",
    "UINT64": "Q",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
}

Value = Iterable[float]
Output = tuple[str, Callable[[UrController], Value]]

SAFETY_BITS = {SafetyMode.NORMAL: 1 << 0, SafetyMode.PROTECTIVE_STOP: 1 << 2 | 1 << 10}
EMERGENCY_BITS = 1 << 6 | 1 << 7 | 1 << 10
JOINT_RUNNING, JOINT_POWER_OFF = 253, 239
AMPERES_PER_NM = 0.1


def _zeros(count: int) -> Callable[[UrController], Value]:
    return lambda _c: (0,) * count


def _robot_bits(c: UrController) -> Value:
    return ((c.mode != RobotMode.POWER_OFF) | (c.runtime == RuntimeState.PLAYING) << 1,)


def _int_out(index: int) -> Callable[[UrController], Value]:
    return lambda c: (c.registers.int_out[index],)


def _double_out(index: int) -> Callable[[UrController], Value]:
    return lambda c: (c.registers.double_out[index],)


OUTPUTS: dict[str, Output] = {
    "timestamp": ("DOUBLE", lambda c: (c.clock,)),
    "target_q": ("VECTOR6D", lambda c: c.arm.target),
    "target_qd": ("VECTOR6D", lambda c: c.arm.velocities),
    "actual_q": ("VECTOR6D", lambda c: c.arm.positions),
    "actual_qd": ("VECTOR6D", lambda c: c.arm.velocities),
    **dict.fromkeys(
        ("target_current", "actual_current", "joint_control_output"),
        ("VECTOR6D", lambda c: c.arm.compute_moments() * AMPERES_PER_NM),
    ),
    **dict.fromkeys(
        ("target_moment", "actual_current_as_torque"),
        ("VECTOR6D", lambda c: c.arm.compute_moments()),
    ),
    **dict.fromkeys(
        ("actual_TCP_pose", "target_TCP_pose"), ("VECTOR6D", lambda c: c.arm.compute_tool_pose())
    ),
    **dict.fromkeys(
        ("actual_TCP_speed", "target_TCP_speed"), ("VECTOR6D", lambda c: c.arm.compute_tool_speed())
    ),
    **dict.fromkeys(
        ("target_qdd", "actual_TCP_force", "ft_raw_wrench", "payload_inertia"),
        ("VECTOR6D", _zeros(6)),
    ),
    **dict.fromkeys(("actual_tool_accelerometer", "payload_cog"), ("VECTOR3D", _zeros(3))),
    **dict.fromkeys(
        ("actual_digital_input_bits", "actual_digital_output_bits"), ("UINT64", _zeros(1))
    ),
    **dict.fromkeys(
        ("output_bit_registers0_to_31", "output_bit_registers32_to_63"), ("UINT32", _zeros(1))
    ),
    **dict.fromkeys(
        (
            "actual_execution_time",
            "actual_momentum",
            "payload",
            "standard_analog_input0",
            "standard_analog_input1",
            "standard_analog_output0",
            "standard_analog_output1",
        ),
        ("DOUBLE", _zeros(1)),
    ),
    **dict.fromkeys(("speed_scaling", "target_speed_fraction"), ("DOUBLE", lambda _c: (1.0,))),
    **dict.fromkeys(("actual_main_voltage", "actual_robot_voltage"), ("DOUBLE", lambda _c: (48,))),
    "actual_robot_current": ("DOUBLE", lambda _c: (0.5,)),
    "actual_joint_voltage": ("VECTOR6D", lambda _c: (48,) * 6),
    "joint_temperatures": ("VECTOR6D", lambda _c: (30,) * 6),
    "joint_mode": (
        "VECTOR6INT32",
        lambda c: (JOINT_RUNNING if c.mode == RobotMode.RUNNING else JOINT_POWER_OFF,) * 6,
    ),
    "robot_mode": ("INT32", lambda c: (c.mode,)),
    "safety_mode": ("INT32", lambda c: (c.safety,)),
    "safety_status": ("INT32", lambda c: (c.safety,)),
    "runtime_state": ("UINT32", lambda c: (c.runtime,)),
    "robot_status_bits": ("UINT32", _robot_bits),
    "safety_status_bits": ("UINT32", lambda c: (SAFETY_BITS.get(c.safety, EMERGENCY_BITS),)),
    **{f"output_int_register_{i}": ("INT32", _int_out(i)) for i in range(REGISTERS)},
    **{f"output_double_register_{i}": ("DOUBLE", _double_out(i)) for i in range(REGISTERS)},
}

INPUTS: dict[str, str] = {
    **{f"input_int_register_{i}": "INT32" for i in range(REGISTERS)},
    **{f"input_double_register_{i}": "DOUBLE" for i in range(REGISTERS)},
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8",
    "external_force_torque": "VECTOR6D",
}


class RtdeConnection:
    """One connection.

    Args:
        controller: read and written.
        writer: where frames go.
        owners: who writes which input; a second client that asks for one is told IN_USE.
    """

    def __init__(
        self,
        controller: UrController,
        writer: asyncio.StreamWriter,
        owners: dict[str, RtdeConnection],
    ) -> None:
        self._controller = controller
        self._writer = writer
        self._owners = owners
        self._inputs: list[tuple[list[str], struct.Struct]] = []
        self._outputs: list[Output] = []
        self._every = 1
        self._started = False
        self._kinds: dict[int, Callable[[bytes], None]] = {
            ord("V"): self._negotiate,
            ord("v"): lambda _p: self._send("v", struct.pack(">4I", *controller.version)),
            ord("O"): self._setup_outputs,
            ord("I"): self._setup_inputs,
            ord("S"): lambda _p: self._start(),
            ord("P"): lambda _p: self._pause(),
            ord("U"): self._take,
        }

    async def serve_frames(self, reader: asyncio.StreamReader) -> None:
        """Answer frames until the client leaves or sends nonsense."""
        try:
            while True:
                size, kind = HEADER.unpack(await reader.readexactly(HEADER.size))
                payload = await reader.readexactly(size - HEADER.size)
                if kind in self._kinds:
                    self._kinds[kind](payload)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, struct.error):
            self._started = False
        finally:
            for name in [name for name, owner in self._owners.items() if owner is self]:
                del self._owners[name]

    def publish_data(self, steps: int) -> None:
        """Send a data package if one is due at this step of the controller."""
        if not self._started or steps % self._every or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > BACKLOG:
            return
        data = b"".join(
            struct.pack(f">{FORMATS[kind]}", *value(self._controller))
            for kind, value in self._outputs
        )
        self._send("U", b"\x01" + data)

    def _send(self, kind: str, payload: bytes) -> None:
        self._writer.write(HEADER.pack(HEADER.size + len(payload), ord(kind)) + payload)

    def _negotiate(self, payload: bytes) -> None:
        self._send("V", bytes([struct.unpack(">H", payload)[0] == VERSION]))

    def _setup_outputs(self, payload: bytes) -> None:
        rate = struct.unpack_from(">d", payload)[0]
        if not isfinite(rate) or rate <= 0:
            raise ValueError(rate)
        names = _names(payload[8:])
        self._every = max(1, round(FASTEST / rate))
        self._outputs = [OUTPUTS[name] for name in names if name in OUTPUTS]
        kinds = [OUTPUTS[name][0] if name in OUTPUTS else "NOT_FOUND" for name in names]
        self._send("O", b"\x01" + ",".join(kinds).encode())

    def _setup_inputs(self, payload: bytes) -> None:
        names = _names(payload)
        kinds = []
        for name in names:
            taken = self._owners.get(name, self) is not self
            kinds.append("IN_USE" if taken else INPUTS.get(name, "NOT_FOUND"))
        recipe = 0
        if set(kinds) <= FORMATS.keys():
            self._owners.update(dict.fromkeys(names, self))
            packed = struct.Struct(">" + "".join(FORMATS[kind] for kind in kinds))
            self._inputs.append((names, packed))
            recipe = len(self._inputs)
        self._send("I", bytes([recipe]) + ",".join(kinds).encode())

    def _start(self) -> None:
        self._send("S", b"\x01")
        self._started = bool(self._outputs)

    def _pause(self) -> None:
        self._started = False
        self._send("P", b"\x01")

    def _take(self, payload: bytes) -> None:
        """Write inputs to the registers; inputs without an effect here are dropped."""
        if not payload or not 0 < payload[0] <= len(self._inputs):
            raise ValueError("no such recipe")
        names, packed = self._inputs[payload[0] - 1]
        values = packed.unpack(payload[1:])
        registers = self._controller.registers
        for name, value in zip(names, values, strict=False):
            bank, _, index = name.rpartition("_")
            if bank == "input_int_register":
                registers.int_in[int(index)] = value
            elif bank == "input_double_register":
                registers.double_in[int(index)] = value
            self._controller.note_input_written(name)


def _names(payload: bytes) -> list[str]:
    return [name for name in payload.decode("ascii").split(",") if name]
