"""Rotations of many bodies at once, in numpy alone: a control step makes dozens of them.

Quaternions are xyzw; every function takes leading batch axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def to_quaternion(matrices: Array) -> Array:
    """Return unit quaternions (..., 4) with w >= 0 of rotation matrices (..., 3, 3).

    The column of 4 q q^T with the largest diagonal entry is taken, which is accurate everywhere
    (Shepperd, "Quaternion from rotation matrix", J. Guidance and Control 1978).
    """
    m = np.asarray(matrices, np.float64)
    products = np.empty((*m.shape[:-2], 4, 4))
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    for i, value in enumerate((1 + a - b - c, 1 - a + b - c, 1 - a - b + c, 1 + a + b + c)):
        products[..., i, i] = value
    for i, j in ((0, 1), (0, 2), (1, 2)):
        products[..., i, j] = products[..., j, i] = m[..., i, j] + m[..., j, i]
    for i, (j, k) in enumerate(((2, 1), (0, 2), (1, 0))):
        products[..., i, 3] = products[..., 3, i] = m[..., j, k] - m[..., k, j]
    largest = np.argmax(np.diagonal(products, axis1=-2, axis2=-1), axis=-1)[..., None, None]
    rows = np.take_along_axis(products, largest, axis=-2)[..., 0, :]
    rows = rows / np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    return np.where(rows[..., 3:] < 0, -rows, rows)


def to_rotvec(matrices: Array) -> Array:
    """Return rotation vectors (..., 3) [rad] of rotation matrices (..., 3, 3)."""
    quaternions = to_quaternion(matrices)
    axis = quaternions[..., :3]
    sine = np.sqrt((axis * axis).sum(axis=-1, keepdims=True))
    angle = 2 * np.arctan2(sine, quaternions[..., 3:])
    return np.asarray(axis * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0))


def from_rotvec(vectors: Array) -> Array:
    """Return rotation matrices (..., 3, 3) of rotation vectors (..., 3) [rad] (Rodrigues)."""
    v = np.asarray(vectors, np.float64)
    angle = np.sqrt((v * v).sum(axis=-1))[..., None, None]
    cross = np.zeros((*v.shape[:-1], 3, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = v[..., 0], v[..., 1], v[..., 2]
    cross = cross - np.swapaxes(cross, -1, -2)
    safe = np.maximum(angle, 1e-12)
    straight = np.where(angle > 1e-12, np.sin(angle) / safe, 1.0)
    curved = np.where(angle > 1e-6, (1 - np.cos(angle)) / (safe * safe), 0.5)
    return np.asarray(np.eye(3) + straight * cross + curved * (cross @ cross))
