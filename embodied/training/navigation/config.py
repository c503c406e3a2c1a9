"""Everything that decides a training run of a navigation policy. Data only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from embodied.errors import ConfigError
from embodied.policies.recurrent import RecurrentConfig
from embodied.tasks.navigation.config import NavigationConfig
from embodied.training.device import check_device
from embodied.training.imitation import ImitationConfig
from embodied.training.navigation.evaluation_config import EvaluationConfig
from embodied.training.ppo import PPOConfig


@dataclass(frozen=True)
class LoopConfig:
    """Length and bookkeeping of a run.

    Attributes:
        steps: number of environment steps of the whole run, of all environments together.
        imitation_steps: number of first steps that imitate the expert; 0 trains with PPO alone.
        envs: number of environments stepped as one batch.
        rollout: number of steps of each environment per update of the imitation phase.
        ppo_rollout: number of steps of each environment per update of the PPO phase.
        checkpoint_every: number of updates between checkpoints.
        keep: number of newest checkpoints kept beside the best.
        normalization_updates: number of first updates that still adapt the statistics of the
            inputs.
        threads: number of CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
        score: metric of the episodes that decides which checkpoint is the best.
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
    device: str = "auto"
    score: str = "success"

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "rollout", "ppo_rollout", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} = {getattr(self, name)} must be at least 1")
        check_device("train.device", self.device)
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
        seed: seed of weights, episodes and actions.
        task: settings of the environments; their houses come from the split it names.
        policy: senses and size of the policy.
        train: length and bookkeeping of the run.
        imitation, ppo: settings of the two phases.
        evaluation: settings of `embodied eval` for the result.
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
