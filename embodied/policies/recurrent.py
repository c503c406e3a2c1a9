"""The learned policy: small image encoders, a GRU and an actor-critic head.

It reads depth (or colour), the goal, its own motion and, if asked to, an egocentric map of what it
has seen. The same object acts in training, evaluation and on a robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied import config as configuration
from embodied.errors import ConfigError
from embodied.nn.convolution import ConvEncoder
from embodied.nn.recurrent import ResetGRU
from embodied.policies.actor_critic import ActorCriticPolicy
from embodied.policies.base import Arrays, PolicyTask
from embodied.policies.recurrent_features import FeatureConfig, Featurizer, PolicyInputs
from embodied.types import Observations
from maps.grid.egocentric import compute_window_cells

VECTOR_WIDTH = 128


@dataclass(frozen=True)
class RecurrentConfig:
    """Size and senses of the recurrent policy.

    Attributes:
        features: what it looks at.
        channels: of the stride-2 convolutions, per image.
        width: of an encoded image and of the fused input.
        hidden_size: size of the recurrent state.
        temperature: of the draw when acting: 1 draws from the policy's own distribution, less
            prefers likely actions, 0 takes the likeliest (and may turn left and right for ever).
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    channels: tuple[int, ...] = (8, 16, 32, 32)
    width: int = 128
    hidden_size: int = 192
    temperature: float = 0.5

    def __post_init__(self) -> None:
        sizes = {
            "width": self.width,
            "hidden_size": self.hidden_size,
            "channels": min(self.channels, default=1),
        }
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"policy.{name} = {size} must be at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"policy.temperature = {self.temperature} must not be negative")


class GoalPlane(nn.Module):
    """Draw a point goal into a map window: how much nearer to it each cell lies than the agent.

    A plane in units of half the window, so that the layers see "free and nearer" in one place.
    """

    ahead: Tensor
    left: Tensor

    def __init__(self, cell_size: float, size: int) -> None:
        super().__init__()
        cells = torch.from_numpy(compute_window_cells(cell_size, size))
        self.scale = 2.0 / (cell_size * size)
        self.register_buffer("ahead", cells[..., 0].clone(), persistent=False)
        self.register_buffer("left", cells[..., 1].clone(), persistent=False)

    def forward(self, polar: Tensor) -> Tensor:
        """Return (B, 1, size, size) for goals (B, 2): distance [m], angle [rad], left positive."""
        distance, angle = polar[:, 0, None, None], polar[:, 1, None, None]
        ahead, left = distance * angle.cos(), distance * angle.sin()
        apart = torch.hypot(self.ahead - ahead, self.left - left)
        return ((distance - apart) * self.scale).unsqueeze(1)


