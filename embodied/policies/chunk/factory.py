"""The learned manipulation policies by name: which method, on which backbone, and how it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from embodied import config as configuration
from embodied import registry
from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.chunk.act import ActConfig
from embodied.policies.chunk.backbones import BackboneConfig, make_backbone
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.diffusion import DiffusionConfig
from embodied.policies.chunk.robot_inputs import RobotInputs
from embodied.policies.chunk.sc_vla import ScVlaConfig

TABLE = "chunk_policy"
"""Of the registry: the methods."""

METHODS = tuple(registry.list_names(TABLE))


@dataclass(frozen=True)
class VisuomotorConfig:
    """A learned manipulation policy.

    Attributes:
        method: "sc_vla", "act" or "diffusion", or "module:Class" of a `ChunkPolicy` of a user's own
            with `config_class`, built as ours are.
        chunk_size: actions per prediction.
        n_action_steps: actions played before the next prediction (SC-VLA: 5; ours see with more
            error, and looking again sooner is worth its cost).
        backbone: what sees and reads.
        sc_vla, act, diffusion: settings of the method of that name.
        method_config: settings of a method of a user's own.
    """

    method: str = "sc_vla"
    chunk_size: int = 16
    n_action_steps: int = 3
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    sc_vla: ScVlaConfig = field(default_factory=ScVlaConfig)
    act: ActConfig = field(default_factory=ActConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    method_config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS and ":" not in self.method:
            raise ConfigError(
                f"policy.method '{self.method}': {suggest_nearest(self.method, METHODS)}"
            )
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ConfigError(
                f"policy.n_action_steps = {self.n_action_steps} must be between 1 and "
                f"policy.chunk_size = {self.chunk_size}"
            )

    def build_method_config(self) -> Any:
        """Return the settings of the method.

        Raises:
            ConfigError: unknown key or wrong value among those of a user's own.
        """
        if self.method in METHODS:
            return getattr(self, self.method)
        cls = registry.resolve(TABLE, self.method)
        return configuration.build(cls.config_class, self.method_config, "policy.method_config")


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
        policy: ChunkPolicy = registry.resolve(TABLE, config.method)(
            inputs, config.build_method_config(), backbone, config.chunk_size,
            config.n_action_steps, seed,
        )  # fmt: skip
        return policy


def apply_acting_settings(
    policy: ChunkPolicy, trained: VisuomotorConfig, wanted: VisuomotorConfig
) -> None:
    """Let a policy act with other settings than it was trained with.

    Args:
        policy: changed in place.
        trained: what it was trained with.
        wanted: the same but for `n_action_steps` and the `acting_settings` of its method.

    Raises:
        ConfigError: something else differs, too.
    """
    acting = {method: registry.resolve(TABLE, method).acting_settings for method in METHODS}
    back = {
        method: replace(
            getattr(wanted, method), **{n: getattr(getattr(trained, method), n) for n in names}
        )
        for method, names in acting.items()
    }
    if replace(wanted, n_action_steps=trained.n_action_steps, **back) != trained:
        free = [f"policy.{method}.{name}" for method, names in acting.items() for name in names]
        raise ConfigError(
            "the policy was trained with other settings under policy: only policy.n_action_steps, "
            f"{', '.join(free)} may change afterwards. Leave the others, or train anew"
        )
    policy.n_action_steps = wanted.n_action_steps
    if policy.acting_settings:
        policy.config = wanted.build_method_config()


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
