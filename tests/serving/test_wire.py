from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.serving import NASTY, fuzz
from embodied.serving.wire import DTYPES, MessageLimits, WireError, decode, encode

FUZZ_FRAMES = 5_000
# {"x": float32 [1, 2, 3]} as openpi-client 0.1.2 sends it.
KNOWN = bytes.fromhex(
    "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c40c0000803f0000004000004040"
    "c4056474797065a33c6634c405736861706591 03".replace(" ", "")
)
CRASH = NASTY[0]


def array(
    data: Any = b"\0" * 12, dtype: Any = "<f4", shape: Any = (3,), mark: Any = True, **more: Any
) -> bytes:
    """Encode an array map by hand, right or wrong."""
    fields = {b"__ndarray__": mark, b"data": data, b"dtype": dtype, b"shape": shape}
    return bytes(msgpack.packb(fields | {k.encode(): v for k, v in more.items()}))


def scalar(data: Any, dtype: Any) -> bytes:
    return bytes(msgpack.packb({b"__npgeneric__": True, b"data": data, b"dtype": dtype}))


def test_known_bytes() -> None:
    value = {"x": np.array([1, 2, 3], np.float32)}
    assert encode(value) == KNOWN
    decoded = decode(KNOWN)
    np.testing.assert_array_equal(decoded["x"], value["x"])
    assert decoded["x"].dtype == np.float32
    assert not decoded["x"].flags.writeable


def test_same_bytes_as_openpi() -> None:
    peer = pytest.importorskip("openpi_client.msgpack_numpy", reason="openpi-client is absent")
    value = {
        "image": np.zeros((2, 3, 3), np.uint8),
        "order": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "zero": np.array(1.5),
        "none": np.zeros((0, 4), ">i2"),
        "scalar": np.float32(2.5),
        "flag": np.bool_(True),
        "plain": [1, -1, 2.5, None, True, "text", {"deep": b"bytes"}],
    }
    assert encode(value) == peer.packb(value)
    np.testing.assert_equal(decode(peer.packb(value)), value)
    np.testing.assert_equal(peer.unpackb(encode(value)), value)


DATA = arrays.arrays(
    st.sampled_from(sorted(DTYPES)), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)
)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(), st.booleans(), st.none(), st.binary()
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXT, DATA),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_round_trip(value: Any) -> None:
    decoded = decode(encode(value))
    np.testing.assert_equal(decoded, value)
    if isinstance(value, np.ndarray):
        assert decoded.dtype == value.dtype
        assert decoded.shape == value.shape


@pytest.mark.parametrize("code", ["b1", "i1", "u2", "i8", "u8", "f2", "f4", "f8"])
def test_scalars_keep_their_type(code: str) -> None:
    value = np.dtype(code).type(1)
    decoded = decode(encode([value]))[0]
    assert decoded == value
    if code != "f8":  # np.float64 is a float for msgpack, as with openpi
        assert type(decoded) is type(value)


def test_strided_and_transposed_arrays_arrive_in_order() -> None:
    base = np.arange(24).reshape(4, 6)
    for view in (base.T, base[::2, ::-1], np.asfortranarray(base)):
        np.testing.assert_array_equal(decode(encode(view)), view)


@pytest.mark.parametrize(
    "frame",
    [
        CRASH,
        array(dtype="O"),
        array(dtype="<f16", data=b"\0" * 48),
        array(dtype="<c8", data=b"\0" * 24),
        array(dtype="<U1"),
        array(dtype="|V4"),
        array(dtype="<M8[s]", data=b"\0" * 24),
        array(dtype="f4,f4", data=b"\0" * 24),
        array(dtype=["<f4"]),
        array(dtype=None),
        array(data=b"\0" * 11),
        array(data=b"\0" * 13),
        array(data="text"),
        array(data=None),
        array(shape=[-3]),
        array(shape=[True, 3]),
        array(shape=[3.0]),
        array(shape=3),
        array(shape=None),
        array(shape=["3"]),
        array(shape=[1] * 8 + [3]),
        array(data=b"", shape=[0, 10**9]),
        array(data=b"", shape=[0, 2**63]),
        array(data=b"", shape=[0, *[2**24] * 6]),
        array(mark=False),
        array(mark=1),
        array(extra=1),
        array(data=b"\0\1\2", dtype="|b1"),
        bytes(msgpack.packb({b"__ndarray__": True})),
        scalar(300, "|i1"),
        scalar(-1, "|u1"),
        scalar(1e39, "<f4"),
        scalar(10**18, "<f2"),
        scalar("1", "<f4"),
        scalar(1.5, "<i4"),
        scalar(True, "<i4"),
        scalar(1, "|b1"),
        scalar(b"x", "|O"),
        scalar("x", "<U1"),
        bytes(msgpack.packb({b"key": 1})),
        bytes(msgpack.packb({1: 1})),
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xa1\xff",
        b"\x01\x02",
        *NASTY[1:],
    ],
    ids=lambda frame: frame[:40].hex(),
)
def test_malformed_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(frame)
    assert len(str(caught.value)) < 500


def test_limits() -> None:
    with pytest.raises(WireError, match="bytes"):
        decode(encode("x" * 100), MessageLimits(bytes=50))
    with pytest.raises(WireError, match="bytes"):
        encode(np.zeros(100), MessageLimits(bytes=50))
    with pytest.raises(WireError, match="elements"):
        decode(encode([[0] * 60, [0] * 60]), MessageLimits(elements=100))
    with pytest.raises(WireError, match="nested"):
        decode(encode([[[[]]]]), MessageLimits(depth=3))
    assert decode(encode([[[]]]), MessageLimits(depth=3)) == [[[]]]
    frame = array(data=b"", shape=[0, 2**24])
    assert decode(frame).shape == (0, 2**24)


def test_a_small_frame_cannot_ask_for_much_memory() -> None:
    """Sixteen million elements cost four bytes each to announce; none may be allocated."""
    frame = b"\x91" * 10 + b"\xdd\x00\xff\xff\xff" + b"\xc0" * 2**20
    start = time.process_time()
    with pytest.raises(WireError, match="elements"):
        decode(frame)
    assert time.process_time() - start < 1.0


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1 + 2j]),
        np.array(["text"]),
        np.longdouble(1),
        np.datetime64("2026-01-01"),
        object(),
        {1, 2},
        2**64,
        "\ud800",
        circular(),
    ],
)
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(WireError, match="cannot encode"):
        encode({"x": value})


def test_fuzz() -> None:
    refused, wrong = fuzz(seed=7, count=FUZZ_FRAMES)
    assert wrong == 0
    assert refused > FUZZ_FRAMES // 2


@pytest.mark.parametrize("module", ["wire", "client", "chunks", "server"])
def test_no_torch(module: str) -> None:
    code = f"import sys, embodied.serving.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
