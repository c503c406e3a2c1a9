"""MessagePack with numpy arrays, byte for byte what openpi-client 0.1.2 sends and expects.

An array travels as a map with *bytes* keys ``{__ndarray__: true, data, dtype, shape}``, data in C
order; a numpy scalar as ``{__npgeneric__: true, data, dtype}``. What arrives is not trusted: every
length, type, nesting level and byte count is checked before an object is built from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from embodied.errors import EmbodiedError

MIB = 1024 * 1024
ARRAY_KEYS = frozenset({b"__ndarray__", b"data", b"dtype", b"shape"})
SCALAR_KEYS = frozenset({b"__npgeneric__", b"data", b"dtype"})

# A table, not a parser: whatever else numpy may accept as a type (objects, records, long double,
# strings) never reaches it. openpi's own decoder dies of a memory fault on the type "|O".
DTYPES = {
    dtype.str: dtype
    for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    for dtype in (np.dtype("<" + code), np.dtype(">" + code))
}


class WireError(EmbodiedError):
    """A message that cannot be encoded, or that is malformed or over a limit."""


@dataclass(frozen=True)
class MessageLimits:
    """The largest message that is decoded.

    Attributes:
        bytes: of the whole message.
        elements: values in it, those inside an array's data not counted.
        depth: maps and lists inside one another.
        ndim: of an array.
        dimension: of an array along any axis, also when it holds nothing.
    """

    bytes: int = 16 * MIB
    elements: int = 65_536
    depth: int = 16
    ndim: int = 8
    dimension: int = 2**24


DEFAULT = MessageLimits()


def encode(value: Any, limits: MessageLimits = DEFAULT) -> bytes:
    """Encode nested maps, lists, strings, numbers, bytes and numpy arrays.

    Args:
        value: maps with text keys; arrays and numpy scalars of bool, int, uint or float up to 64
            bits, of any shape and memory order.
        limits: only `bytes` counts here.

    Raises:
        WireError: a type without an encoding, nesting without end, or too many bytes.
    """
    try:
        data: bytes = msgpack.packb(value, default=_pack)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(
            f"cannot encode the message: {error}. Send maps, lists, text, numbers and numpy arrays."
        ) from error
    if len(data) > limits.bytes:
        raise _over("bytes", len(data), limits.bytes)
    return data


def decode(data: bytes, limits: MessageLimits = DEFAULT) -> Any:
    """Decode one message that may come from anybody.

    Args:
        data: a whole message.
        limits: what is refused before any memory is taken for it.

    Returns:
        Maps, lists, text, numbers, bytes and numpy arrays. The arrays are read-only views of the
        message and may hold NaN: whoever acts on them checks that.

    Raises:
        WireError: not MessagePack, truncated, trailing bytes, a type that is not allowed, a byte
            count that does not match the shape, or over a limit.
    """
    if len(data) > limits.bytes:
        raise _over("bytes", len(data), limits.bytes)
    decoder = _Decoder(data, limits)
    try:
        value = decoder.value(0)
    except (ValueError, msgpack.UnpackException) as error:
        cause = str(error) or type(error).__name__
        raise WireError(f"malformed message at byte {decoder.offset}: {cause}") from error
    if decoder.offset != len(data):
        raise WireError(
            f"malformed message: {len(data) - decoder.offset} bytes after its end. "
            "Send one value per message."
        )
    return value


class _Decoder:
    """Walks the maps and lists itself, so that counts are checked before anything is allocated;
    `msgpack` reads all lengths, numbers and strings.
    """

    def __init__(self, data: bytes, limits: MessageLimits) -> None:
        self._data = data
        self._limits = limits
        self._left = limits.elements
        self._unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
        self._unpacker.feed(data)

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return int(self._unpacker.tell())

    def value(self, depth: int) -> Any:
        """Read one value with all it contains."""
        at = self.offset
        if at == len(self._data):
            raise WireError("malformed message: it ends where a value should begin (truncated?)")
        head = self._data[at]
        if 0x80 <= head <= 0x8F or head in (0xDE, 0xDF):
            return self._map(depth + 1)
        if 0x90 <= head <= 0x9F or head in (0xDC, 0xDD):
            count = self._enter(self._unpacker.read_array_header(), depth + 1)
            return [self.value(depth + 1) for _ in range(count)]
        if 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8:
            raise WireError(f"malformed message at byte {at}: extension types are not allowed")
        return self._unpacker.unpack()

    def _map(self, depth: int) -> Any:
        count = self._enter(self._unpacker.read_map_header(), depth)
        result: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, str | bytes) or key in result:
                raise WireError(
                    f"malformed message: map key {_short(key)} is repeated or not text. "
                    "Use text keys, each once."
                )
            result[key] = self.value(depth)
        if b"__ndarray__" in result:
            return _array(result, self._limits)
        if b"__npgeneric__" in result:
            return _scalar(result)
        if any(isinstance(key, bytes) for key in result):
            raise WireError("malformed message: a map with bytes keys is not an array. Use text.")
        return result

    def _enter(self, count: int, depth: int) -> int:
        """Pay for the elements of a map or list before reading them."""
        if depth > self._limits.depth:
            raise _over("nested levels", depth, self._limits.depth)
        self._left -= count
        if self._left < 0:
            raise _over("elements", self._limits.elements - self._left, self._limits.elements)
        return count


def _pack(value: Any) -> dict[bytes, Any]:
    """Encode what `msgpack` itself cannot, in openpi's key order."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.str not in DTYPES:
            raise TypeError(f"arrays of {value.dtype} have no encoding, only {_allowed()}")
        if isinstance(value, np.ndarray):
            return {
                b"__ndarray__": True,
                b"data": value.tobytes(),
                b"dtype": value.dtype.str,
                b"shape": value.shape,
            }
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__module__}.{type(value).__name__} has no encoding")


