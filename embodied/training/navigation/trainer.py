"""Train a policy with discrete actions: imitation warm start, then PPO; one loop, resumable to the
same curve.

The run is a sequence of updates: play a rollout, learn from it, write a row. After every
`checkpoint_every` updates a checkpoint is written and everything that a checkpoint does not hold
(environments, recurrent states, random generators) begins afresh from a seed made of the run's
seed and the update's number. An uninterrupted run does the same, so a resumed one repeats it
exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from embodied.training.checkpoint import Checkpoint, load_weights
from embodied.training.device import choose_device
from embodied.training.imitation import imitation_update
from embodied.training.learner import ActorCritic
from embodied.training.loop import ResumableRun, average_metrics, derive_seed, get_metric
from embodied.training.navigation.builders import make_navigation_env, make_recurrent_policy
from embodied.training.navigation.config import TrainConfig, resolve_config
from embodied.training.ppo import ppo_update
from embodied.training.rollout import RolloutCollector

MakeEnv = Callable[[TrainConfig, bool], VectorEnv]
MakePolicy = Callable[[TrainConfig, VectorEnv], ActorCritic]


def train(
    config: TrainConfig,
    run_dir: str | Path,
    resume: bool = False,
    make_env: MakeEnv = make_navigation_env,
    make_policy: MakePolicy = make_recurrent_policy,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a policy and leave checkpoints, metrics.jsonl, config.yaml and TensorBoard events in
    `run_dir`.

    Args:
        config: the whole run.
        run_dir: its folder.
        resume: go on from the newest checkpoint; without one, start.
        make_env: builds the vector environment from the configuration; its second argument asks for
            expert labels.
        make_policy: builds the policy, with fresh weights, from configuration and environment.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    run = _Run(resolve_config(config), Path(run_dir), resume, make_env, make_policy)
    try:
        return run.run_updates(quiet)
    finally:
        run.close()


class _Run(ResumableRun):
    """State of one training process."""

    policy: ActorCritic

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        resume: bool,
        make_env: MakeEnv,
        make_policy: MakePolicy,
    ) -> None:
        loop = config.train
        total = loop.imitation_updates + loop.ppo_updates
        super().__init__(config, run_dir, resume, total, loop.keep, loop.threads)
        self.make_env = make_env
        self._scores: list[float] = []
        self._labelled = self.imitating
        self._env = make_env(config, self._labelled)
        self.policy = make_policy(config, self._env)
        self.policy.network.to(choose_device(loop.device))
        self.optimizer = torch.optim.Adam(self.policy.network.parameters(), lr=1e-3, eps=1e-5)
        self._counted = 0.0
        self.restore_or_start()

    @property
    def imitating(self) -> bool:
        """Whether the next update belongs to the imitation phase."""
        return self.update < self.config.train.imitation_updates

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due: every few updates, and between the phases."""
        loop = self.config.train
        return self.update % loop.checkpoint_every == 0 or self.update == loop.imitation_updates

    def close(self) -> None:
        """Free the environments."""
        self._env.close()

    def reset_transient_state(self) -> None:
        """Begin everything a checkpoint does not hold, from a seed of its own."""
        if self._labelled != self.imitating:
            self._env.close()
            self._labelled = self.imitating
            self._env = self.make_env(self.config, self._labelled)
        self.collector = RolloutCollector(self._env, self.policy)
        self.collector.reset(derive_seed(self.config.seed, self.update))
        self._scores = []

    def run_update(self) -> dict[str, Any]:
        """Play a rollout and learn from it."""
        loop, config = self.config.train, self.config
        warm = loop.imitation_updates
        rng = np.random.default_rng([config.seed, self.update, 2])
        begun = time.monotonic()
        row: dict[str, Any]
        if self.imitating:
            progress = self.update / warm
            rollout, episodes = self.collector.collect_rollout(
                loop.rollout, config.imitation.get_expert_share(progress)
            )
            played = time.monotonic()
            losses = imitation_update(
                self.policy, self.optimizer, rollout, config.imitation, progress, rng
            )
            row = {"phase": "imitation"}
        else:
            since = self.update - warm
            rollout, episodes = self.collector.collect_rollout(loop.ppo_rollout)
            played = time.monotonic()
            losses = ppo_update(
                self.policy,
                self.optimizer,
                rollout,
                config.ppo,
                since / max(1, loop.ppo_updates),
                rng,
                critic_only=since < config.ppo.critic_updates,
            )
            row = {"phase": "ppo"}
        if self.update < loop.normalization_updates:
            features = {name: rows[rollout.valid] for name, rows in rollout.features.items()}
            self._counted = self.policy.update_normalization(features, self._counted)
        self.update += 1
        if row["phase"] == "ppo":  # with the expert at hand success says little
            self._scores += [get_metric(e, loop.score, "train.score") for e in episodes]
        row |= {"step": loop.step_at(self.update)}
        row |= {"episodes": len(episodes)} | average_metrics(episodes) | losses
        return row | {
            "play_seconds": played - begun,
            "learn_seconds": time.monotonic() - played,
        }

    def get_progress(self) -> dict[str, Any]:
        """Return what the input statistics rest on."""
        return {"counted": self._counted}

    def get_score(self) -> float | None:
        """Return the mean score of the episodes since the last checkpoint."""
        return float(np.mean(self._scores)) if self._scores else None

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load weights, optimiser state and progress."""
        load_weights(checkpoint, self.policy, self.optimizer)
        self._counted = float(checkpoint.meta["progress"]["counted"])
