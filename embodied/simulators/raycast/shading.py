"""Colour of a hit: corner colours times texture, lit so that shape reads. All is compiled.

Light scales sRGB values, which is exact for a power-law response: (c^g L)^(1/g) = c L^(1/g).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from embodied.simulators.raycast.compiled import inlined
from embodied.simulators.raycast.surface import TEXTURED, VARIED

Scalar = Any
"""A float32 inside compiled code."""

LIGHT_X, LIGHT_Y, LIGHT_Z = (0.67, 0.78), (0.74, 0.91), (0.61, 0.84)
"""Light from the negative and the positive side of each axis (an ambient cube). Values of different
axes differ, so that perpendicular surfaces of one colour differ in brightness."""

HEADLIGHT = 0.06
"""Extra light on surfaces that face the camera."""

FADE = 0.012
"""Loss of light per metre of distance, so that far things look far."""


@inlined(fastmath=True)
def compute_light(
    nx: Scalar, ny: Scalar, nz: Scalar, dx: Scalar, dy: Scalar, dz: Scalar, distance: Scalar
) -> tuple[Scalar, Scalar]:
    """Return the light factor in [0, 1] and |cos| of the angle between normal and ray."""
    one = np.float32(1.0)
    length = one / math.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-30))
    toward = one / math.sqrt(dx * dx + dy * dy + dz * dz)
    facing = (nx * dx + ny * dy + nz * dz) * length * toward
    if facing > 0:  # two-sided: the side seen is the side lit
        length = -length
        facing = -facing
    nx, ny, nz = nx * length, ny * length, nz * length
    x = np.float32(LIGHT_X[1]) if nx > 0 else np.float32(LIGHT_X[0])
    y = np.float32(LIGHT_Y[1]) if ny > 0 else np.float32(LIGHT_Y[0])
    z = np.float32(LIGHT_Z[1]) if nz > 0 else np.float32(LIGHT_Z[0])
    around = nx * nx * x + ny * ny * y + nz * nz * z
    fade = one / (one + np.float32(FADE) * distance)
    return min((around - np.float32(HEADLIGHT) * facing) * fade, one), -facing


@inlined(fastmath=True)
def compute_sky_color(dx: Scalar, dy: Scalar, dz: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Sky colour (0-255) along a ray: pale at the horizon, blue above, grey below."""
    up = dy / math.sqrt(dx * dx + dy * dy + dz * dz)
    if up > 0:
        blend = np.float32(up)
        return (
            np.float32(214.0) - np.float32(92.0) * blend,
            np.float32(228.0) - np.float32(60.0) * blend,
            np.float32(240.0) - np.float32(18.0) * blend,
        )
    blend = np.float32(-up)
    return (
        np.float32(214.0) - np.float32(110.0) * blend,
        np.float32(228.0) - np.float32(122.0) * blend,
        np.float32(240.0) - np.float32(128.0) * blend,
    )


@inlined(fastmath=True)
def interpolate_face_color(
    colors: Any, face: int, u: Scalar, v: Scalar
) -> tuple[Scalar, Scalar, Scalar]:
    """Interpolate the corner colours (0-255) of a face at barycentric (u, v)."""
    base = face * 12
    if colors[base + 9] & VARIED == 0:
        return (
            np.float32(colors[base]),
            np.float32(colors[base + 1]),
            np.float32(colors[base + 2]),
        )
    w = np.float32(1.0) - u - v
    return (
        w * colors[base] + u * colors[base + 3] + v * colors[base + 6],
        w * colors[base + 1] + u * colors[base + 4] + v * colors[base + 7],
        w * colors[base + 2] + u * colors[base + 5] + v * colors[base + 8],
    )


@inlined(fastmath=True)
def sample_texture_color(
    colors: Any,
    coords: Any,
    textures: Any,
    texels: Any,
    face: int,
    u: Scalar,
    v: Scalar,
    footprint: Scalar,
) -> tuple[Scalar, Scalar, Scalar]:
    """Sample a face's texture (factors in [0, 1]): bilinear, repeating, in the nearest mip level.

    Args:
        colors: flat `Surface.colors`.
        coords: flat `Surface.coords`.
        textures: flat `Surface.textures`.
        texels: flat `Surface.texels`.
        face: textured face.
        u: barycentric coordinate of the second corner.
        v: barycentric coordinate of the third corner.
        footprint: size of the pixel on the surface [m].
    """
    one, half = np.float32(1.0), np.float32(0.5)
    slot = 4 * (np.int64(colors[face * 12 + 10]) + 256 * np.int64(colors[face * 12 + 11]))
    offset = np.int64(textures[slot])
    log_w, log_h, levels = textures[slot + 1], textures[slot + 2], textures[slot + 3]
    w = one - u - v
    at = face * 8
    s = w * coords[at] + u * coords[at + 2] + v * coords[at + 4]
    t = w * coords[at + 1] + u * coords[at + 3] + v * coords[at + 5]
    span = footprint * coords[at + 6]
    level = 0
    while span > np.float32(1.42) and level < levels - 1:
        offset += np.int64(1) << (max(log_w, 0) + max(log_h, 0))
        log_w, log_h = log_w - 1, log_h - 1
        span *= half
        level += 1
    log_w, log_h = max(log_w, 0), max(log_h, 0)
    width, height = np.int64(1) << log_w, np.int64(1) << log_h
    x = s * width - half
    y = (one - t) * height - half
    floor_x, floor_y = math.floor(x), math.floor(y)
    fx, fy = x - floor_x, y - floor_y
    x0, y0 = np.int64(floor_x) & (width - 1), np.int64(floor_y) & (height - 1)
    x1, y1 = (x0 + 1) & (width - 1), (y0 + 1) & (height - 1)
    a = 4 * (offset + (y0 << log_w) + x0)
    b = 4 * (offset + (y0 << log_w) + x1)
    c = 4 * (offset + (y1 << log_w) + x0)
    d = 4 * (offset + (y1 << log_w) + x1)
    scale = np.float32(1.0 / 255.0)
    wa, wb = (one - fx) * (one - fy) * scale, fx * (one - fy) * scale
    wc, wd = (one - fx) * fy * scale, fx * fy * scale
    return (
        wa * texels[a] + wb * texels[b] + wc * texels[c] + wd * texels[d],
        wa * texels[a + 1] + wb * texels[b + 1] + wc * texels[c + 1] + wd * texels[d + 1],
        wa * texels[a + 2] + wb * texels[b + 2] + wc * texels[c + 2] + wd * texels[d + 2],
    )


@inlined(fastmath=True)
def is_textured(colors: Any, face: int) -> bool:
    """Tell whether a face has a texture."""
    return colors[face * 12 + 9] & TEXTURED != 0
