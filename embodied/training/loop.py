"""What every training process shares: updates, checkpoints, clocks, Ctrl-C, and going on later.

A run is a sequence of updates. After some of them a checkpoint is written; everything that a
checkpoint does not hold (environments, random generators) is made afresh from a seed that depends
on the run's seed and the update's number, so that a run resumed after a kill repeats the curve of
an uninterrupted one exactly.
"""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError, suggest_nearest
from embodied.files import require_writable
from embodied.rollout import EpisodeMetrics
from embodied.training.checkpoint import (
    Checkpoint,
    CheckpointStore,
    find_checkpoint,
    open_checkpoint,
)
from embodied.training.log import TrainingLog, cpu_seconds


class TrainingInterrupted(KeyboardInterrupt):  # noqa: N818 - an interrupt, not an error
    """Ctrl-C or SIGTERM came; the checkpoint is written. `exit_code` is 128 + the signal's
    number.
    """

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; saved {checkpoint}")
        self.exit_code = 128 + number
        self.checkpoint = checkpoint


class ResumableRun(ABC):
    """State of one training process.

    A subclass builds its policy and optimiser, calls `restore_or_start` and then `run_updates`.

    Args:
        config: the run's configuration dataclass.
        run_dir: its folder.
        resume: go on from the newest checkpoint; without one, start.
        total: updates of the whole run.
        keep: newest checkpoints kept beside the best.
        threads: of torch; 0 leaves its default.

    Raises:
        CheckpointError: the folder holds a run already and `resume` is false.
    """

    policy: Any
    optimizer: Any

    def __init__(
        self, config: Any, run_dir: Path, resume: bool, total: int, keep: int, threads: int
    ) -> None:
        self.config, self.run_dir, self.total = config, run_dir, total
        require_writable(run_dir)
        self.store = CheckpointStore(run_dir / "checkpoints", keep)
        self.resumed = (run_dir / "checkpoints" / "latest").is_file()
        if self.resumed and not resume:
            raise CheckpointError(
                f"{run_dir} already holds a training run. Resume it (--resume), "
                "or choose another folder."
            )
        if threads:
            torch.set_num_threads(threads)
        self.update = 0
        self.row: dict[str, Any] = {}
        self._spent = self._seconds = 0.0
        self._started = time.monotonic()
        # What importing and set-up cost belongs to the run, but to its first process only.
        self._cpu = cpu_seconds() if self.resumed else 0.0

    @abstractmethod
    def run_update(self) -> dict[str, Any]:
        """Do one update, count it in `update` and return its row of figures with "phase" and
        "step".
        """

    @abstractmethod
    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due after the update just done."""

    @abstractmethod
    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load weights, optimiser state and progress from a checkpoint of this run."""

    def get_progress(self) -> dict[str, Any]:
        """Return plain values to store in a checkpoint beside the last row."""
        return {}

    def get_score(self) -> float | None:
        """Return how good the weights are now (higher is better); None: not known."""
        return None

    def reset_transient_state(self) -> None:  # noqa: B027 - most runs have nothing to begin
        """Begin what a checkpoint does not hold afresh; called after every checkpoint."""

    def restore_or_start(self) -> None:
        """Go on from the newest checkpoint, or write the configuration of a new run.

        Raises:
            CheckpointError: damaged, or of a run with another configuration.
        """
        if self.resumed:
            checkpoint = open_checkpoint(self.run_dir)
            meta = checkpoint.meta
            if not self._was_started_with(checkpoint):
                raise CheckpointError(
                    f"{self.run_dir} was started with another configuration (digest "
                    f"{meta['config_digest']}). Resume with the one in "
                    f"{self.run_dir / 'config.yaml'}, or choose another folder."
                )
            self.update = int(meta["update"])
            self.row = meta["progress"]["row"]
            self._spent = float(self.row["cpu_seconds"])
            self._seconds = float(self.row["seconds"])
            self.load_checkpoint(checkpoint)
        self.reset_transient_state()
        if not self.resumed:  # so late: a scene that cannot be loaded leaves nothing behind
            configuration.save(self.config, self.run_dir / "config.yaml")

    def run_updates(self, quiet: bool = False) -> dict[str, Any]:
        """Do the remaining updates.

        Returns:
            The last row with "checkpoint", the newest checkpoint's folder.

        Raises:
            TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
        """
        checkpoint: Path | None = None
        with TrainingLog(self.run_dir, self.total, self.update, quiet) as log, _signals() as caught:
            while self.update < self.total:
                row = self.run_update()
                row |= {
                    "update": self.update,
                    "cpu_seconds": self._spent + cpu_seconds() - self._cpu,
                    "seconds": self._seconds + time.monotonic() - self._started,
                }
                log.write_row(row)
                self.row = row
                if self.update == self.total or caught or self.is_checkpoint_due():
                    checkpoint = self._save()
                    if caught and self.update < self.total:
                        raise TrainingInterrupted(caught[0], checkpoint)
                    if self.update < self.total:
                        self.reset_transient_state()
        return self.row | {"checkpoint": str(checkpoint or find_checkpoint(self.store.folder))}

    def seed_draws(self) -> np.random.Generator:
        """Fix what torch draws in the next update, whatever came before it; return numpy's."""
        seed = derive_seed(self.config.seed, self.update)
        torch.manual_seed(seed)
        return np.random.default_rng(seed)

    def _was_started_with(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint's configuration is this run's, under older names of its keys, too;
        the run may have moved to another device.
        """
        if checkpoint.meta["config_digest"] == configuration.digest(self.config):
            return True
        source = f"{checkpoint.path}/config.yaml"
        stored = configuration.build(type(self.config), checkpoint.load_config(), source=source)
        return _without_device(stored) == _without_device(self.config)

    def _save(self) -> Path:
        progress = {"row": self.row} | self.get_progress()
        return self.store.save(
            self.update, self.policy, self.optimizer, self.config, progress, self.get_score()
        )


def average_metrics(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def get_metric(episode: EpisodeMetrics, name: str, key: str) -> float:
    """Return a metric of an episode.

    Args:
        episode: its metrics.
        name: of the metric.
        key: the setting that names it, for the message.

    Raises:
        ConfigError: the task has no such metric.
    """
    if name not in episode:
        raise ConfigError(
            f"{key} = '{name}' is no metric of this task: {suggest_nearest(name, episode)}"
        )
    return episode[name]


def derive_seed(seed: int, update: int) -> int:
    """Return a 31-bit seed that depends on both numbers."""
    return int(np.random.SeedSequence([seed, update]).generate_state(1)[0] >> 1)


def _without_device(config: Any) -> dict[str, Any]:
    tree: dict[str, Any] = configuration.to_dict(config)
    for part in tree.values():
        if isinstance(part, dict):
            part.pop("device", None)
    return tree


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may install handlers
        return
    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
