"""What a manipulation policy was made for, how its numbers are scaled, and its batches.

A batch follows LeRobot's names: "observation.images.<camera>", "observation.state", "task" and, for
training, "action" (B, H, A) with "action_is_pad" (B, H).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodied.errors import ConfigError

IMAGES, STATE, ACTION, TASK, PADDED = (
    "observation.images.", "observation.state", "action", "task", "action_is_pad",
)  # fmt: skip
Batch = Mapping[str, Any]

LEAST_RANGE = 0.02
"""Half the range of a number that hardly moves in the data: less would blow up its noise."""


@dataclass(frozen=True)
class RobotInputs:
    """What the policy sees and commands; stored with its weights and compared before they are used.

    Attributes:
        cameras: their names.
        image: height and width of their images.
        state: size of the state.
        action: size of an action.
        orientation: where in the state a quaternion xyzw begins; -1: nowhere.
        fps: control steps per second.
        control: what an action means, e.g. "ee_delta"; "" is not known.
        words: the vocabulary, of `perception.vocabulary.Vocabulary`.
        backbone: digest of the pretrained model it looks through; "" for none.
    """

    cameras: tuple[str, ...]
    image: tuple[int, int]
    state: int
    action: int
    orientation: int
    fps: int
    control: str
    words: tuple[str, ...]
    backbone: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for meta.json."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> RobotInputs:
        """Build from `to_json`'s values."""
        lists = {name: tuple(data[name]) for name in ("cameras", "image", "words")}
        return RobotInputs(**{**data, **lists})

    @property
    def state_features(self) -> int:
        """Size of what `Scaling.scale_state` makes of a state: a quaternion takes six numbers."""
        return self.state + (2 if self.orientation >= 0 else 0)

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Names of the observations that the policy reads."""
        return (*self.cameras, "state", "instruction")

    def build_batch(self, observations: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Turn observations of N environments (cameras by name, "state", "instruction") into a
        batch.

        Raises:
            ConfigError: one is missing or of another shape.
        """
        missing = [name for name in self.observation_keys if name not in observations]
        if missing:
            raise ConfigError(
                f"the policy needs the observations {', '.join(self.observation_keys)}, but the "
                f"task does "
                f"not give {', '.join(missing)}: set the task's observation to rgb"
            )
        made: dict[str, Any] = {TASK: [str(text) for text in observations["instruction"]]}
        count = len(made[TASK])
        for name in self.cameras:
            image = np.asarray(observations[name])
            self._require(name, image.shape, (count, *self.image, 3))
            made[IMAGES + name] = torch.from_numpy(image).to(device)
        state = np.asarray(observations["state"], np.float32)
        self._require("state", state.shape, (count, self.state))
        made[STATE] = torch.from_numpy(state).to(device)
        return made

    def _require(self, name: str, given: Sequence[int], wanted: Sequence[int]) -> None:
        if tuple(given) != tuple(wanted):
            raise ConfigError(
                f"observation '{name}' has the shape {tuple(given)}; the policy was made for "
                f"{tuple(wanted)}. Set the task as in the config.yaml of its run"
            )


class Scaling:
    """Maps states and actions to about [-1, 1] by the smallest and largest values of the data.

    Args:
        statistics: "observation.state" and "action", each with "min" and "max" (lists).
        inputs: whose states and actions they are.

    Raises:
        ConfigError: statistics are missing or of another size.
    """

    def __init__(self, statistics: Mapping[str, Any], inputs: RobotInputs) -> None:
        try:
            self._center, self._half = {}, {}
            for name, size in ((STATE, inputs.state), (ACTION, inputs.action)):
                low, high = (
                    np.asarray(statistics[name][end], np.float32) for end in ("min", "max")
                )
                if low.shape != (size,) or high.shape != (size,):
                    raise ConfigError(
                        f"statistics of '{name}' are for {len(low)} numbers, the policy has {size}"
                    )
                self._center[name] = torch.from_numpy((low + high) / 2)
                half = np.maximum((high - low) / 2, LEAST_RANGE).astype(np.float32)
                self._half[name] = torch.from_numpy(half)
        except KeyError as error:
            raise ConfigError(
                f"the statistics lack {error}: give those of the data set (meta/stats.json)"
            ) from error
        self._orientation = inputs.orientation

    def scale_state(self, state: Tensor) -> Tensor:
        """Return (B, F) of states (B, S).

        A quaternion becomes the first two columns of its rotation matrix (Zhou et al. 2019): q and
        -q are the same rotation, and near a half turn, where grippers point down, a canonical
        sign jumps.
        """
        scaled = self._forth(STATE, state)
        at = self._orientation
        if at < 0:
            return scaled
        columns = quaternion_to_rotation_6d(state[:, at : at + 4])
        return torch.cat([scaled[:, :at], columns, scaled[:, at + 4 :]], dim=1)

    def scale_action(self, action: Tensor) -> Tensor:
        """Return scaled actions (..., A)."""
        return self._forth(ACTION, action)

    def unscale_action(self, scaled: Tensor) -> Tensor:
        """Return actions (..., A) as the environment takes them, within what the data holds."""
        center, half = (x[ACTION].to(scaled.device) for x in (self._center, self._half))
        return scaled.clamp(-1.0, 1.0) * half + center

    def _forth(self, name: str, values: Tensor) -> Tensor:
        center, half = (x[name].to(values.device) for x in (self._center, self._half))
        return (values - center) / half


def quaternion_to_rotation_6d(quaternion: Tensor) -> Tensor:
    """Return the first two columns (B, 6) of the rotation matrices of quaternions xyzw (B, 4)."""
    x, y, z, w = (quaternion / quaternion.norm(dim=1, keepdim=True).clamp(min=1e-8)).unbind(1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w),
            2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w),
        ],
        dim=1,
    )  # fmt: skip


def to_pixels(image: Tensor) -> Tensor:
    """Return images as (B, H, W, 3) with values 0 to 255, from those or from LeRobot's (B, 3, H, W)
    float in 0 to 1.
    """
    if image.dtype.is_floating_point and image.shape[1] == 3 and image.shape[-1] != 3:
        return image.permute(0, 2, 3, 1) * 255.0
    return image


def masked_mean(values: Tensor, padded: Tensor | None) -> Tensor:
    """Return the mean of (B, H, A) over the steps that are no padding, (B, H) bool."""
    if padded is None:
        return values.mean()
    weight = (~padded).to(values.dtype)[..., None].expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
