"""Errors a user can act on: every message says what was given, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EmbodiedError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class ConfigError(EmbodiedError):
    """A recipe, override or option that cannot be used."""


class SceneError(EmbodiedError):
    """A scene file that is missing, corrupt or without usable geometry."""


class SensorError(EmbodiedError):
    """A camera or sensor request that cannot be served."""


class NavigationError(EmbodiedError):
    """A pose or path request that has no answer in this scene."""


class CheckpointError(EmbodiedError):
    """A checkpoint that is missing, damaged or belongs to another policy."""


class MissingExtraError(EmbodiedError):
    """An optional package is absent; `embodied.extras` says what brings it."""


def suggest_nearest(name: str, allowed: Iterable[str]) -> str:
    """Return a hint naming the allowed values, nearest first: `did you mean 'x'? Allowed: ...`."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}"
