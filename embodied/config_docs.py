"""What every setting of a configuration is called, holds and means, read from its dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from embodied.config import to_dict

_ENTRY = re.compile(r"    (\w+(?:, \w+)*): (.*)")


@dataclass(frozen=True)
class Setting:
    """One key of a configuration.

    Attributes:
        name: dotted, as recipes and the command line write it.
        value: what it holds now, as YAML; "" for a part, whose keys follow.
        default: what it holds if nothing is said, as YAML.
        meaning: the sentence about it in its dataclass; "" where there is none.
    """

    name: str
    value: str
    default: str
    meaning: str

    def __str__(self) -> str:
        changed = "" if self.value == self.default else f"    (default: {self.default})"
        head = f"{self.name} = {self.value}{changed}" if self.value else f"{self.name}:"
        return head + "\n" + textwrap.fill(self.meaning, 96, initial_indent="    ",
                                           subsequent_indent="    ")  # fmt: skip


def list_settings(config: Any) -> list[Setting]:
    """Return every key of a configuration (an instance of a dataclass), parts before their keys."""
    return list(_walk(config, _default_of(type(config)), ""))


def read_attribute_docs(cls: type) -> dict[str, str]:
    """Return attribute -> meaning from the sections "Attributes" of a class and its bases."""
    meanings: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        meanings |= _parse(inspect.cleandoc(owner.__dict__.get("__doc__") or ""))
    return meanings


def _walk(config: Any, default: Any, prefix: str) -> Iterator[Setting]:
    meanings = read_attribute_docs(type(config))
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        name, value = f"{prefix}{field.name}", getattr(config, field.name)
        usual, meaning = getattr(default, field.name, None), meanings.get(field.name, "")
        if dataclasses.is_dataclass(value):
            yield Setting(name, "", "", meaning)
            same = type(usual) is type(value)
            yield from _walk(value, usual if same else _default_of(type(value)), f"{name}.")
        else:
            yield Setting(name, _as_yaml(value), _as_yaml(usual), meaning)


def _default_of(cls: type) -> Any:
    """Build a configuration without saying anything; None where something must be said."""
    needed = [
        f for f in dataclasses.fields(cls)
        if f.init and f.default is f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    return None if needed else cls()


def _parse(doc: str) -> dict[str, str]:
    """Read one docstring: entries "name: text" or "name, name: text", their lines joined."""
    meanings: dict[str, str] = {}
    _, _, section = doc.partition("\nAttributes:\n")
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        if entry := _ENTRY.fullmatch(line):
            names = entry[1].split(", ")
            meanings |= dict.fromkeys(names, entry[2])
        elif line.strip():
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
    return meanings


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(to_dict(value), default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("...").strip()
