"""Behaviour cloning of manipulation policies: record, load, imitate, and try it out meanwhile.

The weights that act are a running average of those that learn: a flow or diffusion model's last
weights are noisy. The checkpoint's model is the average; the learning weights lie in the
optimiser's state.

Every step depends on nothing but the weights, the optimiser and a seed made of the run's seed and
the update's number, so a run killed at any point and resumed repeats the same curve.
"""

from __future__ import annotations

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from embodied.errors import EmbodiedError
from embodied.policies.chunk.backbones import require_backbone
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.factory import make_policy
from embodied.training.checkpoint import Checkpoint, load_weights
from embodied.training.device import choose_device
from embodied.training.manipulation.augmentation import augment_batch
from embodied.training.manipulation.config import VALIDATION_FROM, ManipulationTraining
from embodied.training.manipulation.demonstrations import Demonstrations, load_demonstrations
from embodied.training.manipulation.recording import record_demonstrations
from embodied.training.manipulation.run import ValidatedRun
from embodied.training.manipulation.validation import imagination_errors, play_episodes, require_fit

KERNELS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""Of attention. On CPUs the plain one: its fused kernel takes twice as long for a dozen tokens."""

LEARNING = "learning"
"""Key of the learning weights in the optimiser's state."""


class DivergedError(EmbodiedError):
    """A training whose loss is no number any more."""


def train(
    config: ManipulationTraining, run_dir: str | Path, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Record demonstrations where there are none, and train a policy on them.

    Args:
        config: the whole run.
        run_dir: its folder: checkpoints, metrics.jsonl, config.yaml and TensorBoard events.
        resume: go on from the newest checkpoint; without one, start.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
        RecordingError: the expert fails too often.
        LayoutError: a data set that cannot be read.
        WeightsError: a pretrained backbone that is absent.
        DivergedError: the loss is no number any more.
    """
    return _Run(config, Path(run_dir), resume).run_updates(quiet)


def demonstration_folders(config: ManipulationTraining, run_dir: Path) -> list[Path]:
    """Return the folders of a run's data sets; those of its tasks are recorded if they are not
    there.
    """
    wanted = config.demonstrations
    root = Path(wanted.folder) if wanted.folder else run_dir / "demonstrations"
    tasks = [config.get_task_config(name) for name in config.tasks]
    own = [
        record_demonstrations(task, wanted, root / f"{task.robot}_{task.task}") for task in tasks
    ]
    return [*own, *map(Path, wanted.sets)]


class _Run(ValidatedRun):
    """State of one training process; its score is success, or without tasks how near actions were
    to held-out ones.
    """

    policy: ChunkPolicy
    settings: ManipulationTraining

    def __init__(self, config: ManipulationTraining, run_dir: Path, resume: bool) -> None:
        loop = config.train
        super().__init__(config, run_dir, resume, loop)
        require_backbone(config.policy.backbone)
        self.data: Demonstrations = load_demonstrations(demonstration_folders(config, run_dir))
        self.rows, self.held_out = self.data.split_rows(loop.held_out)
        inputs = self.data.describe_inputs(config.task.control if config.tasks else "")
        self.policy = make_policy(inputs, config.policy, config.seed)
        for name in config.tasks:  # before the training, not after it
            require_fit(self.policy, config.get_task_config(name))
        self.policy.network.to(choose_device(loop.device)).eval()
        self.policy.normalization = self.data.compute_statistics()
        self.learner = deepcopy(self.policy)
        self.learner.network.train()
        self._acting: list[torch.Tensor] = [*self.policy.parameters()]
        self._learning: list[torch.Tensor] = [*self.learner.parameters()]
        self.optimizer = torch.optim.AdamW(
            self._learning, loop.learning_rate, loop.betas, weight_decay=loop.weight_decay
        )
        self.restore_or_start()

    def run_update(self) -> dict[str, Any]:
        """Do the steps of one row of figures; validate when that is due."""
        loop, rng = self.settings.train, self.seed_draws()
        begun, figures = time.monotonic(), []
        for step in range(self.update * loop.log_every, (self.update + 1) * loop.log_every):
            figures.append(self._step(step, rng))
        self.update += 1
        row: dict[str, Any] = {"phase": "imitation", "step": self.update * loop.log_every}
        row |= {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
        if not np.isfinite(row["loss"]):
            raise DivergedError(
                f"the loss is {row['loss']} after {row['step']} steps: train anew with a lower "
                f"train.learning_rate than {loop.learning_rate}. The demonstrations are kept, and "
                "the checkpoints written before are good"
            )
        return self._closed(row, begun)

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load both sets of weights and the optimiser."""
        load_weights(checkpoint, self.policy, self.optimizer)
        self.learner.network.load_state_dict(self.policy.network.state_dict())
        with torch.no_grad():
            for parameter in self._learning:
                parameter.copy_(self.optimizer.state[parameter][LEARNING])

    def _step(self, step: int, rng: np.random.Generator) -> dict[str, float]:
        loop = self.settings.train
        rate = loop.get_learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self.rows[rng.integers(0, len(self.rows), loop.batch_size)]
        batch = augment_batch(
            self.data.make_batch(rows, self.settings.policy, rng), loop.shift, loop.light, rng
        )
        device = self.policy.device
        batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        half = torch.autocast(device.type, torch.bfloat16, enabled=loop.precision == "bfloat16")
        with sdpa_kernel(SDPBackend.MATH if device.type == "cpu" else list(KERNELS)):
            with half:
                loss, figures = self.learner.forward(batch)
            self.optimizer.zero_grad()
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._learning, loop.max_grad_norm)
        self.optimizer.step()
        self._average(step)
        return {"loss": loss.item(), **figures, "gradient": norm.item(), "learning_rate": rate}

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the acting weights towards the learning ones, faster at the beginning."""
        share = 1 - min(self.settings.train.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._acting, self._learning, share)
        for learning in self._learning:
            self.optimizer.state[learning][LEARNING] = learning.data

    def _validate(self) -> dict[str, float]:
        loop = self.settings.train
        found: dict[str, float] = {}
        for name in self.settings.tasks:
            episodes = play_episodes(
                self.policy,
                self.settings.get_task_config(name),
                loop.validate_episodes,
                loop.validate_envs,
                VALIDATION_FROM,
                progress=False,
            )
            figures = {
                key: float(np.mean([e[key] for e in episodes])) for key in ("success", "steps")
            }
            if len(self.settings.tasks) > 1:
                found |= {f"{name}_{key}": value for key, value in figures.items()}
            for key, value in figures.items():
                found[key] = found.get(key, 0.0) + value / len(self.settings.tasks)
        errors = imagination_errors(self.policy, self.data, self.held_out, self.settings.policy)
        self._score = found.get("success", -errors.get("action_error", 0.0))
        return found | errors
