"""Try a policy out: episodes in the simulator, and what it imagines about held-out frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embodied.errors import CheckpointError
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.sc_vla import ScVlaPolicy
from embodied.policies.chunk.sc_vla.labels import SCALES
from embodied.rollout import evaluate_policy
from embodied.tasks.tabletop import RATE, TabletopConfig, TabletopVectorEnv
from embodied.tasks.tabletop.views import CAMERAS
from embodied.training.manipulation.demonstrations import Demonstrations

TOOL = (8, 7, 3)
"""Sizes of a state and an action of a tool (its pose or motion, and the gripper), and where the
state's quaternion begins."""
FRAMES = 256
"""Held-out frames that imagination is measured on."""


def play_episodes(
    policy: ChunkPolicy, task: TabletopConfig, episodes: int, envs: int, seed: int,
    progress: bool = True,
) -> list[dict[str, float]]:  # fmt: skip
    """Play the episodes seed, seed + 1, ... of a task and return the figures of each.

    What the policy draws is fixed by the seed, too.

    Raises:
        CheckpointError: the policy was made for other images, actions or another rate.
    """
    require_fit(policy, task)
    env = TabletopVectorEnv(min(envs, episodes), task, lazy=True)
    policy.seed(seed)
    policy.reset()
    try:
        played = evaluate_policy(policy, env, episodes, seed, progress)
    finally:
        env.close()
        policy.reset()
    names = ("is_success", "episode_seed", "length")  # said by others, or no measure
    return [{k: v for k, v in episode.items() if k not in names} for episode in played]


def require_fit(policy: ChunkPolicy, task: TabletopConfig) -> None:
    """Check that a policy sees and commands in this task what it does in its data.

    Raises:
        CheckpointError: it does not.
    """
    inputs = policy.inputs
    # Data sets do not say what an action means; of such a kind it moves a tool.
    unsaid = not inputs.control and (inputs.state, inputs.action, inputs.orientation) == TOOL
    control = "ee_delta" if unsaid else inputs.control
    made = (control, inputs.fps, inputs.cameras, inputs.image)
    given = (task.control, RATE, CAMERAS, (task.height, task.width))
    if made != given:
        raise CheckpointError(
            f"the policy was made for (control, rate, cameras, height and width of images) = {made}"
            f", the task has {given}. Leave task.control, width and height as in the config.yaml "
            "of its run, or as the data were recorded"
        )


@torch.no_grad()
def imagination_errors(
    policy: ChunkPolicy, data: Demonstrations, rows: NDArray[np.int64], config: VisuomotorConfig
) -> dict[str, float]:
    """Compare predictions with held-out frames.

    Args:
        policy: any.
        data: the demonstrations.
        rows: held-out frames; some of them, evenly spaced, are used.
        config: of the policy.

    Returns:
        "action_error": mean distance of scaled actions; with imagination also "progress_error",
        mean distance of progress, and "delta_cosine", mean cosine between imagined and true
        movement where the hand moved more than 2 mm. Empty without held-out frames.
    """
    if not len(rows):
        return {}
    chosen = rows[np.linspace(0, len(rows) - 1, min(FRAMES, len(rows))).astype(int)]
    batch: dict[str, Any] = data.make_batch(chosen, config, None)
    batch = {k: v.to(policy.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    found = policy.predict_outputs(batch)
    kept = ~batch["action_is_pad"]
    distance = (
        policy.scaling.scale_action(found["action"]) - policy.scaling.scale_action(batch["action"])
    ).abs()
    errors = {"action_error": distance[kept].mean().item()}
    if isinstance(policy, ScVlaPolicy) and policy.config.imagination:
        errors["progress_error"] = (found["progress"] - batch["progress"]).abs().mean().item()
        guess = found["delta_state"][:, :3].cpu().numpy()
        truth = batch["delta_state"][:, :3].cpu().numpy() / SCALES[:3]
        size = np.linalg.norm(truth, axis=1)
        moved = size > 0.002
        if moved.any():
            cosine = (guess * truth).sum(1) / (np.linalg.norm(guess, axis=1) * size + 1e-9)
            errors["delta_cosine"] = float(cosine[moved].mean())
    return errors
