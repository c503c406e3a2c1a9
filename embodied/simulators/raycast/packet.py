"""Layout of one ray packet in memory, as in Embree's RTCRayHit; both tracers share it."""

from __future__ import annotations

from llvmlite import binding


def _lanes() -> int:
    """Choose rays per packet: as wide as the registers (16 on AVX2 measured 2.5 times slower)."""
    features = binding.get_host_cpu_features()
    return 16 if all(features.get(f"avx512{kind}") for kind in ("f", "dq", "bw", "vl")) else 8


LANES: int = _lanes()
"""Rays per packet. Kernels are cached per processor type, so this may differ by machine."""

PACKET = 24 * LANES
"""32-bit words of one packet: 21 fields of Embree, then the numba tracer's inverse direction."""

# Field numbers; each field is LANES wide.
ORIGIN, NEAR, DIRECTION, TIME, FAR, MASK, NORMAL, U, V, FACE, GEOMETRY, INVERSE = (
    0, 3, 4, 7, 8, 9, 12, 15, 16, 17, 18, 21,
)  # fmt: skip

# Columns of a scene's row of addresses; the last three are 0 where nothing moves: number (not
# address) of moving objects, their poses, and the addresses of their trees.
(
    SCENE, FIRST, ORDER, CLASSES, COLORS, COORDS, TEXTURES, TEXELS, NODES, TRIANGLES, MOVING, POSES,
    TREES,
) = range(13)  # fmt: skip
COLUMNS = 13
