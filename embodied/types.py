"""Values that cross package borders.

Frames: y up, metres, right-handed; an agent at yaw 0 looks along -z.

Yaw is counter-clockwise about +y [rad], so ``forward = (-sin yaw, 0, -cos yaw)`` (Habitat).
Cameras look along their own -z with +x right and +y up. Quaternions are ``xyzw``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Pose:
    """A rigid pose in the world frame.

    Attributes:
        position: (3,) [m].
        rotation: (4,) unit quaternion, xyzw.
    """

    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    @staticmethod
    def from_yaw(position: FloatArray | tuple[float, float, float], yaw: float) -> Pose:
        """Build an upright pose from a position [m] and a heading [rad]."""
        x, y, z = (float(v) for v in position)
        return Pose((x, y, z), (0.0, float(np.sin(yaw / 2)), 0.0, float(np.cos(yaw / 2))))

    @property
    def yaw(self) -> float:
        """Heading [rad] in (-pi, pi]: the direction of the pose's -z axis on the floor plane."""
        x, y, z, w = self.rotation
        forward_x, forward_z = -2 * (x * z + w * y), -(1 - 2 * (x * x + y * y))
        return float(np.arctan2(-forward_x, -forward_z))

    def matrix(self) -> NDArray[np.float64]:
        """Return the (4, 4) pose-to-world transform."""
        from scipy.spatial.transform import Rotation

        transform = np.eye(4)
        transform[:3, :3] = Rotation.from_quat(self.rotation).as_matrix()
        transform[:3, 3] = self.position
        return transform


def quaternion_to_matrix(quaternions: ArrayLike) -> NDArray[np.float64]:
    """Return the rotation matrices (..., 3, 3) of unit quaternions xyzw (..., 4)."""
    q = np.asarray(quaternions, np.float64)
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


STOP, FORWARD, LEFT, RIGHT, LOOK_UP, LOOK_DOWN = range(6)
"""Discrete actions of a walking agent, numbered as in Habitat's navigation tasks."""

Observations = Mapping[str, Any]
"""What N agents observe: key -> array (N, ...), or a sequence of N strings; see below."""

DiscreteActions = NDArray[np.int64]
"""(N,) one of STOP, FORWARD, ... per agent."""

PlaceActions = NDArray[np.int64]
"""(N, 2) of agents on a graph of places: 0 = stop, i = walk to candidate i; and 0 = no answer,
j = the answer is object j, read with stop only.
"""

ArmActions = NDArray[np.float32]
"""(N, A) in [-1, 1] of arms: for "ee_delta" the way (3), the turn (3) and the gripper (1) of the
tool, in units of the task's `position_step` [m] and `rotation_step` [rad].
"""


class MobilePickActions(TypedDict):
    """What N driving arms do: "mode" (N,) int, 0 = drive, 1 = the arm moves; "base" (N,) int, a
    discrete action; "arm" (N, A) float32 as in `ArmActions`.
    """

    mode: NDArray[np.int64]
    base: DiscreteActions
    arm: ArmActions


class ObservationKey(NamedTuple):
    """One entry of an observation.

    Attributes:
        shape: of one agent's, without the batch axis N; letters are sizes of the task.
        dtype: of its array; "str" of text.
        meaning: with frame and unit.
    """

    shape: str
    dtype: str
    meaning: str


_CAMERA = {
    "rgb": ObservationKey("(H, W, 3)", "uint8", "camera image"),
    "depth": ObservationKey("(H, W)", "float32", "distance along the optical axis [m]"),
    "semantic": ObservationKey("(H, W)", "int32", "class of each pixel, 0 = none"),
    "instance": ObservationKey("(H, W)", "int32", "object of each pixel, 0 = none"),
}
_POSE = ObservationKey(
    "(4,)", "float32", "x, y, z [m] and yaw [rad] in the frame of the episode's start"
)
_EXPERT = ObservationKey("()", "int64", "what the shortest-path expert would do (privileged)")

NAVIGATION_KEYS: Mapping[str, ObservationKey] = _CAMERA | {
    "pose": _POSE,
    "expert_action": _EXPERT,
}
"""Observations of the navigation tasks, beside "goal"; images as the task's camera lists them."""

