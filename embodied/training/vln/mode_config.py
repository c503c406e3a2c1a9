"""How the mode selector of Meta-Explore is trained. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.errors import ConfigError


@dataclass(frozen=True)
class ModeConfig:
    """How the mode selector is trained.

    Attributes:
        episodes: number of rollouts.
        envs: number of environments stepped as one batch.
        temperature: temperature of the explorer's draws.
        margin: length that a correction must save to be labelled right [m].
        wrong_stop: length that a stop beside the goal costs, besides the way that is left [m].
        astray: share of corrections made where they do not pay, so that their consequences are met.
        epochs: number of passes over the decisions.
        batch_size: number of decisions per gradient step.
        learning_rate, weight_decay: settings of AdamW, for both heads.
        ranker: whether the ranker is trained, too; its rollouts need category canvases and are
            slower.
        thresholds: probabilities of exploring below which a correction might be made; after the
            last epoch the held-out worlds are played with each, and the selector's bias is shifted
            so that the one with the best SPL lies at `meta.threshold`. Empty: no shift.
        seed: seed of draws and batches.
    """

    episodes: int = 2000
    envs: int = 32
    temperature: float = 0.5
    margin: float = 0.5
    wrong_stop: float = 10.0
    astray: float = 0.15
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    ranker: bool = True
    thresholds: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("episodes", "envs", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"mode.{name} = {getattr(self, name)} must be at least 1")
        if self.temperature <= 0 or self.learning_rate <= 0 or self.margin < 0:
            raise ConfigError(
                f"mode.temperature = {self.temperature} and mode.learning_rate = "
                f"{self.learning_rate} must be positive, mode.margin = {self.margin} m not negative"
            )
        if self.wrong_stop <= 0 or not 0 <= self.astray <= 1:
            raise ConfigError(
                f"mode.wrong_stop = {self.wrong_stop} m must be positive and mode.astray = "
                f"{self.astray} lie in [0, 1]"
            )
        if not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ConfigError(f"mode.thresholds = {self.thresholds} must lie between 0 and 1")