def _array(fields: dict[Any, Any], limits: MessageLimits) -> np.ndarray[Any, Any]:
    if fields.keys() != ARRAY_KEYS or fields[b"__ndarray__"] is not True:
        raise WireError(f"malformed array: keys {_short(sorted(map(str, fields)))}")
    dtype = _dtype(fields[b"dtype"])
    shape, data = fields[b"shape"], fields[b"data"]
    if not isinstance(shape, list) or len(shape) > limits.ndim:
        raise WireError(f"malformed array: shape {_short(shape)} has no or over {limits.ndim} axes")
    if not all(type(size) is int and 0 <= size <= limits.dimension for size in shape):
        raise WireError(
            f"malformed array: shape {_short(shape)} needs integers from 0 to {limits.dimension}"
        )
    expected = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != expected:
        size = len(data) if isinstance(data, bytes) else type(data).__name__
        raise WireError(
            f"malformed array: {_short(size)} bytes of data, {expected} needed for shape "
            f"{_short(shape)} of {dtype.str}"
        )
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise WireError("malformed array: a boolean is neither 0 nor 1")
    return np.frombuffer(data, dtype).reshape(shape)


def _scalar(fields: dict[Any, Any]) -> Any:
    if fields.keys() != SCALAR_KEYS or fields[b"__npgeneric__"] is not True:
        raise WireError(f"malformed numpy scalar: keys {_short(sorted(map(str, fields)))}")
    dtype, data = _dtype(fields[b"dtype"]), fields[b"data"]
    kind = {"b": bool, "f": int | float}.get(dtype.kind, int)
    if not isinstance(data, kind) or isinstance(data, bool) != (dtype.kind == "b"):
        raise WireError(f"malformed numpy scalar: {_short(data)} is no {dtype}")
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= data <= np.iinfo(dtype).max:
        raise WireError(f"malformed numpy scalar: {data} is out of the range of {dtype}")
    if dtype.kind == "f" and math.isfinite(data) and abs(data) > float(np.finfo(dtype).max):
        raise WireError(f"malformed numpy scalar: {data} is out of the range of {dtype}")
    return dtype.type(data)


def _dtype(name: Any) -> np.dtype[Any]:
    dtype = DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise WireError(f"malformed array: dtype {_short(name)} is not allowed, only {_allowed()}")
    return dtype


def _allowed() -> str:
    return ", ".join(sorted(DTYPES))


def _over(what: str, given: int, allowed: int) -> WireError:
    return WireError(
        f"the message has {given} {what}, at most {allowed} are allowed. Send less, e.g. smaller "
        "images, or raise the limit on both sides."
    )


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
