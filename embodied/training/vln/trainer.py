"""Train a language-guided agent: phase after phase in one resumable loop.

Every update depends on nothing but the weights, the optimiser and a seed made of the run's seed and
the update's number, so a run killed at any point and resumed repeats the same curve.

When a phase that is validated ends, the weights of its best validation are taken up again before
the next phase begins or the run ends: the newest checkpoint then is the one to use, and "best"
names it, too.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import torch

from embodied import registry
from embodied.policies.vln.dual_scale import DualScaleInputs
from embodied.training.checkpoint import Checkpoint, load_weights, open_checkpoint
from embodied.training.device import choose_device
from embodied.training.loop import ResumableRun, derive_seed
from embodied.training.vln.agent import AgentInputs, DualScaleAgent
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.data import TrainingData
from embodied.training.vln.validation import validate_policy


class Phase(Protocol):
    """One phase of training; built by ``(config, DualScalePolicy, data)``, a row of the registry's
    table "vln_phase".

    Attributes:
        steps: its updates.
        validated: whether validation finds the best of its weights.
    """

    steps: int
    validated: bool

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Build a fresh optimiser over what this phase learns."""
        ...

    def run_update(
        self, optimizer: torch.optim.Optimizer, done: int, seed: int
    ) -> dict[str, float]:
        """Do one update and return its figures.

        Args:
            optimizer: of this phase.
            done: updates of this phase before this one.
            seed: of everything drawn in it, besides torch's own generator, which is seeded, too.
        """
        ...


def train(
    config: VLNTrainConfig, run_dir: str | Path, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train an agent and leave checkpoints, metrics.jsonl, config.yaml and TensorBoard events in
    `run_dir`.

    Args:
        config: the whole run.
        run_dir: its folder.
        resume: go on from the newest checkpoint; without one, start.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    return _Run(config, Path(run_dir), resume).run_updates(quiet)


class _Run(ResumableRun):
    """State of one training process."""

    def __init__(self, config: VLNTrainConfig, run_dir: Path, resume: bool) -> None:
        loop = config.train
        super().__init__(config, run_dir, resume, 0, loop.keep, loop.threads)
        self.data = TrainingData(config)
        widths = DualScaleInputs.from_spaces(self.data.observation_space)
        inputs = AgentInputs(widths, self.data.vocabulary)
        self.policy = DualScaleAgent(inputs, config.policy, config.seed)
        self.policy.network.to(choose_device(loop.device))
        made = [
            (name, registry.resolve("vln_phase", name)(config, self.policy.policy, self.data))
            for name in loop.phases
        ]
        self.phases: list[tuple[str, Phase]] = [pair for pair in made if pair[1].steps]
        self.total = sum(phase.steps for _, phase in self.phases)
        self._phase = -1
        self._score: float | None = None
        self._best: float | None = None
        self._enter()
        self.restore_or_start()

    def run_update(self) -> dict[str, Any]:
        """Do one update of the phase whose turn it is, and validate when that is due."""
        self._enter()
        name, phase, done = self._current()
        seed = derive_seed(self.config.seed, self.update)
        torch.manual_seed(seed)
        begun = time.monotonic()
        self.policy.network.train()
        figures = phase.run_update(self.optimizer, done, seed)
        self.policy.network.eval()
        learnt = time.monotonic()
        self.update += 1
        row: dict[str, Any] = {"phase": name, "step": self.update} | figures
        self._score = None
        if phase.validated and self._validates(done + 1, phase):
            result = validate_policy(self.config, self.policy.policy, self.data)
            row |= {f"val_{key}": value for key, value in result.items()}
            row |= {key: result[key] for key in ("success", "spl") if key in result}
            self._judge(result[self.config.validation.score], done + 1 == phase.steps)
        row["learn_seconds"] = learnt - begun
        row["validate_seconds"] = time.monotonic() - learnt
        return row

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due: every few updates, after a validation, between phases."""
        _, phase, done = self._current(self.update - 1)
        ends = done + 1 == phase.steps
        return ends or self._score is not None or self.update % self._every == 0

    def get_score(self) -> float | None:
        """Return the score of the weights if they were just validated, or if a later phase, which
        is not validated, has just ended: it builds on the best weights and completes them.
        """
        _, phase, done = self._current(self.update - 1)
        completed = not phase.validated and done + 1 == phase.steps
        return self._best if completed else self._score

    def get_progress(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best": self._best}

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load weights, progress and, unless another phase begins, the optimiser's state."""
        self._enter()
        same = self._current(self.update - 1)[0] == self._current()[0]
        load_weights(checkpoint, self.policy, self.optimizer if same else None)
        self._best = checkpoint.meta["progress"]["best"]

    @property
    def _every(self) -> int:
        return int(self.config.train.checkpoint_every)

    def _current(self, update: int | None = None) -> tuple[str, Phase, int]:
        """Name, phase and how many of its updates come before update number `update`."""
        done = self.update if update is None else update
        for name, phase in self.phases:
            if done < phase.steps:
                return name, phase, done
            done -= phase.steps
        name, phase = self.phases[-1]
        return name, phase, phase.steps

    def _enter(self) -> None:
        """Make the optimiser of the phase whose turn it is, if it is another than before."""
        name = self._current()[0]
        number = [n for n, _ in self.phases].index(name)
        if number != self._phase:
            self._phase = number
            self.optimizer = self.phases[number][1].build_optimizer()

    def _judge(self, score: float, last: bool) -> None:
        """Note a validation's score; at a phase's end take up its best weights again."""
        if self._best is None or score >= self._best:
            self._best = score
        elif last:
            load_weights(open_checkpoint(self.run_dir, "best"), self.policy)
            score = self._best
        self._score = score

    def _validates(self, done: int, phase: Phase) -> bool:
        every = self.config.validation.every
        return bool(self.data.validation_source.episodes) and (
            done % every == 0 or done == phase.steps
        )
