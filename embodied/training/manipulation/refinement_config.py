"""Everything that decides the online refinement of a manipulation policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.residual import ResidualConfig
from embodied.tasks.tabletop.config import TabletopConfig
from embodied.training.device import check_device
from embodied.training.manipulation.config import (
    ManipulationEvaluation,
    TabletopTraining,
    require_minimums,
)
from embodied.training.manipulation.guidance import GUIDANCES
from embodied.training.sac import SacConfig


@dataclass(frozen=True)
class RefinementLoop:
    """What is rewarded, and how long a run is.

    Attributes:
        guidance: source of the guidance, one of `GUIDANCES`.
        guidance_weight: weight of the guidance at first, w.
        guidance_decay_steps: number of steps after `learning_starts` in which that falls to 0; 0:
            it stays.
        violation_penalty: penalty of a control step in which a safety limit is violated.
        reward: kind of the task's reward, "dense" or "sparse"; one is taken from it in every step.
        privileged: whether critics see the true poses of the objects; the actor never does.
        steps: number of control steps of all environments together.
        envs: number of environments stepped as one batch.
        learning_starts: number of steps of the base alone before anything is learned.
        ramp_steps: number of steps over which the actor may go further and further after that.
        log_every: number of steps that make one row of metrics.jsonl.
        validate_every: number of steps between validations; each writes a checkpoint.
        validate_episodes: number of episodes of a validation.
        validate_envs: number of environments a validation plays as one batch.
        keep: number of newest checkpoints kept beside the best.
        threads: number of CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
    """

    guidance: str = "imagined"
    guidance_weight: float = 0.6
    guidance_decay_steps: int = 40_000
    violation_penalty: float = 1.0
    reward: Literal["dense", "sparse"] = "sparse"
    privileged: bool = True
    steps: int = 96_000
    envs: int = 16
    learning_starts: int = 6_000
    ramp_steps: int = 24_000
    log_every: int = 2_000
    validate_every: int = 16_000
    validate_episodes: int = 80
    validate_envs: int = 20
    keep: int = 1
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        check_device("refinement.device", self.device)
        require_minimums(
            "refinement",
            self,
            guidance_weight=0,
            guidance_decay_steps=0,
            violation_penalty=0,
            steps=1,
            envs=1,
            learning_starts=1,
            ramp_steps=1,
            log_every=1,
            validate_every=1,
            validate_episodes=1,
            validate_envs=1,
            keep=1,
            threads=0,
        )
        for name, allowed in (("guidance", GUIDANCES), ("reward", ("dense", "sparse"))):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"refinement.{name} '{value}': {suggest_nearest(value, allowed)}")
        for name, unit in (("log_every", "envs"), ("steps", "log_every"),
                           ("validate_every", "log_every")):  # fmt: skip
            if getattr(self, name) % getattr(self, unit):
                raise ConfigError(
                    f"refinement.{name} = {getattr(self, name)} must be a multiple of "
                    f"refinement.{unit} = {getattr(self, unit)}"
                )

    def get_amplitude(self, step: int) -> float:
        """Return how far the actor may go at a step, rho in [0, 1]."""
        return min(max(step - self.learning_starts, 0) / self.ramp_steps, 1.0)

    def get_guidance_weight(self, step: int) -> float:
        """Return the weight of the guidance at a step."""
        if self.guidance == "none":
            return 0.0
        over = (
            max(step - self.learning_starts, 0) / self.guidance_decay_steps
            if self.guidance_decay_steps
            else 0.0
        )
        return self.guidance_weight * max(1.0 - over, 0.0)


@dataclass(frozen=True)
class RefinementEvaluation(ManipulationEvaluation):
    """How `embodied eval` judges the result.

    Attributes:
        base: whether the base is played, too, on the same initial states.
    """

    base: bool = True


@dataclass(frozen=True)
class RefinementTraining(TabletopTraining):
    """A whole run.

    Attributes:
        trainer: the word "refinement"; kept in config.yaml, where `embodied eval` reads it.
        seed: seed of weights and draws.
        base: folder of the run whose policy is refined.
        which: checkpoint of it, "latest" or "best".
        tasks: name of the one task; the base's own unless that has several.
        task: settings of the task; taken over from the base's run where nothing is said.
        policy: settings of the base; taken over from its run.
        residual: settings of the actor: its size, and how far it may go.
        sac: settings of soft actor-critic.
        refinement: rewards, length and bookkeeping of the run.
        evaluation: settings of `embodied eval` for the result.
        key: start of the published names; "" takes the task's name.
    """

    trainer: str = "refinement"
    seed: int = 0
    base: str = ""
    which: str = "latest"
    tasks: tuple[str, ...] = ("pick",)
    task: TabletopConfig = field(default_factory=lambda: TabletopConfig(observation="rgb"))
    policy: VisuomotorConfig = field(default_factory=VisuomotorConfig)
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    sac: SacConfig = field(default_factory=SacConfig)
    refinement: RefinementLoop = field(default_factory=RefinementLoop)
    evaluation: RefinementEvaluation = field(default_factory=RefinementEvaluation)
    key: str = ""

    def __post_init__(self) -> None:
        if self.which not in ("latest", "best"):
            raise ConfigError(
                f"which '{self.which}': {suggest_nearest(self.which, ('latest', 'best'))}"
            )
        if len(self.tasks) != 1:
            raise ConfigError(
                f"a refinement learns one task, the base plays {list(self.tasks)}: choose one, "
                "e.g. tasks=[stack]"
            )
        self._require_table("the base sees images and residuals move the tool")
        imagined = self.policy.method == "sc_vla" and self.policy.sc_vla.imagination
        if self.refinement.guidance != "none" and not imagined:
            raise ConfigError(
                f"refinement.guidance={self.refinement.guidance} needs a base that imagines (a run "
                "of manip/sc_vla_... with policy.sc_vla.imagination=true). Set "
                "refinement.guidance=none"
            )
