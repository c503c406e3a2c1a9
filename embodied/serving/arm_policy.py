"""Serve a policy that predicts chunks of actions to an arm that is told joint angles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError

STATE, PROMPT, CAMERA = "observation/state", "prompt", "observation/{}"
Array = NDArray[np.float64]


class ChunkedPolicy(Protocol):
    """What is served; see `embodied.policies.chunk.base.ChunkPolicy`."""

    inputs: Any
    name: str

    @property
    def device(self) -> Any: ...  # noqa: D102

    def predict_action_chunk(self, batch: Mapping[str, Any]) -> Any:
        """Return actions (B, H, A)."""
        ...


class ArmActionSpace(Protocol):
    """Turns joints to what the policy knows and back; see `simulators.bullet.tool_space`."""

    @property
    def joint_count(self) -> int: ...  # noqa: D102

    @property
    def start_joints(self) -> Array: ...  # noqa: D102

    def compute_state(self, joints: Array, opening: float) -> NDArray[np.float32]: ...  # noqa: D102

    def compute_joint_targets(self, actions: Array, joints: Array) -> Array: ...  # noqa: D102


class ServedArmPolicy:
    """Answers what an arm sees with joint angles; satisfies `protocol.ServedPolicy`.

    Args:
        policy: of an arm with cameras.
        space: of an arm whose tool the policy moves; None: its states and actions are joint angles
            already, the gripper last, as in the recordings it learned from.
        metadata: what clients are told beside sizes, cameras and times.
    """

    def __init__(
        self, policy: ChunkedPolicy, space: ArmActionSpace | None, metadata: Mapping[str, Any]
    ) -> None:
        self._policy, self._space = policy, space
        inputs = policy.inputs
        self._metadata = {
            **metadata,
            "policy": policy.name,
            "start": space.start_joints.tolist() if space else [],
            "action_size": space.joint_count + 1 if space else inputs.action,
            "period": 1 / inputs.fps,
            "cameras": list(inputs.cameras),
            "image": list(inputs.image),
        }

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What clients are told."""
        return self._metadata

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Array]:
        """Return the next actions.

        Args:
            observation: "observation/state" (J + 1,): joint angles [rad], then the gripper in
                [0, 1]; "prompt"; "observation/NAME" (H, W, 3) uint8 of every camera, of any size.

        Returns:
            "actions" (H, J + 1): one row a period.

        Raises:
            ConfigError: something is missing or of another size.
        """
        inputs, space = self._policy.inputs, self._space
        given = np.asarray(observation.get(STATE, ()), np.float64)
        wanted = space.joint_count + 1 if space else inputs.state
        if given.shape != (wanted,):
            raise ConfigError(
                f"'{STATE}' has the shape {given.shape}; this policy is for an arm with {wanted} "
                "values: joint angles, then the opening of the gripper"
            )
        if not np.isfinite(given).all():
            raise ConfigError(f"'{STATE}' holds NaN or infinity: {given.tolist()}")
        seen: dict[str, Any] = {name: self._image(observation, name) for name in inputs.cameras}
        state = space.compute_state(given[:-1], float(given[-1])) if space else given
        seen |= {"state": state[None], "instruction": (str(observation.get(PROMPT, "")),)}
        batch = inputs.build_batch(seen, self._policy.device)
        actions = self._policy.predict_action_chunk(batch)[0].cpu().numpy().astype(np.float64)
        return {"actions": space.compute_joint_targets(actions, given[:-1]) if space else actions}

    def _image(self, observation: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
        """Return the image of a camera as the policy knows it, (1, H, W, 3)."""
        cameras = self._policy.inputs.cameras
        image = observation.get(CAMERA.format(name))
        if image is None:
            there = [key for key in observation if key not in (STATE, PROMPT)]
            raise ConfigError(
                f"the policy sees through the cameras {', '.join(cameras)}, and there is no "
                f"'{CAMERA.format(name)}' beside {', '.join(there) or 'the state'}. Give what they "
                "see (embodied deploy --sensors MODULE:FUNCTION)"
            )
        array = np.asarray(image)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ConfigError(
                f"'{CAMERA.format(name)}' is {array.dtype} {array.shape}; give (H, W, 3) uint8, RGB"
            )
        height, width = self._policy.inputs.image
        if array.shape[:2] != (height, width):
            array = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(array[None], np.uint8)