GOAL_KEYS: Mapping[str, ObservationKey] = {
    "pointnav": ObservationKey("(2,)", "float32", "distance [m] and angle [rad], left positive"),
    "objectnav": ObservationKey("()", "int64", "class to find, a row of MPCAT40"),
    "imagenav": ObservationKey("(H, W, 3)", "uint8", "image taken at the goal"),
}
"""Navigation task -> its observation "goal"; exploration has none."""

PLACE_KEYS: Mapping[str, ObservationKey] = {
    "instruction": ObservationKey("()", "str", "what to do"),
    "place": ObservationKey("()", "int64", "identity of the place the agent is at"),
    "position": ObservationKey("(3,)", "float32", "from the episode's start, world axes [m]"),
    "heading": ObservationKey("()", "float32", "clockwise from north [rad]"),
    "views": ObservationKey("(36, D)", "float32", "features of the views of the panorama"),
    "candidates": ObservationKey("(C,)", "int64", "neighbouring places, -1 = none"),
    "candidate_positions": ObservationKey("(C, 3)", "float32", "as position [m]"),
    "objects": ObservationKey("(O,)", "int64", "identities of visible objects, -1 = none"),
    "object_names": ObservationKey("(O,)", "str", "names of the objects"),
    "object_categories": ObservationKey("(O,)", "int64", "rows of the category canvas, -1 = none"),
    "object_boxes": ObservationKey("(O, 4)", "float32", "where in the panorama they are [rad]"),
    "object_features": ObservationKey("(O, 6)", "float32", "see `maps.panorama.observation`"),
    "canvas": ObservationKey("(K, h, w)", "bool", "category masks of the panorama"),
    "candidate_canvas": ObservationKey("(C, K, h, w)", "bool", "those of the candidates (oracle)"),
    "goal_distance": ObservationKey("()", "float32", "to the nearest goal [m] (privileged)"),
    "candidate_goal_distances": ObservationKey(
        "(C,)", "float32", "from the candidates, inf = none [m] (privileged)"
    ),
    "target": ObservationKey("()", "int64", "object asked for, -1 = none (privileged)"),
}
"""Observations of the language-guided tasks on a graph of places."""

PANORAMA_KEYS: Mapping[str, ObservationKey] = {
    "instruction": PLACE_KEYS["instruction"],
    "position": PLACE_KEYS["position"],
    "heading": PLACE_KEYS["heading"],
    "rgb": ObservationKey("(H, W, 3)", "uint8", "equirectangular, north in the middle"),
    "depth": ObservationKey("(H, W)", "float32", "length of the rays [m]"),
    "semantic": ObservationKey("(H, W)", "int64", "rows of the category canvas, -1 = none"),
    "instance": ObservationKey("(H, W)", "int32", "object of each pixel, 0 = none"),
    "instance_names": ObservationKey("(I,)", "str", "name of each object number"),
    "expert_action": _EXPERT,
}
"""Observations of the language-guided tasks with low-level actions."""

ARM_KEYS: Mapping[str, ObservationKey] = {
    "state": ObservationKey(
        "(S,)", "float32", "tool position [m], quaternion xyzw in the frame of the arm's base, and "
        "the gripper's opening in [0, 1]",
    ),
    "instruction": ObservationKey("()", "str", "what to do"),
    "front": ObservationKey("(h, w, 3)", "uint8", "camera beside the arm"),
    "wrist": ObservationKey("(h, w, 3)", "uint8", "camera on the hand"),
    "objects": ObservationKey("(P,)", "float32", "where the objects are [m] (privileged)"),
}  # fmt: skip
"""Observations of the tabletop tasks."""

MOBILE_PICK_KEYS: Mapping[str, ObservationKey] = {
    **NAVIGATION_KEYS,
    **ARM_KEYS,
    "goal": ObservationKey("()", "int64", "which thing to pick up"),
    "mode": ObservationKey("()", "int64", "0 = the base drives, 1 = the arm moves"),
    "expert_action": ObservationKey("(A,)", "float32", "of the arm's expert (privileged)"),
}
"""Observations of arms that drive; images are the base's, "front" and "wrist" the arm's."""
