"""Tessellate a house to a wanted number of triangles without moving a surface."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, Any]


def tessellate_faces(arrays: Arrays, target: int) -> Arrays:
    """Split faces into n x n equal parts, n by size, so that about `target` faces result.

    Args:
        arrays: `Scene` arrays of the light house; its faces must number fewer than `target`.
        target: wanted number of faces.

    Returns:
        The same surfaces with more faces; order of the faces changes.
    """
    vertices, faces = arrays["vertices"], arrays["faces"]
    corners = vertices[faces].astype(np.float64)
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    low, high = 1e-4, float(edges.max())
    for _ in range(50):
        middle = np.sqrt(low * high)
        if (np.ceil(edges / middle) ** 2).sum() > target:
            low = middle
        else:
            high = middle
    parts = np.maximum(np.ceil(edges / high), 1).astype(int)
    points, triangles, parents, uvs, shades = [], [], [], [], []
    offset = 0
    for n in np.unique(parts):
        weights, local = _grid(int(n))
        chosen = np.flatnonzero(parts == n)
        made = np.einsum("kc,fcd->fkd", weights, corners[chosen])
        points.append(made.reshape(-1, 3).astype(np.float32))
        index = local[None] + (offset + len(weights) * np.arange(len(chosen)))[:, None, None]
        triangles.append(index.reshape(-1, 3).astype(np.int32))
        parents.append(np.repeat(chosen, len(local)))
        offset += len(weights) * len(chosen)
        if (colors := arrays["colors"]) is not None:
            made = np.einsum("kc,fcd->fkd", weights, colors[faces[chosen]].astype(np.float64))
            shades.append((made.reshape(-1, 3) + 0.5).astype(np.uint8))
        if (uv := arrays["uv"]) is not None:
            made = np.einsum("kc,fcd->fkd", weights.astype(np.float32), uv[chosen])
            uvs.append(made[:, local].reshape(-1, 3, 2).astype(np.float32))
    parent = np.concatenate(parents)
    owner, material = arrays["face_object"], arrays["face_material"]
    return {
        "vertices": np.concatenate(points),
        "faces": np.concatenate(triangles),
        "face_object": owner[parent],
        "face_material": material[parent],
        "uv": np.concatenate(uvs) if uvs else None,
        "colors": np.concatenate(shades) if shades else None,
    }


@lru_cache(maxsize=256)
def _grid(n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return barycentric weights (K, 3) and triangles (n * n, 3) of a triangle cut into n x n."""
    index: dict[tuple[int, int], int] = {}
    weights: list[tuple[float, float, float]] = []
    for i in range(n + 1):
        for j in range(n + 1 - i):
            index[i, j] = len(weights)
            weights.append(((n - i - j) / n, i / n, j / n))
    triangles = []
    for i in range(n):
        for j in range(n - i):
            triangles.append((index[i, j], index[i + 1, j], index[i, j + 1]))
            if i + j < n - 1:
                triangles.append((index[i + 1, j], index[i + 1, j + 1], index[i, j + 1]))
    return np.array(weights), np.array(triangles)
