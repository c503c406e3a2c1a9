"""Typed configuration: frozen dataclasses <- a YAML recipe <- dotted overrides.

A recipe is a YAML file named `group/name` (`configs/nav/pointnav_ppo.yaml`). It overrides the
defaults of one dataclass; `extends: other/recipe`, at the top or inside a part, starts from another
file. What a run used is saved beside its results and is enough to repeat it.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from embodied.config_aliases import SYNONYMS, rename_old_keys
from embodied.errors import ConfigError
from embodied.files import write_text

T = TypeVar("T")
Tree = dict[str, Any]


def recipe_folder() -> Path:
    """Return the folder of recipes: that of the installed wheel, else `configs/` of the checkout.

    Raises:
        ConfigError: neither exists, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise ConfigError(f"no recipes beside {package}: install embodied-stack again")


def list_recipes() -> list[str]:
    """Return the names of all recipes, e.g. "nav/pointnav_ppo"."""
    folder = recipe_folder()
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe name, or of a path to a YAML file of the user's own.

    Raises:
        ConfigError: no such recipe; names the nearest one.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).is_file():
            raise ConfigError(
                f"no recipe file {text}. Recipes by name: {', '.join(list_recipes())}"
            )
        return Path(text)
    file = recipe_folder() / f"{text}.yaml"
    if text and ".." not in Path(text).parts and file.is_file():
        return file
    known = list_recipes()
    raise ConfigError(
        f"unknown recipe '{text}'. {_nearest_name(text, known)}Recipes: {', '.join(known)}"
    )


def read_recipe(name: str | Path) -> Tree:
    """Return a recipe's nested mapping with `extends` followed.

    Raises:
        ConfigError: unknown recipe, invalid YAML, or recipes that extend each other in a circle.
    """
    return _read(find_recipe(name), ())


def load(cls: type[T], recipe: str | Path, overrides: Sequence[str] = ()) -> T:
    """Build a configuration from a recipe and `key.path=value` overrides.

    Raises:
        ConfigError: unknown key (names the nearest one), wrong value type or unusable value.
    """
    tree = merge(read_recipe(recipe), parse_overrides(overrides))
    return build(cls, tree, source=f"recipe {recipe}")


def build(cls: type[T], tree: Mapping[str, Any], source: str = "configuration") -> T:
    """Validate a nested mapping and turn it into the dataclass `cls`.

    Raises:
        ConfigError: unknown key, wrong value type or unusable value; the message carries `source`.
    """
    from pydantic import TypeAdapter, ValidationError

    tree = _present_names(cls, tree, cls, "", source)
    try:
        return TypeAdapter(cls).validate_python(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, cls, source)) from error


def override(config: T, overrides: Sequence[str]) -> T:
    """Return a copy of a configuration with `key.path=value` overrides applied and validated."""
    tree = merge(to_dict(config), parse_overrides(overrides))
    return build(type(config), tree, source="override")


def parse_overrides(overrides: Sequence[str]) -> Tree:
    """Turn `["train.steps=200000", "seed=1"]` into a nested mapping; values are YAML.

    Raises:
        ConfigError: an item without `=`, an empty key, or a value that is not YAML.
    """
    tree: Tree = {}
    for item in overrides:
        key, separator, text = item.partition("=")
        parts = key.strip().split(".")
        if not separator or not all(parts):
            raise ConfigError(
                f"override '{item}' must read key.path=value, e.g. train.steps=200000"
            )
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{item}': '{text}' is not a YAML value") from error
        for part in reversed(parts):
            value = {part: value}
        tree = merge(tree, value)
    return tree


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> Tree:
    """Return `base` with the leaves of `top` laid over it; mappings merge, all else is replaced.

    Keys of `top` come last: where one setting has two names, the order tells which one counts.
    """
    result = dict(base)
    for key, value in top.items():
        under = result.pop(key, None)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = merge(under, value) if both and isinstance(under, Mapping) else value
    return result


