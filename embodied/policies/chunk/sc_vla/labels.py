"""What SC-VLA imagines, as labels: task progress and the short-term change of the gripper.

The change over the next few control steps is seen from the gripper itself: "forward" means the same
wherever the arm points. Scales make 2 cm, 0.1 rad or a tenth of the gripper's way one unit
(SC-VLA, arXiv 2602.21633, section 3.2; Kisaragi0/SC-VLA, dataset.py).

States are (..., 8): position of the tool centre point [m], its orientation as a quaternion xyzw in
the frame of the arm's base, opening of the gripper in 0 to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]

STATE_SIZE, DELTA_SIZE = 8, 7
SCALES = np.array([50.0, 50.0, 50.0, 10.0, 10.0, 10.0, 10.0])
"""Of position [1/m], rotation vector [1/rad] and gripper opening."""


def compute_state_delta(now: Array, later: Array) -> NDArray[np.float32]:
    """Return the scaled change between two states, in the frame of the gripper at the first.

    Args:
        now: (..., 8).
        later: (..., 8).

    Returns:
        (..., 7): position ``R_t^T (p' - p)``, rotation vector of ``R_t^T R'``, opening; scaled.
    """
    shape = np.broadcast_shapes(now.shape[:-1], later.shape[:-1])
    now, later = (np.broadcast_to(x, (*shape, STATE_SIZE)).reshape(-1, STATE_SIZE)
                  for x in (now, later))  # fmt: skip
    back = Rotation.from_quat(now[:, 3:7]).inv()
    change = np.concatenate(
        [
            back.apply(later[:, :3] - now[:, :3]),
            (back * Rotation.from_quat(later[:, 3:7])).as_rotvec(),
            later[:, 7:] - now[:, 7:],
        ],
        axis=1,
    )
    return (change * SCALES).reshape(*shape, DELTA_SIZE).astype(np.float32)


def unscale_delta(delta: Array) -> NDArray[np.float64]:
    """Return a change (..., 7) in metres, radians and openings."""
    return np.asarray(delta, np.float64) / SCALES


def compute_imagined_position(state: Array, delta: Array) -> NDArray[np.float64]:
    """Return where the gripper is imagined to be, in the frame of the arm's base [m].

    Args:
        state: (..., 8) when it was imagined.
        delta: (..., 7) unscaled change.

    Returns:
        (..., 3): ``p + R dp``.
    """
    flat = np.asarray(state, np.float64).reshape(-1, STATE_SIZE)
    way = np.asarray(delta, np.float64)[..., :3].reshape(-1, 3)
    moved = flat[:, :3] + Rotation.from_quat(flat[:, 3:7]).apply(way)
    return moved.reshape(*np.shape(state)[:-1], 3)


def compute_progress(
    frame: NDArray[np.integer], length: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the share of an episode that is over at a frame: index / length, in [0, 1).

    The length is known in a recording only: a target, never an input.
    """
    return (np.asarray(frame) / np.maximum(length, 1)).astype(np.float32)
