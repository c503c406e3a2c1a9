"""A chunk policy whose actions say which chunk they are of, and how far along."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from embodied.perception.vocabulary import SPECIAL
from embodied.policies.chunk.backbones import BackboneConfig, Context, make_backbone
from embodied.policies.chunk.backbones.base import TinyConfig
from embodied.policies.chunk.base import Batch, ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.robot_inputs import ACTION, STATE, RobotInputs
from embodied.tasks.tabletop.views import CAMERAS

INPUTS = RobotInputs(CAMERAS, (32, 32), 8, 7, 3, 20, "ee_delta", (*SPECIAL, "ball"))
STATISTICS = {
    STATE: {"min": [-1.0] * 8, "max": [1.0] * 8}, ACTION: {"min": [-1.0] * 7, "max": [1.0] * 7},
}  # fmt: skip
CHUNK, STEP = 0.001, 0.0001


class Scripted(ChunkPolicy):
    """Hardly moves: the first number of an action is CHUNK * (number of the prediction) + STEP *
    (place in the chunk), all predictions counted; the gripper opens.
    """

    name = "act"

    def __init__(self, n_action_steps: int = 3, chunk_size: int = 4) -> None:
        backbone = make_backbone(
            BackboneConfig(tiny=TinyConfig(width=16, channels=(4, 4))), INPUTS.cameras, INPUTS.words
        )
        super().__init__(
            INPUTS, ChunkNetwork(backbone, nn.Linear(1, 1)), chunk_size, n_action_steps
        )
        self.normalization = STATISTICS
        self.predictions = 0

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        raise NotImplementedError

    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        action = torch.zeros(len(state), self.chunk_size, 7)
        numbers = self.predictions + torch.arange(len(state))
        self.predictions += len(state)
        action[..., 0] = CHUNK * numbers[:, None] + STEP * torch.arange(self.chunk_size)
        action[..., 6] = 1.0
        return {"action": action}


def told(actions: np.ndarray) -> list[tuple[int, int]]:
    """Number of the prediction and place in the chunk of actions (M, 7)."""
    numbers = np.round(actions[:, 0].astype(float) / STEP).astype(int)
    return [divmod(int(n), round(CHUNK / STEP)) for n in numbers]
