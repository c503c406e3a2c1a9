"""Manipulation runs that take seconds: small images, few episodes, a small network."""

from __future__ import annotations

from embodied.policies.chunk.act import ActConfig
from embodied.policies.chunk.backbones import BackboneConfig
from embodied.policies.chunk.backbones.base import TinyConfig
from embodied.policies.chunk.diffusion import DiffusionConfig
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.sc_vla import ScVlaConfig
from embodied.tasks.tabletop import TabletopConfig
from embodied.training.manipulation.config import (
    DemonstrationConfig,
    ManipulationEvaluation,
    ManipulationLoop,
    ManipulationTraining,
)

TASK = TabletopConfig(task="reach", observation="rgb", width=32, height=32, level=0, max_steps=30)
DEMONSTRATIONS = DemonstrationConfig(episodes=3, envs=2, noise=0.2, push=0.0)
POLICY = VisuomotorConfig(
    chunk_size=8,
    n_action_steps=4,
    backbone=BackboneConfig(tiny=TinyConfig(width=32, channels=(8, 16))),
    sc_vla=ScVlaConfig(width=32, layers=2, tap=1, num_future_tokens=1),
    act=ActConfig(width=32, latent_dim=4, n_encoder_layers=1, n_decoder_layers=1),
    diffusion=DiffusionConfig(width=32, layers=2, num_train_timesteps=20, num_inference_steps=4),
)
LOOP = ManipulationLoop(
    steps=12, batch_size=4, warmup_steps=2, log_every=2, validate_every=4, validate_episodes=2,
    validate_envs=2, held_out=0.34, keep=9,
)  # fmt: skip


def miniature(**changes) -> ManipulationTraining:
    settings = {
        "tasks": ("reach",), "task": TASK, "demonstrations": DEMONSTRATIONS, "policy": POLICY,
        "train": LOOP, "evaluation": ManipulationEvaluation(episodes=3, envs=2),
    }  # fmt: skip
    return ManipulationTraining(**{**settings, **changes})
