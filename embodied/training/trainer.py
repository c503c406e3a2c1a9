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
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError, nearest
from embodied.files import require_writable
from embodied.policies.features import Inputs
from embodied.policies.recurrent import RecurrentConfig, RecurrentPolicy
from embodied.tasks.config import NavigationConfig
from embodied.training.checkpoint import CheckpointStore, find, load_into, open_checkpoint
from embodied.training.evaluation import EvaluationConfig
from embodied.training.imitation import ImitationConfig, imitation_update
from embodied.training.log import TrainingLog, cpu_seconds
from embodied.training.ppo import PPOConfig, ppo_update
from embodied.training.rollout import Collector, Episode

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


class TrainingInterrupted(KeyboardInterrupt):  # noqa: N818 - an interrupt, not an error
    """Ctrl-C or SIGTERM came; the checkpoint is written. `exit_code` is 128 + the signal's
    number.
    """

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; saved {checkpoint}")
        self.exit_code = 128 + number
        self.checkpoint = checkpoint


def navigation_env(config: TrainConfig, expert: bool) -> VectorEnv:
    """Build the training environments of a recipe, with or without the expert's labels."""
    from embodied.tasks.vector import NavigationVectorEnv

    return NavigationVectorEnv(config.train.envs, dataclasses.replace(config.task, expert=expert))


def resolved(config: TrainConfig) -> TrainConfig:
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
    make_env: MakeEnv = navigation_env,
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
    run = _Run(resolved(config), Path(run_dir), resume, make_env)
    with TrainingLog(Path(run_dir), run.total, run.update, quiet) as log, _signals() as caught:
        try:
            return run.loop(log, caught)
        finally:
            run.close()


class _Run:
    """State of one training process."""

    def __init__(self, config: TrainConfig, run_dir: Path, resume: bool, make_env: MakeEnv) -> None:
        self.config, self.make_env = config, make_env
        self.total = config.train.imitation_updates + config.train.ppo_updates
        require_writable(run_dir)
        self.store = CheckpointStore(run_dir / "checkpoints", config.train.keep)
        existing = (run_dir / "checkpoints" / "latest").is_file()
        if existing and not resume:
            raise CheckpointError(
                f"{run_dir} already holds a training run. Resume it (--resume), "
                "or choose another folder."
            )
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.update = 0
        self._row: dict[str, Any] = {}
        self._spent = 0.0
        self._started, self._cpu = time.monotonic(), cpu_seconds()
        self._seconds = 0.0
        if not existing:
            self._cpu = 0.0  # what importing and set-up cost belongs to the run
        self._scores: list[float] = []
        self._env = make_env(config, self.imitating)
        inputs = Inputs.of(self._env.single_observation_space, self._env.single_action_space)
        self.policy = RecurrentPolicy(inputs, config.policy, config.seed)
        self.optimizer = torch.optim.Adam(self.policy.network.parameters(), lr=1e-3, eps=1e-5)
        self._counted = 0.0
        if existing:
            self._restore(run_dir)
        self._open()
        if not existing:  # so late: a scene that cannot be loaded leaves nothing behind
            configuration.save(config, run_dir / "config.yaml")

    @property
    def imitating(self) -> bool:
        """Whether the next update belongs to the imitation phase."""
        return self.update < self.config.train.imitation_updates

    def loop(self, log: TrainingLog, caught: list[int]) -> dict[str, Any]:
        """Run the remaining updates."""
        every, warm = self.config.train.checkpoint_every, self.config.train.imitation_updates
        checkpoint: Path | None = None
        while self.update < self.total:
            row = self._learn()
            log.write(row)
            self._row = row
            last = self.update == self.total or bool(caught)
            if last or self.update % every == 0 or self.update == warm:
                checkpoint = self._save()
                if caught and self.update < self.total:
                    raise TrainingInterrupted(caught[0], checkpoint)
                if self.update < self.total:
                    if self.update == warm:
                        self._env.close()
                        self._env = self.make_env(self.config, self.imitating)
                    self._open()
        return self._row | {"checkpoint": str(checkpoint or find(self.store.folder))}

    def close(self) -> None:
        """Free the environments."""
        self._env.close()

    def _open(self) -> None:
        """Begin everything a checkpoint does not hold, from a seed of its own."""
        self.collector = Collector(self._env, self.policy)
        self.collector.reset(derive_seed(self.config.seed, self.update))
        self._scores = []

    def _learn(self) -> dict[str, Any]:
        loop, config = self.config.train, self.config
        warm = loop.imitation_updates
        rng = np.random.default_rng([config.seed, self.update, 2])
        begun = time.monotonic()
        row: dict[str, Any]
        if self.imitating:
            progress = self.update / warm
            rollout, episodes = self.collector.collect(
                loop.rollout, config.imitation.share(progress)
            )
            played = time.monotonic()
            losses = imitation_update(
                self.policy, self.optimizer, rollout, config.imitation, progress, rng
            )
            row = {"phase": "imitation"}
        else:
            since = self.update - warm
            rollout, episodes = self.collector.collect(loop.ppo_rollout)
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
        now = time.monotonic()
        row |= {"update": self.update, "step": loop.step_at(self.update)}
        row |= {"episodes": len(episodes)} | _means(episodes) | losses
        return row | {
            "cpu_seconds": self._spent + cpu_seconds() - self._cpu,
            "seconds": self._seconds + now - self._started,
            "play_seconds": played - begun,
            "learn_seconds": now - played,
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

    def _save(self) -> Path:
        score = float(np.mean(self._scores)) if self._scores else None
        progress = {"row": self._row, "counted": self._counted}
        return self.store.save(
            self.update, self.policy, self.optimizer, self.config, progress, score
        )

    def _restore(self, run_dir: Path) -> None:
        checkpoint = open_checkpoint(run_dir)
        meta = checkpoint.meta
        if meta["config_digest"] != configuration.digest(self.config):
            raise CheckpointError(
                f"{run_dir} was started with another configuration (digest "
                f"{meta['config_digest']}). Resume with the one in {run_dir / 'config.yaml'}, "
                "or choose another folder."
            )
        load_into(checkpoint, self.policy, self.optimizer)
        self.update = int(meta["update"])
        self._row = meta["progress"]["row"]
        self._counted = float(meta["progress"]["counted"])
        self._spent = float(self._row["cpu_seconds"])
        self._seconds = float(self._row["seconds"])
        if not self.imitating and self.config.train.imitation_updates:
            self._env.close()
            self._env = self.make_env(self.config, False)


def derive_seed(seed: int, update: int) -> int:
    """Return a 31-bit seed that depends on both numbers."""
    return int(np.random.SeedSequence([seed, update]).generate_state(1)[0] >> 1)


def _score_of(episode: Episode, name: str) -> float:
    if name not in episode:
        raise ConfigError(
            f"train.score = '{name}' is no metric of this task: {nearest(name, episode)}"
        )
    return episode[name]


def _means(episodes: list[Episode]) -> dict[str, float]:
    keys = episodes[0].keys() if episodes else ()
    return {key: float(np.mean([e[key] for e in episodes])) for key in keys}


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
