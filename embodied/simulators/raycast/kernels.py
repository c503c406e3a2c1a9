"""The compiled loops: trace rays in packets and turn hits into images in the same pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray

from embodied.simulators.raycast.bvh import trace_packet
from embodied.simulators.raycast.compiled import compiled, inlined
from embodied.simulators.raycast.packet import (
    CLASSES,
    COLORS,
    COORDS,
    DIRECTION,
    FACE,
    FAR,
    FIRST,
    GEOMETRY,
    LANES,
    MASK,
    MOVING,
    NEAR,
    NODES,
    NORMAL,
    ORDER,
    ORIGIN,
    POSES,
    SCENE,
    TEXELS,
    TEXTURES,
    TIME,
    TREES,
    TRIANGLES,
    U,
    V,
)
from embodied.simulators.raycast.pointers import (
    call_intersect,
    float32_at,
    int32_at,
    int64_at,
    turn_rays,
    uint8_at,
)
from embodied.simulators.raycast.shading import (
    compute_light,
    compute_sky_color,
    interpolate_face_color,
    is_textured,
    sample_texture_color,
)


@inlined()
def _at(pointer: Any) -> Any:
    return carray(pointer, (1 << 40,))


@inlined()
def _trace_numba(row: Any, packet: Any, packet_ids: Any, stack: Any) -> None:
    trace_packet(
        _at(float32_at(row[NODES])),
        _at(int32_at(row[NODES])),
        _at(float32_at(row[TRIANGLES])),
        _at(int32_at(row[TRIANGLES])),
        packet,
        packet_ids,
        stack,
    )


@compiled(fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
def _trace_moving(row: Any, packet: Any, packet_ids: Any, stack: Any, world: Any) -> None:
    """Find the nearest hit among moving objects: their rays turn instead of their triangles.

    Args:
        row: addresses; poses are (O, 3, 4) object to world.
        packet: as in `render`; its normals come back in the frames of the objects.
        packet_ids: the same block as int32.
        stack: scratch.
        world: (6 * LANES,) scratch, keeps origins and directions.
    """
    poses, trees = _at(float32_at(row[POSES])), _at(int64_at(row[TREES]))
    for i in range(3 * LANES):
        world[i] = packet[ORIGIN * LANES + i]
        world[3 * LANES + i] = packet[DIRECTION * LANES + i]
    for number in range(row[MOVING]):
        if trees[2 * number] == 0:
            continue
        at = 12 * number
        for lane in range(LANES):
            x = world[lane] - poses[at + 3]
            y = world[LANES + lane] - poses[at + 7]
            z = world[2 * LANES + lane] - poses[at + 11]
            dx, dy = world[3 * LANES + lane], world[4 * LANES + lane]
            dz = world[5 * LANES + lane]
            for axis in range(3):  # columns of the rotation: its inverse
                a, b, c = poses[at + axis], poses[at + 4 + axis], poses[at + 8 + axis]
                packet[(ORIGIN + axis) * LANES + lane] = a * x + b * y + c * z
                packet[(DIRECTION + axis) * LANES + lane] = a * dx + b * dy + c * dz
        trace_packet(
            _at(float32_at(trees[2 * number])),
            _at(int32_at(trees[2 * number])),
            _at(float32_at(trees[2 * number + 1])),
            _at(int32_at(trees[2 * number + 1])),
            packet,
            packet_ids,
            stack,
        )
    for i in range(3 * LANES):
        packet[ORIGIN * LANES + i] = world[i]
        packet[DIRECTION * LANES + i] = world[3 * LANES + i]


@inlined()
def _turned_normal(row: Any, hit: int, packet: Any, lane: int) -> Any:
    """Return the world normal of a hit on a moving object: tracers leave it in its frame."""
    poses = _at(float32_at(row[POSES]))
    at = 12 * hit
    nx = packet[NORMAL * LANES + lane]
    ny = packet[(NORMAL + 1) * LANES + lane]
    nz = packet[(NORMAL + 2) * LANES + lane]
    return (
        poses[at] * nx + poses[at + 1] * ny + poses[at + 2] * nz,
        poses[at + 4] * nx + poses[at + 5] * ny + poses[at + 6] * nz,
        poses[at + 8] * nx + poses[at + 9] * ny + poses[at + 10] * nz,
    )


@compiled(fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
def render(
    first: int, last: int, rows: Any, which: Any, poses: Any, directions: Any, pixels: Any,
    pixel_size: float, near: float, far: float, want: Any, rgb: Any, depth: Any, semantic: Any,
    instance: Any,
    packet: Any, packet_ids: Any, valid: Any, stack: Any, query: Any,
) -> None:  # fmt: skip
    """Render poses[first:last].

    Args:
        first: first pose of this call.
        last: end of the poses of this call.
        rows: (S, COLUMNS) int64 scene addresses.
        which: (N,) scene of each pose.
        poses: (N, 4, 4) float64 camera-to-world.
        directions: see `cameras.compute_pixel_rays`.
        pixels: see `cameras.compute_pixel_rays`.
        pixel_size: see `cameras.compute_pixel_rays`.
        near: least depth shown [m], float32.
        far: greatest depth shown [m], float32 and finite (a miss is infinitely far).
        want: (4,) bool: rgb, depth, semantic, instance asked for.
        rgb: (N, H*W*3) image; like the following, empty where unasked.
        depth: (N, H*W) image.
        semantic: (N, H*W) image.
        instance: (N, H*W) image.
        packet: one block of PACKET float32 words.
        packet_ids: the same block as int32.
        valid: (LANES,) int32, all -1.
        stack: (bvh.STACK,) int32 scratch.
        query: (2,) int64 addresses of the packet query and of its arguments.
    """
    zero = np.float32(0.0)
    packet_at, valid_at, rays_at = packet.ctypes.data, valid.ctypes.data, directions.ctypes.data
    turned_at = packet_at + 4 * DIRECTION * LANES
    want_rgb, want_depth, want_semantic, want_instance = want[0], want[1], want[2], want[3]
    world = np.empty(6 * LANES, np.float32)
    for lane in range(LANES):
        packet[NEAR * LANES + lane] = 0.0
        packet[TIME * LANES + lane] = 0.0
        packet_ids[MASK * LANES + lane] = -1
    for n in range(first, last):
        row = rows[which[n]]
        first_face = _at(int32_at(row[FIRST]))
        classes = _at(int32_at(row[CLASSES]))
        colors = _at(uint8_at(row[COLORS]))
        coords = _at(float32_at(row[COORDS]))
        textures = _at(int32_at(row[TEXTURES]))
        texels = _at(uint8_at(row[TEXELS]))
        native, moving = row[SCENE] != 0, row[MOVING] != 0
        pose = poses[n].astype(np.float32)
        r00, r01, r02 = pose[0, 0], pose[0, 1], pose[0, 2]
        r10, r11, r12 = pose[1, 0], pose[1, 1], pose[1, 2]
        r20, r21, r22 = pose[2, 0], pose[2, 1], pose[2, 2]
        for axis in range(3):
            for lane in range(LANES):
                packet[(ORIGIN + axis) * LANES + lane] = pose[axis, 3]
        for tile in range(len(directions)):
            rays = rays_at + tile * 12 * LANES
            turn_rays(turned_at, rays, r00, r01, r02)
            turn_rays(turned_at + 4 * LANES, rays, r10, r11, r12)
            turn_rays(turned_at + 8 * LANES, rays, r20, r21, r22)
            for lane in range(LANES):
                packet[FAR * LANES + lane] = np.inf
            for lane in range(LANES):
                packet_ids[GEOMETRY * LANES + lane] = -1
            if native:
                call_intersect(query[0], valid_at, row[SCENE], packet_at, query[1])
            elif moving:
                _trace_moving(row, packet, packet_ids, stack, world)
            else:
                _trace_numba(row, packet, packet_ids, stack)
            if want_depth:
                for lane in range(LANES):
                    t = packet[FAR * LANES + lane]
                    depth[n, pixels[tile, lane]] = max(t, near) if t <= far else zero
            if want_semantic:
                for lane in range(LANES):
                    owner = np.uint32(packet_ids[GEOMETRY * LANES + lane] + 1)
                    semantic[n, pixels[tile, lane]] = classes[owner]
            if want_instance:
                for lane in range(LANES):
                    instance[n, pixels[tile, lane]] = max(packet_ids[GEOMETRY * LANES + lane], 0)
            if not want_rgb:
                continue
            for lane in range(LANES):
                pixel = np.int64(pixels[tile, lane])
                hit = packet_ids[GEOMETRY * LANES + lane]
                t = packet[FAR * LANES + lane]
                dx, dy, dz = (
                    packet[DIRECTION * LANES + lane],
                    packet[(DIRECTION + 1) * LANES + lane],
                    packet[(DIRECTION + 2) * LANES + lane],
                )
                if hit >= 0:
                    face = np.int64(first_face[hit] + packet_ids[FACE * LANES + lane])
                    u, v = packet[U * LANES + lane], packet[V * LANES + lane]
                    nx, ny, nz = (
                        packet[NORMAL * LANES + lane],
                        packet[(NORMAL + 1) * LANES + lane],
                        packet[(NORMAL + 2) * LANES + lane],
                    )
                    if moving:
                        nx, ny, nz = _turned_normal(row, hit, packet, lane)
                    factor, facing = compute_light(nx, ny, nz, dx, dy, dz, t)
                    red, green, blue = interpolate_face_color(colors, face, u, v)
                    if is_textured(colors, face):
                        footprint = t * np.float32(pixel_size)
                        footprint /= math.sqrt(max(facing, np.float32(0.05)))
                        tr, tg, tb = sample_texture_color(
                            colors, coords, textures, texels, face, u, v, footprint
                        )
                        red, green, blue = red * tr, green * tg, blue * tb
                    red, green, blue = red * factor, green * factor, blue * factor
                else:
                    red, green, blue = compute_sky_color(dx, dy, dz)
                half = np.float32(0.5)
                rgb[n, 3 * pixel] = np.uint8(red + half)
                rgb[n, 3 * pixel + 1] = np.uint8(green + half)
                rgb[n, 3 * pixel + 2] = np.uint8(blue + half)


@compiled()
def cast_rays(
    row: Any, origins: Any, directions: Any, distance: Any, face: Any, uv: Any, packet: Any,
    packet_ids: Any, valid: Any, stack: Any, query: Any,
) -> None:  # fmt: skip
    """Trace free rays (N, 3) in packets of neighbours in the list."""
    count = len(origins)
    packet_at, valid_at = packet.ctypes.data, valid.ctypes.data
    first_face, order = _at(int32_at(row[FIRST])), _at(int32_at(row[ORDER]))
    for start in range(0, count, LANES):
        for lane in range(LANES):
            i = min(start + lane, count - 1)
            for axis in range(3):
                packet[(ORIGIN + axis) * LANES + lane] = origins[i, axis]
                packet[(DIRECTION + axis) * LANES + lane] = directions[i, axis]
            packet[NEAR * LANES + lane] = 0.0
            packet[TIME * LANES + lane] = 0.0
            packet[FAR * LANES + lane] = np.inf
            packet_ids[MASK * LANES + lane] = -1
            packet_ids[GEOMETRY * LANES + lane] = -1
        if row[SCENE] != 0:
            call_intersect(query[0], valid_at, row[SCENE], packet_at, query[1])
        else:
            _trace_numba(row, packet, packet_ids, stack)
        for lane in range(min(LANES, count - start)):
            i = start + lane
            if packet_ids[GEOMETRY * LANES + lane] >= 0:
                distance[i] = packet[FAR * LANES + lane]
                owner = packet_ids[GEOMETRY * LANES + lane]
                face[i] = order[first_face[owner] + packet_ids[FACE * LANES + lane]]
                uv[i, 0] = packet[U * LANES + lane]
                uv[i, 1] = packet[V * LANES + lane]
            else:
                distance[i] = np.inf
                face[i] = -1
                uv[i, 0] = 0.0
                uv[i, 1] = 0.0
