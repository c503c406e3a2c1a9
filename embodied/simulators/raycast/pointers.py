"""Raw addresses inside numba kernels.

Kernels take addresses as integers, so that one compiled (and cached) kernel serves many scenes, and
can call a C function without storing its address in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from embodied.simulators.raycast.packet import LANES

_BYTE_POINTER = ir.IntType(8).as_pointer()


def _call_intersect(
    typing_context: Any, function: Any, valid: Any, scene: Any, rays: Any, arguments: Any
) -> Any:
    """Call `rtcIntersectN(valid, scene, rays, arguments)` at address `function`."""
    signature = types.void(types.intp, types.intp, types.intp, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTE_POINTER] * 4)
        target = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(target, [builder.inttoptr(v, _BYTE_POINTER) for v in values[1:]])
        return context.get_dummy_value()

    return signature, generate


call_intersect: Any = intrinsic(_call_intersect)


def _turn_rays(typing_context: Any, target: Any, rays: Any, x: Any, y: Any, z: Any) -> Any:
    """Write one row of a rotation (x, y, z) times the rays of a tile (3, LANES), at addresses.

    In vector registers: Embree loads whole vectors, and waits if they were stored piece by piece.
    """
    signature = types.void(types.intp, types.intp, types.float32, types.float32, types.float32)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), LANES)
        source = builder.inttoptr(values[1], vector.as_pointer())
        total = None
        for axis, factor in enumerate(values[2:]):
            place = builder.gep(source, [ir.Constant(ir.IntType(32), axis)])
            first = builder.insert_element(
                ir.Constant(vector, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0)
            )
            mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            spread = builder.shuffle_vector(first, first, mask)
            term = builder.fmul(builder.load(place, align=4), spread, flags=("contract",))
            total = term if total is None else builder.fadd(total, term, flags=("contract",))
        builder.store(total, builder.inttoptr(values[0], vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate


turn_rays: Any = intrinsic(_turn_rays)


def _pointer_to(element: Any) -> Any:
    @intrinsic
    def cast(typing_context: Any, address: Any) -> Any:
        signature = types.CPointer(element)(types.intp)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        return signature, generate

    return cast


int32_at = _pointer_to(types.int32)
int64_at = _pointer_to(types.int64)
uint8_at = _pointer_to(types.uint8)
float32_at = _pointer_to(types.float32)


def allocate_aligned(count: int, dtype: type, boundary: int = 64) -> NDArray[Any]:
    """Return (count,) zeros at a multiple of `boundary` bytes (packet queries need it)."""
    size = np.dtype(dtype).itemsize
    raw = np.zeros(count * size + boundary, np.uint8)
    start = -raw.ctypes.data % boundary
    return raw[start : start + count * size].view(dtype)
