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
from embodied.policies.base import PolicyTask
from embodied.policies.recurrent_features import Arrays, FeatureConfig, Featurizer, PolicyInputs
from embodied.types import DiscreteActions, Observations
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


@dataclass(frozen=True)
class RecurrentStep:
    """One decision of N agents and what training needs to repeat it.

    Attributes:
        features: (N, ...) arrays.
        action: (N,) chosen.
        log_prob: (N,) of the chosen action.
        value: (N,) expected return.
        state: (N, H) recurrent state before the step.
    """

    features: Arrays
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    state: NDArray[np.float32]


class RecurrentPolicy:
    """Policy protocol around `RecurrentNetwork`; keeps the state of each agent between calls."""

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
            self.network = RecurrentNetwork(self.featurizer.shapes, inputs.actions, self.config)
        self.generator = torch.Generator().manual_seed(seed)
        self._state = torch.zeros(0, self.config.hidden_size)
        self._previous: NDArray[np.int64] = np.zeros(0, np.int64)

    @classmethod
    def from_config(cls, config: RecurrentConfig, task: PolicyTask) -> RecurrentPolicy:
        """Build it with fresh weights, for the spaces of a task."""
        inputs = PolicyInputs.from_spaces(task.observation_space, task.action_space)
        return cls(inputs, config, task.seed)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> DiscreteActions:
        """Choose actions (N,) for observations (N, ...); `first` (N,) marks new episodes."""
        return self.step(observations, first, temperature=self.config.temperature).action

    @torch.no_grad()
    def step(
        self,
        observations: Mapping[str, NDArray[Any]],
        first: NDArray[np.bool_],
        temperature: float = 1.0,
    ) -> RecurrentStep:
        """Choose actions and return everything about the choice."""
        first = np.asarray(first, bool)
        if len(self._previous) != len(first):
            self._state = torch.zeros(len(first), self.config.hidden_size)
            self._previous = np.full(len(first), -1, np.int64)
        features = self.featurizer(observations, self._previous, first)
        state = self._state * torch.from_numpy(~first).unsqueeze(-1)
        tensors = {key: torch.from_numpy(value).unsqueeze(0) for key, value in features.items()}
        logits, value, self._state = self.network(tensors, state, torch.from_numpy(first)[None])
        log_probs = torch.log_softmax(logits[0], dim=-1)
        if temperature > 0:
            odds = torch.softmax(logits[0] / temperature, dim=-1)
            action = torch.multinomial(odds, 1, generator=self.generator).squeeze(-1)
        else:
            action = log_probs.argmax(dim=-1)
        self._previous = action.numpy()
        chosen = log_probs.gather(1, action[:, None]).squeeze(-1)
        return RecurrentStep(
            features, self._previous.copy(), chosen.numpy(), value[0].numpy(), state.numpy()
        )

    @torch.no_grad()
    def peek_value(
        self, observations: Mapping[str, NDArray[Any]], first: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the values (N,) of observations without taking a step."""
        with self.featurizer.preserve_state():
            features = self.featurizer(observations, self._previous, first)
        tensors = {key: torch.from_numpy(value).unsqueeze(0) for key, value in features.items()}
        marks = torch.from_numpy(np.asarray(first, bool))[None]
        return self.network(tensors, self._state, marks)[1][0].numpy()

    def set_executed_actions(self, action: NDArray[np.int64]) -> None:
        """Tell the policy which actions were really taken, when others than its own were
        (imitation).
        """
        self._previous = np.asarray(action, np.int64).copy()

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
