"""What the learning procedures ask of a policy; none of them knows a policy by its class.

PPO and imitation train an `ActorCritic`: `embodied.policies.actor_critic.ActorCriticPolicy` is one
that leaves only network and features to write. Soft actor-critic trains an `ExploringPolicy`. What
learns beside a policy's weights is a `Learner`; checkpoints hold its tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.policies.actor_critic import ActionSample
from embodied.policies.base import Arrays
from embodied.training.checkpoint import Checkpointable, StorablePolicy
from embodied.types import Observations


class ActionDistribution(Protocol):
    """What a policy might do, e.g. `embodied.nn.categorical.Categorical`."""

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log probabilities (...) of actions (...)."""
        ...

    def entropy(self) -> Tensor:
        """Return the entropy (...) [nat]."""
        ...

    def mode(self) -> Tensor:
        """Return the likeliest actions (...)."""
        ...


class ActorCritic(StorablePolicy, Protocol):
    """A policy with discrete actions and an estimate of what they will earn.

    See `embodied.policies.actor_critic.ActorCriticPolicy` for shapes.

    Attributes:
        device: where the weights are.
    """

    @property
    def device(self) -> torch.device:  # noqa: D102
        ...

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Choose actions (N,); see `embodied.policies.base.Policy`."""
        ...

    def seed(self, seed: int) -> None:
        """Fix what is drawn from now on."""
        ...

    def sample_actions(
        self, observations: Observations, first: NDArray[np.bool_], temperature: float = 1.0
    ) -> ActionSample:
        """Choose actions and return everything about the choice."""
        ...

    def predict_values(
        self, observations: Observations, first: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the values (N,) of observations without taking a step."""
        ...

    def set_executed_actions(self, action: NDArray[np.int64]) -> None:
        """Take note of the actions (N,) that were really taken."""
        ...

    def evaluate_sequences(
        self, features: Mapping[str, Tensor], state: Tensor, first: Tensor,
        detach_critic: bool = False,
    ) -> tuple[ActionDistribution, Tensor]:  # fmt: skip
        """Return what the policy would do in T steps of N agents, and their values (T, N)."""
        ...

    def update_normalization(self, features: Arrays, count: float) -> float:
        """Fold features (M, ...) into the statistics of the inputs; return the new count."""
        ...


class StochasticActor(Protocol):
    """Draws continuous actions in [-1, 1]; a `torch.nn.Module`.

    Attributes:
        observation_size: F, numbers it sees.
        action_size: A, numbers it says.
    """

    observation_size: int
    action_size: int

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights."""
        ...

    def sample(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Draw actions (B, A) for observations (B, F) and return their log densities (B,); both
        carry gradients.
        """
        ...


class ExploringPolicy(StorablePolicy, Protocol):
    """A policy that soft actor-critic trains.

    Attributes:
        actor: part of `network`.
    """

    @property
    def actor(self) -> StochasticActor:  # noqa: D102
        ...

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Choose actions (N, A) without exploring; see `embodied.policies.base.Policy`."""
        ...

    def encode_observations(self, observations: Observations) -> Tensor:
        """Return what actor and critics see of observations (N, ...), as (N, F)."""
        ...


class Learner(Checkpointable, Protocol):
    """Improves a policy from experience that it keeps itself."""

    def update(self, rng: np.random.Generator) -> dict[str, float]:
        """Learn from one batch drawn with `rng`; return figures."""
        ...
