"""What every policy is: observations of N agents in, N actions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError

STOP, FORWARD, LEFT, RIGHT, LOOK_UP, LOOK_DOWN = range(6)
"""Discrete actions, numbered as in Habitat's navigation tasks."""

Observations = Mapping[str, NDArray[Any]]


@runtime_checkable
class Policy(Protocol):
    """Acts for a batch of independent episodes."""

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> NDArray[Any]:
        """Choose one action per agent.

        Args:
            observations: each entry (N, ...), as the vector environments give them.
            first: (N,) whether this is the first step of an episode: forget what came before.

        Returns:
            (N,) discrete actions, or (N, A) of arms.
        """
        ...


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
