"""An evaluation's settings, whose part about the policy is of the class that the policy names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from embodied import config as configuration
from embodied import registry
from embodied.errors import ConfigError
from embodied.policies.factory import find_config_class

T = TypeVar("T")


def build_settings(
    cls: type[T],
    tree: Mapping[str, Any],
    source: str,
    key: str = "policy",
    table: str = "policy",
    blocks: Mapping[str, str] | None = None,
) -> T:
    """Build settings in which `policy: NAME` chooses the class of `policy_config: {...}`.

    The settings of a registered policy may also stand in a block of its name.

    Args:
        cls: of the settings, a dataclass with the fields `key` and `{key}_config`.
        tree: nested mapping, overrides included.
        source: where it comes from, for messages.
        key: which names the policy.
        table: of the registry that holds it.
        blocks: more names of such blocks: block -> policy.

    Raises:
        ConfigError: unknown policy or key, wrong value.
    """
    tree, part = dict(tree), f"{key}_config"
    default = next(f.default for f in dataclasses.fields(cls) if f.name == key)  # type: ignore[arg-type]
    name = str(tree.get(key, default))
    given: dict[str, Any] = {}
    for block, policy in {**dict.fromkeys(registry.list_names(table)), **(blocks or {})}.items():
        policy = policy or block
        settings = tree.pop(block, None)
        if settings is None:
            continue
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{source}: {block} = {settings!r} must hold settings of '{policy}'")
        if policy == name:
            given = configuration.merge(given, settings)
        else:  # of a policy that does not play: a mistake in it is one all the same
            configuration.build(find_config_class(policy, table), settings, f"{source}: {block}")
    if given or part in tree:
        tree[part] = configuration.merge(given, tree.get(part) or {})
    typed = _type_field(cls, part, find_config_class(name, table))
    return configuration.build(typed, tree, source)


def refuse_untrained(recipe: str) -> ConfigError:
    """Return the error for a recipe that trains, where something trained is needed."""
    return ConfigError(
        f"recipe {recipe} trains a policy, and there is nothing to evaluate yet. First: "
        f"embodied train {recipe}   Then: embodied eval runs/{Path(recipe).stem}"
    )


def _type_field(cls: type[T], name: str, hint: type[Any]) -> type[T]:
    """Return the dataclass with one field typed, so that what it holds is checked as usual."""
    needed = any(
        f.init and f.default is f.default_factory is dataclasses.MISSING
        for f in dataclasses.fields(hint)
    )
    typed = field(kw_only=True) if needed else field(default_factory=hint)
    typed_class: type[T] = dataclasses.make_dataclass(
        cls.__name__, [(name, hint, typed)], bases=(cls,), frozen=True,
        namespace={"__doc__": None, "__module__": cls.__module__},
    )  # fmt: skip
    return typed_class
