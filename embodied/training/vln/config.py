"""Everything that decides a training run of a language-guided agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.vln.dual_scale import DualScaleConfig
from embodied.policies.vln.meta_explore.config import MetaExploreConfig
from embodied.tasks.vln.config import VLNConfig
from embodied.training.device import check_device
from embodied.training.vln.mode_config import ModeConfig

TASKS = ("mlm", "mrc", "sap", "og")


@dataclass(frozen=True)
class AdamConfig:
    """AdamW with linear warm-up and linear decay.

    Attributes:
        learning_rate: highest learning rate.
        warmup_steps: number of updates until it is reached.
        final_lr_ratio: share of it left at the last update.
        weight_decay: weight decay of matrices; biases, norms and embeddings have none.
        betas: decay rates of the moments.
        max_grad_norm: largest norm of the gradient; a longer one is scaled down to it.
    """

    learning_rate: float = 5e-4
    warmup_steps: int = 50
    final_lr_ratio: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float = 5.0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not self.max_grad_norm > 0:
            raise ConfigError(
                f"learning_rate = {self.learning_rate} and clip = {self.max_grad_norm} must be "
                f"above 0"
            )
        if self.warmup_steps < 0 or not 0 <= self.final_lr_ratio <= 1:
            raise ConfigError(
                f"warmup = {self.warmup_steps} must not be negative, final = "
                f"{self.final_lr_ratio} be in [0, 1]"
            )

    def get_learning_rate(self, done: int, total: int) -> float:
        """Return the learning rate of the update after `done` of `total`."""
        rising = min(1.0, (done + 1) / (self.warmup_steps + 1))
        falling = max(0, done - self.warmup_steps) / max(1, total - self.warmup_steps)
        return self.learning_rate * rising * (1 - (1 - self.final_lr_ratio) * falling)


@dataclass(frozen=True)
class PretrainConfig:
    """Learning from replayed paths before the agent walks itself (DUET, section 3.5).

    Attributes:
        steps: number of updates.
        batch_size: number of paths per update.
        tasks: names of the objectives; one is drawn per update, all equally likely: "mlm" masked
            language modelling, "mrc" masked region classification, "sap" single-step action
            prediction, "og" object grounding. Name one twice to draw it twice as often.
        ends: odds of how a path for "sap" ends: at a goal, at a place on the annotated path, at any
            other place (the paper's 20, 40 and 40 %).
        mask_ratio: share of words or views that is masked.
        optimizer: settings of AdamW.
    """

    steps: int = 0
    batch_size: int = 64
    tasks: tuple[str, ...] = TASKS
    ends: tuple[float, float, float] = (0.2, 0.4, 0.4)
    mask_ratio: float = 0.15
    optimizer: AdamConfig = field(default_factory=AdamConfig)

    def __post_init__(self) -> None:
        require_counts("pretrain", self, steps=0, batch_size=1)
        for task in self.tasks:
            if task not in TASKS:
                raise ConfigError(
                    f"pretrain.tasks: unknown '{task}': {suggest_nearest(task, TASKS)}"
                )
        if self.steps and not self.tasks:
            raise ConfigError(f"pretrain.tasks is empty: name some of {', '.join(TASKS)}")
        if min(self.ends) < 0 or not sum(self.ends) > 0:
            raise ConfigError(f"pretrain.ends = {self.ends} must be odds that are not negative")
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(f"pretrain.mask_ratio = {self.mask_ratio} must be between 0 and 1")


@dataclass(frozen=True)
class FinetuneConfig:
    """Learning while walking, labelled by the shortest-path expert (DUET, section 3.5: the
    pseudo-interactive demonstrator; Ross et al. 2011: DAgger).

    Attributes:
        steps: number of updates.
        batch_size: number of episodes per update.
        teacher_weight: weight of the rollout in which the expert walks.
        sample_weight: weight of the rollout in which the agent walks by its own drawn decisions.
        fused_weight: weight of the loss over all unvisited places.
        explore_weight: weight of the loss over the neighbours, for one-step exploration and
            Meta-Explore.
        object_weight: weight of the loss over objects, where the target is visible.
        walk: logits that the sampled rollout draws from: "fused" (jumps on the map), "explore"
            (single steps), or "mixed" (half of the episodes each).
        endpoints: goal that the expert leads to: the "nearest" (what success is measured by; our
            choice), one "drawn" among them (the paper's, for REVERIE), or the "annotated" one.
        max_decisions: number of decisions after which an episode that has not arrived is given up.
        optimizer: settings of AdamW.
    """

    steps: int = 1000
    batch_size: int = 32
    teacher_weight: float = 0.2
    sample_weight: float = 1.0
    fused_weight: float = 1.0
    explore_weight: float = 1.0
    object_weight: float = 1.0
    walk: str = "mixed"
    endpoints: str = "nearest"
    max_decisions: int = 15
    optimizer: AdamConfig = field(default_factory=lambda: AdamConfig(max_grad_norm=40.0))

    def __post_init__(self) -> None:
        require_counts("finetune", self, steps=0, batch_size=1, max_decisions=1)
        weights = ("teacher", "sample", "fused", "explore", "object")
        for name in (f"{weight}_weight" for weight in weights):
            if getattr(self, name) < 0:
                raise ConfigError(f"finetune.{name} = {getattr(self, name)} must not be negative")
        if not self.teacher_weight + self.sample_weight > 0:
            raise ConfigError("finetune.teacher_weight and sample_weight are both 0")
        choices = {"walk": ("fused", "explore", "mixed"),
                   "endpoints": ("nearest", "drawn", "annotated")}  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                given = getattr(self, name)
                raise ConfigError(f"finetune.{name} '{given}': {suggest_nearest(given, allowed)}")


@dataclass(frozen=True)
class ValidationConfig:
    """How the best checkpoint is found: on whole worlds held out of the training split.

    Never on val_seen or val_unseen: choosing on what is reported flatters the result.

    Attributes:
        worlds: number of worlds held out, the last by name; 0 does without, and the newest weights
            are kept.
        episodes: number of episodes, evenly over theirs; 0: all.
        every: number of updates between validations.
        score: metric that decides.
        envs: number of episodes played as one batch.
    """

    worlds: int = 6
    episodes: int = 300
    every: int = 250
    score: str = "spl"
    envs: int = 64

    def __post_init__(self) -> None:
        require_counts("validation", self, worlds=0, episodes=0, every=1, envs=1)


@dataclass(frozen=True)
class VLNLoopConfig:
    """Order and bookkeeping of a run.

    Attributes:
        phases: names of the phases in their order, rows of the registry's table "vln_phase".
        checkpoint_every: number of updates between checkpoints.
        keep: number of newest checkpoints kept beside the best.
        threads: number of CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
    """

    phases: tuple[str, ...] = ("pretrain", "finetune")
    checkpoint_every: int = 250
    keep: int = 2
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        require_counts("train", self, checkpoint_every=1, keep=1, threads=0)
        check_device("train.device", self.device)
        if not self.phases or len(set(self.phases)) != len(self.phases):
            raise ConfigError(f"train.phases = {self.phases} must name each phase once")


@dataclass(frozen=True)
class VLNEvaluationConfig:
    """How `embodied eval` judges the result.

    Attributes:
        split: split that is played: "val_seen", "val_unseen", or "test" (houses).
        episodes: number of episodes, evenly over the split; 0: all.
        envs: number of episodes played as one batch.
        seed: seed of the policy's draws, and of the environments.
    """

    split: str = "val_unseen"
    episodes: int = 0
    envs: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts("evaluation", self, episodes=0, envs=1, seed=0)


@dataclass(frozen=True)
class VLNTrainConfig:
    """A whole training run.

    Attributes:
        trainer: the word "vln"; kept in the run's config.yaml, where `embodied eval` reads it.
        seed: seed of weights, episodes and draws.
        task: data set and its settings; the agent is trained on its split "train".
        policy: size and options of the agent.
        train: order and bookkeeping of the phases.
        pretrain, finetune, mode: settings of the phases.
        meta: settings of how the trained agent acts where the phase "mode" was trained.
        validation: settings of how the best checkpoint is found.
        evaluation: settings of `embodied eval` for the result.
        key: start of the published names; "" takes the data set's name.
    """

    trainer: str = "vln"
    seed: int = 0
    task: VLNConfig = field(default_factory=VLNConfig)
    policy: DualScaleConfig = field(default_factory=DualScaleConfig)
    train: VLNLoopConfig = field(default_factory=VLNLoopConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    mode: ModeConfig = field(default_factory=ModeConfig)
    meta: MetaExploreConfig = field(default_factory=MetaExploreConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    evaluation: VLNEvaluationConfig = field(default_factory=VLNEvaluationConfig)
    key: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed} must not be negative")


def require_counts(part: str, config: Any, **least: int) -> None:
    """Check that settings are not below their least values.

    Raises:
        ConfigError: one is; names it as `part.name`.
    """
    for name, bound in least.items():
        value = getattr(config, name)
        if value < bound:
            raise ConfigError(f"{part}.{name} = {value} must be at least {bound}")
