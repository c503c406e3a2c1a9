"""Build any policy by name, from settings of its own and from what it is told of its task.

A class of the registry or of a user may say two things about itself: `config_class`, the dataclass
of its settings, and `from_config(config, task)`. Without the second it is built from its settings
alone, without either from nothing.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from embodied import registry
from embodied.errors import ConfigError
from embodied.policies.base import Policy, PolicyTask


@dataclass(frozen=True)
class NoConfig:
    """Settings of a policy that has none."""


def find_config_class(name: str, table: str = "policy") -> type[Any]:
    """Return the dataclass that holds a policy's settings.

    Args:
        name: row of the table, or "module:Class".
        table: of the registry.

    Raises:
        ConfigError: unknown policy.
    """
    found: type[Any] = getattr(registry.resolve(table, name), "config_class", NoConfig)
    return found


def make_policy(
    name: str, config: Any, task: PolicyTask, table: str = "policy"
) -> Policy[Any, Any]:
    """Build a policy.

    Args:
        name: row of the table, or "module:Class".
        config: its settings, of the class `find_config_class` names.
        task: what it is told of the task.
        table: of the registry.

    Raises:
        ConfigError: unknown policy, a class without the method `act`, or one that wants other
            arguments than its settings.
    """
    cls = registry.resolve(table, name)
    if hasattr(cls, "from_config"):
        policy = cls.from_config(config, task)
    elif isinstance(cls, type):
        settings = () if isinstance(config, NoConfig) else (config,)
        try:
            inspect.signature(cls).bind(*settings)
        except TypeError as error:
            raise ConfigError(
                f"policy '{name}' cannot be built from {len(settings)} argument(s) ({error}): give "
                "the class a `config_class`, the dataclass of its settings, or a class method "
                "from_config(config, task); docs/extend/policy.md shows both"
            ) from error
        policy = cls(*settings)
    else:
        policy = cls
    if not isinstance(policy, Policy):
        raise ConfigError(f"policy '{name}' has no method act(observations, first)")
    return policy
