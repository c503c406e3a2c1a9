"""Keys of configurations that were renamed: the old ones work for one more version, with a warning.

Only `ALIASES` knows them. A row is the name of a configuration class, and which of its present keys
each old one stands for. Recipes, overrides and the files of old runs all pass here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

REMOVED_IN = "0.3"
"""The version that no longer knows the old keys."""

ALIASES: dict[str, dict[str, str]] = {
    "ActConfig": {
        "style": "latent_dim",
        "style_layers": "n_vae_encoder_layers",
        "encoder_layers": "n_encoder_layers",
        "decoder_layers": "n_decoder_layers",
    },
    "AdamConfig": {"clip": "max_grad_norm", "final": "final_lr_ratio", "warmup": "warmup_steps"},
    "ContinuousConfig": {"arrive": "arrival_distance", "replan": "replan_interval"},
    "DemoConfig": {"find": "num_searches", "things": "categories"},
    "DiffusionConfig": {
        "steps": "num_inference_steps",
        "noise_steps": "num_train_timesteps",
        "target": "prediction_type",
    },
    "DualScaleConfig": {"mentions": "instruction_features"},
    "FinetuneConfig": {"batch": "batch_size"},
    "FrankaOptions": {"correction": "max_correction"},
    "FrontierConfig": {"replan": "replan_interval"},
    "ImitationConfig": {
        "discount": "gamma",
        "max_gradient": "max_grad_norm",
        "sequence": "sequence_length",
        "trace": "gae_lambda",
    },
    "LiveGraphConfig": {"most": "max_neighbours"},
    "ManipulationLoop": {
        "average": "ema_decay",
        "batch": "batch_size",
        "clip": "max_grad_norm",
        "final_rate": "final_lr_ratio",
        "warmup": "warmup_steps",
    },
    "MapPlannerConfig": {"stop": "stop_distance", "replan": "replan_interval"},
    "MobilePickAgentConfig": {"replan": "replan_interval"},
    "ModeConfig": {"batch": "batch_size"},
    "ObjectFrontierConfig": {"approach": "approach_distance", "accept": "accept_distance"},
    "PPOConfig": {
        "clip": "clip_range",
        "discount": "gamma",
        "max_gradient": "max_grad_norm",
        "sequence": "sequence_length",
        "target_divergence": "target_kl",
        "trace": "gae_lambda",
        "value_clip": "clip_range_vf",
    },
    "PretrainConfig": {"batch": "batch_size", "masked": "mask_ratio"},
    "RecurrentConfig": {"hidden": "hidden_size"},
    "RefinementLoop": {
        "fades": "guidance_decay_steps",
        "ramp": "ramp_steps",
        "violation": "violation_penalty",
        "warmup": "learning_starts",
        "weight": "guidance_weight",
    },
    "ResidualConfig": {
        "position": "position_scale",
        "rotation": "rotation_scale",
        "gripper": "gripper_scale",
    },
    "SacConfig": {
        "actor_rate": "actor_lr",
        "batch": "batch_size",
        "capacity": "buffer_size",
        "clip": "max_grad_norm",
        "critics": "num_critics",
        "critics_rate": "critic_lr",
        "discount": "gamma",
        "entropy": "target_entropy",
        "patience": "actor_update_interval",
        "temperature": "alpha",
        "temperature_rate": "alpha_lr",
        "tracking": "tau",
        "updates": "utd_ratio",
    },
    "ScVlaConfig": {
        "steps": "num_inference_steps",
        "horizon": "imagination_horizon",
        "future": "num_future_tokens",
        "reading": "context_layers",
    },
    "SegmenterLoop": {"batch": "batch_size"},
    "ServerConfig": {"queue": "max_queue_size"},
    "UrOptions": {"moments": "target_moments"},
    "VisuomotorConfig": {"chunk": "chunk_size", "execute": "n_action_steps"},
    "VlmConfig": {"lora": "lora_rank", "alpha": "lora_alpha", "targets": "target_modules"},
}


SYNONYMS: dict[str, tuple[str, ...]] = {
    "action_horizon": ("n_action_steps",),
    "bs": ("batch_size",),
    "buffer_capacity": ("buffer_size",),
    "clip": ("clip_range", "max_grad_norm"),
    "clip_coef": ("clip_range",),
    "clip_eps": ("clip_range",),
    "clip_param": ("clip_range",),
    "discount": ("gamma",),
    "discount_factor": ("gamma",),
    "ema": ("ema_decay",),
    "ensemble_size": ("num_critics",),
    "ent_coef": ("entropy_weight", "target_entropy"),
    "entropy_coef": ("entropy_weight", "target_entropy"),
    "eval_freq": ("validate_every", "every"),
    "gae": ("gae_lambda",),
    "grad_clip": ("max_grad_norm",),
    "gradient_steps": ("utd_ratio",),
    "hidden_dim": ("hidden_size", "width"),
    "horizon": ("chunk_size", "ppo_rollout", "imagination_horizon"),
    "kl": ("target_kl",),
    "lam": ("gae_lambda",),
    "lambda": ("gae_lambda",),
    "lr": ("learning_rate", "actor_lr", "critic_lr"),
    "n_critics": ("num_critics",),
    "n_envs": ("envs",),
    "n_epochs": ("epochs",),
    "n_minibatches": ("minibatches",),
    "n_steps": ("ppo_rollout", "rollout"),
    "num_envs": ("envs",),
    "num_epochs": ("epochs",),
    "num_minibatches": ("minibatches",),
    "num_steps": ("ppo_rollout", "rollout", "steps"),
    "num_threads": ("threads",),
    "policy_delay": ("actor_update_interval",),
    "policy_frequency": ("actor_update_interval",),
    "polyak": ("tau",),
    "replay_ratio": ("utd_ratio",),
    "replay_size": ("buffer_size",),
    "save_freq": ("checkpoint_every", "validate_every"),
    "temperature": ("alpha",),
    "timesteps": ("steps",),
    "total_steps": ("steps",),
    "total_timesteps": ("steps",),
    "update_epochs": ("epochs",),
    "vf_coef": ("value_weight",),
    "value_coef": ("value_weight",),
    "warmup": ("warmup_steps", "learning_starts"),
}
"""What other libraries call our keys (their last part): a mistyped key is answered with ours."""


def rename_old_keys(
    cls: type, tree: Mapping[str, Any], prefix: str = "", source: str = "configuration"
) -> dict[str, Any]:
    """Return the mapping of one configuration class with its old keys replaced by the present ones.

    Args:
        cls: the configuration class the mapping is for; classes it holds are not entered.
        tree: its mapping. Of an old key and the present one the later counts: `merge` puts the keys
            of an upper layer last, so an override wins over a recipe whichever name each uses.
        prefix: dotted name of the mapping with a final dot, for the warning.
        source: where it was read, likewise.
    """
    table = ALIASES.get(cls.__name__, {})
    renamed: dict[str, Any] = {}
    for key, value in tree.items():
        new = table.get(key, key)
        if new != key:
            warnings.warn(
                f"{source}: the setting {prefix}{key} is called {prefix}{new} now; "
                f"the old name works until version {REMOVED_IN}",
                FutureWarning,
                stacklevel=2,
            )
        renamed[new] = value
    return renamed
