"""Action Chunking with Transformers (Zhao et al. 2023, arXiv 2304.13705).

A conditional variational autoencoder: while training, a style z is read from the demonstrated
chunk; when acting it is 0, the mean of the prior. An encoder joins style, state and what the
backbone sees, a decoder asks it for every action of the chunk:

    L = |a - a'|_1 + beta KL(q(z | a, state) || N(0, 1))                          (section IV-C)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.nn.transformer import CrossAttention, PreNormLayer, build_mask_bias
from embodied.policies.chunk.backbones import Backbone, Context
from embodied.policies.chunk.base import ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.robot_inputs import Batch, RobotInputs, masked_mean


@dataclass(frozen=True)
class ActConfig:
    """Sizes of ACT (our tiny ones; the paper's are width 512, 4 and 7 layers, inner 3,200).

    Attributes:
        width: of the tokens.
        heads: of the attention.
        latent_dim: size of z (the paper: 32).
        n_vae_encoder_layers, n_encoder_layers, n_decoder_layers: transformer layers of each part.
        kl_weight: beta (the paper: 10).
    """

    width: int = 128
    heads: int = 4
    latent_dim: int = 32
    n_vae_encoder_layers: int = 1
    n_encoder_layers: int = 2
    n_decoder_layers: int = 2
    kl_weight: float = 10.0

    def __post_init__(self) -> None:
        sizes = (
            self.width,
            self.heads,
            self.latent_dim,
            self.n_vae_encoder_layers,
            self.n_encoder_layers,
            self.n_decoder_layers,
        )
        if min(sizes) < 1 or self.width % self.heads or self.kl_weight < 0:
            raise ConfigError(
                "policy.act: sizes and layers must be at least 1, width a multiple of heads, "
                "kl_weight not negative"
            )


class DecoderLayer(nn.Module):
    """Queries read the memory, then each other; norms first."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cross = CrossAttention(width, heads)
        self.own = PreNormLayer(width, heads, inner)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """Return (B, H, D) from queries (B, H, D), memory (B, L, D) and its mask."""
        x = x + self.cross(self.norm(x), self.cross.project_keys_values(memory), bias)
        return self.own(x, None)


class ActHead(nn.Module):
    """Encoder of the style, encoder of the scene, decoder of the actions."""

    def __init__(
        self, config: ActConfig, state: int, action: int, chunk_size: int, context: int
    ) -> None:
        super().__init__()
        width, heads, inner = config.width, config.heads, 4 * config.width
        self.config = config
        self.state = nn.Linear(state, width)
        self.action = nn.Linear(action, width)
        self.first = nn.Parameter(torch.randn(1, width) * 0.02)
        self.steps = nn.Parameter(torch.randn(chunk_size, width) * 0.02)
        self.reader = _stack(config.n_vae_encoder_layers, width, heads, inner)
        self.style = nn.Linear(width, 2 * config.latent_dim)
        self.styled = nn.Linear(config.latent_dim, width)
        self.context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, width))
        self.encoder = _stack(config.n_encoder_layers, width, heads, inner)
        self.queries = nn.Parameter(torch.randn(chunk_size, width) * 0.02)
        self.decoder = nn.ModuleList(
            DecoderLayer(width, heads, inner) for _ in range(config.n_decoder_layers)
        )
        self.encoded = nn.LayerNorm(width)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, action))

    def encode_latent(
        self, state: Tensor, action: Tensor, padded: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, Z) of the style of chunks (B, H, A)."""
        first = self.first.expand(len(state), -1, -1)
        tokens = torch.cat([first, self.state(state)[:, None], self.action(action) + self.steps], 1)
        present = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if padded is not None:
            present[:, 2:] = ~padded
        for layer in self.reader:
            tokens = layer(tokens, build_mask_bias(present))
        mean, log_variance = self.style(tokens[:, 0]).float().chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, context: Context, state: Tensor, latent: Tensor) -> Tensor:
        """Return actions (B, H, A) for a style (B, Z)."""
        own = torch.stack([self.styled(latent), self.state(state)], dim=1)
        memory = torch.cat([own, self.context(context.tokens)], dim=1)
        present = torch.cat([context.present.new_ones(len(state), 2), context.present], dim=1)
        bias = build_mask_bias(present)
        for layer in self.encoder:
            memory = layer(memory, bias)
        x = self.queries.expand(len(state), -1, -1)
        memory = self.encoded(memory)
        for layer in self.decoder:
            x = layer(x, memory, bias)
        return self.output(x)


class ActPolicy(ChunkPolicy):
    """ACT on any backbone.

    Args:
        inputs: what it sees and commands.
        config: of the head.
        backbone: sees and reads.
        chunk_size: actions per prediction.
        n_action_steps: actions played before the next one.
        seed: of nothing: it acts by the mean.
    """

    name = "act"
    config_class = ActConfig

    def __init__(
        self, inputs: RobotInputs, config: ActConfig, backbone: Backbone,
        chunk_size: int = 16, n_action_steps: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        self.config = config
        self.head = ActHead(
            config, inputs.state_features, inputs.action, chunk_size, backbone.width
        )
        super().__init__(
            inputs, ChunkNetwork(backbone, self.head), chunk_size, n_action_steps, seed
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its parts."""
        action, padded = self.prepare_targets(batch)
        context, state = self.encode_observations(batch)
        mean, log_variance = self.head.encode_latent(state, action, padded)
        style = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        found = self.head(context, state, style).float()
        error = masked_mean((found - action).abs(), padded)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        loss = error + self.config.kl_weight * divergence
        return loss, {"action_loss": error.item(), "style_divergence": divergence.item()}

    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        """Decode actions for the mean style."""
        style = state.new_zeros(len(state), self.config.latent_dim)
        return {"action": self.head(context, state, style)}


def _stack(layers: int, width: int, heads: int, inner: int) -> nn.ModuleList:
    return nn.ModuleList(PreNormLayer(width, heads, inner) for _ in range(layers))
