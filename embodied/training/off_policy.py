"""Train any policy with soft actor-critic: explore, remember, learn from rewards alone.

Environment and policy come as functions, so that a run needs no code of ours: `make_env` builds a
vector environment with continuous actions in [-1, 1], `make_policy` an `ExploringPolicy` for it.
After every checkpoint all environments begin new episodes from a seed of their own, so that a run
killed at any point and resumed repeats the same curve.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError
from embodied.rollout import EpisodeMeter, EpisodeMetrics, Rollout
from embodied.training.checkpoint import Checkpoint, load_weights
from embodied.training.device import check_device, choose_device
from embodied.training.learner import ExploringPolicy
from embodied.training.loop import ResumableRun, average_metrics, derive_seed, get_metric
from embodied.training.sac import Sac, SacConfig
from embodied.types import Observations


@dataclass(frozen=True)
class OffPolicyLoop:
    """Length and bookkeeping of a run.

    Attributes:
        steps: environment steps of the whole run, of all environments together.
        envs: number of environments stepped as one batch.
        learning_starts: first steps, in which the policy explores and nothing is learned.
        log_every: steps that make one row of metrics.jsonl.
        checkpoint_every: rows between checkpoints.
        keep: number of newest checkpoints kept beside the best.
        threads: CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
        score: metric of the episodes that decides which checkpoint is the best.
    """

    steps: int = 100_000
    envs: int = 8
    learning_starts: int = 2_000
    log_every: int = 1_000
    checkpoint_every: int = 10
    keep: int = 2
    threads: int = 1
    device: str = "auto"
    score: str = "return"

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "learning_starts", "log_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} = {getattr(self, name)} must be at least 1")
        for name, unit in (("log_every", "envs"), ("steps", "log_every")):
            if getattr(self, name) % getattr(self, unit):
                raise ConfigError(
                    f"train.{name} = {getattr(self, name)} must be a multiple of train.{unit} = "
                    f"{getattr(self, unit)}"
                )
        check_device("train.device", self.device)


@dataclass(frozen=True)
class OffPolicyTraining:
    """A whole run.

    Attributes:
        seed: seed of weights, episodes and draws.
        train: length and bookkeeping.
        sac: settings of soft actor-critic.
    """

    seed: int = 0
    train: OffPolicyLoop = field(default_factory=OffPolicyLoop)
    sac: SacConfig = field(default_factory=SacConfig)


MakeEnv = Callable[[OffPolicyTraining], VectorEnv]
MakePolicy = Callable[[OffPolicyTraining, VectorEnv], ExploringPolicy]


def train(
    config: OffPolicyTraining,
    run_dir: str | Path,
    make_env: MakeEnv,
    make_policy: MakePolicy,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a policy and leave checkpoints, metrics.jsonl, config.yaml and TensorBoard events in
    `run_dir`.

    Args:
        config: the whole run.
        run_dir: its folder.
        make_env: builds the environments.
        make_policy: builds the policy, with fresh weights, from configuration and environment.
        resume: go on from the newest checkpoint; without one, start.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    env = make_env(config)
    try:
        return _Run(config, Path(run_dir), resume, env, make_policy).run_updates(quiet)
    finally:
        env.close()


class _Run(ResumableRun):
    """State of one training process; its own policy in the rollout draws from the actor."""

    policy: ExploringPolicy
    optimizer: Sac

    def __init__(
        self,
        config: OffPolicyTraining,
        run_dir: Path,
        resume: bool,
        env: VectorEnv,
        make_policy: MakePolicy,
    ) -> None:
        loop = config.train
        super().__init__(
            config, run_dir, resume, loop.steps // loop.log_every, loop.keep, loop.threads
        )
        self._rollout = Rollout(env, self)
        self.policy = make_policy(config, env)
        self.policy.network.to(choose_device(loop.device))
        actor = self.policy.actor
        self.optimizer = Sac(
            actor, actor.observation_size, actor.action_size, config.sac, seed=config.seed
        )
        self._scores: list[float] = []
        self.restore_or_start()

    @torch.no_grad()
    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Explore: draw from the actor."""
        self._seen = self._encode(observations)
        actions: NDArray[np.float32] = self.policy.actor.sample(self._seen)[0].cpu().numpy()
        return actions

    def run_update(self) -> dict[str, Any]:
        """Play and learn for one row of figures."""
        loop, rng = self.config.train, self.seed_draws()
        begun, figures = time.monotonic(), []
        episodes: list[EpisodeMetrics] = []
        begin = self.update * loop.log_every
        for taken in range(begin, begin + loop.log_every, loop.envs):
            episodes += self._collect_step()
            if taken >= loop.learning_starts:
                figures += self.optimizer.learn_from(loop.envs, rng)
        self.update += 1
        self._scores += [get_metric(e, loop.score, "train.score") for e in episodes]
        row: dict[str, Any] = {"phase": "sac" if figures else "exploration"}
        row |= {"step": self.update * loop.log_every, "episodes": len(episodes)}
        row |= average_metrics(episodes) | average_metrics(figures)
        return row | {"learn_seconds": time.monotonic() - begun}

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due after the row just written."""
        return self.update % int(self.config.train.checkpoint_every) == 0

    def get_score(self) -> float | None:
        """Return the mean score of the episodes since the last checkpoint."""
        return float(np.mean(self._scores)) if self._scores else None

    def get_progress(self) -> dict[str, Any]:
        """Return the updates that are still owed."""
        return {"owed": self.optimizer.owed}

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load all weights and the replay buffer."""
        load_weights(checkpoint, self.policy, self.optimizer)
        self.optimizer.owed = float(checkpoint.meta["progress"]["owed"])

    def reset_transient_state(self) -> None:
        """Begin new episodes everywhere."""
        self._rollout.reset(derive_seed(self.config.seed, self.update))
        self._meter = EpisodeMeter(self._rollout.num_envs)
        self._scores = []

    def _collect_step(self) -> list[EpisodeMetrics]:
        """Play one step and remember it; return the metrics of the episodes that ended."""
        step = self._rollout.play_step()
        following = self._encode(step.next_observations)
        ended = np.flatnonzero(step.done)
        if len(ended):
            following[ended] = self._encode(step.get_last_observations(ended))
        rows = {
            "observation": self._seen.cpu().numpy(),
            "action": step.actions,
            "reward": step.reward,
            "next_observation": following.cpu().numpy(),
            "terminated": step.terminated,
        }
        if step.valid.any():
            self.optimizer.replay.add(**{name: each[step.valid] for name, each in rows.items()})
        return [metrics for _, metrics in self._meter.add_step(step)]

    @torch.no_grad()
    def _encode(self, observations: Observations) -> Tensor:
        return self.policy.encode_observations(observations)
