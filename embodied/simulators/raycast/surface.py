"""A scene's surfaces packed for shading: ids, colours, texture coordinates and mip chains."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.simulators.base import Scene

MAX_TEXTURE = 2048
"""Longest texture side kept [texels]."""

TEXTURED, VARIED = 1, 2
"""Bits of a face's flag byte: has a texture; its corners differ in colour."""


@dataclass(frozen=True)
class PackedSurface:
    """Per-object and per-face records the renderer reads.

    Attributes:
        classes: (O + 1,) int32 class id of object i at i + 1, and 0 for a miss (object -1).
        colors: (F, 12) uint8: three corner RGBs, flags, texture index (little-endian 16 bit).
        coords: (F or 1, 8) float32: three corner (u, v), texels per metre, spare.
        textures: (T or 1, 4) int32: first texel of the mip chain, log2 width, log2 height, levels.
        texels: (M, 4) uint8 RGB and padding, all mip chains one after the other.
    """

    classes: NDArray[np.int32]
    colors: NDArray[np.uint8]
    coords: NDArray[np.float32]
    textures: NDArray[np.int32]
    texels: NDArray[np.uint8]


def sort_faces_by_object(scene: Scene) -> tuple[Scene, NDArray[np.int32], NDArray[np.int32]]:
    """Sort a scene's faces by object, so that a hit's object tells its labels.

    Returns:
        The sorted scene, the original number of each of its faces (F,), and the first face of each
        object (O + 1,), the last entry being F.
    """
    order = np.argsort(scene.face_object, kind="stable").astype(np.int32)
    owner = scene.face_object[order]
    first = np.searchsorted(owner, np.arange(len(scene.objects) + 1)).astype(np.int32)
    ordered = replace(
        scene,
        faces=scene.faces[order],
        face_object=owner,
        face_material=scene.face_material[order],
        uv=None if scene.uv is None else scene.uv[order],
    )
    return ordered, order, first


def pack_surface(scene: Scene) -> PackedSurface:
    """Pack the look and labels of a scene."""
    count = len(scene.faces)
    lookup = {name: i for i, name in enumerate(scene.categories)}
    classes = np.array([0, *(lookup[thing.category] for thing in scene.objects)], np.int32)

    base = np.array([m.color for m in scene.materials], np.float32)
    colors = np.zeros((count, 12), np.uint8)
    if scene.colors is None:
        whole = np.clip(base * 255 + 0.5, 0, 255).astype(np.uint8)
        colors[:, :9] = np.tile(whole, 3)[scene.face_material]
    else:
        tint = base[scene.face_material]
        for corner in range(3):
            vertex = scene.colors[scene.faces[:, corner]]
            colors[:, 3 * corner : 3 * corner + 3] = np.clip(vertex * tint + 0.5, 0, 255)
        varied = (colors[:, :3] != colors[:, 3:6]) | (colors[:, :3] != colors[:, 6:9])
        colors[:, 9] = np.where(varied.any(axis=1), VARIED, 0)

    slots, textures, texels = _pack_textures(scene)
    coords = np.zeros((1, 8), np.float32)
    if scene.uv is not None and (slots >= 0).any():
        slot = slots[scene.face_material]
        textured = slot >= 0
        colors[textured, 9] |= TEXTURED
        colors[:, 10] = np.where(textured, slot & 255, 0)
        colors[:, 11] = np.where(textured, slot >> 8, 0)
        coords = np.zeros((count, 8), np.float32)
        uv = scene.uv - np.floor(scene.uv.min(axis=1, keepdims=True))  # keeps float32 fractions
        coords[:, :6] = uv.reshape(count, 6)
        coords[:, 6] = _texel_density(scene, textures[slot, 1:3])
    return PackedSurface(classes, colors, coords, textures, texels)


def _texel_density(scene: Scene, log_size: NDArray[np.int32]) -> NDArray[np.float32]:
    """Texels per metre of each face: the square root of its area in texels over its area in m^2."""
    assert scene.uv is not None  # noqa: S101
    uv = scene.uv
    e1, e2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    texels = np.abs(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]) * np.exp2(log_size.sum(axis=1))
    corner = scene.vertices[scene.faces]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    return np.sqrt(texels / np.maximum(area, 1e-12)).astype(np.float32)


def _pack_textures(
    scene: Scene,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Return texture slot of each material (-1 none), the slot table and all mip chains."""
    slots = np.full(len(scene.materials), -1, np.int32)
    known: dict[int, int] = {}
    table: list[tuple[int, int, int, int]] = []
    chains: list[NDArray[np.uint8]] = []
    offset = 0
    for index, material in enumerate(scene.materials):
        image = material.texture
        if image is None:
            continue
        if id(image) not in known:
            known[id(image)] = len(table)
            log_w, log_h = (_log_side(side) for side in (image.shape[1], image.shape[0]))
            chain = _mip_chain(image, log_w, log_h)
            table.append((offset, log_w, log_h, max(log_w, log_h) + 1))
            chains.append(chain)
            offset += len(chain)
        slots[index] = known[id(image)]
    textures = np.array(table or [(0, 0, 0, 1)], np.int32)
    texels = np.concatenate(chains) if chains else np.zeros((1, 4), np.uint8)
    return slots, textures, texels


def _log_side(side: int) -> int:
    return int(np.clip(round(np.log2(max(side, 1))), 0, np.log2(MAX_TEXTURE)))


def _mip_chain(image: NDArray[np.uint8], log_w: int, log_h: int) -> NDArray[np.uint8]:
    """Resize to powers of two and halve down to one texel; row 0 is the top (v = 1)."""
    levels = []
    for level in range(max(log_w, log_h) + 1):
        size = (1 << max(log_w - level, 0), 1 << max(log_h - level, 0))
        if (image.shape[1], image.shape[0]) != size:
            smaller = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
            image = smaller.astype(np.uint8, copy=False)
        flat = np.zeros((size[0] * size[1], 4), np.uint8)
        flat[:, :3] = image.reshape(-1, 3)
        levels.append(flat)
    return np.concatenate(levels)
