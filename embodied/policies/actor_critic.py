"""What learned policies with discrete actions share: acting, drawing, and what training repeats.

A policy of this kind is a network and a way to turn observations into its features. PPO and
imitation (`embodied.training`) need nothing else of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.nn.categorical import Categorical
from embodied.policies.base import Arrays
from embodied.types import Observations


@dataclass(frozen=True)
class ActionSample:
    """One decision of N agents and what training needs to repeat it.

    Attributes:
        features: (N, ...) arrays.
        action: (N,) chosen actions.
        log_prob: (N,) log probability of the chosen action.
        value: (N,) expected return.
        state: (N, H) recurrent state before the step.
    """

    features: Arrays
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    state: NDArray[np.float32]


class ActorCriticPolicy(ABC):
    """Acts with an actor-critic network and keeps the recurrent state of each agent between calls.

    Args:
        network: called as `network(features, state, first, detach_critic=False)` with features
            (T, N, ...), state (N, H) and first (T, N), returns action logits (T, N, A), values
            (T, N) and the last state (N, H); `detach_critic` keeps the value loss out of the layers
            that the actor shares.
        state_size: H; 0 for a network without memory.
        temperature: of the draw when acting: 1 draws from the policy's own distribution, 0 takes
            the likeliest action.
        seed: of the draws.

    Attributes:
        name: row of the registry's table "restore"; checkpoints carry it.
        network: the weights.
        inputs: what the policy was made for, with `to_json`; checkpoints carry it.
        normalization: plain values beside the weights.
    """

    name: str
    inputs: Any
    normalization: Any

    def __init__(
        self, network: nn.Module, state_size: int = 0, temperature: float = 1.0, seed: int = 0
    ) -> None:
        self.network = network
        self.state_size, self.temperature = state_size, temperature
        # Draws come from the CPU, so that a run on another device draws the same.
        self._generator = torch.Generator().manual_seed(seed)
        self._state = torch.zeros(0, state_size)
        self._previous: NDArray[np.int64] = np.zeros(0, np.int64)

    @abstractmethod
    def extract_features(
        self,
        observations: Observations,
        previous: NDArray[np.int64],
        first: NDArray[np.bool_],
        peek: bool = False,
    ) -> Arrays:
        """Turn observations into what the network reads and a rollout stores.

        Args:
            observations: (N, ...) each.
            previous: (N,) last actions, to be ignored where an episode begins.
            first: (N,) true on an episode's first step.
            peek: leave what is remembered of earlier observations as it is.

        Returns:
            (N, ...) arrays by name.
        """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def seed(self, seed: int) -> None:
        """Fix what is drawn from now on."""
        self._generator.manual_seed(seed)

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Choose actions (N,); see `embodied.policies.base.Policy`."""
        return self.sample_actions(observations, first, self.temperature).action

    @torch.no_grad()
    def sample_actions(
        self, observations: Observations, first: NDArray[np.bool_], temperature: float = 1.0
    ) -> ActionSample:
        """Choose actions and return everything about the choice.

        Args:
            observations: (N, ...) each.
            first: (N,) whose episode begins.
            temperature: of the draw; 0 takes the likeliest actions.
        """
        first = np.asarray(first, bool)
        if len(self._previous) != len(first):
            self._state = torch.zeros(len(first), self.state_size)
            self._previous = np.full(len(first), -1, np.int64)
        features = self.extract_features(observations, self._previous, first)
        state = self._state.to(self.device) * self._tensor(~first).unsqueeze(-1)
        logits, value, self._state = self.network(
            self._tensors(features), state, self._tensor(first)[None]
        )
        distribution = Categorical(logits[0].cpu())
        action = distribution.sample(self._generator, temperature)
        self._previous = action.numpy()
        return ActionSample(
            features,
            self._previous.copy(),
            distribution.log_prob(action).numpy(),
            value[0].cpu().numpy(),
            state.cpu().numpy(),
        )

    @torch.no_grad()
    def predict_values(
        self, observations: Observations, first: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the values (N,) of observations without taking a step."""
        features = self.extract_features(observations, self._previous, first, peek=True)
        marks = self._tensor(np.asarray(first, bool))[None]
        values: Tensor = self.network(self._tensors(features), self._state.to(self.device), marks)[
            1
        ]
        return values[0].cpu().numpy()

    def set_executed_actions(self, action: NDArray[np.int64]) -> None:
        """Tell the policy which actions were really taken, when others than its own were
        (imitation).
        """
        self._previous = np.asarray(action, np.int64).copy()

    def evaluate_sequences(
        self, features: Mapping[str, Tensor], state: Tensor, first: Tensor,
        detach_critic: bool = False,
    ) -> tuple[Categorical, Tensor]:  # fmt: skip
        """Return what the policy would do in T steps of N agents, and their values (T, N).

        Args:
            features: (T, N, ...) each.
            state: (N, H) recurrent state before the first step.
            first: (T, N) bool, an episode begins here.
            detach_critic: keep the value loss out of the layers that the actor shares.
        """
        logits, values, _ = self.network(features, state, first, detach_critic)
        return Categorical(logits), values

    def update_normalization(self, features: Arrays, count: float) -> float:
        """Fold features into the statistics that the network's inputs are normalised with.

        Args:
            features: (M, ...) each.
            count: observations that the statistics rest on by now.

        Returns:
            The new count; unchanged for a policy that normalises nothing, as here.
        """
        return count

    def _tensors(self, features: Arrays) -> dict[str, Tensor]:
        return {key: self._tensor(value).unsqueeze(0) for key, value in features.items()}

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
