"""A bounding-volume hierarchy and packet tracer in numba, for machines without Embree.

The tree is binary, built top down by the surface-area heuristic over bins of triangle centroids
(Wald 2007, "On fast construction of SAH-based bounding volume hierarchies"); packets walk it
nearest child first and test triangles after Moeller and Trumbore (1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.raycast.compiled import compiled, inlined
from embodied.simulators.raycast.packet import (
    DIRECTION,
    FACE,
    FAR,
    GEOMETRY,
    INVERSE,
    LANES,
    NORMAL,
    ORIGIN,
    U,
    V,
)

BINS = 16
LEAF = 4
"""Most triangles of a leaf (more only where centroids coincide)."""

STACK = 128
"""Depth of the traversal stack; the builder falls back to halving, so trees stay far shallower."""


@dataclass(frozen=True)
class Bvh:
    """A built tree.

    Attributes:
        nodes: (M, 8) float32: low corner, high corner, then two int32 as float bits: first child
            and 0 for inner nodes (children are neighbours), first triangle and count for leaves.
        triangles: (F, 11) float32 in leaf order: corner, two edges, then as int32 bits the number
            of the face within its object and the object.
    """

    nodes: NDArray[np.float32]
    triangles: NDArray[np.float32]


def build_bvh(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], first: NDArray[np.int32]
) -> Bvh:
    """Build the tree over (F, 3) faces of (V, 3) vertices; object i starts at face first[i]."""
    corners = vertices[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    order = np.arange(len(faces), dtype=np.int32)
    nodes = np.zeros((2 * len(faces), 8), np.float32)
    used = _build(low, high, (low + high) * np.float32(0.5), order, nodes, nodes.view(np.int32))
    triangles = np.empty((len(faces), 11), np.float32)
    corners = corners[order]
    triangles[:, :3] = corners[:, 0]
    triangles[:, 3:6] = corners[:, 1] - corners[:, 0]
    triangles[:, 6:9] = corners[:, 2] - corners[:, 0]
    owner = np.searchsorted(first, order, side="right") - 1
    triangles.view(np.int32)[:, 9] = order - first[owner]
    triangles.view(np.int32)[:, 10] = owner
    return Bvh(nodes[:used].copy(), triangles)


@compiled()
def _half_area(low: Any, high: Any) -> float:
    x, y, z = high[0] - low[0], high[1] - low[1], high[2] - low[2]
    return x * y + y * z + z * x


@compiled()
def _build(low: Any, high: Any, middle: Any, order: Any, nodes: Any, links: Any) -> int:
    """Fill `nodes` (and `order`, the leaf order of faces); return how many nodes are used."""
    pending = np.empty((4 * STACK, 4), np.int64)  # node, first, end, depth
    pending[0] = (0, 0, len(order), 0)
    waiting, used = 1, 1
    count = np.empty(BINS, np.int64)
    box_low, box_high = np.empty((BINS, 3), np.float32), np.empty((BINS, 3), np.float32)
    right_cost = np.empty(BINS, np.float64)
    while waiting:
        waiting -= 1
        node, first, end, depth = pending[waiting]
        node_low, node_high = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
        center_low, center_high = node_low.copy(), node_high.copy()
        for i in range(first, end):
            for axis in range(3):
                face = order[i]
                node_low[axis] = min(node_low[axis], low[face, axis])
                node_high[axis] = max(node_high[axis], high[face, axis])
                center_low[axis] = min(center_low[axis], middle[face, axis])
                center_high[axis] = max(center_high[axis], middle[face, axis])
        nodes[node, :3], nodes[node, 3:6] = node_low, node_high
        if end - first <= LEAF:
            links[node, 6], links[node, 7] = first, end - first
            continue
        best, best_axis, best_bin = np.inf, -1, 0
        for axis in range(3):
            extent = center_high[axis] - center_low[axis]
            if extent <= 1e-9 or depth > STACK // 2:
                continue
            scale = BINS * np.float32(0.9999) / extent
            count[:] = 0
            box_low[:], box_high[:] = np.inf, -np.inf
            for i in range(first, end):
                face = order[i]
                slot = int((middle[face, axis] - center_low[axis]) * scale)
                count[slot] += 1
                for k in range(3):
                    box_low[slot, k] = min(box_low[slot, k], low[face, k])
                    box_high[slot, k] = max(box_high[slot, k], high[face, k])
            node_low[:], node_high[:] = np.inf, -np.inf
            total = 0
            for slot in range(BINS - 1, 0, -1):
                node_low[:] = np.minimum(node_low, box_low[slot])
                node_high[:] = np.maximum(node_high, box_high[slot])
                total += count[slot]
                right_cost[slot] = total * _half_area(node_low, node_high) if total else np.inf
            node_low[:], node_high[:] = np.inf, -np.inf
            total = 0
            for slot in range(BINS - 1):
                node_low[:] = np.minimum(node_low, box_low[slot])
                node_high[:] = np.maximum(node_high, box_high[slot])
                total += count[slot]
                if total:
                    cost = total * _half_area(node_low, node_high) + right_cost[slot + 1]
                    if cost < best:
                        best, best_axis, best_bin = cost, axis, slot
        cut = first
        if best_axis >= 0:
            scale = BINS * np.float32(0.9999) / (center_high[best_axis] - center_low[best_axis])
            for i in range(first, end):
                face = order[i]
                if int((middle[face, best_axis] - center_low[best_axis]) * scale) <= best_bin:
                    order[i], order[cut] = order[cut], face
                    cut += 1
        if cut in (first, end):  # coinciding centroids: any half is as good as another
            cut = (first + end) // 2
        links[node, 6], links[node, 7] = used, 0
        pending[waiting] = (used, first, cut, depth + 1)
        pending[waiting + 1] = (used + 1, cut, end, depth + 1)
        waiting, used = waiting + 2, used + 2
    return used


@inlined(fastmath={"contract", "nsz", "arcp", "reassoc", "nnan"})
def _entry(nodes: Any, node: int, packet: Any) -> Any:
    """Nearest entry of any lane into a node's box, inf when all lanes miss it."""
    best = np.float32(np.inf)
    base = node * 8
    for lane in range(LANES):
        enter, leave = np.float32(0.0), packet[FAR * LANES + lane]
        for axis in range(3):
            origin = packet[(ORIGIN + axis) * LANES + lane]
            inverse = packet[(INVERSE + axis) * LANES + lane]
            a = (nodes[base + axis] - origin) * inverse
            b = (nodes[base + 3 + axis] - origin) * inverse
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        best = min(best, enter if enter <= leave else np.float32(np.inf))
    return best


