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

from embodied.errors import ConfigError, nearest
from embodied.nn.dit import Conditions, DiT, NoisyTokens
from embodied.nn.flow import spread
from embodied.policies.chunk.backbones import Backbone, Context
from embodied.policies.chunk.base import ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.robot_inputs import Batch, RobotInputs, masked_mean

TARGETS = ("noise", "clean")


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes of the denoiser, and its schedule.

    Attributes:
        width: of the tokens.
        layers: blocks; the first, third, ... read the context.
        heads: of the attention.
        pack: action steps per token.
        draws: noises and times drawn for each observation of a training batch.
        target: what is learned, "noise" (the paper's) or "clean" (both are LeRobot's options). The
            first steps divide an error in the noise by the little signal there is, so that a short
            training does better with the clean chunk.
        noise_steps: of the schedule (the paper: 100).
        steps: of denoising when acting (the paper: 100, and 10 on its robots).
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    pack: int = 4
    draws: int = 4
    target: str = "clean"
    noise_steps: int = 100
    steps: int = 10

    def __post_init__(self) -> None:
        sizes = (self.width, self.layers, self.heads, self.pack, self.draws, self.steps)
        if min(sizes) < 1 or self.width % (2 * self.heads) or self.noise_steps < self.steps:
            raise ConfigError(
                "policy.diffusion: sizes must be at least 1, width a multiple of twice the heads, "
                f"noise_steps {self.noise_steps} not below steps {self.steps}"
            )
        if self.target not in TARGETS:
            raise ConfigError(f"policy.diffusion.target: {nearest(self.target, TARGETS)}")


class DiffusionHead(nn.Module):
    """Predicts the noise in a chunk of actions, or the chunk without it."""

    def __init__(
        self, config: DiffusionConfig, state: int, action: int, chunk: int, context: int
    ) -> None:
        super().__init__()
        width = config.width
        self.state = nn.Sequential(nn.Linear(state, width), nn.ReLU(), nn.Linear(width, width))
        self.context = nn.Sequential(nn.LayerNorm(context), nn.Linear(context, width))
        self.action = NoisyTokens(chunk, action, config.pack, width, placed=True)
        self.dit = DiT(width, config.heads, config.layers)
        self.norm = nn.LayerNorm(width)

    def condition(self, context: Context, state: Tensor) -> Conditions:
        """Prepare what stays the same at all times."""
        remembered = self.dit.remember(self.context(context.tokens))
        return Conditions(self.state(state)[:, None], remembered, context.bias)

    def forward(self, given: Conditions, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the target (B, H, A) for noisy chunks (B, H, A) at times (B,) in [0, 1]."""
        tokens = torch.cat([given.tokens, self.action.encode(noisy, time)], dim=1)
        states = self.dit(tokens, time, given.remembered, given.bias)
        return self.action.read(self.norm(states[-1][:, 1:]))


class DiffusionPolicy(ChunkPolicy):
    """Diffusion Policy on any backbone.

    Args:
        inputs: what it sees and commands.
        config: of the head.
        backbone: sees and reads.
        chunk: actions per prediction.
        execute: actions played before the next one.
        seed: of the noise it starts from.

    Raises:
        ConfigError: a chunk that cannot be packed.
    """

    name = "diffusion"

    def __init__(
        self, inputs: RobotInputs, config: DiffusionConfig, backbone: Backbone,
        chunk: int = 16, execute: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        if chunk % config.pack:
            raise ConfigError(f"chunk {chunk} must be a multiple of diffusion.pack {config.pack}")
        self.config = config
        self.head = DiffusionHead(
            config, inputs.state_features, inputs.action, chunk, backbone.width
        )
        self.kept = squared_cosine(config.noise_steps)
        super().__init__(inputs, ChunkNetwork(backbone, self.head), chunk, execute, seed)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its parts."""
        action, padded = self.targets(batch)
        context, state = self.look(batch)
        count, draws = self.config.noise_steps, self.config.draws
        given = self.head.condition(context, state).repeated(draws)
        action = action.repeat_interleave(draws, dim=0)
        padded = None if padded is None else padded.repeat_interleave(draws, dim=0)
        level = torch.randint(count, (len(action),), device=action.device)
        noise = torch.randn_like(action)
        kept = spread(self.kept.to(action.device)[level], action)
        noisy = kept.sqrt() * action + (1 - kept).sqrt() * noise
        found = self.head(given, noisy, level / count)
        target = noise if self.config.target == "noise" else action
        loss = masked_mean((found.float() - target).square(), padded)
        return loss, {"action_loss": loss.item()}

    def _predict(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        count = self.config.noise_steps
        levels = torch.linspace(count - 1, 0, self.config.steps).round().long().tolist()
        given = self.head.condition(context, state)
        x = self.noise(len(state), self.chunk, self.inputs.action)
        for level, following in zip(levels, [*levels[1:], None], strict=True):
            kept = float(self.kept[level])
            time = torch.full((len(state),), level / count, device=x.device)
            found = self.head(given, x, time)
            if self.config.target == "noise":
                found = (x - math.sqrt(1 - kept) * found) / math.sqrt(kept)
            clean = found.clamp(-1.0, 1.0)
            if following is None:
                return {"action": clean}
            noise = (x - math.sqrt(kept) * clean) / math.sqrt(1 - kept)
            kept = float(self.kept[following])
            x = math.sqrt(kept) * clean + math.sqrt(1 - kept) * noise
        raise AssertionError("there is at least one step")


def squared_cosine(steps: int, most: float = 0.999) -> Tensor:
    """Return the share of the signal's power that is kept at each step, (`steps`,), falling.

    Nichol and Dhariwal 2021, equation 17, with no step removing more than `most` of it.
    """
    edges = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    curve = torch.cos((edges + 0.008) / 1.008 * math.pi / 2) ** 2
    removed = (1 - curve[1:] / curve[:-1]).clamp(max=most)
    return torch.cumprod(1 - removed, dim=0).float()
