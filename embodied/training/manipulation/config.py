"""Everything that decides a training run of a manipulation policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.tasks.tabletop.config import TASKS, TabletopConfig
from embodied.training.device import check_device

DEMONSTRATIONS_FROM, VALIDATION_FROM = 1_000_000, 500_000
"""First episodes of demonstrations and of validation; tests begin at 0, so none is met twice."""


@dataclass(frozen=True)
class DemonstrationConfig:
    """Demonstrations, recorded where they are not there yet.

    Attributes:
        folder: folder where one data set per task is read from, or recorded; "" takes
            "demonstrations" in the run's folder.
        sets: folders of further LeRobot data sets to learn from, of the same cameras and robot.
        episodes: number of successful episodes per task.
        envs: number of environments recorded as one batch.
        noise: standard deviation of what is added to the expert's actions, in their units, in the
            most disturbed episodes, none in the least; it comes and goes over a quarter of a
            second, and pauses about half of the time. The data hold what the expert would have
            done: how it recovers is what a policy needs to know, for it will stray, too (Laskey et
            al. 2017).
        push: chance per step that the arm is pushed away.
        push_steps: number of steps that a push lasts.
        attempts: number of episodes tried at most, as a multiple of `episodes`.
    """

    folder: str = ""
    sets: tuple[str, ...] = ()
    episodes: int = 150
    envs: int = 8
    noise: float = 0.4
    push: float = 0.01
    push_steps: int = 5
    attempts: float = 3.0

    def __post_init__(self) -> None:
        require_minimums("demonstrations", self, episodes=1, envs=1, noise=0, push=0, push_steps=1,
                attempts=1)  # fmt: skip


@dataclass(frozen=True)
class ManipulationLoop:
    """Length and bookkeeping of a run.

    Attributes:
        steps: number of gradient steps.
        batch_size: number of frames in each.
        learning_rate: highest learning rate of AdamW; after the warm-up it falls along half a
            cosine.
        final_lr_ratio: share of the learning rate left at the end.
        warmup_steps: number of steps until the learning rate is reached.
        weight_decay: weight decay of AdamW.
        betas: decay rates of AdamW's moments.
        max_grad_norm: largest norm of the gradient; a longer one is scaled down to it.
        ema_decay: share of the old average that the weights which act keep per step (exponential
            moving average of the weights that learn).
        shift: number of pixels that images are moved by at most, in each direction.
        light: share that brightness and contrast of images vary by at most.
        precision: number format of the forward pass: "bfloat16" (half the time on CPUs that can) or
            "float32".
        held_out: share of the demonstrations that is not learned from but measures imagination.
        log_every: number of steps that make one row of metrics.jsonl.
        validate_every: number of steps between validations in the simulator; each writes a
            checkpoint.
        validate_episodes: number of episodes of a validation.
        validate_envs: number of environments a validation plays as one batch.
        keep: number of newest checkpoints kept beside the best.
        threads: number of CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
    """

    steps: int = 5000
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_lr_ratio: float = 0.01
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    max_grad_norm: float = 1.0
    ema_decay: float = 0.998
    shift: int = 4
    light: float = 0.2
    precision: str = "bfloat16"
    held_out: float = 0.05
    log_every: int = 50
    validate_every: int = 2500
    validate_episodes: int = 20
    validate_envs: int = 10
    keep: int = 1
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        check_device("train.device", self.device)
        require_minimums(
            "train",
            self,
            steps=1,
            batch_size=1,
            warmup_steps=0,
            weight_decay=0,
            shift=0,
            light=0,
            log_every=1,
            validate_every=1,
            validate_episodes=1,
            validate_envs=1,
            keep=1,
            threads=0,
        )
        if (
            not self.learning_rate > 0
            or not self.max_grad_norm > 0
            or not 0 <= self.final_lr_ratio <= 1
        ):
            raise ConfigError(
                f"train.learning_rate {self.learning_rate} and clip {self.max_grad_norm} must be "
                f"above 0, "
                f"final_rate {self.final_lr_ratio} in [0, 1]"
            )
        if not 0 <= self.ema_decay < 1 or not 0 <= self.held_out < 1:
            raise ConfigError("train.ema_decay and train.held_out must be in [0, 1)")
        if self.precision not in ("bfloat16", "float32"):
            raise ConfigError(
                f"train.precision '{self.precision}': "
                f"{suggest_nearest(self.precision, ('bfloat16', 'float32'))}"
            )
        for name in ("steps", "validate_every"):
            if getattr(self, name) % self.log_every:
                raise ConfigError(
                    f"train.{name} = {getattr(self, name)} must be a multiple of "
                    f"train.log_every = {self.log_every}"
                )

    def get_learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        rising = min(1.0, (step + 1) / (self.warmup_steps + 1))
        share = max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        falling = self.final_lr_ratio + (1 - self.final_lr_ratio) * 0.5 * (
            1 + math.cos(math.pi * share)
        )
        return self.learning_rate * rising * falling


@dataclass(frozen=True)
class ManipulationEvaluation:
    """How `embodied eval` judges the result.

    Attributes:
        episodes: number of episodes of each task.
        envs: number of environments played as one batch.
        seed: number of the first episode.
        level: level of randomisation; -1 takes that of the training.
    """

    episodes: int = 100
    envs: int = 10
    seed: int = 0
    level: int = -1

    def __post_init__(self) -> None:
        require_minimums("evaluation", self, episodes=1, envs=1, seed=0, level=-1)
        if self.seed + self.episodes > VALIDATION_FROM:
            raise ConfigError(
                f"evaluation.seed + episodes = {self.seed + self.episodes} must not exceed "
                f"{VALIDATION_FROM}: validation and demonstrations lie beyond"
            )


class TabletopTraining:
    """What the settings of all trainings at the simulated table share."""

    seed: int
    tasks: tuple[str, ...]
    task: TabletopConfig

    def get_task_config(self, name: str, level: int = -1) -> TabletopConfig:
        """Return the settings of one task, at another level unless that is -1."""
        return replace(self.task, task=name, level=self.task.level if level < 0 else level)

    def _require_table(self, why: str) -> None:
        """Check seed, tasks, observation and control.

        Raises:
            ConfigError: one cannot be used; `why` says what observation and control must serve.
        """
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed} must not be negative")
        for name in self.tasks:
            if name not in TASKS:
                raise ConfigError(f"unknown task '{name}': {suggest_nearest(name, TASKS)}")
        if self.task.observation != "rgb" or self.task.control != "ee_delta":
            raise ConfigError(f"{why}: leave task.observation=rgb and task.control=ee_delta")


@dataclass(frozen=True)
class ManipulationTraining(TabletopTraining):
    """A whole training run.

    Attributes:
        trainer: the word "manipulation"; kept in config.yaml, where `embodied eval` reads it.
        seed: seed of weights and draws.
        tasks: names of the tasks that one policy learns, told apart by its instruction. None: it
            learns from `demonstrations.sets` alone, recorded on a robot that is not simulated here,
            and is judged by held-out frames.
        task: settings that all of them share.
        demonstrations: settings of what is imitated.
        policy: settings of the policy that learns.
        train: length and bookkeeping of the run.
        evaluation: settings of `embodied eval` for the result.
        key: start of the published names; "" takes the task's name, or "multitask".
    """

    trainer: str = "manipulation"
    seed: int = 0
    tasks: tuple[str, ...] = ("pick",)
    task: TabletopConfig = field(default_factory=lambda: TabletopConfig(observation="rgb"))
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    policy: VisuomotorConfig = field(default_factory=VisuomotorConfig)
    train: ManipulationLoop = field(default_factory=ManipulationLoop)
    evaluation: ManipulationEvaluation = field(default_factory=ManipulationEvaluation)
    key: str = ""

    def __post_init__(self) -> None:
        if len(set(self.tasks)) != len(self.tasks) or not (self.tasks or self.demonstrations.sets):
            raise ConfigError(
                f"tasks = {self.tasks} must name each task once; none at all needs data sets to "
                "learn from (demonstrations.sets)"
            )
        self._require_table("policies learn from images and the experts move the tool")


def require_minimums(part: str, config: Any, **least: float) -> None:
    """Check that settings are not below their least values.

    Raises:
        ConfigError: one is; names it as `part.name`.
    """
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise ConfigError(f"{part}.{name} = {getattr(config, name)} must be at least {bound}")