@inlined(fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
def _triangle(triangles: Any, face_ids: Any, index: int, packet: Any, packet_ids: Any) -> None:
    """Test one triangle against all lanes and keep nearer hits."""
    base = index * 11
    ax, ay, az = triangles[base], triangles[base + 1], triangles[base + 2]
    ex, ey, ez = triangles[base + 3], triangles[base + 4], triangles[base + 5]
    fx, fy, fz = triangles[base + 6], triangles[base + 7], triangles[base + 8]
    nx, ny, nz = ey * fz - ez * fy, ez * fx - ex * fz, ex * fy - ey * fx
    face, owner = face_ids[base + 9], face_ids[base + 10]
    slack = np.float32(-1e-6)  # closes the cracks between neighbouring triangles
    for lane in range(LANES):
        dx = packet[DIRECTION * LANES + lane]
        dy = packet[(DIRECTION + 1) * LANES + lane]
        dz = packet[(DIRECTION + 2) * LANES + lane]
        ox = packet[ORIGIN * LANES + lane] - ax
        oy = packet[(ORIGIN + 1) * LANES + lane] - ay
        oz = packet[(ORIGIN + 2) * LANES + lane] - az
        inverse = np.float32(-1.0) / (nx * dx + ny * dy + nz * dz)
        t = (nx * ox + ny * oy + nz * oz) * inverse
        cx, cy, cz = oy * dz - oz * dy, oz * dx - ox * dz, ox * dy - oy * dx
        u = (fx * cx + fy * cy + fz * cz) * inverse
        v = -(ex * cx + ey * cy + ez * cz) * inverse
        inside = (u >= slack) & (v >= slack) & (u + v <= np.float32(1.0) - slack)
        if inside & (t >= np.float32(0.0)) & (t < packet[FAR * LANES + lane]):
            packet[FAR * LANES + lane] = t
            packet[U * LANES + lane] = u
            packet[V * LANES + lane] = v
            packet[NORMAL * LANES + lane] = nx
            packet[(NORMAL + 1) * LANES + lane] = ny
            packet[(NORMAL + 2) * LANES + lane] = nz
            packet_ids[FACE * LANES + lane] = face
            packet_ids[GEOMETRY * LANES + lane] = owner


@compiled(error_model="numpy")
def trace_packet(
    nodes: Any, links: Any, triangles: Any, face_ids: Any, packet: Any, packet_ids: Any, stack: Any
) -> None:
    """Find the nearest hit of every ray of a packet.

    All arrays are flat; `links` and `face_ids` are int32 views of `nodes` and `triangles`.
    """
    for axis in range(3):
        for lane in range(LANES):
            d = packet[(DIRECTION + axis) * LANES + lane]
            if abs(d) < np.float32(1e-18):
                d = np.float32(math.copysign(1e-18, d))
            packet[(INVERSE + axis) * LANES + lane] = np.float32(1.0) / d
    if _entry(nodes, 0, packet) == np.inf:
        return
    waiting, node = 0, 0
    while True:
        first, count = links[node * 8 + 6], links[node * 8 + 7]
        if count > 0:
            for index in range(first, first + count):
                _triangle(triangles, face_ids, index, packet, packet_ids)
        else:
            near, other = _entry(nodes, first, packet), _entry(nodes, first + 1, packet)
            if near <= other and near < np.inf:
                if other < np.inf:
                    stack[waiting] = first + 1
                    waiting += 1
                node = first
                continue
            if other < np.inf:
                if near < np.inf:
                    stack[waiting] = first
                    waiting += 1
                node = first + 1
                continue
        while True:
            if waiting == 0:
                return
            waiting -= 1
            node = stack[waiting]
            if _entry(nodes, node, packet) < np.inf:
                break