class RecurrentNetwork(nn.Module):
    """Actor-critic over feature sequences (T, N, ...)."""

    vector_mean: Tensor
    vector_std: Tensor

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], actions: int, config: RecurrentConfig
    ) -> None:
        super().__init__()
        self.hidden = config.hidden_size
        images = {
            key: (shape[0], shape[1], shape[2]) for key, shape in shapes.items() if len(shape) == 3
        }
        self.windows = nn.ModuleDict()
        encoders: dict[str, nn.Module] = {}
        for key, (depth, height, width) in images.items():
            if key.startswith("map") and "polar" in shapes:
                cell = config.features.map_cells[int(key.removeprefix("map"))]
                self.windows[key] = GoalPlane(cell, height)
                depth += 1
            encoders[key] = ConvEncoder((depth, height, width), config.channels, config.width)
        self.encoders = nn.ModuleDict(encoders)
        length = shapes["vector"][0]
        # Not in the weights file: normalization.json is the one place that holds them.
        self.register_buffer("vector_mean", torch.zeros(length), persistent=False)
        self.register_buffer("vector_std", torch.ones(length), persistent=False)
        self.vector = nn.Sequential(nn.Linear(length, VECTOR_WIDTH), nn.ReLU())
        self.fuse = nn.Sequential(
            nn.Linear(VECTOR_WIDTH + config.width * len(images), config.width), nn.ReLU()
        )
        self.memory = ResetGRU(config.width, config.hidden_size)
        self.actor = nn.Linear(config.hidden_size + config.width, actions)
        self.critic = nn.Sequential(
            nn.Linear(config.hidden_size + config.width, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        nn.init.orthogonal_(self.actor.weight, gain=0.01)
        nn.init.zeros_(self.actor.bias)

    def forward(
        self,
        features: Mapping[str, Tensor],
        state: Tensor,
        first: Tensor,
        detach_critic: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run sequences.

        Args:
            features: (T, N, ...) arrays as the featurizer names them.
            state: (N, H) recurrent state before the first step.
            first: (T, N) bool, an episode begins here.
            detach_critic: keep the value loss out of the shared layers.

        Returns:
            Action logits (T, N, A), values (T, N), last state (N, H).
        """
        steps, count = first.shape
        vector = ((features["vector"] - self.vector_mean) / self.vector_std).clamp(-8.0, 8.0)
        parts = [self.vector(vector)]
        for key, encoder in self.encoders.items():
            image = features[key].flatten(0, 1).float().mul(1.0 / 255.0)
            if key in self.windows:
                goal = self.windows[key](features["polar"].flatten(0, 1))
                image = torch.cat([image, goal], dim=1)
            parts.append(encoder(image).unflatten(0, (steps, count)))
        fused = self.fuse(torch.cat(parts, dim=-1))
        remembered, state = self.memory(fused, state, first)
        joint = torch.cat([remembered, fused], dim=-1)
        values = self.critic(joint.detach() if detach_critic else joint).squeeze(-1)
        return self.actor(joint), values, state


class RecurrentPolicy(ActorCriticPolicy):
    """Acts with a `RecurrentNetwork` on the features of a `Featurizer`.

    Args:
        inputs: observations and actions it is made for.
        config: size and senses.
        seed: of the weights and of the draws.
    """

    name = "recurrent"
    config_class: ClassVar[type] = RecurrentConfig

    def __init__(
        self, inputs: PolicyInputs, config: RecurrentConfig | None = None, seed: int = 0
    ) -> None:
        self.inputs = inputs
        self.config = config or RecurrentConfig()
        self.featurizer = Featurizer(inputs, self.config.features)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = RecurrentNetwork(self.featurizer.shapes, inputs.actions, self.config)
        super().__init__(network, self.config.hidden_size, self.config.temperature, seed)
        self.network: RecurrentNetwork = network

    @classmethod
    def from_config(cls, config: RecurrentConfig, task: PolicyTask) -> RecurrentPolicy:
        """Build it with fresh weights, for the spaces of a task."""
        inputs = PolicyInputs.from_spaces(task.observation_space, task.action_space)
        return cls(inputs, config, task.seed)

    def extract_features(
        self,
        observations: Observations,
        previous: NDArray[np.int64],
        first: NDArray[np.bool_],
        peek: bool = False,
    ) -> Arrays:
        """Return what the network sees; see `ActorCriticPolicy.extract_features`."""
        if peek:
            with self.featurizer.preserve_state():
                return self.featurizer(observations, previous, first)
        return self.featurizer(observations, previous, first)

    def update_normalization(self, features: Arrays, count: float) -> float:
        """Fold vector features (M, D) into their mean and deviation (Chan et al. 1979)."""
        network, vectors = self.network, features["vector"]
        number = float(len(vectors))
        old_mean = network.vector_mean.cpu().numpy().astype(np.float64)
        old_var = network.vector_std.cpu().numpy().astype(np.float64) ** 2
        mean, var = vectors.mean(0, dtype=np.float64), vectors.var(0, dtype=np.float64)
        total = count + number
        new_mean = old_mean + (mean - old_mean) * number / total
        spread = old_var * count + var * number
        spread += (mean - old_mean) ** 2 * count * number / total
        network.vector_mean.copy_(torch.from_numpy(new_mean))
        # A floor: an input that hardly varies (a rare action) must not be blown up.
        network.vector_std.copy_(torch.from_numpy(np.sqrt(spread / total).clip(0.05)))
        return total

    @property
    def normalization(self) -> dict[str, Any]:
        """Mean and standard deviation of the vector features, as plain lists."""
        return {
            "vector": {
                "mean": self.network.vector_mean.tolist(),
                "std": self.network.vector_std.tolist(),
            }
        }

    @normalization.setter
    def normalization(self, data: Mapping[str, Any]) -> None:
        self.network.vector_mean.copy_(torch.tensor(data["vector"]["mean"]))
        self.network.vector_std.copy_(torch.tensor(data["vector"]["std"]))


def restore_policy(
    inputs: Mapping[str, Any], tree: Mapping[str, Any], source: str = "configuration"
) -> RecurrentPolicy:
    """Rebuild the policy of a checkpoint, without its weights.

    Args:
        inputs: what `PolicyInputs.to_json` wrote.
        tree: configuration of its run; the part "policy" is read.
        source: where that stands, for messages.
    """
    config = configuration.build(RecurrentConfig, tree["policy"], source=source)
    return RecurrentPolicy(PolicyInputs.from_json(inputs), config)
