"""Every registered name leads to code; an unknown one leads to its neighbour."""

from __future__ import annotations

import pytest

from embodied import registry
from embodied.errors import ConfigError

ROWS = [(kind, name) for kind, rows in registry.TABLE.items() for name in rows]


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_every_row_resolves(kind: str, name: str) -> None:
    assert registry.resolve(kind, name) is not None


def test_the_table_is_not_empty() -> None:
    assert {"policy", "task", "trainer"} <= set(registry.TABLE)
    assert all(registry.TABLE.values())


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        registry.resolve("policy", "randon")


def test_an_unknown_table_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'policy'"):
        registry.resolve("polici", "random")


def test_code_outside_the_table_is_named_by_module_and_attribute() -> None:
    assert registry.resolve("policy", "fractions:Fraction").__name__ == "Fraction"


@pytest.mark.parametrize("name", ["no_such_module:Thing", "fractions:NoSuchThing"])
def test_outside_code_that_does_not_exist_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        registry.resolve("policy", name)
