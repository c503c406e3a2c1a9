"""The one contract of every policy: observations of N agents in, N actions out.

`embodied.types` says what observations and actions hold: keys, shapes, frames and units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embodied.errors import CheckpointError, ConfigError
from embodied.types import Observations

if TYPE_CHECKING:
    from embodied.policies.mapping.mapper import BodyConfig

Obs = TypeVar("Obs", contravariant=True)
Act = TypeVar("Act", covariant=True)

Arrays = dict[str, NDArray[Any]]
"""Features by name, (N, ...) each."""


@runtime_checkable
class Policy(Protocol[Obs, Act]):
    """Acts for a batch of independent episodes, e.g. `Policy[Observations, DiscreteActions]`.

    A class may also have `config_class`, the dataclass of its settings, and a class method
    `from_config(config, task)`, which builds it from them and from a `PolicyTask`; see
    `embodied.policies.factory`.
    """

    def act(self, observations: Obs, first: NDArray[np.bool_]) -> Act:
        """Choose one action per agent.

        Args:
            observations: each entry (N, ...), as the vector environments give them.
            first: (N,) whether this is the first step of an episode: this resets the policy, which
                forgets what it knew of that agent's last episode.

        Returns:
            One action per agent: `DiscreteActions`, `PlaceActions`, `ArmActions` or
            `MobilePickActions`.
        """
        ...


@dataclass(frozen=True)
class PolicyTask:
    """What a policy is told of its task when it is built.

    Attributes:
        seed: of what the policy draws.
        body: the agent's body and depth camera; None where the task has none.
        observation_space, action_space: of one environment; None where nothing is fitted to them.
        network: the trained one, for policies that act with it; else None.
    """

    seed: int = 0
    body: BodyConfig | None = None
    observation_space: Any = None
    action_space: Any = None
    network: Any = None

    def require_network(self, policy: str) -> Any:
        """Return the trained network.

        Args:
            policy: name of the one that asks.

        Raises:
            CheckpointError: there is none.
        """
        if self.network is None:
            raise CheckpointError(
                f"the policy '{policy}' is a trained one: give the folder of its run, or set "
                "checkpoint=runs/..."
            )
        return self.network


class Agent(Protocol):
    """Plays one episode at a time; what `observe` takes is its own affair."""

    def reset(self) -> None:
        """Forget the episode."""
        ...

    @property
    def observe(self) -> Callable[..., None]:
        """Take in one environment's row of each observation."""
        ...

    def act(self) -> int:
        """Choose the next action."""
        ...


Single = TypeVar("Single", bound=Agent)


def act_per_environment(
    agents: list[Single],
    make: Callable[[], Single],
    observations: Sequence[NDArray[Any]],
    first: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Let one agent per environment act on its own row.

    Args:
        agents: kept between calls; grows to N.
        make: builds one more.
        observations: (N, ...) each, in the order of the agent's `observe`.
        first: (N,) whose episode begins: these are reset.

    Returns:
        (N,) discrete actions.
    """
    while len(agents) < len(first):
        agents.append(make())
    actions = np.empty(len(first), np.int64)
    for index, agent in enumerate(agents[: len(first)]):
        if first[index]:
            agent.reset()
        agent.observe(*(rows[index] for rows in observations))
        actions[index] = agent.act()
    return actions


def require_observations(observations: Observations, *keys: str) -> list[NDArray[Any]]:
    """Return the named observations.

    Raises:
        ConfigError: one is missing; the message says which and what there is.
    """
    missing = [key for key in keys if key not in observations]
    if missing:
        raise ConfigError(
            f"the policy needs the observations {', '.join(keys)}, but the task gives "
            f"{', '.join(sorted(observations))}: add "
            f"{', '.join(missing)} to the task's camera outputs"
        )
    return [observations[key] for key in keys]