def to_dict(config: Any) -> Any:
    """Turn a configuration into plain mappings, lists and scalars (what YAML and JSON can hold)."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(k): to_dict(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_dict(v) for v in config]
    if isinstance(config, Enum):
        return to_dict(config.value)
    if isinstance(config, Path):
        return config.as_posix()
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    raise ConfigError(f"a configuration cannot hold {config!r} of type {type(config).__name__}")


def digest(config: Any) -> str:
    """Return 16 hexadecimal digits that change whenever a value of the configuration changes."""
    text = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save(config: Any, path: str | Path) -> None:
    """Write the resolved configuration as YAML, atomically; `load(cls, path)` reads it back."""
    write_text(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def dotted_names(cls: type) -> list[str]:
    """Return every dotted leaf name a configuration class accepts."""
    names: list[str] = []
    for name, hint in _hints(cls).items():
        inner = _dataclasses_in(hint)
        names += [f"{name}.{leaf}" for c in inner for leaf in dotted_names(c)] if inner else [name]
    return names


def _read(file: Path, chain: tuple[Path, ...]) -> Tree:
    resolved = file.resolve()
    if resolved in chain:
        names = " -> ".join(p.stem for p in (*chain, resolved))
        raise ConfigError(f"recipes extend each other in a circle: {names}")
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {file} is not valid YAML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {file} cannot be read: {error}") from error
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(
            f"recipe {file} must hold `key: value` lines, not a {type(tree).__name__}"
        )
    return _expand(tree, file, (*chain, resolved))


def _expand(tree: Tree, file: Path, chain: tuple[Path, ...]) -> Tree:
    """Follow `extends` here and in the mappings below."""
    tree = {k: _expand(v, file, chain) if isinstance(v, dict) else v for k, v in tree.items()}
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    beside = file.parent / str(parent)
    is_file = beside.suffix in (".yaml", ".yml") and beside.is_file()
    return merge(_read(beside if is_file else find_recipe(parent), chain), tree)


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _dataclasses_in(hint: Any) -> list[type]:
    """Return the dataclasses a field may hold itself, or in a Union, but not in a container."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _dataclasses_in(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [c for arg in typing.get_args(hint) for c in _dataclasses_in(arg)]
    return []


def _present_names(
    cls: type, tree: Mapping[str, Any], root: type, prefix: str, source: str
) -> Tree:
    """Return the tree under its present names.

    Raises:
        ConfigError: a name that no class here knows, nor ever knew.
    """
    hints = _hints(cls)
    named: Tree = {}
    for key, value in rename_old_keys(cls, tree, prefix, source).items():
        name = f"{prefix}{key}"
        if key not in hints:
            wrong = _first_leaf(name, value)
            raise ConfigError(
                f"{source}: unknown key '{wrong}'. {_nearest_name(wrong, dotted_names(root))}"
                f"Keys of {prefix[:-1] or 'the recipe'}: {', '.join(hints)}"
            )
        inner = _dataclasses_in(hints[key])
        if isinstance(value, Mapping) and len(inner) == 1:
            value = _present_names(inner[0], value, root, f"{name}.", source)
        elif isinstance(value, (list, tuple)):
            elements = [c for a in typing.get_args(hints[key]) for c in _dataclasses_in(a)]
            value = [
                _present_names(elements[0], item, elements[0], "", f"{source}: {name}[{index}]")
                if isinstance(item, Mapping) and len(elements) == 1
                else item
                for index, item in enumerate(value)
            ]
        named[key] = value
    return named


def _first_leaf(name: str, value: Any) -> str:
    while isinstance(value, Mapping) and value:
        key, value = next(iter(value.items()))
        name = f"{name}.{key}"
    return name


def _nearest_name(name: str, allowed: Sequence[str]) -> str:
    """Ask whether a key that the field calls like this was meant, else the closest one, by its
    whole spelling or its last part.
    """
    ours = SYNONYMS.get(_last(name).lower(), ())
    found = [key for word in ours for key in allowed if _last(key) == word]
    beside = [key for key in found if key.rpartition(".")[0] == name.rpartition(".")[0]]
    if found:
        return f"Did you mean {' or '.join(repr(key) for key in beside or found)}? "

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        last = difflib.SequenceMatcher(None, _last(name), _last(candidate)).ratio()
        return max(whole, last)

    best = max(allowed, key=likeness, default=None)
    return f"Did you mean '{best}'? " if best and likeness(best) >= 0.5 else ""


def _last(name: str) -> str:
    return name.replace("/", ".").rpartition(".")[2]


def _explain(error: Any, cls: type, source: str) -> str:
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        given = f" = {item['input']!r}" if item["type"] != "missing" else ""
        lines.append(f"{source}: {name}{given}: {item['msg']}")
    return "\n".join(lines)
