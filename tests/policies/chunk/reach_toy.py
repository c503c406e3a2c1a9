"""A task small enough to learn in seconds: go to a square, and close the gripper on a blue one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from embodied.perception.vocabulary import Vocabulary
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.policies.chunk.sc_vla.labels import compute_state_delta

SIDE, CHUNK = 32, 8
TASKS = ("go to the red square", "go to the blue square")
WORDS = Vocabulary.from_texts(TASKS).words
INPUTS = RobotInputs(("front", "wrist"), (SIDE, SIDE), 8, 7, 3, 20, "ee_delta", WORDS)
STATISTICS = {
    "observation.state": {"min": [-1.0] * 8, "max": [1.0] * 8},
    "action": {"min": [-1.0] * 7, "max": [1.0] * 7},
}


def toy_batch(count: int, seed: int) -> dict[str, Any]:
    """A square at a random place, its colour named; the way there in equal steps."""
    rng = np.random.default_rng(seed)
    images = {name: np.zeros((count, SIDE, SIDE, 3), np.uint8) for name in INPUTS.cameras}
    state = np.zeros((count, 8), np.float32)
    state[:, 3] = 1.0  # points down
    state[:, :2] = rng.uniform(-0.2, 0.2, (count, 2))
    places = rng.uniform(-0.8, 0.8, (count, 2))
    named = rng.integers(0, 2, count)
    for row in range(count):
        x, y = ((places[row] + 1) / 2 * (SIDE - 4)).astype(int)
        for image in images.values():
            image[row, y : y + 4, x : x + 4, 2 * named[row]] = 255
    way = places - state[:, :2]
    steps = np.repeat((way / np.abs(way).max(axis=1, keepdims=True) * 0.9)[:, None], CHUNK, axis=1)
    action = np.zeros((count, CHUNK, 7), np.float32)
    action[:, :, :2] = steps
    action[:, :, 6] = np.where(named, 1.0, -1.0)[:, None]
    later = state.copy()
    later[:, :2] += 5 * 0.02 * steps[:, 0]
    share = np.clip(1 - np.abs(way).max(axis=1), 0, 1).astype(np.float32)
    batch: dict[str, Any] = {
        f"observation.images.{name}": torch.from_numpy(image) for name, image in images.items()
    }
    return batch | {
        "observation.state": torch.from_numpy(state),
        "task": [TASKS[i] for i in named],
        "action": torch.from_numpy(action),
        "progress": torch.from_numpy(share),
        "delta_state": torch.from_numpy(compute_state_delta(state, later)),
    }


def fit(policy: Any, updates: int, batch: int = 32, rate: float = 2e-3) -> list[float]:
    """Train for some updates; return the losses."""
    optimizer = torch.optim.AdamW(policy.parameters(), rate)
    losses = []
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - update / updates) + 1e-5
        loss, _ = policy.forward(toy_batch(batch, update % 40))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
