"""A chunk policy served to an arm: joints and cameras in, joint angles out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.serving.arm_policy import ServedArmPolicy
from embodied.serving.protocol import ServedPolicy

JOINTS = np.array([0.1, -0.2, 0.3, 0.4])


class Recited:
    """A policy that remembers what it saw and always answers the same chunk."""

    name = "recited"
    device = torch.device("cpu")

    def __init__(self, state: int, chunk: np.ndarray) -> None:
        self.inputs = RobotInputs(
            ("top", "wrist"), (24, 32), state, chunk.shape[1], -1, 10, "", ("go",)
        )
        self.chunk, self.seen = chunk, {}

    def predict_action_chunk(self, batch: Any) -> torch.Tensor:
        self.seen = dict(batch)
        return torch.from_numpy(self.chunk)[None]


class Doubled:
    """A space whose states are eight equal numbers; joints move by the first of an action."""

    joint_count = 3
    start_joints = JOINTS[:3]

    def compute_state(self, joints: np.ndarray, opening: float) -> np.ndarray:
        return np.full(8, opening, np.float32)

    def compute_joint_targets(self, actions: np.ndarray, joints: np.ndarray) -> np.ndarray:
        moved = joints + np.cumsum(actions[:, :1], axis=0)
        return np.column_stack([moved, actions[:, 6]])


def seen(**changes: Any) -> dict[str, Any]:
    image = np.full((24, 32, 3), 7, np.uint8)
    return {
        "observation/state": JOINTS, "prompt": "go", "observation/top": image,
        "observation/wrist": image, **changes,
    }  # fmt: skip


def test_a_policy_of_joint_angles_is_passed_through() -> None:
    chunk = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    policy = Recited(4, chunk)
    served = ServedArmPolicy(policy, None, {"checkpoint": "x"})
    assert isinstance(served, ServedPolicy)
    np.testing.assert_array_equal(served.infer(seen())["actions"], chunk)
    np.testing.assert_allclose(policy.seen["observation.state"][0], JOINTS, atol=1e-7)
    assert policy.seen["task"] == ["go"]
    assert served.metadata["action_size"] == 4
    assert served.metadata["period"] == pytest.approx(0.1)
    assert served.metadata["cameras"] == ["top", "wrist"]


def test_a_policy_of_a_tool_is_put_on_the_arm() -> None:
    chunk = np.zeros((3, 7), np.float32)
    chunk[:, 0], chunk[:, 6] = 0.5, (0, 0.5, 1)
    policy = Recited(8, chunk)
    served = ServedArmPolicy(policy, Doubled(), {})
    actions = served.infer(seen())["actions"]
    np.testing.assert_allclose(actions[-1], [1.6, 1.3, 1.8, 1.0])
    np.testing.assert_allclose(policy.seen["observation.state"], [[0.4] * 8], atol=1e-7)
    assert served.metadata["action_size"] == 4
    assert served.metadata["start"] == JOINTS[:3].tolist()


def test_images_of_any_size_are_scaled() -> None:
    policy = Recited(4, np.zeros((2, 4), np.float32))
    large = np.zeros((48, 64, 3), np.uint8)
    large[:24] = 200
    ServedArmPolicy(policy, None, {}).infer(seen(**{"observation/top": large}))
    image = policy.seen["observation.images.top"][0].numpy()
    assert image.shape == (24, 32, 3)
    assert (image[:12] == 200).all()
    assert (image[12:] == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation/state": JOINTS[:3]}, r"shape \(3,\); this policy is for an arm with 4"),
        ({"observation/state": JOINTS * np.nan}, "holds NaN or infinity"),
        ({"observation/wrist": None}, r"there is no 'observation/wrist'"),
        ({"observation/top": np.zeros((24, 32, 3))}, r"float64 \(24, 32, 3\); give"),
        ({"observation/top": np.zeros((24, 32), np.uint8)}, r"give \(H, W, 3\) uint8"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], message: str) -> None:
    served = ServedArmPolicy(Recited(4, np.zeros((2, 4), np.float32)), None, {})
    with pytest.raises(ConfigError, match=message):
        served.infer(seen(**changes))
