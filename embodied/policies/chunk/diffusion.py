"""Diffusion Policy (Chi et al. 2023, arXiv 2303.04137), with a transformer as its network.

The chunk is noised along a squared-cosine schedule (Nichol and Dhariwal 2021) and the network
learns the noise, or the clean chunk:

    x_k = sqrt(A_k) a + sqrt(1 - A_k) e,   L = MSE(e, e'(x_k, k, observation))          (equation 5)

It acts by deterministic denoising (DDIM, Song et al. 2021) in fewer steps than it was trained with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embodied.errors import ConfigError, suggest_nearest
from embodied.nn.dit import Conditions, DiT, NoisyTokens
from embodied.nn.flow import expand_time
from embodied.policies.chunk.backbones import Backbone, Context
from embodied.policies.chunk.base import ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.robot_inputs import Batch, RobotInputs, masked_mean

PREDICTION_TYPES = ("noise", "clean")


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes of the denoiser, and its schedule.

    Attributes:
        width: of the tokens.
        layers: blocks; the first, third, ... read the context.
        heads: of the attention.
        pack: action steps per token.
        draws: noises and times drawn for each observation of a training batch.
        prediction_type: what is learned, "noise" (the paper's) or "clean" (both are LeRobot's
            options). The first steps divide an error in the noise by the little signal there is, so
            that a short training does better with the clean chunk.
        num_train_timesteps: of the schedule (the paper: 100).
        num_inference_steps: of denoising when acting (the paper: 100, and 10 on its robots).
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    pack: int = 4
    draws: int = 4
    prediction_type: str = "clean"
    num_train_timesteps: int = 100
    num_inference_steps: int = 10

    def __post_init__(self) -> None:
        sizes = (
            self.width,
            self.layers,
            self.heads,
            self.pack,
            self.draws,
            self.num_inference_steps,
        )
        if (
            min(sizes) < 1
            or self.width % (2 * self.heads)
            or self.num_train_timesteps < self.num_inference_steps
        ):
            raise ConfigError(
                "policy.diffusion: sizes must be at least 1, width a multiple of twice the heads, "
                f"noise_steps {self.num_train_timesteps} not below steps {self.num_inference_steps}"
            )
        if self.prediction_type not in PREDICTION_TYPES:
            raise ConfigError(
                f"policy.diffusion.prediction_type: "
                f"{suggest_nearest(self.prediction_type, PREDICTION_TYPES)}"
            )


class DiffusionHead(nn.Module):
    """Predicts the noise in a chunk of actions, or the chunk without it."""

    def __init__(
        self, config: DiffusionConfig, state: int, action: int, chunk_size: int, context: int
    ) -> None:
        super().__init__()
        width = config.width
        self.state = nn.Sequential(nn.Linear(state, width), nn.ReLU(), nn.Linear(width, width))
        self.context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, width))
        self.action = NoisyTokens(chunk_size, action, config.pack, width, placed=True)
        self.dit = DiT(width, config.heads, config.layers)
        self.norm = nn.LayerNorm(width)

    def encode_condition(self, context: Context, state: Tensor) -> Conditions:
        """Prepare what stays the same at all times."""
        remembered = self.dit.project_keys_values(self.context(context.tokens))
        return Conditions(self.state(state)[:, None], remembered, context.bias)

    def forward(self, conditions: Conditions, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the target (B, H, A) for noisy chunks (B, H, A) at times (B,) in [0, 1]."""
        tokens = torch.cat([conditions.tokens, self.action.encode(noisy, time)], dim=1)
        states = self.dit(tokens, time, conditions.keys_values, conditions.bias)
        return self.action.decode_values(self.norm(states[-1][:, 1:]))


class DiffusionPolicy(ChunkPolicy):
    """Diffusion Policy on any backbone.

    Args:
        inputs: what it sees and commands.
        config: of the head.
        backbone: sees and reads.
        chunk_size: actions per prediction.
        n_action_steps: actions played before the next one.
        seed: of the noise it starts from.

    Raises:
        ConfigError: a chunk that cannot be packed.
    """

    name = "diffusion"
    config_class = DiffusionConfig
    acting_settings = ("num_inference_steps",)

    def __init__(
        self, inputs: RobotInputs, config: DiffusionConfig, backbone: Backbone,
        chunk_size: int = 16, n_action_steps: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        if chunk_size % config.pack:
            raise ConfigError(
                f"chunk {chunk_size} must be a multiple of diffusion.pack {config.pack}"
            )
        self.config = config
        self.head = DiffusionHead(
            config, inputs.state_features, inputs.action, chunk_size, backbone.width
        )
        self.kept = squared_cosine_schedule(config.num_train_timesteps)
        super().__init__(
            inputs, ChunkNetwork(backbone, self.head), chunk_size, n_action_steps, seed
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its parts."""
        action, padded = self.prepare_targets(batch)
        context, state = self.encode_observations(batch)
        count, draws = self.config.num_train_timesteps, self.config.draws
        given = self.head.encode_condition(context, state).repeat_rows(draws)
        action = action.repeat_interleave(draws, dim=0)
        padded = None if padded is None else padded.repeat_interleave(draws, dim=0)
        level = torch.randint(count, (len(action),), device=action.device)
        noise = torch.randn_like(action)
        kept = expand_time(self.kept.to(action.device)[level], action)
        noisy = kept.sqrt() * action + (1 - kept).sqrt() * noise
        found = self.head(given, noisy, level / count)
        target = noise if self.config.prediction_type == "noise" else action
        loss = masked_mean((found.float() - target).square(), padded)
        return loss, {"action_loss": loss.item()}

    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        """Denoise actions, step by step."""
        count = self.config.num_train_timesteps
        levels = (
            torch.linspace(count - 1, 0, self.config.num_inference_steps).round().long().tolist()
        )
        given = self.head.encode_condition(context, state)
        x = self.sample_noise(len(state), self.chunk_size, self.inputs.action)
        for level, following in zip(levels, [*levels[1:], None], strict=True):
            kept = float(self.kept[level])
            time = torch.full((len(state),), level / count, device=x.device)
            found = self.head(given, x, time)
            if self.config.prediction_type == "noise":
                found = (x - math.sqrt(1 - kept) * found) / math.sqrt(kept)
            clean = found.clamp(-1.0, 1.0)
            if following is None:
                return {"action": clean}
            noise = (x - math.sqrt(kept) * clean) / math.sqrt(1 - kept)
            kept = float(self.kept[following])
            x = math.sqrt(kept) * clean + math.sqrt(1 - kept) * noise
        raise AssertionError("there is at least one step")


def squared_cosine_schedule(steps: int, most: float = 0.999) -> Tensor:
    """Return the share of the signal's power that is kept at each step, (`steps`,), falling.

    Nichol and Dhariwal 2021, equation 17, with no step removing more than `most` of it.
    """
    edges = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    curve = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
    removed = (1 - curve[1:] / curve[:-1]).clamp(max=most)
    return torch.cumprod(1 - removed, dim=0).float()
