"""Train the recurrent policy: imitation warm start, then PPO; one loop, resumable to the same
curve.

The run is a sequence of updates: play a rollout, learn from it, write a row. After every
`checkpoint_every` updates a checkpoint is written and everything that a checkpoint does not hold
(environments, recurrent states, random generators) begins afresh from a seed made of the run's
seed and the update's number. An uninterrupted run does the same, so a resumed one repeats it
exactly.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.recurrent import RecurrentConfig, RecurrentPolicy
from embodied.policies.recurrent_features import PolicyInputs
from embodied.rollout import EpisodeMetrics
from embodied.tasks.navigation.config import NavigationConfig
from embodied.training.checkpoint import Checkpoint, load_weights
from embodied.training.imitation import ImitationConfig, imitation_update
from embodied.training.loop import ResumableRun, TrainingInterrupted, derive_seed
from embodied.training.navigation.evaluation_config import EvaluationConfig
from embodied.training.ppo import PPOConfig, ppo_update
from embodied.training.rollout import RolloutCollector

__all__ = ["LoopConfig", "TrainConfig", "TrainingInterrupted", "derive_seed", "train"]

MakeEnv = Callable[["TrainConfig", bool], VectorEnv]


@dataclass(frozen=True)
class LoopConfig:
    """Length and bookkeeping of a run.

    Attributes:
        steps: environment steps of the whole run.
        imitation_steps: the first of them imitate the expert; 0 trains with PPO alone.
        envs: environments stepped as one batch.
        rollout: steps of each environment per update.
        ppo_rollout: the same in the PPO phase.
        checkpoint_every: updates between checkpoints.
        keep: newest checkpoints kept beside the best.
        normalization_updates: first updates that still adapt the input statistics.
        threads: of torch; 0 leaves its default.
        score: metric that decides which checkpoint is the best.
    """

    steps: int = 1_000_000
    imitation_steps: int = 700_000
    envs: int = 32
    rollout: int = 64
    ppo_rollout: int = 128
    checkpoint_every: int = 25
    keep: int = 2
    normalization_updates: int = 10
    threads: int = 1
    score: str = "success"

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "rollout", "ppo_rollout", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} = {getattr(self, name)} must be at least 1")
        if self.imitation_steps < 0:
            raise ConfigError(f"train.imitation_steps = {self.imitation_steps} must be at least 0")

    @property
    def imitation_updates(self) -> int:
        """Updates of the imitation phase."""
        return -(-min(self.imitation_steps, self.steps) // (self.envs * self.rollout))

    @property
    def ppo_updates(self) -> int:
        """Updates of the PPO phase."""
        return -(-max(0, self.steps - self.imitation_steps) // (self.envs * self.ppo_rollout))

    def step_at(self, update: int) -> int:
        """Environment steps taken after `update` updates."""
        warm = min(update, self.imitation_updates)
        return self.envs * (warm * self.rollout + (update - warm) * self.ppo_rollout)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Attributes:
        seed: fixes weights, episodes and actions.
        task: the environment; its houses come from the split it names.
        policy: senses and size of the policy.
        train: length and bookkeeping.
        imitation, ppo: the two phases.
        evaluation: how `embodied eval` judges the result.
    """

    seed: int = 0
    task: NavigationConfig = field(default_factory=NavigationConfig)
    policy: RecurrentConfig = field(default_factory=RecurrentConfig)
    train: LoopConfig = field(default_factory=LoopConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed} must not be negative")


def make_navigation_env(config: TrainConfig, expert: bool) -> VectorEnv:
    """Build the training environments of a recipe, with or without the expert's labels."""
    from embodied.tasks.navigation.vector import NavigationVectorEnv

    return NavigationVectorEnv(config.train.envs, dataclasses.replace(config.task, expert=expert))


def resolve_config(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the map's camera set to the task's."""
    camera = config.task.camera
    features = dataclasses.replace(
        config.policy.features,
        hfov=camera.hfov,
        camera_height=camera.position[1],
        camera_pitch=camera.pitch,
    )
    policy = dataclasses.replace(config.policy, features=features)
    return dataclasses.replace(config, policy=policy)


def train(
    config: TrainConfig,
    run_dir: str | Path,
    resume: bool = False,
    make_env: MakeEnv = make_navigation_env,
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
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    run = _Run(resolve_config(config), Path(run_dir), resume, make_env)
    try:
        return run.run_updates(quiet)
    finally:
        run.close()


class _Run(ResumableRun):
    """State of one training process."""

    def __init__(self, config: TrainConfig, run_dir: Path, resume: bool, make_env: MakeEnv) -> None:
        loop = config.train
        total = loop.imitation_updates + loop.ppo_updates
        super().__init__(config, run_dir, resume, total, loop.keep, loop.threads)
        self.make_env = make_env
        self._scores: list[float] = []
        self._labelled = self.imitating
        self._env = make_env(config, self._labelled)
        inputs = PolicyInputs.from_spaces(
            self._env.single_observation_space, self._env.single_action_space
        )
        self.policy = RecurrentPolicy(inputs, config.policy, config.seed)
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
            self._adapt(rollout.features["vector"][rollout.valid])
        self.update += 1
        if row["phase"] == "ppo":  # with the expert at hand success says little
            self._scores += [_score_of(e, loop.score) for e in episodes]
        row |= {"step": loop.step_at(self.update)}
        row |= {"episodes": len(episodes)} | _means(episodes) | losses
        return row | {
            "play_seconds": played - begun,
            "learn_seconds": time.monotonic() - played,
        }

    def _adapt(self, vectors: np.ndarray) -> None:
        """Fold the rollout's vector features into the input mean and deviation (Chan et al.
        1979).
        """
        net, count = self.policy.network, float(len(vectors))
        old_mean = net.vector_mean.numpy().astype(np.float64)
        old_var = net.vector_std.numpy().astype(np.float64) ** 2
        mean, var = vectors.mean(0, dtype=np.float64), vectors.var(0, dtype=np.float64)
        total = self._counted + count
        new_mean = old_mean + (mean - old_mean) * count / total
        spread = old_var * self._counted + var * count
        spread += (mean - old_mean) ** 2 * self._counted * count / total
        net.vector_mean.copy_(torch.from_numpy(new_mean))
        # A floor: an input that hardly varies (a rare action) must not be blown up.
        net.vector_std.copy_(torch.from_numpy(np.sqrt(spread / total).clip(0.05)))
        self._counted = total

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


def _score_of(episode: EpisodeMetrics, name: str) -> float:
    if name not in episode:
        raise ConfigError(
            f"train.score = '{name}' is no metric of this task: {suggest_nearest(name, episode)}"
        )
    return episode[name]


def _means(episodes: list[EpisodeMetrics]) -> dict[str, float]:
    keys = episodes[0].keys() if episodes else ()
    return {key: float(np.mean([e[key] for e in episodes])) for key in keys}
