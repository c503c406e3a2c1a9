"""How navigation policies are evaluated. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.errors import ConfigError, suggest_nearest
from embodied.tasks.navigation.config import SPLITS


@dataclass(frozen=True)
class EvaluationConfig:
    """How a trained policy is evaluated.

    Attributes:
        split: split whose houses are played in, "val" or "test".
        episodes: number of episodes; each in another house while the split's houses last.
        envs: number of environments stepped as one batch.
        seed: seed of the environments.
    """

    split: str = "val"
    episodes: int = 200
    envs: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(
                f"unknown split '{self.split}': {suggest_nearest(self.split, SPLITS)}"
            )
        for name, least in (("episodes", 1), ("envs", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"evaluation.{name} = {getattr(self, name)} must be at least {least}"
                )
