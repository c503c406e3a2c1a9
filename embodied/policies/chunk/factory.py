"""The learned manipulation policies by name: which method, on which backbone, and how it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch

from embodied import config as configuration
from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.chunk.act import ActConfig, ActPolicy
from embodied.policies.chunk.backbones import BackboneConfig, make_backbone
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.diffusion import DiffusionConfig, DiffusionPolicy
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.policies.chunk.sc_vla import ScVlaConfig, ScVlaPolicy

METHODS = ("sc_vla", "act", "diffusion")

ACTING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sc_vla": ("num_inference_steps", "temperature"),
        "diffusion": ("num_inference_steps",),
    }
)
"""Settings of the methods that no weight depends on."""


@dataclass(frozen=True)
class VisuomotorConfig:
    """A learned manipulation policy.

    Attributes:
        method: "sc_vla", "act" or "diffusion".
        chunk_size: actions per prediction.
        n_action_steps: actions played before the next prediction (SC-VLA: 5; ours see with more
            error, and looking again sooner is worth its cost).
        backbone: what sees and reads.
        sc_vla, act, diffusion: settings of the method of that name.
    """

    method: str = "sc_vla"
    chunk_size: int = 16
    n_action_steps: int = 3
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    sc_vla: ScVlaConfig = field(default_factory=ScVlaConfig)
    act: ActConfig = field(default_factory=ActConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"policy.method '{self.method}': {suggest_nearest(self.method, METHODS)}"
            )
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ConfigError(
                f"policy.n_action_steps = {self.n_action_steps} must be between 1 and "
                f"policy.chunk_size = {self.chunk_size}"
            )


def make_policy(inputs: RobotInputs, config: VisuomotorConfig, seed: int = 0) -> ChunkPolicy:
    """Build a policy with fresh weights.

    Args:
        inputs: what it sees and commands.
        config: which.
        seed: of its weights, and of what it draws when acting.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = make_backbone(config.backbone, inputs.cameras, inputs.words)
        inputs = replace(inputs, backbone=backbone.digest)
        play = (backbone, config.chunk_size, config.n_action_steps, seed)
        if config.method == "act":
            return ActPolicy(inputs, config.act, *play)
        if config.method == "diffusion":
            return DiffusionPolicy(inputs, config.diffusion, *play)
        return ScVlaPolicy(inputs, config.sc_vla, *play)


def apply_acting_settings(
    policy: ChunkPolicy, trained: VisuomotorConfig, wanted: VisuomotorConfig
) -> None:
    """Let a policy act with other settings than it was trained with.

    Args:
        policy: changed in place.
        trained: what it was trained with.
        wanted: the same but for `n_action_steps` and what `ACTING` names.

    Raises:
        ConfigError: something else differs, too.
    """
    back = {
        method: replace(
            getattr(wanted, method), **{n: getattr(getattr(trained, method), n) for n in names}
        )
        for method, names in ACTING.items()
    }
    if replace(wanted, n_action_steps=trained.n_action_steps, **back) != trained:
        free = [f"policy.{method}.{name}" for method, names in ACTING.items() for name in names]
        raise ConfigError(
            "the policy was trained with other settings under policy: only policy.n_action_steps, "
            f"{', '.join(free)} may change afterwards. Leave the others, or train anew"
        )
    policy.n_action_steps = wanted.n_action_steps
    if isinstance(policy, ScVlaPolicy):
        policy.config = wanted.sc_vla
    if isinstance(policy, DiffusionPolicy):
        policy.config = wanted.diffusion


def restore_policy(
    inputs: Mapping[str, Any], tree: Mapping[str, Any], source: str = "configuration"
) -> ChunkPolicy:
    """Rebuild the policy of a checkpoint, without its weights.

    Args:
        inputs: what `RobotInputs.to_json` wrote.
        tree: configuration of its run; the part "policy" is read.
        source: where that stands, for messages.
    """
    config = configuration.build(VisuomotorConfig, tree["policy"], source=source)
    policy = make_policy(RobotInputs.from_json(inputs), config)
    policy.network.eval()
    return policy
